"""A report for a terminal, as rich prints it. No text is read as markup."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.table import Table as FactsTable
from rich.text import Text

from hpcfrugal.report.formats.fitted_table import STYLES, FittedTable
from hpcfrugal.report.view import Block, Facts, Notes, Output, Report, Table


def write_text(report: Report, output: Output) -> None:
    """Print the report's blocks."""
    output.console().print(renderable(report.blocks()), crop=False)


def renderable(blocks: Iterable[Block]) -> RenderableType:
    """What a console prints: the blocks, with blank lines between them."""
    return Group(*_lines(blocks))


def _lines(blocks: Iterable[Block]) -> Iterator[RenderableType]:
    for position, block in enumerate(blocks):
        if position and not (isinstance(block, Notes) and not block.apart):
            yield Text()
        match block:
            case Table():
                yield FittedTable(block)
            case Facts():
                yield _facts(block)
            case Notes():
                yield from (Text(line.text, style=STYLES.get(line.role, "")) for line in block.lines)


def _facts(block: Facts) -> FactsTable:
    table = FactsTable(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, text in block.lines:
        table.add_row(name, Text(text))
    return table
