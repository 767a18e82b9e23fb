"""A table that fits the terminal by leaving columns out, never by cutting a number short.

A figure that lost its last digits at the edge of a narrow terminal would still read as a figure. So texts are
shortened first (with an ellipsis), then whole columns go, the least important first; what still does not fit is
left to the terminal to wrap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.cells import set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

_GAP = 2
_LEAST_TEXT = 8


def _short(cell: Text, width: int) -> Text:
    """The cell in at most ``width`` places of a terminal; rich's own ellipsis is three wide where it must be ASCII."""
    if cell.cell_len <= width:
        return cell
    return Text(set_cell_size(cell.plain, width - 1) + "…", style=cell.style)


@dataclass(frozen=True, slots=True)
class Column:
    """A heading and what stands below it; ``drop`` 1 goes first where there is no room, None never."""

    heading: str
    kind: Literal["text", "word", "number"] = "number"
    drop: int | None = None


@dataclass(slots=True)
class Grid:
    """Rows of cells under columns; a row after ``line()`` stands apart from those above."""

    columns: Sequence[Column]
    rows: list[tuple[list[Text], str]] = field(default_factory=list)
    breaks: set[int] = field(default_factory=set)

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
        widths = self.fit(options.max_width)
        table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
        for number, width in widths.items():
            column = self.columns[number]
            justify: Literal["left", "right"] = "right" if column.kind == "number" else "left"
            table.add_column(column.heading, justify=justify, width=width, no_wrap=True, overflow="ellipsis")
        for position, (row, style) in enumerate(self.rows):
            if position in self.breaks:
                table.add_section()
            table.add_row(*(_short(row[number], width) for number, width in widths.items()), style=style)
        needed = sum(widths.values()) + _GAP * (len(widths) - 1)
        wide = max(needed, options.max_width)
        yield from console.render(table, options.update(width=wide, max_width=wide))
