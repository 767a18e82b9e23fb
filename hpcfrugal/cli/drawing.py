"""A chart of a carbon series, with the colours and characters that the terminal supports."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from hpcfrugal.cli.streams import echo

if TYPE_CHECKING:
    from hpcfrugal.carbon.series import CarbonSeries

_COLOURS = {"low": "green", "middle": "yellow", "high": "red", "chosen": "cyan"}
_NEEDED = "█│└─━"
_NARROW, _WIDE = 40, 160


def show_series(series: CarbonSeries, chosen: Sequence[tuple[datetime, datetime]] = ()) -> None:
    """Print the chart as wide as the terminal, with a line under the ``chosen`` times."""
    from hpcfrugal.carbon.chart import draw

    width = min(max(shutil.get_terminal_size((100, 24)).columns, _NARROW), _WIDE)
    for row in draw(series, width=width, chosen=chosen, ascii_only=not can_print(_NEEDED)):
        echo(
            "".join(
                click.style(text, fg=_COLOURS.get(style), dim=style == "axis" or None) if style else text
                for text, style in row
            )
        )


def can_print(text: str) -> bool:
    """Whether the encoding of the terminal has these characters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True
