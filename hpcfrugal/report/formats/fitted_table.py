"""A table that fits the terminal by leaving out columns, never by cutting a number short.

A figure without its last digits would still look like a figure. So texts are shortened first (with an ellipsis), while
they can be read, then whole columns are left out, the least important first; then texts are shortened further. What
still does not fit is wrapped by the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment

from hpcfrugal.core.text import in_ascii
from hpcfrugal.report.view import Cell, Table

STYLES = {
    "total": "bold",
    "aside": "dim",
    "loss": "red",
    "measured": "green",
    "modelled": "yellow",
    "unknown": "red",
    "completed": "green",
    "running": "cyan",
    "pending": "yellow",
    "failed": "red",
}
"""The look of each role."""

_GAP = 2
_READABLE_TEXT = 12
"""Texts are shortened to this much, then columns are left out."""
_LEAST_TEXT = 8
"""Texts are shortened to this much where no more columns can be left out."""


def _in_ascii(table: Table) -> Table:
    rows = [
        row._replace(cells=tuple(cell._replace(text=in_ascii(cell.text)) for cell in row.cells)) for row in table.rows
    ]
    return Table([column._replace(heading=in_ascii(column.heading)) for column in table.columns], rows)


@dataclass(frozen=True, slots=True)
class FittedTable:
    """A table that rich can print."""

    table: Table
    ellipsis: str = "…"

    def _natural(self) -> list[int]:
        widths = [cell_len(column.heading) for column in self.table.columns]
        for row in self.table.rows:
            widths = [max(width, cell_len(cell.text)) for width, cell in zip(widths, row.cells, strict=True)]
        return widths

    def fit(self, max_width: int) -> dict[int, int]:
        """Width of each column that stays, by its number."""
        natural = dict(enumerate(self._natural()))
        droppable = [
            (column.drop, number) for number, column in enumerate(self.table.columns) if column.drop is not None
        ]
        order = [number for _, number in sorted(droppable)]
        for least in (_READABLE_TEXT, _LEAST_TEXT):
            while True:
                widths = self._shortened(natural, max_width, least)
                if _total(widths) <= max_width:
                    return widths
                if not order:
                    break
                del natural[order.pop(0)]
        return widths

    def _shortened(self, natural: dict[int, int], max_width: int, least: int) -> dict[int, int]:
        """The widths with the texts as much shorter as is needed, but not shorter than ``least``."""
        widths = dict(natural)
        for number in natural:
            if self.table.columns[number].kind == "text" and (excess := _total(widths) - max_width) > 0:
                widths[number] = max(min(least, widths[number]), widths[number] - excess)
        return widths

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Made line by line: a table of rich's own takes a millisecond a row, and a report may have ten thousand jobs.
        if options.ascii_only:
            # Before anything is measured: ">=" is wider than the sign that it replaces.
            yield from FittedTable(_in_ascii(self.table), "...")._lines(console, options)
        else:
            yield from self._lines(console, options)

    def _lines(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = self.fit(options.max_width)
        yield from self._line(console, [Cell(column.heading) for column in self.table.columns], widths, "bold")
        for position, row in enumerate(self.table.rows):
            if position and row.apart:
                dash = "-" if options.ascii_only else "─"
                yield Segment(dash * _total(widths), console.get_style("dim"))
                yield Segment.line()
            yield from self._line(console, row.cells, widths, STYLES.get(row.role, ""))

    def _line(self, console: Console, cells: Sequence[Cell], widths: dict[int, int], style: str) -> Iterator[Segment]:
        """A row as pieces of text, one for each change of style."""
        held, look = "", style
        for number, width in widths.items():
            text = self._short(cells[number].text, width)
            pad = " " * (width - cell_len(text))
            text = f"{pad}{text}" if self.table.columns[number].kind == "number" else f"{text}{pad}"
            wanted = f"{style} {STYLES.get(cells[number].role, '')}".strip()
            if wanted != look and held:
                yield Segment(held, console.get_style(look))
                held = ""
            held, look = held + text + " " * _GAP, wanted
        yield Segment(held.rstrip(" "), console.get_style(look))
        yield Segment.line()

    def _short(self, text: str, width: int) -> str:
        return text if cell_len(text) <= width else set_cell_size(text, width - len(self.ellipsis)) + self.ellipsis


def _total(widths: dict[int, int]) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1)
