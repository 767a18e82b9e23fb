"""A report as Markdown with GitHub's tables, for a lab notebook, an issue or the supplement of a paper.

No text is read as markup: https://spec.commonmark.org/0.31.2/#backslash-escapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from hpcfrugal.report.view import Facts, Notes, Output, Report, Row, Table

_MARKUP = re.compile(r"[\\`*_{}\[\]<>|~&$]")
_BLOCK_START = re.compile(r"^(\d{0,9})([#+.)-])(?=[\s#-]|$)")
"""A heading, a list or a rule, which only a paragraph can be taken for."""


def write_markdown(report: Report, output: Output) -> None:
    """Write the report's blocks, with blank lines between them."""
    for position, block in enumerate(report.blocks()):
        if position:
            output.write("\n")
        match block:
            case Table():
                _write_table(block, output)
            case Facts():
                for name, text in block.lines:
                    output.write(f"- **{_escaped(name)}:** {_escaped(text)}\n")
            case Notes():
                # Each a paragraph of its own; Markdown joins lines.
                output.write("\n".join(f"{_paragraph(line.text)}\n" for line in block.lines))


def _write_table(table: Table, output: Output) -> None:
    output.write(_line(_escaped(column.heading) for column in table.columns))
    output.write(_line("---:" if column.kind == "number" else "---" for column in table.columns))
    for row in table.rows:
        output.write(_line(_cells(row)))


def _cells(row: Row) -> Iterable[str]:
    for cell in row.cells:
        text = _escaped(cell.text)
        yield f"**{text}**" if row.role == "total" and text.strip() else text


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _paragraph(text: str) -> str:
    return _BLOCK_START.sub(r"\1\\\2", _escaped(text))


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\g<0>", text.strip())
