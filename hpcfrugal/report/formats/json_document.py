"""A report as JSON: joules and grams as decimals, times in ISO 8601 UTC, null where a figure is unknown."""

from __future__ import annotations

import json

from hpcfrugal.report.view import Report


def render_json(report: Report) -> str:
    """The document."""
    return json.dumps(report.document(), indent=2, allow_nan=False) + "\n"
