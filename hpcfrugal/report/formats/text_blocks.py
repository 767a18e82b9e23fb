"""A report for a terminal, as rich prints it. No text is read as markup."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from hpcfrugal.report.formats.fitted_table import STYLES, FittedTable
from hpcfrugal.report.view import Block, Facts, Notes, Output, Report, Table

_LEAST_WIDTH = 20


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
                width = max((len(name) for name, _ in block.lines), default=0)
                yield from (_Hanging(text, prefix=f"{name:{width}}  ") for name, text in block.lines)
            case Notes():
                yield from (_Hanging(line.text, STYLES.get(line.role, "")) for line in block.lines)


@dataclass(frozen=True, slots=True)
class _Hanging:
    """A text in as many lines as it needs, which begin below each other after the prefix."""

    text: str
    style: str = ""
    prefix: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(options.max_width - len(self.prefix), _LEAST_WIDTH)
        prefix = self.prefix
        for line in Text(self.text).wrap(console, width):
            line.rstrip()
            yield Text.assemble((prefix, "bold"), (line.plain, self.style))
            prefix = " " * len(self.prefix)
