"""When each waiting job of a queue is to start, all together, by the newest forecast. Pure.

Three rules stand above the least carbon: no job starts after its latest safe start; a job waits only where it saves at
least the queue's ``min_saving`` against starting now (if there is room now); and a job that has a start already is
moved only where that gains at least the queue's ``hysteresis``, or where its start no longer fits into the capacity.

The second rule is about jobs that could start now. One that has a start later on was found to save enough by waiting,
and comes under the third.

Two lengths of a job count: nodes are kept free for its time limit, and carbon is counted over the time that it is
expected to run, where that is known. A plan over limits looks for long valleys that jobs then leave in the middle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.planner.capacity import CapacityJob, Placement, plan_capacity
from hpcfrugal.planner.errors import NotCovered, TooLate
from hpcfrugal.planner.window import plan_window
from hpcfrugal.queues.board import QueuedJob
from hpcfrugal.queues.room import Room
from hpcfrugal.queues.settings import Queue

ASSUMED_LIMIT = timedelta(hours=24)
"""Run time of a job for which Slurm knows no limit."""

# Marks of jobs that find no place within the capacity and start at their latest moment, where Slurm decides.
_OUTSIDE = ("no room", "too wide", "too late")

_NOT_KNOWN: Mapping[str, timedelta] = MappingProxyType({})
# How often jobs are planned by the times that they are expected to run before those that still find no room for their
# limits are planned by these.
_TRIES = 2


@dataclass(frozen=True, slots=True)
class Planned:
    """What is planned for a waiting job.

    ``start_at`` is when it is to start and ``was_at`` when it was to (None: at once). ``latest_at`` is its latest
    safe start after the ticket and the queue. Intensities are means over the time that it is expected to run, None
    where the forecast does not tell; ``now`` is that of a start now. ``why`` says in a word what decided.
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


def replan(
    queue: Queue,
    board: Iterable[QueuedJob],
    series: CarbonSeries | None,
    now: datetime,
    runs: Mapping[str, timedelta] = _NOT_KNOWN,
) -> list[Planned]:
    """A plan for every job of ``board`` that waits in ``queue`` and is not held, in the order of their starts.

    ``runs`` is how long jobs are expected to run, by job id; one that is not in it is taken to run until its limit.
    Without a forecast every job keeps its start, and those that have none get their latest safe one at the most.
    """
    now = now.astimezone(UTC).replace(microsecond=0)
    # In an order of their own, not squeue's: the planner's answer depends on it where there are several as good.
    jobs = sorted((job for job in board if job.ticket.queue == queue.name), key=lambda job: int(job.job_id))
    waiting = [job for job in jobs if job.waits and not job.held]
    bound = {job.job_id: max(now, latest_start(job, queue) or now) for job in waiting}
    free = [job for job in waiting if not job.ticket.released and bound[job.job_id] > now]
    fixed = [job for job in waiting if job.ticket.released or bound[job.job_id] <= now]
    length = {job.job_id: _run(job, runs) for job in waiting}
    plans = [_kept(job, now, bound[job.job_id], series, now, "released" if job.ticket.released else "due",
                   length[job.job_id]) for job in fixed]  # fmt: skip
    if series is None:
        for job in free:
            start = min(max(now, job.begin_at or now), bound[job.job_id])
            plans.append(_kept(job, start, bound[job.job_id], None, now, "no forecast", length[job.job_id]))
        return _in_order(plans)
    used = [(now, _end(job, now), _width(job, queue)) for job in jobs if not job.waits]
    used += [(now, now + _limit(job), _width(job, queue)) for job in fixed]
    until = max([now, *(bound[job.job_id] + _limit(job) for job in free)])
    terms = _Terms(queue, series, Room(queue, used, series, now, until), now, bound, length)
    starts = stay = {job.job_id: _was(job, now) or now for job in free}
    marks: Mapping[str, str | None] = dict.fromkeys(stay)
    best = _best(terms, free)
    keep = best is not None and _all_may_stay(terms, free, stay, best, marks)
    if not keep:
        placed = _placed(terms, free)
        marks = {job.job_id: _mark(queue, job, placed[job.job_id]) for job in free}
        starts = {job.job_id: min(max(now, placed[job.job_id].start_at), bound[job.job_id]) for job in free}
        new = {job.job_id: terms.mean(job, starts[job.job_id]) for job in free}
        keep = _all_may_stay(terms, free, stay, new, marks)
    chosen = stay if keep else starts
    for job in free:
        terms.take(job, chosen[job.job_id])
    for job in sorted(free, key=lambda job: starts[job.job_id]):
        plans.append(_settled(terms, job, chosen[job.job_id], marks[job.job_id], keep))
    return _in_order(plans)


@dataclass(frozen=True, slots=True)
class _Terms:
    """On what a round plans. By job id: ``bound`` is the latest start, ``length`` the expected run."""

    queue: Queue
    series: CarbonSeries
    room: Room
    now: datetime
    bound: Mapping[str, datetime]
    length: Mapping[str, timedelta]

    def earliest(self, job: QueuedJob) -> datetime:
        """When it may start at the earliest."""
        return max(self.now, job.ticket.earliest or self.now)

    def mean(self, job: QueuedJob, start: datetime) -> float | None:
        """The intensity that it is expected to meet, in g/kWh; None where the forecast does not tell."""
        return _mean(self.series, start, self.length[job.job_id])

    def take(self, job: QueuedJob, start: datetime) -> None:
        """Let it have its nodes for all of its limit."""
        self.room.take(start, _limit(job), _width(job, self.queue))

    def give_back(self, job: QueuedJob, start: datetime) -> None:
        """The opposite of ``take``."""
        self.room.give_back(start, _limit(job), _width(job, self.queue))

    def holds(self, job: QueuedJob, start: datetime) -> bool:
        """Whether it has room for all of its limit."""
        return self.room.holds(start, _limit(job), _width(job, self.queue))


def _best(terms: _Terms, jobs: Sequence[QueuedJob]) -> dict[str, float | None] | None:
    """The least mean of each job whatever the others do: no plan has less. None where the forecast does not tell.

    Found in a small part of the time that a plan takes; in most rounds it shows that there is nothing to gain.
    """
    found: dict[str, float | None] = {}
    for job in jobs:
        run = terms.length[job.job_id]
        try:
            window = plan_window(terms.series, terms.earliest(job), terms.bound[job.job_id] + run, run)
        except (NotCovered, TooLate):
            return None
        found[job.job_id] = window.mean_g_per_kwh
    return found


def _placed(terms: _Terms, jobs: Sequence[QueuedJob]) -> dict[str, Placement]:
    """A start for each within its limits, cheap over the expected run. The room is left as it was.

    Planned by expected runs, those that have room for their limits too have their place, and the rest is planned again
    beside them. Where that leaves somebody without room, all are planned by their limits, as far as that helps.
    """
    found: dict[str, Placement] = {}
    limits = {job.job_id: _limit(job) for job in jobs}
    rest = list(jobs)
    for _ in range(_TRIES if any(terms.length[job_id] < limit for job_id, limit in limits.items()) else 0):
        plan = _plan(terms, rest, terms.length)
        for job in sorted(rest, key=lambda job: plan[job.job_id].start_at):
            one = plan[job.job_id]
            if one.mark not in _OUTSIDE and terms.holds(job, one.start_at):
                terms.take(job, one.start_at)
                found[job.job_id] = one
        rest = [job for job in rest if job.job_id not in found]
    found_by_limits = _plan(terms, rest, limits)
    for job in jobs:
        if job.job_id in found:
            terms.give_back(job, found[job.job_id].start_at)
    outside = sum(one.mark in _OUTSIDE for one in found_by_limits.values())
    if outside and found:
        whole = _plan(terms, jobs, limits)
        if sum(one.mark in _OUTSIDE for one in whole.values()) < outside:
            return whole
    return found | found_by_limits


def _plan(terms: _Terms, jobs: Sequence[QueuedJob], length: Mapping[str, timedelta]) -> dict[str, Placement]:
    wanted = []
    for job in jobs:
        earliest, run = terms.earliest(job), length[job.job_id]
        deadline = max(terms.bound[job.job_id], earliest) + run
        wanted.append(CapacityJob(job.job_id, _width(job, terms.queue), run, earliest, deadline))
    if not wanted:
        return {}
    plan = plan_capacity(terms.series, wanted, terms.room.capacity(), step=terms.queue.step)
    return {one.job_id: one for one in plan.placements}


def _all_may_stay(
    terms: _Terms,
    jobs: Sequence[QueuedJob],
    stay: Mapping[str, datetime],
    means: Mapping[str, float | None],
    marks: Mapping[str, str | None],
) -> bool:
    """Whether the starts that the jobs have now fit together, and new ones with these ``means`` gain too little.

    Asked of all together: one after the other, each would find the place of its old start taken by another's new one.
    """
    if any(not terms.earliest(job) <= stay[job.job_id] <= terms.bound[job.job_id] for job in jobs):
        return False
    cost_new = cost_stay = 0.0
    for job in jobs:
        weight = _width(job, terms.queue) * terms.length[job.job_id].total_seconds()
        new, old = means[job.job_id], terms.mean(job, stay[job.job_id])
        if new is not None and old is None:
            return False
        if new is not None and old is not None:
            cost_new += weight * new
            cost_stay += weight * old
    within = [
        job for job in jobs if marks[job.job_id] not in _OUTSIDE or stay[job.job_id] != terms.bound[job.job_id]
    ]  # fmt: skip
    for job in within:
        terms.take(job, stay[job.job_id])
    fits = terms.room.is_kept()
    for job in within:
        terms.give_back(job, stay[job.job_id])
    return fits and cost_new >= cost_stay * (1 - terms.queue.hysteresis)


def place(
    queue: Queue,
    board: Iterable[QueuedJob],
    new: QueuedJob,
    series: CarbonSeries,
    now: datetime,
    runs: Mapping[str, timedelta] = _NOT_KNOWN,
) -> Planned:
    """A start for one more job, with all others left where they are.

    What a submission does, so that the queue keeps to its capacity before the next round. ``now`` and ``runs`` as for
    ``replan``.

    Raises InputError where the grid of steps would be too fine for the forecast.
    """
    now = now.astimezone(UTC).replace(microsecond=0)
    others = [job for job in board if job.ticket.queue == queue.name and not job.held]
    latest = max(now, latest_start(new, queue) or now)
    used = [(now, _end(job, now), _width(job, queue)) for job in others if not job.waits]
    for job in others:
        if job.waits:
            begin = _was(job, now) or now
            used.append((begin, begin + _limit(job), _width(job, queue)))
    room = Room(queue, used, series, now, latest + _limit(new))
    terms = _Terms(queue, series, room, now, {new.job_id: latest}, {new.job_id: _run(new, runs)})
    one = _placed(terms, [new])[new.job_id]
    start = min(max(now, one.start_at), latest)
    terms.take(new, start)
    return _settled(terms, new, start, _mark(queue, new, one), stays=False)


def _settled(terms: _Terms, job: QueuedJob, start: datetime, mark: str | None, stays: bool) -> Planned:
    """What comes of the planned start after ``min_saving`` and ``hysteresis``; the room holds the job at it.

    ``stays``: it is the start that the job has already, and all others keep theirs.
    """
    queue, now, latest = terms.queue, terms.now, terms.bound[job.job_id]
    planned, at_once = terms.mean(job, start), terms.mean(job, now)
    soonest, was = terms.earliest(job), _was(job, now)
    terms.give_back(job, start)
    chosen, why = start, mark or ("as before" if stays else "least carbon")
    # Not asked of a job that waits already: it would start as soon as the intensity came so near to that of the valley
    # that it waits for, always short of it.
    asked = queue.min_saving if was is None else 0.0
    noise = mark is None and planned is not None and at_once is not None and planned > at_once * (1 - asked)
    if noise and soonest == now and start > now and terms.holds(job, now):
        chosen, why = now, "waiting saves too little"
    elif (kept := was or now) != start and soonest <= kept <= latest and terms.holds(job, kept):
        before = terms.mean(job, kept)
        # From a time of which nothing is known to one that is known to be clean: that is a gain.
        if mark is not None or planned is None or (before is not None and planned >= before * (1 - queue.hysteresis)):
            chosen, why = kept, "as before"
    terms.take(job, chosen)
    return Planned(
        job=job,
        start_at=chosen,
        was_at=was,
        latest_at=latest,
        planned_g_per_kwh=terms.mean(job, chosen),
        now_g_per_kwh=at_once,
        moved=chosen != (was or now),
        why=why,
    )


def _kept(
    job: QueuedJob,
    start: datetime,
    latest: datetime,
    series: CarbonSeries | None,
    now: datetime,
    why: str,
    run: timedelta,
) -> Planned:
    was = _was(job, now)
    planned = None if series is None else _mean(series, start, run)
    at_once = None if series is None else _mean(series, now, run)
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


def _run(job: QueuedJob, runs: Mapping[str, timedelta]) -> timedelta:
    """How long it is expected to run, no longer than its limit."""
    run = runs.get(job.job_id, timedelta())
    return min(run, _limit(job)) if run > timedelta() else _limit(job)


def _limit(job: QueuedJob) -> timedelta:
    return job.limit if job.limit else ASSUMED_LIMIT


def _end(job: QueuedJob, now: datetime) -> datetime:
    """When a running job has ended by; one that is past its limit is on its way out."""
    return max(now + timedelta(seconds=1), job.end_at or now + _limit(job))


def _width(job: QueuedJob, queue: Queue) -> int:
    return max(1, job.nodes if queue.unit == "nodes" else job.cpus)


def _mean(series: CarbonSeries, start: datetime, length: timedelta) -> float | None:
    return series.mean(start, start + length)
