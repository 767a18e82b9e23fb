"""A report as CSV: the figures as in JSON, an empty field where one is unknown."""

from __future__ import annotations

import csv

from hpcfrugal.core.text import plain
from hpcfrugal.report.view import Figures, Json, Output

_CELL_CHARACTERS = 1000


def write_csv(report: Figures, output: Output) -> None:
    """Write the sheet row by row, with a line of names first."""
    sheet = report.sheet()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(_safe(name) for name in sheet.names)
    writer.writerows([_safe(value) for value in row] for row in sheet.rows)


def _safe(value: Json) -> Json:
    """A text that no spreadsheet runs as a formula and no terminal as a command."""
    if isinstance(value, list):
        value = " ".join(value)
    if not isinstance(value, str):
        return value
    text = plain(value, _CELL_CHARACTERS)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
