"""Many independent windows at once, with numpy.

The same optimum as :func:`hpcfrugal.planning.optimise.window.plan_window`, in floating point: costs that differ by less
than ``TIE`` of the series' largest intensity count as equal, and of equals the earliest start is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import InputError
from hpcfrugal.core.time import instant_us, span_us

Times: TypeAlias = "NDArray[np.datetime64] | Iterable[datetime]"
Spans: TypeAlias = "NDArray[np.timedelta64] | Iterable[timedelta]"
Floats: TypeAlias = "NDArray[np.float64]"
Integers: TypeAlias = "NDArray[np.int64]"

TIE = 1e-9
# Slots of the common grid to which a series of unequal slots is brought, at most.
MAX_SLOTS = 2_000_000
# Windows that are worked on together: the arrays of a batch stay in the processor's cache.
BATCH = 8192


@dataclass(frozen=True, slots=True)
class Windows:
    """One entry a job: UTC ``datetime64[us]`` and g/kWh; NaT and NaN where no window is to be had."""

    start_at: NDArray[np.datetime64]
    end_at: NDArray[np.datetime64]
    mean_g_per_kwh: Floats


def plan_windows(series: CarbonSeries, earliest: Times, deadline: Times, duration: Spans) -> Windows:
    """The best window of each job on its own, as :func:`~hpcfrugal.planning.optimise.window.plan_window` has it.

    ``earliest`` and ``deadline`` are aware datetimes or arrays of datetime64 in UTC, ``duration`` timedeltas or an
    array of timedelta64. A job that can't be placed (its deadline too early, the series unknown there, a duration that
    is not positive) has NaT and NaN.

    Raises InputError where the three differ in length, or the slots are so unequal that their common grid has more
    than ``MAX_SLOTS`` slots.
    """
    first, last, length = _instants(earliest), _instants(deadline), _spans(duration)
    if not len(first) == len(last) == len(length):
        raise InputError.at("windows", f"{len(first)} earliest, {len(last)} deadlines and {len(length)} durations")
    grid = SlotGrid.of(series)
    low, high = np.maximum(first, grid.start), np.minimum(last, grid.end) - length
    start, mean = np.full(len(first), np.iinfo(np.int64).min), np.full(len(first), np.nan)
    able = np.flatnonzero((high >= low) & (length > 0))
    # Windows with as many candidates as each other are worked on together.
    able = able[np.argsort(high[able] - low[able], kind="stable")]
    for begin in range(0, len(able), BATCH):
        rows = able[begin : begin + BATCH]
        found, cost = grid.best(low[rows], high[rows], length[rows])
        known = np.isfinite(cost)
        start[rows[known]] = found[known]
        mean[rows[known]] = cost[known] / length[rows[known]]
    start_at = start.view("datetime64[us]")
    return Windows(start_at, start_at + length.view("timedelta64[us]"), mean)


@dataclass(frozen=True, slots=True)
class SlotGrid:
    """A series on slots of equal length: prefix sums in g/kWh * us and the number of gaps, both at the edges."""

    start: int
    step: int
    levels: Floats
    costs: Floats
    gaps: Integers

    @property
    def end(self) -> int:
        return self.start + self.step * (len(self.costs) - 1)

    @classmethod
    def of(cls, series: CarbonSeries, step_us: int | None = None) -> SlotGrid:
        """On the widest common slots, or on ``step_us``, which has to divide them."""
        edges = np.array(series.edges_us, dtype=np.int64)
        lengths = np.diff(edges)
        step = step_us or math.gcd(*lengths.tolist())
        if int(edges[-1] - edges[0]) // step > MAX_SLOTS:
            raise InputError.at("series", f"slots so unequal that {step} us is their common measure")
        values = np.array([math.nan if value is None else value for value in series.values], dtype=np.float64)
        values = np.repeat(values, lengths // step)
        unknown = np.isnan(values)
        levels = np.where(unknown, 0.0, values)
        costs = np.concatenate(([0.0], np.cumsum(levels * step)))
        gaps = np.concatenate(([0], np.cumsum(unknown)))
        # One slot more, so that an index at the very end may be looked up.
        return cls(int(edges[0]), step, np.append(levels, 0.0), costs, gaps)

    def best(self, low: Integers, high: Integers, length: Integers) -> tuple[Integers, Floats]:
        """The best start in [low, high] and its cost; infinite where all touch a gap."""
        tie = (TIE * float(self.levels.max()) * length).astype(np.float64)
        whole, rest = np.divmod(length, self.step)
        best, cost = low, self._cost(low, length)
        first, last = -((self.start - low) // self.step), (high - self.start) // self.step
        best, cost = _better(best, cost, *self._starts_on_edges(first, last, whole, rest, tie), tie)
        first, last = -((self.start - low - length) // self.step), (high + length - self.start) // self.step
        best, cost = _better(best, cost, *self._ends_on_edges(first, last, whole, rest, tie), tie)
        return _better(best, cost, high, self._cost(high, length), tie)

    def _cost(self, start: Integers, length: Integers) -> Floats:
        slot_1, rest_1 = np.divmod(start - self.start, self.step)
        slot_2, rest_2 = np.divmod(start + length - self.start, self.step)
        cost = self.costs[slot_2] + self.levels[slot_2] * rest_2 - self.costs[slot_1] - self.levels[slot_1] * rest_1
        return self._unless_gap(cost, slot_1, slot_2 + (rest_2 > 0))

    def _unless_gap(self, cost: Floats, slot_1: Integers, slot_2: Integers) -> Floats:
        if self.gaps[-1] == 0:
            return cost
        return np.where(self.gaps[slot_2] == self.gaps[slot_1], cost, np.inf)

    def _starts_on_edges(
        self, first: Integers, last: Integers, whole: Integers, rest: Integers, tie: Floats
    ) -> tuple[Integers, Floats]:
        count = last - first + 1
        cost, found = np.full(len(first), np.inf), first.copy()
        partial = rest.astype(np.float64)
        beyond = (rest > 0).astype(np.int64)
        for offset in range(int(count.max(initial=0))):
            slot = np.minimum(first + offset, np.maximum(last, 0))
            end = slot + whole
            # A window without an edge within its bounds looks up slot 0 in vain and is put aside.
            end = np.minimum(end, len(self.costs) - 1)
            now = self.costs[end] - self.costs[slot] + partial * self.levels[end]
            now = self._unless_gap(now, slot, np.minimum(end + beyond, len(self.gaps) - 1))
            better = (now < cost - tie) & (count > offset) if offset else count > 0
            cost, found = np.where(better, now, cost), np.where(better, slot, found)
        return self.start + found * self.step, cost

    def _ends_on_edges(
        self, first: Integers, last: Integers, whole: Integers, rest: Integers, tie: Floats
    ) -> tuple[Integers, Floats]:
        count = last - first + 1
        cost, found = np.full(len(first), np.inf), first.copy()
        partial = np.where(rest > 0, self.step - rest, 0).astype(np.float64)
        whole = whole + (rest > 0)
        for offset in range(int(count.max(initial=0))):
            end = np.minimum(first + offset, np.maximum(last, 0))
            slot = np.maximum(end - whole, 0)
            now = self.costs[end] - self.costs[slot] - partial * self.levels[slot]
            now = self._unless_gap(now, slot, end)
            better = (now < cost - tie) & (count > offset) if offset else count > 0
            cost, found = np.where(better, now, cost), np.where(better, end, found)
        length = whole * self.step - partial.astype(np.int64)
        return self.start + found * self.step - length, cost


def _better(start: Integers, cost: Floats, other: Integers, other_cost: Floats, tie: Floats) -> tuple[Integers, Floats]:
    """The cheaper of two, or the earlier where they cost the same."""
    with np.errstate(invalid="ignore"):  # infinite minus infinite: both touch a gap
        less = (other_cost < cost - tie) | ((np.abs(other_cost - cost) <= tie) & (other < start))
    return np.where(less, other, start), np.where(less, other_cost, cost)


def _instants(times: Times) -> Integers:
    if isinstance(times, np.ndarray):
        return _whole(times, "datetime64[us]")
    return np.fromiter((instant_us(moment) for moment in times), dtype=np.int64)


def _spans(spans: Spans) -> Integers:
    if isinstance(spans, np.ndarray):
        return _whole(spans, "timedelta64[us]")
    return np.fromiter((span_us(span) for span in spans), dtype=np.int64)


def _whole(values: NDArray[Any], unit: str) -> Integers:
    if values.dtype.kind not in "mM":
        raise InputError.at("windows", f"an array of {values.dtype}", f"{unit} is understood")
    if np.isnat(values).any():
        raise InputError.at("windows", "a time that is not given (NaT)")
    return values.astype(unit).view(np.int64)
