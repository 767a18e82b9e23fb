"""Admission of jobs to a low-carbon queue: the defaults of the queue, and a start that fits the other jobs.

Settings of a job file that the queue cannot honour are refused; none is ignored silently.
"""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hpcfrugal.carbon.select import zone_of
from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import ForecastError, InputError, Problem, SetupError
from hpcfrugal.job import JobSpec
from hpcfrugal.job.batch_script import component_flags
from hpcfrugal.planning.decide.job_facts import LEAST_MARGIN, margin
from hpcfrugal.planning.decide.plan import Expectation, Plan, QueueWait
from hpcfrugal.planning.decide.time_budget import TIMEOUT_S
from hpcfrugal.queues.horizon import resampled, within_grid
from hpcfrugal.queues.job_comment import JobComment, insert_comment, parse_job_comment
from hpcfrugal.queues.replan import PlannedStart, place
from hpcfrugal.queues.settings import Queue, the_queue
from hpcfrugal.queues.snapshot import QueuedJob, read_snapshot, run_in_turn
from hpcfrugal.settings.config import Config
from hpcfrugal.slurm.job_ids import array_shape


def with_queue_defaults(spec: JobSpec, queue: Queue) -> JobSpec:
    """The job with the settings of the queue as defaults for those of its file."""
    resources, schedule = spec.resources, spec.schedule
    bound = schedule.max_delay
    if bound is None and schedule.deadline is None:
        bound = queue.max_delay
    return spec.changed(
        resources=resources.changed(partition=resources.partition or queue.partition, qos=resources.qos or queue.qos),
        schedule=schedule.changed(
            queue=queue.name,
            max_delay=bound,
            zone=schedule.zone or queue.zone,
            signal=schedule.signal or queue.signal,
            min_saving=queue.min_saving if schedule.min_saving is None else schedule.min_saving,
        ),
    )


def _check(spec: JobSpec, queue: Queue, config: Config, where: str) -> None:
    """Refuse settings that the queue cannot honour."""
    schedule, resources, problems = spec.schedule, spec.resources, list[Problem]()

    def refuse(key: str, what: str, hint: str = "leave it out") -> None:
        problems.append(Problem(f"{where}: {key}", f"queue {queue.name!r} {what}", hint))

    without = "leave out `{}`, or the queue: a job with `max_delay` or `deadline` also waits without a queue"
    if schedule.interruptible is not None:
        refuse("schedule.interruptible", "does not interrupt its jobs", without.format("interruptible"))
    if schedule.effective_policy == "budget":
        what = "starts jobs at the lowest carbon intensity, not at the first time within a budget"
        refuse("schedule.budget_g", what, without.format("budget_g"))
    if schedule.zone is not None and schedule.zone.upper() != (zone := _zone(queue, config)).upper():
        refuse("schedule.zone", f"uses the forecast of zone {zone or 'of the settings'}")
    if schedule.signal not in (None, queue.signal):
        refuse("schedule.signal", f"uses the {queue.signal} intensity")
    if not queue.runs_in(resources.partition, None):
        refuse("resources.partition", f"is of partition {queue.partition!r}, not {resources.partition!r}")
    if not queue.runs_in(None, resources.qos):
        refuse("resources.qos", f"is of qos {queue.qos!r}, not {resources.qos!r}")
    if problems:
        raise InputError(problems)


def _zone(queue: Queue, config: Config) -> str:
    try:
        return zone_of(config, queue.zone)
    except ForecastError:
        return ""


def _comment_of(spec: JobSpec, queue: Queue, plan: Plan, now: datetime, released: bool) -> JobComment:
    """The comment of the job with times in whole seconds, as it will be read back."""
    limit, schedule = spec.resources.time, spec.schedule
    latest = plan.latest_start_at or now + queue.max_delay
    slack = max(timedelta(), latest - max(now, schedule.earliest or now))
    # The wait that Slurm expects now is no guide to later hours, but may still make a job miss its deadline.
    usual = plan.wait.expected if plan.wait.basis == "past jobs" else None
    if usual is not None and usual < LEAST_MARGIN:
        usual = None
    hard = schedule.deadline is not None
    before = margin(slack, plan.wait if hard else QueueWait(usual))
    odd = limit is not None and limit % timedelta(minutes=1) != timedelta()
    comment = JobComment(
        queue.name,
        latest - before,
        schedule.earliest,
        limit=limit if odd else None,
        run=plan.duration if plan.duration_basis == "history" else None,
        by=schedule.deadline - before if schedule.deadline is not None and plan.limit is not None else None,
        wait=usual,
        min_saving=None if schedule.min_saving == queue.min_saving else schedule.min_saving,
        released=released,
    )
    return parse_job_comment(comment.text()) or comment


def with_comment(spec: JobSpec, comment: JobComment) -> JobSpec:
    """The job with its queue entry added to the comment of its file or script."""
    return spec.changed(comment=insert_comment(spec.comment or "", comment))


class QueueAdmission:
    """Admits the jobs of one submission. The queue is read once, at the same time as the other queries for a plan, and
    each placed job counts for the next one, although it is not in Slurm yet.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._reading: Future[list[QueuedJob]] | None = None
        self._queued: list[QueuedJob] | None = None
        self._notes: tuple[str, ...] = ()

    def admit(self, spec: JobSpec, *, where: str, start_now: bool = False) -> tuple[JobSpec, Queue | None]:
        """The job with the defaults of its queue. A job with ``policy: asap`` does not wait and is in no queue.

        Raises:
            InputError: there is no such queue, or it cannot honour the job file; ``where`` names the file.
        """
        name = spec.schedule.queue
        if name is None or spec.schedule.effective_policy == "asap":
            return spec, None
        queue = the_queue(self._config, name, where=f"{where}: schedule.queue")
        _check(spec, queue, self._config, where)
        if self._reading is None and not start_now:
            pool = ThreadPoolExecutor(max_workers=1)
            self._reading = pool.submit(read_snapshot, TIMEOUT_S)
            pool.shutdown(wait=False)
        return with_queue_defaults(spec, queue), queue

    def place(self, spec: JobSpec, queue: Queue, plan: Plan, now: datetime, *, released: bool) -> tuple[JobSpec, Plan]:
        """The job with its comment, and its plan with a start within the queue's capacity.

        Without a forecast the start stays as planned, which is safe regardless of other jobs.
        """
        plan = replace(plan, queue=queue.name)
        comment = _comment_of(spec, queue, plan, now, released)
        if not released and plan.grid is not None and plan.limit is not None:
            queued = self._read()
            series = resampled(_series(plan.grid.series), queue)
            job = _as_queued(spec, plan, comment, now)
            if spec.schedule.deadline is not None and job.limit is not None:
                # Tasks of an array that run one after the other all have to meet the deadline.
                plan = replace(plan, latest_start_at=spec.schedule.deadline - job.limit)
            job = within_grid(job, queue, series)
            found = place(queue, queued, job, series, now)
            queued.append(replace(job, begin_at=found.start_at))
            plan = _with_start(spec, plan, queue, found, now)
            plan = replace(plan, notes=(*plan.notes, *self._notes))
        return with_comment(spec, comment), plan

    def _read(self) -> list[QueuedJob]:
        """The jobs in the queues. If Slurm does not answer in time, only the jobs of this submission count until the
        next round; their starts are safe in any case.
        """
        if self._queued is None:
            try:
                self._queued = self._reading.result() if self._reading is not None else read_snapshot(TIMEOUT_S)
            except SetupError as error:
                self._queued = []
                self._notes = (f"other jobs in the queue unknown: {error.message}",)
        return self._queued


def _with_start(spec: JobSpec, plan: Plan, queue: Queue, found: PlannedStart, now: datetime) -> Plan:
    expected = _expected(plan, found)
    plan = replace(plan, reason=f"queue {queue.name}: {found.why}", expected=expected, best=None)
    if found.start_at <= max(now, spec.schedule.earliest or now):
        return replace(plan, action="start-now", begin_at=None, start_at=plan.counterfactual.start_at)
    return replace(plan, action="wait", begin_at=found.start_at, start_at=found.runs_at)


def _expected(plan: Plan, found: PlannedStart) -> Expectation | None:
    """The expectation for the start in the queue, with the same width of the band."""
    expected = plan.expected
    if expected is None or found.planned_g_per_kwh is None:
        return None
    now_g_per_kwh, saving = found.now_g_per_kwh, found.saving
    if now_g_per_kwh is None and expected.now_estimated and expected.now_g_per_kwh > 0:
        now_g_per_kwh, saving = expected.now_g_per_kwh, 1 - found.planned_g_per_kwh / expected.now_g_per_kwh
    if now_g_per_kwh is None or saving is None:
        return None
    assert plan.grid is not None
    assert plan.duration is not None
    then_forecast = plan.grid.series.mean(found.runs_at, found.runs_at + plan.duration)
    low, high = (saving + edge - expected.saving for edge in expected.band)
    kwh = plan.energy_kwh
    return replace(
        expected,
        now_g_per_kwh=now_g_per_kwh,
        then_g_per_kwh=found.planned_g_per_kwh,
        then_forecast_g_per_kwh=found.planned_g_per_kwh if then_forecast is None else then_forecast,
        saving=saving,
        band=(low, high),
        now_g=None if kwh is None else kwh * now_g_per_kwh,
        then_g=None if kwh is None else kwh * found.planned_g_per_kwh,
    )


def _series(series: CarbonSeries) -> CarbonSeries:
    """The series with a complete first slot: a slot that starts at an odd second would need steps of seconds."""
    edges = series.edges_us
    if len(edges) < 3:
        return series
    length = edges[2] - edges[1]
    return replace(series, edges_us=(edges[1] - length, *edges[1:])) if edges[1] - edges[0] < length else series


_NUMBER = re.compile(r"[0-9]{1,9}")
"""The smallest number of ``2-4`` or ``8``."""


def _as_queued(spec: JobSpec, plan: Plan, comment: JobComment, now: datetime) -> QueuedJob:
    """The job as it will appear in Slurm's queue."""
    resources = spec.resources
    nodes = resources.min_nodes or 1
    cpus = max(nodes, (resources.ntasks or 1) * (resources.cpus_per_task or 1))
    for flags in component_flags(spec.directives)[1:]:
        more = {flag.name: int(match[0]) for flag in flags if (match := _NUMBER.match(flag.value or ""))}
        nodes += more.get("nodes", 1)
        cpus += max(more.get("nodes", 1), more.get("ntasks", 1) * more.get("cpus-per-task", 1))
    at_once, in_turn = array_shape(resources.array)
    assert plan.limit is not None
    return QueuedJob(
        job_id="0",
        state="PENDING",
        nodes=nodes * at_once,
        cpus=cpus * at_once,
        limit=run_in_turn(plan.limit, in_turn),
        comment=comment,
        submit_at=now.astimezone(UTC),
        at_once=at_once,
    )
