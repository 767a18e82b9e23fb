"""Pareto-optimal starts in carbon, cost and delay."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import DataError
from hpcfrugal.core.record import Key
from hpcfrugal.core.time import from_us, instant_us, span_us
from hpcfrugal.planning.optimise.errors import NotCovered
from hpcfrugal.planning.optimise.window import bounds_us, candidates


@dataclass(frozen=True, slots=True)
class Prices:
    """Money per kWh over time, piecewise constant and without gaps; prices may be negative."""

    edges_us: tuple[int, ...]
    per_kwh: tuple[float, ...]
    currency: str

    @classmethod
    def from_values(cls, start: datetime, step: timedelta, per_kwh: Iterable[float], *, currency: str) -> Prices:
        """Slots of equal length. Raises DataError for values that are not numbers, and for no values."""
        values = tuple(float(value) for value in per_kwh)
        if not values or not all(map(math.isfinite, values)) or step <= timedelta():
            raise DataError(
                f"invalid prices in {currency!r}: {len(values)} values in steps of {step}; all must be finite numbers"
            )
        first, length = instant_us(start), span_us(step)
        return cls(tuple(first + index * length for index in range(len(values) + 1)), values, currency)

    def mean(self, start_us: int, end_us: int) -> float | None:
        """The mean price over ``[start, end)``; None if any of it is unknown."""
        if start_us < self.edges_us[0] or end_us > self.edges_us[-1]:
            return None
        first, last = bisect_right(self.edges_us, start_us) - 1, bisect_left(self.edges_us, end_us)
        parts = (
            price * (min(end_us, self.edges_us[slot + 1]) - max(start_us, self.edges_us[slot]))
            for slot, price in enumerate(self.per_kwh[first:last], first)
        )
        return math.fsum(parts) / (end_us - start_us)


@dataclass(frozen=True, slots=True)
class Option:
    """One start: mean intensity and mean price over the run, and its delay against the earliest start."""

    start_at: datetime
    end_at: datetime
    mean_g_per_kwh: Annotated[float, Key("g_per_kwh")]
    mean_price_per_kwh: Annotated[float | None, Key("price_per_kwh")]
    delay: Annotated[timedelta, Key("delay_s")]


def pareto_front(
    series: CarbonSeries,
    earliest: datetime,
    deadline: datetime,
    duration: timedelta,
    prices: Prices | None = None,
) -> tuple[Option, ...]:
    """The starts for which no other is at least as good in intensity, price and delay, by delay.

    Only the bounds are considered, and starts for which start or end is at an edge of either series. For any weights of
    intensity, price and delay the best start is among them, since a weighted sum is piecewise linear and bends only
    there. Starts between them may also be Pareto-optimal.

    Raises what :func:`~hpcfrugal.planning.optimise.window.plan_window` does.
    """
    first, last, length = bounds_us(earliest, deadline, duration)
    starts = set(candidates(series.edges_us, first, last, length))
    if prices is not None:
        starts |= set(candidates(prices.edges_us, first, last, length))
    front: list[Option] = []
    stairs: list[tuple[float, float]] = []  # (intensity, price) of the front, intensity up and price down
    for start in sorted(starts):
        cost = series.cost_between(start, start + length)
        price = None if prices is None else prices.mean(start, start + length)
        if cost is None or (prices is not None and price is None):
            continue
        mean = cost / (length << series.sums.shift)
        if _add(stairs, (mean, 0.0 if price is None else price)):
            start_at = from_us(start)
            front.append(Option(start_at, start_at + duration, mean, price, start_at - from_us(first)))
    if not front:
        raise NotCovered(series, earliest, deadline, duration)
    return tuple(front)


def choose(front: Sequence[Option], *, g_per_kwh_per_hour: float = 0.0, g_per_kwh_per_price: float = 0.0) -> Option:
    """The option with the least weighted sum; the earliest of equal ones.

    The weights are g/kWh per hour of delay, and per unit of money per kWh. Raises ValueError if a weight is negative,
    or if the price has a weight but is unknown.
    """
    if not (g_per_kwh_per_hour >= 0 and g_per_kwh_per_price >= 0):
        raise ValueError("weights must be 0 or more")

    def rating(option: Option) -> tuple[float, timedelta]:
        if option.mean_price_per_kwh is None and g_per_kwh_per_price:
            raise ValueError("the price is unknown")
        money = g_per_kwh_per_price * (option.mean_price_per_kwh or 0.0)
        return option.mean_g_per_kwh + money + g_per_kwh_per_hour * option.delay / timedelta(hours=1), option.delay

    return min(front, key=rating)


def _add(stairs: list[tuple[float, float]], one: tuple[float, float]) -> bool:
    """Add (intensity, price), unless an earlier start is as good in both, and remove those that are worse in both."""
    at = bisect_right(stairs, one)
    if at and stairs[at - 1][1] <= one[1]:
        return False
    while at < len(stairs) and stairs[at][1] >= one[1]:
        del stairs[at]
    insort(stairs, one)
    return True
