"""The planned start of each waiting job of a queue, by the newest forecast, all jobs planned together. Pure.

Three rules take precedence over the least carbon. No job starts before its earliest or after its latest safe start. A
job waits only if that saves enough. A job that has a start is moved only if that gains at least the ``hysteresis`` of
the queue, or if its start no longer fits into the capacity.

A saving is enough if it is at least ``min_saving`` for a job that could start now. A job that already waits needs a
fifth of that to continue for the longest delay of the queue, and less for a shorter wait. If it needed all of
``min_saving``, it would start shortly before its low-carbon window, as soon as the intensity is close to that of the
window. If it needed nothing, it would wait for hours for a window that is no longer forecast.

Two lengths of a job matter: nodes are reserved for its time limit, and carbon is counted over its expected run time, if
that is known. A plan by time limits would look for long windows, which jobs then leave halfway.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.planning.optimise.capacity import CapacityJob, plan_capacity
from hpcfrugal.planning.optimise.errors import NotCovered, TooLate
from hpcfrugal.planning.optimise.shrinkage import DEFAULT_ERROR, ErrorGrowth, Shrinkage
from hpcfrugal.planning.optimise.window import plan_window
from hpcfrugal.queues.free_capacity import QueueFreeCapacity
from hpcfrugal.queues.settings import Queue
from hpcfrugal.queues.snapshot import QueuedJob
from hpcfrugal.queues.start_constraints import StartConstraints, in_queue, in_use, reserves_capacity

# Marks of jobs that do not fit into the capacity. They keep their future start or get their latest one, and Slurm
# decides from there.
_OUTSIDE = ("no capacity", "too large", "too late")

# How often jobs are planned by expected run times. Those whose time limits still do not fit are then planned by limits.
_TRIES = 2
# Share of ``min_saving`` that a continued wait must save. In scripts/bench/replan a fifth costs 0.1 % of the possible
# saving, the whole of it 2 %.
_WAITING_ON = 0.2
_NOTHING = 1e-3  # g/kWh: below this there is nothing to save, and shares are meaningless


@dataclass(frozen=True, slots=True)
class PlannedStart:
    """The plan of a waiting job.

    ``start_at`` is its planned StartTime, ``was_at`` its present one (None: at once), ``runs_at`` when it is expected
    to run, ``latest_at`` its latest safe start. Intensities are expected means over the expected run, None where
    the forecast has gaps; ``now_g_per_kwh`` is that of the earliest start. ``why`` names the reason, ``now`` is when it
    was planned.
    """

    job: QueuedJob
    start_at: datetime
    was_at: datetime | None
    runs_at: datetime
    latest_at: datetime
    planned_g_per_kwh: float | None
    now_g_per_kwh: float | None
    why: str
    now: datetime

    @property
    def moved(self) -> bool:
        """Whether its StartTime is to be changed."""
        return self.start_at != (self.was_at or self.now)

    @property
    def saving(self) -> float | None:
        """Expected saving as a share of the carbon at the earliest start."""
        planned, at_once = self.planned_g_per_kwh, self.now_g_per_kwh
        if planned is None or at_once is None:
            return None
        if at_once <= _NOTHING:
            return 0.0 if planned <= _NOTHING else None
        return 1 - planned / at_once


def replan(
    queue: Queue,
    queued: Iterable[QueuedJob],
    series: CarbonSeries | None,
    now: datetime,
    error: ErrorGrowth | None = DEFAULT_ERROR,
) -> list[PlannedStart]:
    """A plan for every job of ``queued`` that waits in ``queue`` and can be moved, in the order of their starts.

    Without a forecast all jobs keep their start, or get the nearest safe one. Without ``error`` the forecast is taken
    as exact.

    Raises InputError if the grid of steps would be too fine for the forecast.
    """
    now = now.astimezone(UTC).replace(microsecond=0)
    series = None if series is None else Shrinkage.of(series, error, now).expected
    jobs = in_queue(queued, queue)
    known_to = None if series is None else series.end
    candidates = [StartConstraints.of(job, queue, now, known_to) for job in jobs if job.movable]
    fixed = [(candidate, candidate.fixed_at) for candidate in candidates]
    plans = [_planned_start(candidate, start, series, "released" if candidate.job.comment.released else "due")
             for candidate, start in fixed if start is not None]  # fmt: skip
    free = [candidate for candidate, start in fixed if start is None]
    if series is None:
        return _in_order(
            [*plans, *(_planned_start(candidate, candidate.safe, None, "no forecast") for candidate in free)]
        )
    plans += [
        _planned_start(candidate, candidate.safe, series, "beyond the forecast")
        for candidate in free
        if candidate.beyond
    ]
    free = [candidate for candidate in free if not candidate.beyond]
    used = in_use(jobs, queue, now) + _reserved((candidate, start) for candidate, start in fixed if start is not None)
    capacity = QueueFreeCapacity(queue, series, now, used, free)
    stay = {candidate.job_id: candidate.was or now for candidate in free}
    starts: Mapping[str, datetime] = stay
    marks: Mapping[str, str | None] = dict.fromkeys(stay)
    lowest = _lowest_means(capacity, free)
    keep = lowest is not None and _all_may_stay(capacity, free, stay, lowest, marks)
    if not keep:
        found = _find_starts(capacity, free)
        marks = {job_id: one.mark for job_id, one in found.items()}
        starts = {candidate.job_id: _start_of(candidate, found[candidate.job_id]) for candidate in free}
        stay |= {job_id: starts[job_id] for job_id, mark in marks.items() if mark in _OUTSIDE}
        new = {candidate.job_id: candidate.mean(capacity.series, starts[candidate.job_id]) for candidate in free}
        keep = _all_may_stay(capacity, free, stay, new, marks)
    chosen = stay if keep else starts
    for candidate in free:
        capacity.take(candidate, chosen[candidate.job_id])
    for candidate in sorted(free, key=lambda candidate: starts[candidate.job_id]):
        plans.append(_after_thresholds(capacity, candidate, chosen[candidate.job_id], marks[candidate.job_id], keep))
    return _in_order(plans)


def place(
    queue: Queue,
    queued: Iterable[QueuedJob],
    new: QueuedJob,
    series: CarbonSeries,
    now: datetime,
    error: ErrorGrowth | None = DEFAULT_ERROR,
) -> PlannedStart:
    """A start for one more job; all others keep theirs.

    Used at submission, so that the queue stays within its capacity before the next round. Without ``error`` the
    forecast is taken as exact.

    Raises InputError if the grid of steps would be too fine for the forecast.
    """
    now = now.astimezone(UTC).replace(microsecond=0)
    series = Shrinkage.of(series, error, now).expected
    others = in_queue(queued, queue)
    candidate = StartConstraints.of(new, queue, now, series.end)
    if candidate.beyond or candidate.last <= candidate.earliest:
        return _planned_start(
            candidate, candidate.earliest, series, "beyond the forecast" if candidate.beyond else "no time to wait"
        )
    waiting = [StartConstraints.of(job, queue, now, series.end) for job in others if job.movable]
    used = in_use(others, queue, now) + _reserved((other, other.was or now) for other in waiting)
    capacity = QueueFreeCapacity(queue, series, now, used, [candidate])
    one = _find_starts(capacity, [candidate])[new.job_id]
    capacity.take(candidate, one.start_at)
    return _after_thresholds(capacity, candidate, one.start_at, one.mark, stays=False)


def _reserved(starts: Iterable[tuple[StartConstraints, datetime]]) -> list[tuple[datetime, datetime, int]]:
    """What jobs with these starts use: from, until, units."""
    return [(start, start + job.reserved(start), job.width) for job, start in starts if reserves_capacity(job)]


@dataclass(frozen=True, slots=True)
class _Start:
    """A start that the constraints allow, and the planner's mark."""

    start_at: datetime
    mark: str | None


def _start_of(candidate: StartConstraints, found: _Start) -> datetime:
    """The start that was found. A job that does not fit keeps its future start: Slurm makes it wait in any case, and
    if all were moved to their latest start, one job that takes all capacity would delay all others.
    """
    keeps = found.mark in _OUTSIDE and candidate.was is not None and candidate.allows(candidate.was)
    return candidate.was if keeps and candidate.was is not None else found.start_at


def _lowest_means(
    capacity: QueueFreeCapacity, candidates: Sequence[StartConstraints]
) -> dict[str, float | None] | None:
    """The lowest mean intensity of each job if it were alone: no plan has less. None if the forecast has gaps.

    Much faster than a plan; in most rounds it shows that there is nothing to gain.
    """
    found: dict[str, float | None] = {}
    for candidate in candidates:
        try:
            window = plan_window(
                capacity.series, candidate.soonest, candidate.runs_at(candidate.last) + candidate.run, candidate.run
            )
        except (NotCovered, TooLate):
            return None
        found[candidate.job_id] = window.mean_g_per_kwh
    return found


def _find_starts(capacity: QueueFreeCapacity, candidates: Sequence[StartConstraints]) -> dict[str, _Start]:
    """An allowed start for each job, with little carbon over the expected run. Reserves nothing.

    In a plan by expected run times, jobs whose time limits fit too keep their start, and the rest is planned again. If
    some jobs then do not fit, all are planned by their time limits, if that places more of them.
    """
    found: dict[str, _Start] = {}
    rest = list(candidates)
    for _ in range(
        _TRIES if any(candidate.run < candidate.reserved(candidate.last) for candidate in candidates) else 0
    ):
        plan = _capacity_plan(capacity, rest, by_limit=False)
        for candidate in sorted(rest, key=lambda candidate: plan[candidate.job_id].start_at):
            one = plan[candidate.job_id]
            if one.mark not in _OUTSIDE and capacity.holds(candidate, one.start_at):
                capacity.take(candidate, one.start_at)
                found[candidate.job_id] = one
        rest = [candidate for candidate in rest if candidate.job_id not in found]
    found_by_limits = _capacity_plan(capacity, rest, by_limit=True)
    for candidate in candidates:
        if candidate.job_id in found:
            capacity.give_back(candidate, found[candidate.job_id].start_at)
    outside = sum(one.mark in _OUTSIDE for one in found_by_limits.values())
    if outside and found:
        whole = _capacity_plan(capacity, candidates, by_limit=True)
        if sum(one.mark in _OUTSIDE for one in whole.values()) < outside:
            return whole
    return found | found_by_limits


def _capacity_plan(
    capacity: QueueFreeCapacity, candidates: Sequence[StartConstraints], *, by_limit: bool
) -> dict[str, _Start]:
    """By the expected run times, or by the times for which nodes are reserved."""
    wanted = []
    for candidate in candidates:
        if by_limit:
            length, first, last = candidate.reserved(candidate.last), candidate.earliest, candidate.last
        else:
            length, first, last = candidate.run, candidate.soonest, candidate.runs_at(candidate.last)
        wanted.append(CapacityJob(candidate.job_id, candidate.width, length, first, max(first, last) + length))
    if not wanted:
        return {}
    plan = plan_capacity(capacity.series, wanted, capacity.curve(), step=capacity.queue.step)
    found = {}
    for candidate, one in zip(candidates, plan.placements, strict=True):
        start = one.start_at if by_limit else candidate.start_for(one.start_at)
        mark = one.mark
        if mark == "too large" and candidate.width <= max(units for _, units in capacity.queue.capacity):
            mark = "no capacity"  # for the planner a job is also too large if others leave too little
        found[candidate.job_id] = _Start(min(max(candidate.earliest, start), candidate.last), mark)
    return found


def _all_may_stay(
    capacity: QueueFreeCapacity,
    candidates: Sequence[StartConstraints],
    stay: Mapping[str, datetime],
    means: Mapping[str, float | None],
    marks: Mapping[str, str | None],
) -> bool:
    """Whether the present starts fit together, and new ones with these ``means`` gain too little.

    Decided for all jobs together: one by one, each would find its old place taken by the new start of another.
    """
    if any(not candidate.allows(stay[candidate.job_id]) for candidate in candidates):
        return False
    cost_new = cost_stay = 0.0
    for candidate in candidates:
        weight = candidate.width * candidate.run.total_seconds()
        new, old = means[candidate.job_id], candidate.mean(capacity.series, stay[candidate.job_id])
        if new is not None and old is None:
            return False
        if new is not None and old is not None:
            cost_new += weight * new
            cost_stay += weight * old
    within = [candidate for candidate in candidates if marks[candidate.job_id] not in _OUTSIDE]
    for candidate in within:
        capacity.take(candidate, stay[candidate.job_id])
    fits = capacity.is_kept()
    for candidate in within:
        capacity.give_back(candidate, stay[candidate.job_id])
    return fits and cost_new >= cost_stay * (1 - capacity.queue.hysteresis)


def _after_thresholds(
    capacity: QueueFreeCapacity, candidate: StartConstraints, start: datetime, mark: str | None, stays: bool
) -> PlannedStart:
    """The plan after ``min_saving`` and ``hysteresis`` are applied to a start for which nodes are reserved.

    ``stays``: it is the present start of the job, and the others keep theirs.
    """
    capacity.give_back(candidate, start)
    chosen, why = start, mark or ("as before" if stays else "least carbon")
    kept = candidate.was or candidate.now
    saves_too_little = mark is None and start > candidate.earliest and _saves_too_little(capacity, candidate, start)
    if saves_too_little and capacity.holds(candidate, candidate.earliest):
        chosen, why = candidate.earliest, "waiting saves too little"
    elif mark not in _OUTSIDE and kept != start and candidate.allows(kept) and capacity.holds(candidate, kept):
        planned, before = candidate.mean(capacity.series, start), candidate.mean(capacity.series, kept)
        # A move from a time without forecast to a known low intensity is a gain.
        gains_little = (
            before is not None and planned is not None and planned >= before * (1 - capacity.queue.hysteresis)
        )
        if mark is not None or planned is None or gains_little:
            chosen, why = kept, "as before"
    capacity.take(candidate, chosen)
    return _planned_start(candidate, chosen, capacity.series, why)


def _saves_too_little(capacity: QueueFreeCapacity, candidate: StartConstraints, start: datetime) -> bool:
    """Whether a wait until ``start`` saves too little."""
    planned, at_once = candidate.mean(capacity.series, start), candidate.mean(capacity.series, candidate.earliest)
    if planned is None or at_once is None:
        return False
    least = candidate.min_saving
    if candidate.was is not None:
        least *= _WAITING_ON * min(1.0, (start - candidate.earliest) / capacity.queue.max_delay)
    return at_once <= _NOTHING or planned > at_once * (1 - least)


def _planned_start(candidate: StartConstraints, start: datetime, series: CarbonSeries | None, why: str) -> PlannedStart:
    return PlannedStart(
        job=candidate.job,
        start_at=start,
        was_at=candidate.was,
        runs_at=candidate.runs_at(start),
        latest_at=candidate.latest,
        planned_g_per_kwh=None if series is None else candidate.mean(series, start),
        now_g_per_kwh=None if series is None else candidate.mean(series, candidate.earliest),
        why=why,
        now=candidate.now,
    )


def _in_order(plans: Sequence[PlannedStart]) -> list[PlannedStart]:
    return sorted(plans, key=lambda plan: (plan.start_at, int(plan.job.job_id)))
