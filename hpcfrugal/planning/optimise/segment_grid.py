"""The dynamic programme behind interruptible plans, on a grid of instants and a grid of work done.

State: the instant t, the work w done in finished segments, and their number n (if it is not limited, only whether there
were any). ``off[t, n, w]`` is the least cost with nothing running at t. A segment begins with a jump over its least
length; from there it continues step by step or ends. The last segment completes the work.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.planning.optimise.segment_costs import Costs

# Most states in memory, ten bytes each.
MAX_STATES = 4_000_000

_STARTED, _WENT_ON, _STARTED_FIRST = 0, 1, 2


class GridUnits(NamedTuple):
    """The grid, and everything counted in its steps."""

    step: int
    start: int
    steps: int
    work: int
    checkpoint: int
    restart: int
    min_segment: int
    layers: int
    bounded: bool


class Way(NamedTuple):
    """How each state was reached, for the way back."""

    off: NDArray[np.float64]
    off_ended: NDArray[np.bool_]
    run_by: NDArray[np.uint8]


def best_on_grid(series: CarbonSeries, first: int, last: int, work: int, costs: Costs) -> list[tuple[int, int]] | None:
    """The cheapest segments between two instants, with starts and ends on the grid; None if there are none."""
    units = units_of(series, first, last, work, costs)
    if units is None:
        return None
    moments = units.start + units.step * np.arange(units.steps + 1, dtype=np.float64)
    edges = np.array(series.edges_us, dtype=np.float64)
    levels = np.array([value or 0.0 for value in series.values])
    # Both are piecewise linear between edges, so interpolation gives their values, not estimates.
    spent = np.interp(moments, edges, np.concatenate(([0.0], np.cumsum(levels * np.diff(edges)))))
    unknown = np.interp(moments, edges, np.array(series.sums.gaps_us, dtype=np.float64))
    # Index up to which the intensity is known without a gap from each instant.
    known_to = np.searchsorted(unknown, unknown, side="right") - 1
    way = _forward(units, spent, known_to)
    found = _last_segment(units, way, spent, known_to)
    if found is None:
        return None
    return [
        (units.start + begin * units.step, units.start + end * units.step) for begin, end in _back(units, way, *found)
    ]


def units_of(series: CarbonSeries, first: int, last: int, work: int, costs: Costs) -> GridUnits | None:
    """The finest feasible grid; None if the job does not fit after rounding."""
    first, last = max(first, series.edges_us[0]), min(last, series.edges_us[-1])
    edges = [edge for edge in series.edges_us if first <= edge <= last] or [first]
    anchor = edges[0]
    slot = math.gcd(*(edge - anchor for edge in edges)) or last - first
    spans = (work, costs.checkpoint, costs.restart, costs.min_segment)
    step = math.gcd(slot, first - anchor, last - anchor, *spans)
    # A limit at or above the number of segments that fit into the work has no effect.
    least_gain = max(step, costs.min_segment - costs.checkpoint - costs.restart)
    bound = costs.max_segments
    bounded = bound is not None and bound <= work // least_gain + 1
    layers = bound if bound is not None and bounded else 2
    finest = math.sqrt((last - first) * work * layers / MAX_STATES)
    if step < finest:
        parts = int(slot // finest)
        while parts > 1 and slot % parts:
            parts -= 1
        step = slot // parts if parts else slot * math.ceil(finest / slot)
    start = anchor + -((anchor - first) // step) * step
    steps = (last - start) // step
    work, checkpoint, restart, least = (-(-span // step) for span in spans)
    return GridUnits(step, start, steps, work, checkpoint, restart, least, layers, bounded) if steps >= work else None


def _forward(units: GridUnits, spent: NDArray[np.float64], known_to: NDArray[np.int64]) -> Way:
    shape = (units.steps + 1, units.layers, units.work)
    way = Way(np.full(shape, np.inf), np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.uint8))
    way.off[:, 0, 0] = 0.0
    if units.layers == 1:
        return way
    overhead = units.checkpoint + units.restart
    first = max(units.min_segment, units.checkpoint + 1)
    other = max(units.min_segment, overhead + 1)
    gain = other - overhead
    run = np.full(shape[1:], np.inf)
    for now in range(1, units.steps + 1):
        by = way.run_by[now]
        went = np.full(shape[1:], np.inf)
        if known_to[now - 1] >= now:
            went[1:, 1:] = run[1:, :-1] + (spent[now] - spent[now - 1])
            by[:] = _WENT_ON
        begin = now - other
        if begin >= 0 and known_to[begin] >= now and gain < units.work:
            cost = spent[now] - spent[begin]
            before = way.off[begin, 1:-1, :-gain] if units.bounded else way.off[begin, 1:, :-gain]
            after = went[2:, gain:] if units.bounded else went[1:, gain:]
            after_by = by[2:, gain:] if units.bounded else by[1:, gain:]
            started = before + cost
            less = started < after
            after[less] = started[less]
            after_by[less] = _STARTED
        begin, done = now - first, first - units.checkpoint
        if begin >= 0 and known_to[begin] >= now and done < units.work:
            cost = spent[now] - spent[begin]
            if cost < went[1, done]:
                went[1, done] = cost
                by[1, done] = _STARTED_FIRST
        run = went
        way.off_ended[now] = run < way.off[now - 1]
        np.minimum(run, way.off[now - 1], out=way.off[now])
    return way


def _last_segment(
    units: GridUnits, way: Way, spent: NDArray[np.float64], known_to: NDArray[np.int64]
) -> tuple[int, int, int] | None:
    """The start of the last segment, its layer, and the work done before it."""
    best, found = math.inf, None
    for now in range(units.steps):
        reach = int(known_to[now]) - now
        if reach >= units.work and spent[now + units.work] - spent[now] < best:
            best, found = float(spent[now + units.work] - spent[now]), (now, 0, 0)
        if units.layers == 1:
            continue
        # The length of the last segment is work - done + restart, within the known slots and at least min_segment.
        low = max(1, units.work + units.restart - reach)
        high = min(units.work - 1, units.work + units.restart - units.min_segment)
        if low > high:
            continue
        ends = now + units.work + units.restart - np.arange(low, high + 1)
        total = way.off[now, 1:, low : high + 1] + (spent[ends] - spent[now])
        where = int(np.argmin(total))
        if total.flat[where] < best:
            layer, done = divmod(where, high + 1 - low)
            best, found = float(total.flat[where]), (now, layer + 1, done + low)
    return found


def _back(units: GridUnits, way: Way, start: int, layer: int, done: int) -> list[tuple[int, int]]:
    """All segments, from the last to the first, in the order of time."""
    overhead = units.checkpoint + units.restart
    length = units.work - done + (units.restart if layer else 0)
    found = [(start, start + length)]
    now = start
    while layer:
        while not way.off_ended[now, layer, done]:
            now -= 1
        end = now
        while way.run_by[now, layer, done] == _WENT_ON:
            now, done = now - 1, done - 1
        if way.run_by[now, layer, done] == _STARTED_FIRST:
            begin, layer = now - max(units.min_segment, units.checkpoint + 1), 0
        else:
            jump = max(units.min_segment, overhead + 1)
            begin, done = now - jump, done - (jump - overhead)
            layer -= 1 if units.bounded else 0
        found.append((begin, end))
        now = begin
    return found[::-1]
