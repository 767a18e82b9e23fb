"""A report as JSON: joules and grams as decimals, times in ISO 8601 UTC, null where a figure is unknown."""

from __future__ import annotations

import json
from collections.abc import Iterable
from textwrap import indent

from hpcfrugal.report.view import Figures, Json, Output, Stream


def write_json(report: Figures, output: Output) -> None:
    """Write the document; what is streamed, item by item."""
    between = "{\n"
    for key, value in report.document().items():
        output.write(f"{between}  {json.dumps(key)}: ")
        if isinstance(value, Stream):
            _write_items(value.items, output)
        else:
            output.write(_text(value).lstrip())
        between = ",\n"
    output.write("\n}\n")


def _write_items(items: Iterable[Json], output: Output) -> None:
    between = "[\n"
    for item in items:
        output.write(between + indent(_text(item), "  "))
        between = ",\n"
    output.write("[]" if between == "[\n" else "\n  ]")


def _text(value: Json) -> str:
    """A value of a key on the first level. A text in it has no line break."""
    return indent(json.dumps(value, indent=2, allow_nan=False), "  ")
