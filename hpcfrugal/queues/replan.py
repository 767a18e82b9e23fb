"""When each waiting job of a queue is to start, all together, by the newest forecast. Pure.

Three rules stand above the least carbon: no job starts after its latest safe start; a job waits only where it saves at
least the queue's ``min_saving`` against starting now (if there is room now); and a job that has a start already is
moved only where that gains at least the queue's ``hysteresis``, or where its start no longer fits into the capacity.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hpcfrugal.carbon.instants import from_us, instant_us, span_us
from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.errors import InputError
from hpcfrugal.planner.capacity import MAX_STEPS, Capacity, CapacityJob, Placement, plan_capacity
from hpcfrugal.queues.board import QueuedJob
from hpcfrugal.queues.settings import Queue

ASSUMED_LIMIT = timedelta(hours=24)
"""Run time of a job for which Slurm knows no limit."""

# Marks of jobs that find no place within the capacity and start at their latest moment, where Slurm decides.
_OUTSIDE = ("no room", "too wide", "too late")


@dataclass(frozen=True, slots=True)
class Planned:
    """What is planned for a waiting job.

    ``start_at`` is when it is to start and ``was_at`` when it was to (None: at once). ``latest_at`` is its latest
    safe start after the ticket and the queue. Intensities are means over its time limit, None where the forecast does
    not tell; ``now`` is that of a start now. ``why`` says in a word what decided.
    """

    job: QueuedJob
    start_at: datetime
    was_at: datetime | None
    latest_at: datetime
    planned_g_per_kwh: float | None
    now_g_per_kwh: float | None
    moved: bool
    why: str

    @property
    def saving(self) -> float | None:
        """Expected saving against a start now, as a share of it."""
        if self.planned_g_per_kwh is None or not self.now_g_per_kwh:
            return None
        return 1 - self.planned_g_per_kwh / self.now_g_per_kwh


def latest_start(job: QueuedJob, queue: Queue) -> datetime | None:
    """The latest safe start: the ticket's, and the queue's own longest delay; None where neither is known."""
    bounds = [job.ticket.latest]
    if job.submit_at is not None:
        bounds.append(job.submit_at + queue.max_delay)
    return min(bounds)


def replan(queue: Queue, board: Iterable[QueuedJob], series: CarbonSeries | None, now: datetime) -> list[Planned]:
    """A plan for every job of ``board`` that waits in ``queue`` and is not held, in the order of their starts.

    Without a forecast every job keeps its start, and those that have none get their latest safe one at the most.
    """
    now = now.astimezone(UTC).replace(microsecond=0)
    # In an order of their own, not squeue's: the planner's answer depends on it where there are several as good.
    jobs = sorted((job for job in board if job.ticket.queue == queue.name), key=lambda job: int(job.job_id))
    waiting = [job for job in jobs if job.waits and not job.held]
    bound = {job.job_id: max(now, latest_start(job, queue) or now) for job in waiting}
    free = [job for job in waiting if not job.ticket.released and bound[job.job_id] > now]
    fixed = [job for job in waiting if job.ticket.released or bound[job.job_id] <= now]
    plans = [_kept(job, now, bound[job.job_id], series, now, "released" if job.ticket.released else "due")
             for job in fixed]  # fmt: skip
    if series is None:
        for job in free:
            start = min(max(now, job.begin_at or now), bound[job.job_id])
            plans.append(_kept(job, start, bound[job.job_id], None, now, "no forecast"))
        return _in_order(plans)
    used = [(now, _end(job, now), _width(job, queue)) for job in jobs if not job.waits]
    used += [(now, now + _limit(job), _width(job, queue)) for job in fixed]
    room = _Room(queue, used, series, now, max([now, *(bound[job.job_id] + _limit(job) for job in free)]))
    placed = plan_capacity(
        series,
        [
            CapacityJob(
                id=job.job_id,
                width=_width(job, queue),
                duration=_limit(job),
                earliest=max(now, job.ticket.earliest or now),
                deadline=max(bound[job.job_id], job.ticket.earliest or now) + _limit(job),
            )
            for job in free
        ],
        room.capacity(),
        step=queue.step,
    )
    marks = {job.job_id: _mark(queue, job, one) for job, one in zip(free, placed.placements, strict=True)}
    starts = {one.job_id: min(max(now, one.start_at), bound[one.job_id]) for one in placed.placements}
    stay = {job.job_id: _was(job, now) or now for job in free}
    keep = _all_may_stay(queue, free, starts, stay, bound, marks, series, room, now)
    for job in free:
        room.take((stay if keep else starts)[job.job_id], _limit(job), _width(job, queue))
    for job in sorted(free, key=lambda job: starts[job.job_id]):
        choice = stay[job.job_id] if keep else starts[job.job_id]
        plans.append(_settled(queue, job, choice, bound[job.job_id], series, room, now, marks[job.job_id], keep))
    return _in_order(plans)


def _all_may_stay(
    queue: Queue,
    jobs: Sequence[QueuedJob],
    starts: Mapping[str, datetime],
    stay: Mapping[str, datetime],
    bound: Mapping[str, datetime],
    marks: Mapping[str, str | None],
    series: CarbonSeries,
    room: _Room,
    now: datetime,
) -> bool:
    """Whether the starts that the jobs have now fit together, and the new plan gains too little over them.

    Asked of all together: one after the other, each would find the place of its old start taken by another's new one.
    """
    if any(not max(now, job.ticket.earliest or now) <= stay[job.job_id] <= bound[job.job_id] for job in jobs):
        return False
    cost_new = cost_stay = 0.0
    for job in jobs:
        length, weight = _limit(job), _width(job, queue) * _limit(job).total_seconds()
        new, old = _mean(series, starts[job.job_id], length), _mean(series, stay[job.job_id], length)
        if new is not None and old is None:
            return False
        if new is not None and old is not None:
            cost_new += weight * new
            cost_stay += weight * old
    within = [job for job in jobs if marks[job.job_id] not in _OUTSIDE or stay[job.job_id] != bound[job.job_id]]
    for job in within:
        room.take(stay[job.job_id], _limit(job), _width(job, queue))
    fits = room.is_kept()
    for job in within:
        room.give_back(stay[job.job_id], _limit(job), _width(job, queue))
    return fits and cost_new >= cost_stay * (1 - queue.hysteresis)


def place(queue: Queue, board: Iterable[QueuedJob], new: QueuedJob, series: CarbonSeries, now: datetime) -> Planned:
    """A start for one more job, with all others left where they are.

    What a submission does, so that the queue keeps to its capacity before the next round. ``now`` as for ``replan``.

    Raises InputError where the grid of steps would be too fine for the forecast.
    """
    now = now.astimezone(UTC).replace(microsecond=0)
    others = [job for job in board if job.ticket.queue == queue.name and not job.held]
    latest = max(now, latest_start(new, queue) or now)
    earliest = max(now, new.ticket.earliest or now)
    used = [(now, _end(job, now), _width(job, queue)) for job in others if not job.waits]
    for job in others:
        if job.waits:
            begin = _was(job, now) or now
            used.append((begin, begin + _limit(job), _width(job, queue)))
    room = _Room(queue, used, series, now, latest + _limit(new))
    wanted = CapacityJob(new.job_id, _width(new, queue), _limit(new), earliest, max(latest, earliest) + _limit(new))
    (one,) = plan_capacity(series, [wanted], room.capacity(), step=queue.step).placements
    start = min(max(now, one.start_at), latest)
    room.take(start, _limit(new), _width(new, queue))
    return _settled(queue, new, start, latest, series, room, now, _mark(queue, new, one), stays=False)


def _settled(
    queue: Queue,
    job: QueuedJob,
    start: datetime,
    latest: datetime,
    series: CarbonSeries,
    room: _Room,
    now: datetime,
    mark: str | None,
    stays: bool,
) -> Planned:
    """What comes of the planned start after ``min_saving`` and ``hysteresis``; ``room`` holds the job at it.

    ``stays``: it is the start that the job has already, and all others keep theirs.
    """
    length, width = _limit(job), _width(job, queue)
    planned, at_once = _mean(series, start, length), _mean(series, now, length)
    soonest = max(now, job.ticket.earliest or now)
    was = _was(job, now)
    room.give_back(start, length, width)
    chosen, why = start, mark or ("as before" if stays else "least carbon")
    noise = mark is None and planned is not None and at_once is not None and planned > at_once * (1 - queue.min_saving)
    if noise and soonest == now and start > now and room.holds(now, length, width):
        chosen, why = now, "waiting saves too little"
    elif (kept := was or now) != start and soonest <= kept <= latest and room.holds(kept, length, width):
        before = _mean(series, kept, length)
        # From a time of which nothing is known to one that is known to be clean: that is a gain.
        if mark is not None or planned is None or (before is not None and planned >= before * (1 - queue.hysteresis)):
            chosen, why = kept, "as before"
    room.take(chosen, length, width)
    return Planned(
        job=job,
        start_at=chosen,
        was_at=was,
        latest_at=latest,
        planned_g_per_kwh=_mean(series, chosen, length),
        now_g_per_kwh=at_once,
        moved=chosen != (was or now),
        why=why,
    )


def _kept(
    job: QueuedJob, start: datetime, latest: datetime, series: CarbonSeries | None, now: datetime, why: str
) -> Planned:
    was = _was(job, now)
    planned = None if series is None else _mean(series, start, _limit(job))
    at_once = None if series is None else _mean(series, now, _limit(job))
    return Planned(job, start, was, latest, planned, at_once, start != (was or now), why)


def _in_order(plans: Sequence[Planned]) -> list[Planned]:
    return sorted(plans, key=lambda plan: (plan.start_at, int(plan.job.job_id)))


def _mark(queue: Queue, job: QueuedJob, placement: Placement) -> str | None:
    """The planner's mark; to it a job is too wide also where others leave too little."""
    fits = _width(job, queue) <= max(units for _, units in queue.capacity)
    return "no room" if placement.mark == "too wide" and fits else placement.mark


def _was(job: QueuedJob, now: datetime) -> datetime | None:
    """The start that it has in Slurm, None where it may start at once."""
    return job.begin_at if job.begin_at is not None and job.begin_at > now else None


def _limit(job: QueuedJob) -> timedelta:
    return job.limit if job.limit else ASSUMED_LIMIT


def _end(job: QueuedJob, now: datetime) -> datetime:
    """When a running job has ended by; one that is past its limit is on its way out."""
    return max(now + timedelta(seconds=1), job.end_at or now + _limit(job))


def _width(job: QueuedJob, queue: Queue) -> int:
    return max(1, job.nodes if queue.unit == "nodes" else job.cpus)


def _mean(series: CarbonSeries, start: datetime, length: timedelta) -> float | None:
    return series.mean(start, start + length)


class _Room:
    """What is left of the capacity, in steps of the queue."""

    def __init__(
        self,
        queue: Queue,
        used: Sequence[tuple[datetime, datetime, int]],
        series: CarbonSeries,
        now: datetime,
        until: datetime,
    ) -> None:
        import numpy as np

        # The planner's own grid: on another one, jobs that follow on each other would seem to overlap.
        self._step = math.gcd(span_us(queue.step), *(b - a for a, b in pairwise(series.edges_us)))
        anchor = series.edges_us[0]
        self._start = anchor + (instant_us(now) - anchor) // self._step * self._step
        count = -(-(instant_us(until) - self._start) // self._step) + 1
        if count > MAX_STEPS:
            raise InputError.at(
                f"queue {queue.name}", f"{count} steps until the last job's end; a longer step is needed"
            )
        minute = (self._start // 1_000_000 // 60) % 1440
        per_step = self._step / 60e6
        # The least of the minutes that a step touches.
        self._free = np.array(
            [
                min(
                    queue.capacity_at(at)
                    for at in range(minute + int(index * per_step), minute + int((index + 1) * per_step) + 1)
                )
                for index in range(count)
            ],
            dtype=np.int64,
        )
        for start, end, width in used:
            self.take(start, end - start, width)
        self._least = np.minimum(self._free, 0)

    def capacity(self) -> Capacity:
        """As a curve; where running jobs have more than there is, nothing is left."""
        steps = [
            (from_us(self._start + index * self._step), max(0, int(units)))
            for index, units in enumerate(self._free)
            if index == 0 or units != self._free[index - 1]
        ]
        return Capacity.from_steps(steps)

    def _slice(self, start: datetime, length: timedelta) -> slice:
        begin = instant_us(start) - self._start
        return slice(max(0, begin // self._step), max(0, -(-(begin + span_us(length)) // self._step)))

    def take(self, start: datetime, length: timedelta, width: int) -> None:
        """Let a job have its units from ``start`` on."""
        self._free[self._slice(start, length)] -= width

    def give_back(self, start: datetime, length: timedelta, width: int) -> None:
        """The opposite of ``take``."""
        self._free[self._slice(start, length)] += width

    def is_kept(self) -> bool:
        """Whether at no time more is taken than there is, save by what ran before."""
        return bool((self._free >= self._least).all())

    def holds(self, start: datetime, length: timedelta, width: int) -> bool:
        """Whether there is room for a job throughout."""
        part = self._free[self._slice(start, length)]
        return len(part) == 0 or int(part.min()) >= width
