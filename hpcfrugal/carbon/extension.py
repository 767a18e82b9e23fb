"""A forecast beyond what was issued, on request only: extended by a named model, or with estimates in its gaps.

``assumed_from`` of an extended one is the start of the extension, ``assumed_by`` names the model. A series with
estimates has no such mark: it is for comparisons and not for keeping.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from statistics import fmean

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import DataError
from hpcfrugal.core.time import from_us, instant_us, iso, span_us

MODEL = "same-time-yesterday"
"""Persistence: a slot repeats the value of the slot a day earlier."""

_PERIOD = timedelta(days=1)
_REPEATED = timedelta(days=31)


def extended(series: CarbonSeries, until: datetime) -> CarbonSeries:
    """The series up to ``until``, with its last day repeated for a month, gaps included, and from then on its mean:
    a time limit of decades would be millions of slots.

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
    last = series.slice(from_us(known_to - period), series.end)
    edges, values = list(series.edges_us), list(series.values)
    shift, repeated_to = period, min(end, known_to + span_us(_REPEATED))
    while edges[-1] < repeated_to:
        for index, value in enumerate(last.values):
            edge = min(last.edges_us[index + 1] + shift, repeated_to)
            edges.append(edge)
            values.append(value)
            if edge == repeated_to:
                break
        shift += period
    if repeated_to < end:
        edges.append(end)
        values.append(last.mean(last.start, last.end))
    return replace(
        series,
        edges_us=tuple(edges),
        values=tuple(values),
        assumed_from=series.assumed_from or series.end,
        assumed_by=MODEL,
    )


def with_estimates(series: CarbonSeries, start: datetime, end: datetime, reach: timedelta) -> CarbonSeries | None:
    """The series with estimates for the unknown times in ``[start, end)``, also before its own start and after its end.

    An estimate is the mean of the known values before and after a gap, or the one of them that there is. Other gaps
    stay. Returns None if some unknown time in the range is further than ``reach`` from all known values.
    """
    first, last = instant_us(start), instant_us(end)
    edges = sorted({*series.edges_us, first, last})
    slots = [(before, after, series.value_at(before)) for before, after in pairwise(edges)]
    # One after the other: the known slots, and each gap as a whole.
    groups = [list(group) for _, group in groupby(slots, key=lambda slot: slot[2] is None)]
    values: list[float | None] = []
    for index, group in enumerate(groups):
        if group[0][2] is not None:
            values += [value for _, _, value in group]
            continue
        before = groups[index - 1][-1] if index else None
        after = groups[index + 1][0] if index + 1 < len(groups) else None
        estimate = fmean(one[2] or 0.0 for one in (before, after) if one is not None) if before or after else None
        for begin, stop, _ in group:
            within = first <= begin and stop <= last
            if within and _distance(begin, stop, before[1] if before else None, after[0] if after else None) > reach:
                return None
            values.append(estimate if within else None)
    return replace(series, edges_us=tuple(edges), values=tuple(values))


def _distance(start: int, end: int, before: int | None, after: int | None) -> timedelta:
    """The most that an instant in ``[start, end]`` is away from the nearer of what is known."""
    if before is None or after is None:
        if before is None and after is None:
            return timedelta.max
        return timedelta(microseconds=after - start if after is not None else end - (before or 0))
    middle = min(max(start, (before + after) // 2), end)
    return timedelta(microseconds=min(middle - before, after - middle))
