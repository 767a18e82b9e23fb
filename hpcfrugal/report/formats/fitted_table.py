"""A table that fits the terminal by leaving out columns, never by cutting a number short.

A figure without its last digits would still look like a figure. So texts are shortened first (with an ellipsis), while
they can be read, then whole columns are left out, the least important first; then texts are shortened further. Two rows
that differ in what they are of still do afterwards, but in a terminal that is too narrow for that. What does not fit
even then is wrapped by the terminal.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
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
        for least, keys_too in ((_READABLE_TEXT, False), (_LEAST_TEXT, False), (_LEAST_TEXT, True)):
            while True:
                widths = self._shortened(natural, max_width, least)
                if _total(widths) <= max_width:
                    return widths
                gone = next((number for number in order if keys_too or not self._is_needed(number, natural)), None)
                if gone is None:
                    break
                order.remove(gone)
                del natural[gone]
        return widths

    def _is_needed(self, number: int, shown: Iterable[int]) -> bool:
        """Whether two rows that are of different things would look alike without this column."""
        columns = self.table.columns
        if not columns[number].key:
            return False
        keys = [each for each in shown if columns[each].key]
        other = [each for each in keys if each != number]
        return self._different(keys) > self._different(other)

    def _different(self, keys: Sequence[int]) -> int:
        return len({tuple(row.cells[number].text for number in keys) for row in self.table.rows})

    def _shortened(self, natural: dict[int, int], max_width: int, least: int) -> dict[int, int]:
        """The widths with the texts as much shorter as is needed, but not shorter than ``least``."""
        widths = dict(natural)
        for number in natural:
            if self.table.columns[number].kind == "text" and (excess := _total(widths) - max_width) > 0:
                shortest = max(min(least, widths[number]), widths[number] - excess)
                widths[number] = self._still_different(number, shortest, widths[number])
        return widths

    def _still_different(self, number: int, shortest: int, natural: int) -> int:
        """A width from ``shortest`` on in which the texts of a key still differ."""
        if not self.table.columns[number].key:
            return shortest
        texts = {row.cells[number].text for row in self.table.rows}
        widths = range(shortest, natural)

        def differ(width: int) -> bool:
            return len({self._short(text, width, number) for text in texts}) == len(texts)

        return natural if not widths else widths[0] + bisect_left(widths, True, key=differ)

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
            text = self._short(cells[number].text, width, number)
            pad = " " * (width - cell_len(text))
            text = f"{pad}{text}" if self.table.columns[number].kind == "number" else f"{text}{pad}"
            wanted = f"{style} {STYLES.get(cells[number].role, '')}".strip()
            if wanted != look and held:
                yield Segment(held, console.get_style(look))
                held = ""
            held, look = held + text + " " * _GAP, wanted
        yield Segment(held.rstrip(" "), console.get_style(look))
        yield Segment.line()

    def _short(self, text: str, width: int, number: int) -> str:
        """Keys lose their middle, since the names of nodes and the like differ by their ends, other texts their end."""
        if cell_len(text) <= width:
            return text
        kept = width - len(self.ellipsis)
        if not self.table.columns[number].key:
            return set_cell_size(text, kept) + self.ellipsis
        end = text[len(text) - (kept + 1) // 2 :]
        while cell_len(end) > (kept + 1) // 2:
            end = end[1:]
        return set_cell_size(text, kept - cell_len(end)) + self.ellipsis + end


def _total(widths: dict[int, int]) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1)
