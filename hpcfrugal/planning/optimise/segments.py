"""An interruptible job: when to run and when to pause, with the overhead of interruptions.

A job of k segments runs for ``duration + (k - 1) * (checkpoint + restart)``: each segment but the last ends with a
checkpoint, each but the first begins with a restart, and both draw power like the work itself.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

from hpcfrugal.accounting.spans import joined
from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.core.time import span_us
from hpcfrugal.planning.optimise.errors import NotCovered
from hpcfrugal.planning.optimise.segment_costs import Costs
from hpcfrugal.planning.optimise.window import Window, bounds_us, plan_window, window_at

_NONE = timedelta()


def plan_segments(
    series: CarbonSeries,
    earliest: datetime,
    deadline: datetime,
    duration: timedelta,
    *,
    checkpoint: timedelta = _NONE,
    restart: timedelta = _NONE,
    min_segment: timedelta = _NONE,
    max_segments: int | None = None,
) -> tuple[Window, ...]:
    """Segments within ``[earliest, deadline]`` of the least integral, in the order of time.

    ``min_segment`` is the least length of a segment, checkpoint and restart included; a plan of one segment is always
    allowed. ``max_segments`` limits their number.

    Without costs and bounds the result is exact to the microsecond: it fills the cheapest slots. With
    ``max_segments=1`` it is that of :func:`~hpcfrugal.planning.optimise.window.plan_window`, also exact. Otherwise it
    is the optimum over starts and ends on a grid. That is the optimum over all instants if the lengths of slots,
    ``earliest``, ``deadline``, ``duration`` and the costs are multiples of the grid's step. (For a fixed order of
    events this is a linear programme with bounds on single instants, on differences of two, and on one sum of lengths.
    At a vertex each instant is at a given distance from an edge, except for one group that the sum fixes with a
    coefficient of 1. So all are on the grid.) The step is the greatest common divisor of them all or, if that is too
    fine, part of a slot. Then ``earliest`` and the lengths are rounded up and ``deadline`` down, and the excess is cut
    off at the ends with the highest intensity. The plan never costs more than the best single window.

    Raises what ``plan_window`` does; NotCovered if the known slots are shorter than the job; InputError for negative
    costs.
    """
    first, last_start, work = bounds_us(earliest, deadline, duration)
    costs = _costs(checkpoint, restart, min_segment, max_segments)
    last = last_start + work
    whole = _single(series, earliest, deadline, duration)
    if max_segments == 1:
        if whole is None:
            raise NotCovered(series, earliest, deadline, duration)
        return (whole,)
    found = cheapest_slots(series, first, last, work)
    if found is not None and (costs.checkpoint + costs.restart or not costs.allows(found)):
        from hpcfrugal.planning.optimise.segment_grid import best_on_grid  # loads numpy

        found = best_on_grid(series, first, last, work, costs)
        if found is not None:
            found = trimmed(series, found, work, costs)
    if found is None and whole is None:
        raise NotCovered(series, earliest, deadline, duration)
    if found is None or (whole is not None and not _cheaper(series, found, whole, work)):
        assert whole is not None
        return (whole,)
    return tuple(window_at(series, start, end) for start, end in found)


def cheapest_slots(series: CarbonSeries, first: int, last: int, work: int) -> list[tuple[int, int]] | None:
    """The cheapest ``work`` microseconds between two instants, as (start, end); None if there are fewer.

    Earlier slots come before later ones of the same intensity. A slot used in part is used next to a used neighbour.
    """
    pieces = [
        (max(start, first), min(end, last), value)
        for (start, end), value in zip(pairwise(series.edges_us), series.values, strict=True)
        if value is not None and start < last and end > first
    ]
    taken: dict[int, tuple[int, int]] = {}
    left = work
    for index in sorted(range(len(pieces)), key=lambda index: (pieces[index][2], index)):
        start, end, _ = pieces[index]
        if end - start <= left:
            taken[index] = (start, end)
        elif index - 1 not in taken and index + 1 in taken:
            taken[index] = (end - left, end)
        else:
            taken[index] = (start, start + left)
        left -= min(left, end - start)
        if not left:
            return list(joined(taken.values()))
    return None


def trimmed(
    series: CarbonSeries, segments: list[tuple[int, int]], work: int, costs: Costs
) -> list[tuple[int, int]] | None:
    """Segments without excess time, which is cut off at the ends with the highest intensity.

    Starts only become later and ends earlier, so all bounds still hold. None if the minimum length of a segment does
    not allow it.
    """
    cut = [list(segment) for segment in segments]
    excess = sum(end - start for start, end in cut) - costs.needed(work, len(cut))
    while excess > 0:
        best: tuple[float, int, int, int] | None = None
        for index, (start, end) in enumerate(cut):
            least = max(costs.min_segment, costs.overhead(index, len(cut)) + 1) if len(cut) > 1 else 1
            for side, moment in ((0, start), (1, end - 1)):
                slot = series.slot_index(moment)
                assert slot is not None
                reach = series.edges_us[slot + 1] - start if side == 0 else end - series.edges_us[slot]
                part = min(excess, end - start - least, reach)
                value = series.values[slot]
                if part > 0 and value is not None and (best is None or value > best[0]):
                    best = (value, index, side, part)
        if best is None:
            return None
        _, index, side, part = best
        cut[index][side] += part if side == 0 else -part
        excess -= part
    return [(start, end) for start, end in cut]


def _single(series: CarbonSeries, earliest: datetime, deadline: datetime, duration: timedelta) -> Window | None:
    try:
        return plan_window(series, earliest, deadline, duration)
    except NotCovered:
        return None


def _cheaper(series: CarbonSeries, segments: list[tuple[int, int]], whole: Window, work: int) -> bool:
    """Whether segments cost less than one window."""
    cost = sum(series.cost_between(start, end) or 0 for start, end in segments)
    return cost / (1 << series.sums.shift) < whole.mean_g_per_kwh * work


def _costs(checkpoint: timedelta, restart: timedelta, min_segment: timedelta, max_segments: int | None) -> Costs:
    problems = [
        Problem(name, f"{value} is negative")
        for name, value in (("checkpoint", checkpoint), ("restart", restart), ("min_segment", min_segment))
        if value < _NONE
    ]
    if max_segments is not None and max_segments < 1:
        problems.append(Problem("max_segments", f"{max_segments}", "1 or more"))
    if problems:
        raise InputError(problems)
    return Costs(span_us(checkpoint), span_us(restart), span_us(min_segment), max_segments)
