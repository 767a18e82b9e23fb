"""One uninterrupted window: the start with the least carbon for a job of known length.

The cost of a start s is C(s + d) - C(s), where C, the integral of a piecewise-constant series, is piecewise linear.
The cost is then piecewise linear too, and bends only if s or s + d is at an edge of a slot. Its least value over an
interval is at a bend or at an end of the interval, so trying those gives the exact optimum at any resolution.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import InputError
from hpcfrugal.core.time import from_us, instant_us, span_us
from hpcfrugal.planning.optimise.errors import NotCovered, TooLate


@dataclass(frozen=True, slots=True)
class Window:
    """When to run, and the mean intensity over that time in g CO2e per kWh."""

    start_at: datetime
    end_at: datetime
    mean_g_per_kwh: float


def plan_window(series: CarbonSeries, earliest: datetime, deadline: datetime, duration: timedelta) -> Window:
    """The window of ``duration`` within ``[earliest, deadline]`` with the least integral, the earliest of equal ones.

    The result is the exact minimum over all starts, not only those on slot edges. Windows with a gap or beyond
    the series are excluded.

    Raises TooLate if the deadline is before ``earliest + duration``, NotCovered if no such window is known
    throughout, InputError for a duration that is not positive, and ValueError for naive datetimes.
    """
    first, last, length = bounds_us(earliest, deadline, duration)
    best: tuple[int, int] | None = None
    for start in candidates(series.edges_us, first, last, length):
        cost = series.cost_between(start, start + length)
        if cost is not None and (best is None or (cost, start) < best):
            best = (cost, start)
    if best is None:
        raise NotCovered(series, earliest, deadline, duration)
    return window_at(series, best[1], best[1] + length)


def bounds_us(earliest: datetime, deadline: datetime, duration: timedelta) -> tuple[int, int, int]:
    """First start, last start and length in microseconds; raises what :func:`plan_window` does."""
    first, last, length = instant_us(earliest), instant_us(deadline), span_us(duration)
    if length <= 0:
        raise InputError.at("duration", f"{duration} is not positive")
    if last - first < length:
        raise TooLate(earliest, deadline, duration)
    return first, last - length, length


def candidates(edges_us: Sequence[int], first: int, last: int, length: int) -> Iterator[int]:
    """Starts in ``[first, last]`` that include the best: the bounds, and those with start or end at an edge."""
    yield first
    yield last
    yield from edges_us[bisect_right(edges_us, first) : bisect_left(edges_us, last)]
    for edge in edges_us[bisect_right(edges_us, first + length) : bisect_left(edges_us, last + length)]:
        yield edge - length


def window_at(series: CarbonSeries, start_us: int, end_us: int) -> Window:
    """The window between two instants. Raises ValueError if the series does not cover it."""
    start_at, end_at = from_us(start_us), from_us(end_us)
    mean = series.mean(start_at, end_at)
    if mean is None:
        raise ValueError(f"no intensity throughout {start_at} to {end_at}")
    return Window(start_at, end_at, mean)
