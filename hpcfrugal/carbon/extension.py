"""A forecast extended by a named model, on request only.

``assumed_from`` of the result is the start of the extension, ``assumed_by`` names the model.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import DataError
from hpcfrugal.core.time import from_us, instant_us, iso, span_us

MODEL = "same-time-yesterday"
"""Persistence: a slot repeats the value of the slot a day earlier."""

_PERIOD = timedelta(days=1)


def extended(series: CarbonSeries, until: datetime) -> CarbonSeries:
    """The series up to ``until``, with its last day repeated as often as needed, gaps included.

    A series that reaches ``until`` is returned unchanged. A day is 24 h of UTC, so after a clock change the repeated
    day is off by an hour of local time.

    Raises DataError if the series is shorter than a day.
    """
    period, end = span_us(_PERIOD), instant_us(until)
    known_to = series.edges_us[-1]
    if end <= known_to:
        return series
    if known_to - series.edges_us[0] < period:
        raise DataError(f"{MODEL} needs 24 h of {series.zone!r}; known is {iso(series.start)} to {iso(series.end)}")
    last = series.slice(from_us(known_to - period), from_us(known_to))
    edges, values = list(series.edges_us), list(series.values)
    shift = period
    while edges[-1] < end:
        for index, value in enumerate(last.values):
            edge = min(last.edges_us[index + 1] + shift, end)
            edges.append(edge)
            values.append(value)
            if edge == end:
                break
        shift += period
    return replace(
        series,
        edges_us=tuple(edges),
        values=tuple(values),
        assumed_from=series.assumed_from or series.end,
        assumed_by=MODEL,
    )
