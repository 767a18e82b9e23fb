"""Output formats of reports: one module each, with ``write_NAME(report, output)``, loaded when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple, NoReturn

from hpcfrugal.report.view import Output, Report


class Format(NamedTuple):
    """A format: its module, and the help of its option."""

    module: str
    help: str


TEXT = "text"
"""The format where none is asked for."""

FORMATS = {
    TEXT: Format("text_blocks", "Print tables and notes. The default."),
    "json": Format("json_document", "Print JSON, with every detail."),
    "csv": Format("csv_sheet", "Print CSV, one line a record."),
}
"""By the name of its option."""


def write_report(report: Report, name: str, output: Output) -> None:
    """Write a report in a format of ``FORMATS``; it ends with a line break."""
    getattr(import_module(f"{__name__}.{FORMATS[name].module}"), f"write_{name}")(report, output)


def rendered(report: Report, name: str) -> str:
    """A short report in a format that is no text."""
    buffer = _Buffer()
    write_report(report, name, buffer)
    return "".join(buffer.parts)


class _Buffer:
    def __init__(self) -> None:
        self.parts: list[str] = []
        self.write = self.parts.append

    def console(self) -> NoReturn:
        raise TypeError("tables are written to a terminal")
