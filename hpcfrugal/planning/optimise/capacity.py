"""Start times of many jobs that share one capacity, with the least carbon in total.

The plan comes with a lower bound on the cost of any plan of the placed jobs.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.core.time import from_us, instant_us, span_us
from hpcfrugal.planning.optimise.free_capacity import Task, Timeline
from hpcfrugal.planning.optimise.packing import pack_tasks

# Why a job was not placed by its cost: it needs more than the whole capacity; no capacity is free before its latest
# start; it cannot meet its deadline; its earliest start is beyond MAX_STEPS steps; the series does not cover it.
Mark: TypeAlias = Literal["too large", "no capacity", "too late", "too far", "not covered"]

STEP = timedelta(minutes=5)
MAX_STEPS = 200_000


@dataclass(frozen=True, slots=True)
class CapacityJob:
    """``width`` in the unit of the capacity (nodes, cores, GPUs); ``weight`` in watts or anything proportional to them.

    Without a weight the width stands for it; either all jobs have one or none. ``deadline`` bounds the finish.
    ``earliest`` is not before the present: the grid begins with the first of them.
    """

    id: str
    width: int
    duration: timedelta
    earliest: datetime
    deadline: datetime
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class Capacity:
    """The capacity over time: ``units[i]`` from ``since_us[i]`` until the next; none before the first."""

    since_us: tuple[int, ...]
    units: tuple[int, ...]

    @classmethod
    def from_steps(cls, steps: Iterable[tuple[datetime, int]]) -> Capacity:
        """From (instant, units from then on) in chronological order. Raises InputError for anything else."""
        pairs = [(instant_us(moment), units) for moment, units in steps]
        since, units = tuple(moment for moment, _ in pairs), tuple(amount for _, amount in pairs)
        if not pairs or any(amount < 0 for amount in units) or list(since) != sorted(set(since)):
            raise InputError.at("capacity", "steps must ascend in time and have 0 or more units")
        return cls(since, units)

    def least(self, start_us: int, end_us: int) -> int:
        """The least capacity at any time in ``[start, end)``."""
        first = bisect_right(self.since_us, start_us) - 1
        last = bisect_right(self.since_us, end_us - 1)
        return 0 if first < 0 else min(self.units[first : max(last, first + 1)])


@dataclass(frozen=True, slots=True)
class Placement:
    """When a job starts and ends. With a ``mark`` it is not included in the bound; see :func:`plan_capacity`."""

    job_id: str
    start_at: datetime
    end_at: datetime
    mean_g_per_kwh: float | None
    mark: Mark | None


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """``cost`` and ``lower_bound`` of the jobs without a mark, in weight * g/kWh * s."""

    placements: tuple[Placement, ...]
    cost: float
    lower_bound: float


def plan_capacity(
    series: CarbonSeries,
    jobs: Sequence[CapacityJob],
    capacity: Capacity,
    *,
    step: timedelta = STEP,
    rounds: int = 80,
) -> CapacityPlan:
    """One start per job, never above the capacity.

    Starts are on a grid of ``step`` (or finer, if the slots of the series need it); a job that no start on the grid
    suits starts at its ``earliest``. Up to 8 jobs have the best starts on the grid, unless the search for them takes
    too long, and the bound is their cost. Otherwise it is the value of a Lagrangian dual: each step has a price for
    capacity, which rises while demand exceeds the capacity, for ``rounds`` rounds. It never exceeds the optimum of the
    linear programme with a variable for each job and each of its starts on the grid.

    Every job gets a start. A job that does not fit (``no capacity``, ``too large``) gets its latest start. A job that
    cannot meet its deadline (``too late``), or that may start only after ``MAX_STEPS`` steps (``too far``), gets its
    earliest. None of these four uses capacity in the plan, since Slurm's queue delays them. A job that the series does
    not cover (``not covered``) starts as soon as it fits into the capacity.

    Raises InputError for invalid jobs.
    """
    _check(jobs, step, rounds)
    if not jobs:
        return CapacityPlan((), 0.0, 0.0)
    length = grid_step_us(series, step)
    anchor = series.edges_us[0]
    start = anchor + (min(instant_us(job.earliest) for job in jobs) - anchor) // length * length
    count = _steps_needed(series, jobs, capacity, start, length)
    timeline = _timeline(series, capacity, start, length, count)
    tasks, outside = [], {}
    for index, job in enumerate(jobs):
        task = _task(job, index, timeline)
        if isinstance(task, Task):
            tasks.append(task)
        else:
            outside[index] = task
    packed = pack_tasks(timeline, tasks, rounds)
    placements = []
    for index, job in enumerate(jobs):
        mark: Mark | None = outside.get(index)
        slot = packed.starts.get(index)
        if slot is not None:
            # Only a job that must start at its earliest instant starts off the grid.
            begin = max(instant_us(job.earliest), timeline.start + slot * timeline.step)
            mark = "not covered" if index in packed.unknown else None
        elif mark in ("too late", "too far"):
            begin = instant_us(job.earliest)
        else:
            begin = instant_us(job.deadline) - span_us(job.duration)
            mark = mark or "no capacity"
        start_at, end_at = from_us(begin), from_us(begin) + job.duration
        placements.append(Placement(job.id, start_at, end_at, series.mean(start_at, end_at), mark))
    cost = sum(
        _weight(job) * one.mean_g_per_kwh * job.duration.total_seconds()
        for job, one in zip(jobs, placements, strict=True)
        if one.mark is None and one.mean_g_per_kwh is not None
    )
    return CapacityPlan(tuple(placements), cost, min(cost, packed.lower_bound))


def grid_step_us(series: CarbonSeries, step: timedelta) -> int:
    """The step of the grid on which jobs are placed, in microseconds: the longest that divides all slots."""
    return math.gcd(span_us(step), *(after - before for before, after in pairwise(series.edges_us)))


def _weight(job: CapacityJob) -> float:
    return float(job.width) if job.weight is None else job.weight


def _check(jobs: Sequence[CapacityJob], step: timedelta, rounds: int) -> None:
    problems = []
    if step <= timedelta():
        problems.append(Problem("step", f"{step} is not positive"))
    if rounds < 0:
        problems.append(Problem("rounds", f"{rounds} is negative"))
    for job in jobs:
        if job.width < 1:
            problems.append(Problem(f"job {job.id!r}", f"a width of {job.width}", "1 or more"))
        if job.duration <= timedelta():
            problems.append(Problem(f"job {job.id!r}", f"a duration of {job.duration}"))
        if job.weight is not None and not (math.isfinite(job.weight) and job.weight >= 0):
            problems.append(Problem(f"job {job.id!r}", f"a weight of {job.weight}"))
    if len({job.weight is None for job in jobs}) > 1:
        problems.append(Problem("jobs", "some have a weight and others do not", "set it for all or for none"))
    if problems:
        raise InputError(problems)


def _steps_needed(series: CarbonSeries, jobs: Sequence[CapacityJob], capacity: Capacity, start: int, step: int) -> int:
    """Steps of the grid: until the last deadline, but not far beyond the series and the time to run all jobs."""
    last = max(max(instant_us(job.deadline), instant_us(job.earliest) + span_us(job.duration)) for job in jobs)
    far = max([series.edges_us[-1], *(instant_us(job.earliest) + span_us(job.duration) for job in jobs)])
    work = sum(job.width * span_us(job.duration) for job in jobs) // max(1, *capacity.units)
    far += 2 * work + max(span_us(job.duration) for job in jobs)
    return min(-(-(min(last, far) - start) // step) + 1, MAX_STEPS)


def _timeline(series: CarbonSeries, capacity: Capacity, start: int, step: int, count: int) -> Timeline:
    instants = start + step * np.arange(count + 1, dtype=np.int64)
    edges = np.array(series.edges_us, dtype=np.float64)
    levels = np.array([value or 0.0 for value in series.values])
    spent = np.concatenate(([0.0], np.cumsum(levels * np.diff(edges)))) / 1e6
    units = [capacity.least(int(begin), int(begin) + step) for begin in instants[:-1]]
    unknown = np.array([series.value_at(int(begin)) is None for begin in instants[:-1]])
    return Timeline(start, step, np.array(units, dtype=np.int64), np.interp(instants, edges, spent), unknown)


def _task(job: CapacityJob, index: int, timeline: Timeline) -> Task | Mark:
    begin, length = instant_us(job.earliest), span_us(job.duration)
    latest = instant_us(job.deadline) - length
    if latest < begin:
        return "too late"
    if job.width > timeline.capacity.max():
        return "too large"
    step = timeline.step
    first, last = -((timeline.start - begin) // step), (latest - timeline.start) // step
    steps = -(-length // step)
    part: float | None = length / step - (steps - 1)
    if last < first:  # no instant of the grid is within its allowed time: it occupies every step that it overlaps
        first = last = (begin - timeline.start) // step
        steps = -(-(begin + length - timeline.start) // step) - first
        part = None
    last = min(last, len(timeline.capacity) - steps)
    if last < first:
        return "too far"
    fixed = _spent_off_grid(timeline, begin, length) if part is None else None
    return Task(index, job.width, _weight(job), first, last, steps, part, fixed)


def _spent_off_grid(timeline: Timeline, begin: int, length: int) -> float:
    edges = np.arange(len(timeline.spent))
    moments = (np.array([begin, begin + length]) - timeline.start) / timeline.step
    before, after = np.interp(moments, edges, timeline.spent)
    return float(after - before)
