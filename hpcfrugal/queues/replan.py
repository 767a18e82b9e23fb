"""When each waiting job of a queue is to start, all together, by the newest forecast. Pure.

Three rules stand above the least carbon: no job starts before its own earliest or after its latest safe start; a job
waits only where that is worth it; and a job that has a start already is moved only where that gains at least the
queue's ``hysteresis``, or where its start no longer fits into the capacity.

What a wait is worth: a job that could start now does so if waiting saves less than ``min_saving``. One that waits
already is asked for a fifth of that to wait on for the queue's longest delay, and for less the nearer its start is.
Asked for the whole of it, it would start as soon as the intensity came so near to that of the valley that it waits for,
always short of it; asked for nothing, it would wait for hours for a valley that is no longer forecast.

Two lengths of a job count: nodes are kept free for its time limit, and carbon is counted over the time that it is
expected to run, where that is known. A plan over limits looks for long valleys that jobs then leave in the middle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.planning.optimise.capacity import CapacityJob, plan_capacity
from hpcfrugal.planning.optimise.errors import NotCovered, TooLate
from hpcfrugal.planning.optimise.window import plan_window
from hpcfrugal.queues.free_capacity import QueueFreeCapacity
from hpcfrugal.queues.settings import Queue
from hpcfrugal.queues.snapshot import QueuedJob
from hpcfrugal.queues.start_constraints import StartConstraints, in_queue, in_use, takes_room

# Marks of jobs that find no place within the capacity. They keep the start to come that they have, or get their latest
# one, and Slurm decides then.
_OUTSIDE = ("no room", "too wide", "too late")

_NOT_KNOWN: Mapping[str, timedelta] = MappingProxyType({})
# How often jobs are planned by the times that they are expected to run before those that still find no room for their
# limits are planned by these.
_TRIES = 2
# Share of ``min_saving`` that is asked for waiting on. In scripts/bench/replan a fifth costs 0.1 % of the saving that
# there is to be had, the whole of it 2 %.
_WAITING_ON = 0.2
_NOTHING = 1e-3  # g/kWh: of less than this there is nothing to save, and shares of it mean nothing


@dataclass(frozen=True, slots=True)
class Planned:
    """What is planned for a waiting job.

    ``start_at`` is its StartTime to be and ``was_at`` the one that it has (None: at once), ``runs_at`` when it is
    expected to run. ``latest_at`` is its latest safe start. Intensities are means over the time that it is expected to
    run, None where the forecast does not tell; ``now`` is that of a start as soon as it may. ``why`` says in a word
    what decided.
    """

    job: QueuedJob
    start_at: datetime
    was_at: datetime | None
    runs_at: datetime
    latest_at: datetime
    planned_g_per_kwh: float | None
    now_g_per_kwh: float | None
    moved: bool
    why: str

    @property
    def saving(self) -> float | None:
        """Expected saving against a start as soon as it may, as a share of that."""
        planned, at_once = self.planned_g_per_kwh, self.now_g_per_kwh
        if planned is None or at_once is None:
            return None
        if at_once <= _NOTHING:
            return 0.0 if planned <= _NOTHING else None
        return 1 - planned / at_once


def replan(
    queue: Queue,
    board: Iterable[QueuedJob],
    series: CarbonSeries | None,
    now: datetime,
    runs: Mapping[str, timedelta] = _NOT_KNOWN,
) -> list[Planned]:
    """A plan for every job of ``board`` that waits in ``queue`` and can be moved, in the order of their starts.

    ``runs`` is how long jobs are expected to run, by job id; one that is not in it is taken to run until its limit.
    Without a forecast every job keeps its start, and those that have none get their latest safe one at the most.

    Raises InputError where the grid of steps would be too fine for the forecast.
    """
    now = now.astimezone(UTC).replace(microsecond=0)
    jobs = in_queue(board, queue)
    known_to = None if series is None else series.end
    cases = [StartConstraints.of(job, queue, now, known_to, runs.get(job.job_id)) for job in jobs if job.movable]
    fixed = [(case, case.fixed_at) for case in cases]
    plans = [_kept(case, start, series, "released" if case.job.comment.released else "due")
             for case, start in fixed if start is not None]  # fmt: skip
    free = [case for case, start in fixed if start is None]
    if series is None:
        return _in_order([*plans, *(_kept(case, case.safe, None, "no forecast") for case in free)])
    plans += [_kept(case, case.safe, series, "beyond the forecast") for case in free if case.beyond]
    free = [case for case in free if not case.beyond]
    used = in_use(jobs, queue, now)
    used += [(start, start + case.room(start), case.width) for case, start in fixed
             if start is not None and takes_room(case)]  # fmt: skip
    terms = _Terms(queue, series, QueueFreeCapacity(queue, used, series, now, _until(now, free)))
    stay = {case.job.job_id: case.was or now for case in free}
    starts: Mapping[str, datetime] = stay
    marks: Mapping[str, str | None] = dict.fromkeys(stay)
    best = _best(terms, free)
    keep = best is not None and _all_may_stay(terms, free, stay, best, marks)
    if not keep:
        placed = _placed(terms, free)
        marks = {job_id: one.mark for job_id, one in placed.items()}
        starts = {case.job.job_id: _start(case, placed[case.job.job_id]) for case in free}
        stay |= {job_id: starts[job_id] for job_id, mark in marks.items() if mark in _OUTSIDE}
        new = {case.job.job_id: terms.mean(case, starts[case.job.job_id]) for case in free}
        keep = _all_may_stay(terms, free, stay, new, marks)
    chosen = stay if keep else starts
    for case in free:
        terms.take(case, chosen[case.job.job_id])
    for case in sorted(free, key=lambda case: starts[case.job.job_id]):
        plans.append(_settled(terms, case, chosen[case.job.job_id], marks[case.job.job_id], keep))
    return _in_order(plans)


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
    others = in_queue(board, queue)
    case = StartConstraints.of(new, queue, now, series.end, runs.get(new.job_id))
    if case.beyond or case.last <= case.earliest:
        return _kept(case, case.earliest, series, "beyond the forecast" if case.beyond else "no time to wait")
    used = in_use(others, queue, now)
    for job in others:
        if job.movable:
            other = StartConstraints.of(job, queue, now, series.end, runs.get(job.job_id))
            start = other.was or now
            if takes_room(other):
                used.append((start, start + other.room(start), other.width))
    terms = _Terms(queue, series, QueueFreeCapacity(queue, used, series, now, _until(now, [case])))
    one = _placed(terms, [case])[new.job_id]
    terms.take(case, one.start_at)
    return _settled(terms, case, one.start_at, one.mark, stays=False)


@dataclass(frozen=True, slots=True)
class _Terms:
    """On what a round plans."""

    queue: Queue
    series: CarbonSeries
    room: QueueFreeCapacity

    def mean(self, case: StartConstraints, start: datetime) -> float | None:
        return case.mean(self.series, start)

    def take(self, case: StartConstraints, start: datetime) -> None:
        """Let it have its nodes for all of its limit."""
        self.room.take(start, case.room(start), case.width)

    def give_back(self, case: StartConstraints, start: datetime) -> None:
        """The opposite of ``take``."""
        self.room.give_back(start, case.room(start), case.width)

    def holds(self, case: StartConstraints, start: datetime) -> bool:
        """Whether it has room for all of its limit."""
        return self.room.holds(start, case.room(start), case.width)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A start within the job's bounds, and the planner's mark."""

    start_at: datetime
    mark: str | None


def _start(case: StartConstraints, placed: _Placed) -> datetime:
    """Where it was placed. One that found no room keeps the start to come that it has: at any, Slurm has to make it
    wait, and were all moved to their latest, one job that takes all the room would put off everybody else's.
    """
    keeps = placed.mark in _OUTSIDE and case.was is not None and case.allows(case.was)
    return case.was if keeps and case.was is not None else placed.start_at


def _until(now: datetime, cases: Sequence[StartConstraints]) -> datetime:
    return max([now, *(case.last + case.room(case.last) for case in cases)])


def _best(terms: _Terms, cases: Sequence[StartConstraints]) -> dict[str, float | None] | None:
    """The least mean of each job whatever the others do: no plan has less. None where the forecast does not tell.

    Found in a small part of the time that a plan takes; in most rounds it shows that there is nothing to gain.
    """
    found: dict[str, float | None] = {}
    for case in cases:
        try:
            window = plan_window(terms.series, case.soonest, case.runs_at(case.last) + case.run, case.run)
        except (NotCovered, TooLate):
            return None
        found[case.job.job_id] = window.mean_g_per_kwh
    return found


def _placed(terms: _Terms, cases: Sequence[StartConstraints]) -> dict[str, _Placed]:
    """A start for each within its limits, cheap over the expected run. The room is left as it was.

    Planned by expected runs, those that have room for their limits too have their place, and the rest is planned again
    beside them. Where that leaves somebody without room, all are planned by their limits, as far as that helps.
    """
    found: dict[str, _Placed] = {}
    rest = list(cases)
    for _ in range(_TRIES if any(case.run < case.room(case.last) for case in cases) else 0):
        plan = _plan(terms, rest, by_limit=False)
        for case in sorted(rest, key=lambda case: plan[case.job.job_id].start_at):
            one = plan[case.job.job_id]
            if one.mark not in _OUTSIDE and terms.holds(case, one.start_at):
                terms.take(case, one.start_at)
                found[case.job.job_id] = one
        rest = [case for case in rest if case.job.job_id not in found]
    found_by_limits = _plan(terms, rest, by_limit=True)
    for case in cases:
        if case.job.job_id in found:
            terms.give_back(case, found[case.job.job_id].start_at)
    outside = sum(one.mark in _OUTSIDE for one in found_by_limits.values())
    if outside and found:
        whole = _plan(terms, cases, by_limit=True)
        if sum(one.mark in _OUTSIDE for one in whole.values()) < outside:
            return whole
    return found | found_by_limits


def _plan(terms: _Terms, cases: Sequence[StartConstraints], *, by_limit: bool) -> dict[str, _Placed]:
    """By the time that each is expected to run, or by that for which nodes are kept from its StartTime on."""
    wanted = []
    for case in cases:
        if by_limit:
            length, first, last = case.room(case.last), case.earliest, case.last
        else:
            length, first, last = case.run, case.soonest, case.runs_at(case.last)
        wanted.append(CapacityJob(case.job.job_id, case.width, length, first, max(first, last) + length))
    if not wanted:
        return {}
    plan = plan_capacity(terms.series, wanted, terms.room.capacity(), step=terms.queue.step)
    found = {}
    for case, one in zip(cases, plan.placements, strict=True):
        start = one.start_at if by_limit else case.start_for(one.start_at)
        mark = one.mark
        if mark == "too wide" and case.width <= max(units for _, units in terms.queue.capacity):
            mark = "no room"  # to the planner a job is too wide also where others leave too little
        found[case.job.job_id] = _Placed(min(max(case.earliest, start), case.last), mark)
    return found


def _all_may_stay(
    terms: _Terms,
    cases: Sequence[StartConstraints],
    stay: Mapping[str, datetime],
    means: Mapping[str, float | None],
    marks: Mapping[str, str | None],
) -> bool:
    """Whether the starts that the jobs have now fit together, and new ones with these ``means`` gain too little.

    Asked of all together: one after the other, each would find the place of its old start taken by another's new one.
    """
    if any(not case.allows(stay[case.job.job_id]) for case in cases):
        return False
    cost_new = cost_stay = 0.0
    for case in cases:
        weight = case.width * case.run.total_seconds()
        new, old = means[case.job.job_id], terms.mean(case, stay[case.job.job_id])
        if new is not None and old is None:
            return False
        if new is not None and old is not None:
            cost_new += weight * new
            cost_stay += weight * old
    within = [case for case in cases if marks[case.job.job_id] not in _OUTSIDE]
    for case in within:
        terms.take(case, stay[case.job.job_id])
    fits = terms.room.is_kept()
    for case in within:
        terms.give_back(case, stay[case.job.job_id])
    return fits and cost_new >= cost_stay * (1 - terms.queue.hysteresis)


def _settled(terms: _Terms, case: StartConstraints, start: datetime, mark: str | None, stays: bool) -> Planned:
    """What comes of the planned start after ``min_saving`` and ``hysteresis``; the room holds the job at it.

    ``stays``: it is the start that the job has already, and all others keep theirs.
    """
    planned, at_once = terms.mean(case, start), terms.mean(case, case.earliest)
    terms.give_back(case, start)
    chosen, why = start, mark or ("as before" if stays else "least carbon")
    kept = case.was or case.now
    if mark in _OUTSIDE:
        chosen = start
    elif mark is None and start > case.earliest and _noise(terms, case, start) and terms.holds(case, case.earliest):
        chosen, why = case.earliest, "waiting saves too little"
    elif kept != start and case.allows(kept) and terms.holds(case, kept):
        before = terms.mean(case, kept)
        # From a time of which nothing is known to one that is known to be clean: that is a gain.
        if (
            mark is not None
            or planned is None
            or (before is not None and planned >= before * (1 - terms.queue.hysteresis))
        ):
            chosen, why = kept, "as before"
    terms.take(case, chosen)
    return _told(case, chosen, terms.mean(case, chosen), at_once, why)


def _noise(terms: _Terms, case: StartConstraints, start: datetime) -> bool:
    """Whether a wait until ``start`` saves less than it is worth."""
    planned, at_once = terms.mean(case, start), terms.mean(case, case.earliest)
    if planned is None or at_once is None:
        return False
    asked = case.min_saving
    if case.was is not None:
        asked *= _WAITING_ON * min(1.0, (start - case.earliest) / terms.queue.max_delay)
    return at_once <= _NOTHING or planned > at_once * (1 - asked)


def _kept(case: StartConstraints, start: datetime, series: CarbonSeries | None, why: str) -> Planned:
    planned = None if series is None else case.mean(series, start)
    at_once = None if series is None else case.mean(series, case.earliest)
    return _told(case, start, planned, at_once, why)


def _told(case: StartConstraints, start: datetime, planned: float | None, at_once: float | None, why: str) -> Planned:
    return Planned(
        job=case.job,
        start_at=start,
        was_at=case.was,
        runs_at=case.runs_at(start),
        latest_at=case.latest,
        planned_g_per_kwh=planned,
        now_g_per_kwh=at_once,
        moved=start != (case.was or case.now),
        why=why,
    )


def _in_order(plans: Sequence[Planned]) -> list[Planned]:
    return sorted(plans, key=lambda plan: (plan.start_at, int(plan.job.job_id)))
