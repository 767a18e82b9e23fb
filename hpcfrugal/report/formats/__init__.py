"""Output formats of reports: one module each, with ``write_NAME(report, output)``, loaded when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple, NoReturn

from hpcfrugal.report.view import Figures, Output, Report


class Format(NamedTuple):
    """A format: its module, and the help of its option."""

    module: str
    help: str


TEXT = "text"
"""The format where none is asked for."""

DATA_FORMATS = {
    "json": Format("json_document", "Print JSON, with every detail."),
    "csv": Format("csv_sheet", "Print CSV, one line a record."),
}
"""Formats of figures, by the names of their options; they need no blocks."""

FORMATS = {
    TEXT: Format("text_blocks", "Print tables and notes. The default."),
    "markdown": Format("markdown_page", "Print tables and notes as Markdown."),
    **DATA_FORMATS,
}
"""Formats of reports, by the names of their options."""


def write_report(report: Report, name: str, output: Output) -> None:
    """Write a report in a format of ``FORMATS``; it ends with a line break."""
    _write(report, name, output)


def rendered(figures: Figures, name: str) -> str:
    """Figures in a format of ``DATA_FORMATS``, or a report in any format but text, as one text."""
    buffer = _Buffer()
    _write(figures, name, buffer)
    return "".join(buffer.parts)


def _write(report: Figures, name: str, output: Output) -> None:
    getattr(import_module(f"{__name__}.{FORMATS[name].module}"), f"write_{name}")(report, output)


class _Buffer:
    def __init__(self) -> None:
        self.parts: list[str] = []
        self.write = self.parts.append

    def console(self) -> NoReturn:
        raise TypeError("tables are written to a terminal")
