"""Output formats of reports: one module each, with ``render_NAME(report) -> str``, loaded when it is used."""

from __future__ import annotations

from importlib import import_module

from hpcfrugal.report.view import Report

FORMATS = {
    "json": ("json_document", "Print JSON, with every detail."),
    "csv": ("csv_sheet", "Print CSV, one line a record."),
}
"""By the name of its option: the module, and its help."""


def render(report: Report, name: str) -> str:
    """The report in a format of ``FORMATS``, which ends with a line break."""
    module, _ = FORMATS[name]
    text: str = getattr(import_module(f"{__name__}.{module}"), f"render_{name}")(report)
    return text
