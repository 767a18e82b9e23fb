"""Checks of the values from a provider or a file, which become a series or are refused with one sentence.

A missing value is a gap. One impossible value (not a number, negative, above ``MAX_PLAUSIBLE_G_PER_KWH``, times out of
order) refuses the whole answer: the other values may be wrong too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Unpack

from hpcfrugal.carbon.series import CarbonSeries, SeriesLabels
from hpcfrugal.core.errors import DataError, ForecastError
from hpcfrugal.core.text import quoted_value
from hpcfrugal.core.time import iso, parse_iso

MAX_PLAUSIBLE_G_PER_KWH = 5000.0
"""No plant emits this much: old oil shale and lignite plants stay below 2000 g/kWh, life cycle included."""

Point = tuple[datetime, float | None]

_FIRST_S = 946684800
"""The year 2000: a number below it is no time, but a date such as 20261129, a year or an hour."""


def as_object(value: object, what: str) -> Mapping[str, Any]:
    """``value`` as a JSON object. Raises ForecastError."""
    if not isinstance(value, Mapping):
        raise ForecastError(f"{what} in an unknown format")
    return value


def as_rows(value: object, what: str) -> Sequence[Mapping[str, Any]]:
    """``value`` as a list of JSON objects. Raises ForecastError."""
    if not isinstance(value, list) or not all(isinstance(row, Mapping) for row in value):
        raise ForecastError(f"{what} in an unknown format")
    return value


def parse_time(value: object) -> datetime:
    """An instant of ISO 8601 with its zone, or seconds since 1970, in UTC. Raises ForecastError."""
    try:
        if isinstance(value, str):
            return parse_iso(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= _FIRST_S:
            return datetime.fromtimestamp(value, UTC)
        raise ValueError("neither text nor seconds since 1970")
    except (ValueError, OverflowError, OSError):
        raise ForecastError(
            f"invalid time {quoted_value(value, 40)}; ISO 8601 with a UTC offset, or seconds since 1970, is expected"
        ) from None


def parse_intensity(value: object, at: datetime, *, factor: float = 1.0) -> float | None:
    """A value, times ``factor``, in g/kWh; None is a gap. Raises ForecastError."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ForecastError(f"invalid intensity {quoted_value(value, 40)} at {iso(at)}")
    try:
        g_per_kwh = float(value) * factor
    except OverflowError:
        g_per_kwh = math.inf
    if not math.isfinite(g_per_kwh) or not 0 <= g_per_kwh <= MAX_PLAUSIBLE_G_PER_KWH:
        raise ForecastError(f"impossible intensity of {g_per_kwh:g} g/kWh at {iso(at)}")
    return g_per_kwh


def points_of(rows: object, time_key: str, value_key: str, *, factor: float = 1.0) -> list[Point]:
    """The points in a list of JSON objects. Raises ForecastError."""
    return [
        (at := parse_time(row.get(time_key)), parse_intensity(row.get(value_key), at, factor=factor))
        for row in as_rows(rows, "values")
    ]


def check_zone(value: object, asked: str) -> None:
    """Raises ForecastError if the answer is for another zone than the one requested."""
    if str(value).upper() != asked.upper():
        raise ForecastError(f"answered for zone {quoted_value(value, 40)} instead of {asked!r}")


def series_of(
    points: Iterable[Point],
    *,
    step: timedelta | None = None,
    estimated_by: Mapping[datetime, str] | None = None,
    **labels: Unpack[SeriesLabels],
) -> CarbonSeries:
    """A series of values, each valid from its time on for ``step``, or until the next value if that is sooner.

    By default ``step`` is the most common distance between two rows, and a row without a value ends the one before it.
    If the next value comes later, there is a gap. ``estimated_by`` has the method of each estimated value, by its time.
    Unknown values at both ends are left out.

    Raises ForecastError: no value at all, or times that do not ascend.
    """
    rows = ordered(points)
    known = [(at, value) for at, value in rows if value is not None]
    if not known:
        raise ForecastError("no intensities")
    length = _usual_step([at for at, _ in rows]) if step is None else step
    stops = [at for at, value in rows if step is None or value is not None]
    next_at = dict(pairwise(stops))
    try:
        intervals = [(at, min(at + length, next_at.get(at, at + length)), value) for at, value in known]
        series = CarbonSeries.from_intervals(intervals, **labels)
        if not estimated_by:
            return series
        return replace(series, estimated_by=tuple(estimated_by.get(slot.start) for slot in series.slots()))
    except (DataError, OverflowError) as error:
        raise ForecastError(f"invalid intensities: {error}") from None


def ordered(points: Iterable[Point]) -> list[Point]:
    """The points without exact duplicates. Raises ForecastError if they are not in order of time."""
    kept: list[Point] = []
    for at, value in points:
        if kept and at == kept[-1][0]:
            if value != kept[-1][1]:
                raise ForecastError(f"two intensities for {iso(at)}")
            continue
        if kept and at < kept[-1][0]:
            raise ForecastError(f"times out of order: {iso(kept[-1][0])} before {iso(at)}")
        kept.append((at, value))
    return kept


def row_step(points: Sequence[Point]) -> timedelta | None:
    """The shortest distance between two rows, for tables that also have rows for unknown values."""
    return min((after - before for (before, _), (after, _) in pairwise(points)), default=None)


def figure_step(points: Sequence[Point]) -> timedelta | None:
    """The most common distance between two known values, such as for tables with a value in every other row."""
    times = [at for at, value in points if value is not None]
    return _usual_step(times) if len(times) > 1 else None


def _usual_step(times: Sequence[datetime]) -> timedelta:
    distances = Counter(after - before for before, after in pairwise(times))
    if not distances:
        raise ForecastError("a single value without its duration")
    most = max(distances.values())
    return min(distance for distance, count in distances.items() if count == most)
