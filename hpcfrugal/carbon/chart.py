"""A chart of a series in characters: bars over time with axes, and a line under the selected times.

The bars start at zero, so half the height is half the intensity. An unknown value is a question mark, never a low bar.
The chart is a list of rows of styled text; the caller chooses the colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from typing import Literal, NamedTuple

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.time import from_us, instant_us

Style = Literal["", "low", "middle", "high", "chosen", "axis"]

_BLOCKS = " ▁▂▃▄▅▆▇█"
_LABEL = 7  # columns of the scale at the left
_TICKS_S = (1, 5, 15, 60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800)
_APART = 9  # columns between two labels of the time axis
_UTC = " UTC"


class StyledText(NamedTuple):
    """A part of a row in one style."""

    text: str
    style: Style


ChartRow = list[StyledText]


def draw(
    series: CarbonSeries,
    *,
    width: int = 100,
    height: int = 8,
    chosen: Sequence[tuple[datetime, datetime]] = (),
    ascii_only: bool = False,
) -> list[ChartRow]:
    """Rows of the chart, top first. Times are UTC. ``chosen``: windows to mark."""
    columns = max(20, width - _LABEL - 1)
    edges = _edges(series, columns)
    values = [_value(series, a, b) for a, b in pairwise(edges)]
    known = [value for value in values if value is not None]
    least, most = min(known, default=0.0), max(known, default=0.0)
    top = most or 1.0
    rows: list[ChartRow] = []
    for line in range(height - 1, -1, -1):
        scale = {height - 1: f"{top:.0f}", height // 2 - 1: f"{top / 2:.0f}"}.get(line, "")
        row = [StyledText(f"{scale:>{_LABEL - 1}} {'|' if ascii_only else '│'}", "axis")]
        for value in values:
            text = _cell(value, top, line, height, ascii_only)
            row.append(StyledText(text, "" if value is None else _level(value, least, most)))
        rows.append(_joined(row))
    corner, dash = ("+", "-") if ascii_only else ("└", "─")
    rows.append([StyledText(f"{'0':>{_LABEL - 1}} {corner}{dash * columns}", "axis")])
    if chosen:
        rows.append([StyledText(" " * (_LABEL + 1), ""), StyledText(_marks(edges, chosen, ascii_only), "chosen")])
    rows += [[StyledText(" " * (_LABEL + 1) + line, "axis")] for line in _times(series, columns)]
    return rows


def _edges(series: CarbonSeries, columns: int) -> list[int]:
    first, last = series.edges_us[0], series.edges_us[-1]
    columns = min(columns, last - first)
    return [first + (last - first) * index // columns for index in range(columns + 1)]


def _value(series: CarbonSeries, first_us: int, last_us: int) -> float | None:
    """The mean of a column; if part of it is unknown, the value at its middle."""
    whole = series.mean(from_us(first_us), from_us(last_us))
    return whole if whole is not None else series.at(from_us((first_us + last_us) // 2))


def _cell(value: float | None, top: float, line: int, height: int, ascii_only: bool) -> str:
    if value is None:
        return "?" if line == 0 else " "
    eighths = min(8, max(0, round(value / top * height * 8) - line * 8))
    if line == 0:
        eighths = max(1, eighths)  # 0 is a known value
    if ascii_only:
        return "#" if eighths >= 4 else "_" if line == 0 else " "
    return _BLOCKS[eighths]


def _level(value: float, least: float, most: float) -> Style:
    share = (value - least) / (most - least) if most > least else 0.5
    return "low" if share < 1 / 3 else "middle" if share < 2 / 3 else "high"


def _joined(row: ChartRow) -> ChartRow:
    return [
        StyledText("".join(piece.text for piece in pieces), style)
        for style, pieces in groupby(row, key=lambda piece: piece.style)
    ]


def _marks(edges: Sequence[int], chosen: Sequence[tuple[datetime, datetime]], ascii_only: bool) -> str:
    spans = [(instant_us(start), instant_us(end)) for start, end in chosen]
    mark = "=" if ascii_only else "━"
    return "".join(
        mark if any(a < end and b > start for start, end in spans) else " " for a, b in pairwise(edges)
    ).rstrip()


def _times(series: CarbonSeries, columns: int) -> list[str]:
    """Labels of the time axis: the time of day, and a date below the first label of each day."""
    span_s = (series.edges_us[-1] - series.edges_us[0]) / 1e6
    fitting = (tick for tick in _TICKS_S if span_s / tick * _APART <= columns)
    step = timedelta(seconds=next(fitting, _TICKS_S[-1]))
    since = datetime(1970, 1, 1, tzinfo=UTC)
    # The first whole step at or after the start.
    at = since + -((since - series.start) // step) * step
    clock, days = _Line(columns), _Line(columns - len(_UTC))
    shown_day = None
    while at < series.end:
        column = int((at - series.start) / (series.end - series.start) * columns)
        clock.put(f"{at:%H:%M:%S}" if step < timedelta(minutes=1) else f"{at:%H:%M}", column)
        if at.date() != shown_day:
            days.put(f"{at:%a %d}", column, movable=True)
            shown_day = at.date()
        at += step
    return [clock.text, days.text + _UTC]


@dataclass
class _Line:
    """Labels in a line of so many columns. One that would go beyond is left out, unless it is the first or ``movable``:
    then it is moved to the left."""

    columns: int
    text: str = ""

    def put(self, label: str, column: int, *, movable: bool = False) -> None:
        if movable or not self.text:
            column = max(0, min(column, self.columns - len(label)))
        if len(self.text) <= column <= self.columns - len(label):
            self.text = f"{self.text:{column}}{label}"
