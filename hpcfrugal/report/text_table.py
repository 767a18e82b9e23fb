"""A table that fits the terminal by leaving columns out, never by cutting a number short.

A figure that lost its last digits at the edge of a narrow terminal would still read as a figure. So texts are
shortened first (with an ellipsis), then whole columns go, the least important first; what still does not fit is
left to the terminal to wrap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rich.cells import set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text

from hpcfrugal.core.text import in_ascii

_GAP = 2
_LEAST_TEXT = 8


def _short(cell: Text, width: int, ellipsis: str) -> Text:
    """The cell in at most ``width`` places of a terminal."""
    if cell.cell_len <= width:
        return cell
    return Text(set_cell_size(cell.plain, width - len(ellipsis)) + ellipsis, style=cell.style)


def _ascii(cell: Text) -> Text:
    return Text(in_ascii(cell.plain), style=cell.style)


@dataclass(frozen=True, slots=True)
class Column:
    """A heading and what stands below it; ``drop`` 1 goes first where there is no room, None never."""

    heading: str
    kind: Literal["text", "word", "number"] = "number"
    drop: int | None = None


@dataclass(slots=True)
class TextTable:
    """Rows of cells under columns, each cell in one style; a row after ``line()`` stands apart from those above."""

    columns: Sequence[Column]
    rows: list[tuple[list[Text], str]] = field(default_factory=list)
    breaks: set[int] = field(default_factory=set)
    ellipsis: str = "…"

    def add(self, cells: Iterable[Text | str], style: str = "") -> None:
        """Append a row. Texts are taken as they are, never as markup."""
        row = [cell if isinstance(cell, Text) else Text(cell) for cell in cells]
        if len(row) != len(self.columns):
            raise ValueError(f"{len(row)} cells for {len(self.columns)} columns")
        self.rows.append((row, style))

    def line(self) -> None:
        """Set the rows to come apart from those so far."""
        self.breaks.add(len(self.rows))

    def _natural(self) -> list[int]:
        widths = [len(column.heading) for column in self.columns]
        for row, _ in self.rows:
            widths = [max(width, cell.cell_len) for width, cell in zip(widths, row, strict=True)]
        return widths

    def fit(self, max_width: int) -> dict[int, int]:
        """Width of each column that stays, by its number."""
        widths = dict(enumerate(self._natural()))

        def excess() -> int:
            return sum(widths.values()) + _GAP * (len(widths) - 1) - max_width

        droppable = [(column.drop, number) for number, column in enumerate(self.columns) if column.drop is not None]
        order = [number for _, number in sorted(droppable)]
        while True:
            for number, column in enumerate(self.columns):
                if column.kind == "text" and number in widths and excess() > 0:
                    widths[number] = max(min(_LEAST_TEXT, widths[number]), widths[number] - excess())
            if excess() <= 0 or not order:
                return widths
            del widths[order.pop(0)]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Made line by line: a table of rich's own takes a millisecond a row, and ten thousand jobs are one table.
        if options.ascii_only:
            # Before anything is measured: ">=" is wider than the sign that it stands for.
            ascii_rows = [([_ascii(cell) for cell in row], style) for row, style in self.rows]
            columns = [replace(column, heading=in_ascii(column.heading)) for column in self.columns]
            yield from TextTable(columns, ascii_rows, self.breaks, "...")._lines(console, options)
        else:
            yield from self._lines(console, options)

    def _lines(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = self.fit(options.max_width)
        heading = [Text(self.columns[number].heading) for number in widths]
        yield from self._line(console, heading, widths, "bold")
        for position, (row, style) in enumerate(self.rows):
            if position and position in self.breaks:
                dash = "-" if options.ascii_only else "─"
                yield Segment(dash * (sum(widths.values()) + _GAP * (len(widths) - 1)), console.get_style("dim"))
                yield Segment.line()
            yield from self._line(console, [row[number] for number in widths], widths, style)

    def _line(self, console: Console, cells: Sequence[Text], widths: dict[int, int], style: str) -> Iterator[Segment]:
        """A row as pieces of text, one for each change of style."""
        held, look = "", style
        for cell, (number, width) in zip(cells, widths.items(), strict=True):
            shown = _short(cell, width, self.ellipsis)
            pad = " " * (width - shown.cell_len)
            text = f"{pad}{shown.plain}" if self.columns[number].kind == "number" else f"{shown.plain}{pad}"
            wanted = f"{style} {cell.style}".strip()
            if wanted != look and held:
                yield Segment(held, console.get_style(look))
                held = ""
            held, look = held + text + " " * _GAP, wanted
        yield Segment(held.rstrip(" "), console.get_style(look))
        yield Segment.line()
