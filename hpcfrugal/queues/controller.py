"""One round over the low-carbon queues: snapshot, plan, update. Between rounds, all state is in Slurm.

Every change is one update of one job, to a start no later than its latest safe one. The controller can be stopped at
any time, since every job has a safe start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hpcfrugal.carbon.forecast import Forecast, get_forecast
from hpcfrugal.core.errors import ForecastError, InputError, SetupError
from hpcfrugal.core.time import whole_hour
from hpcfrugal.queues.horizon import resampled, within_grid
from hpcfrugal.queues.job_comment import insert_comment
from hpcfrugal.queues.replan import PlannedStart, replan
from hpcfrugal.queues.settings import Queue
from hpcfrugal.queues.snapshot import QueuedJob, read_snapshot
from hpcfrugal.queues.start_constraints import in_queue, width_of
from hpcfrugal.settings.config import Config
from hpcfrugal.slurm.client import SlurmClient, slurm_client
from hpcfrugal.slurm.command import NoAnswer
from hpcfrugal.slurm.updates import UpdateJob

HORIZON = timedelta(hours=96)
"""The length of the forecast; no provider has a longer one."""

_SHOWN = 10

ForecastSource = Callable[[Queue, datetime], Forecast]


@dataclass(frozen=True, slots=True)
class Round:
    """The jobs of one queue and their plan. ``forecast`` is None if there is none; ``notes`` give the reason."""

    queue: Queue
    at: datetime
    jobs: tuple[QueuedJob, ...]
    plans: tuple[PlannedStart, ...]
    forecast: Forecast | None
    notes: tuple[str, ...]

    @property
    def capacity(self) -> int:
        """Units that jobs of the queue may use now."""
        return self.queue.capacity_at(self.at.hour * 60 + self.at.minute)

    @property
    def used(self) -> int:
        """Units that running jobs use."""
        return sum(width_of(job, self.queue) for job in self.jobs if not job.waits)


def forecast_source(config: Config) -> ForecastSource:
    """The forecasts of the configured providers, by queue."""

    def forecast(queue: Queue, now: datetime) -> Forecast:
        # Whole hours: a series that starts at an odd second would need a grid of seconds.
        start = whole_hour(now)
        return get_forecast(config, queue.zone, queue.signal, start, start + HORIZON)

    return forecast


def plan_round(queues: Sequence[Queue], forecasts: ForecastSource) -> list[Round]:
    """Plan all queues, with one query of the queue and at most one forecast each. Changes nothing.

    Raises:
        SetupError: Slurm does not answer.
        InputError: a queue's zone is unknown, or the settings of a provider are invalid.
    """
    queued = read_snapshot()
    now = datetime.now(UTC).replace(microsecond=0)
    return [
        _round(queue, [job for job in queued if job.comment.queue == queue.name], forecasts, now) for queue in queues
    ]


def _round(queue: Queue, named: Sequence[QueuedJob], forecasts: ForecastSource, now: datetime) -> Round:
    jobs = in_queue(named, queue)
    forecast = None
    notes: list[str] = []
    if elsewhere := sorted({job.job_id for job in named} - {job.job_id for job in jobs}, key=int):
        shown = ", ".join(elsewhere[:_SHOWN]) + (", ..." if len(elsewhere) > _SHOWN else "")
        notes.append(f"ignored, since they are not in the partition or QOS of the queue: {shown}")
    if any(job.movable for job in jobs):
        try:
            forecast = forecasts(queue, now)
            notes += forecast.notes
        except ForecastError as error:
            notes.append(f"no forecast: {error.message}; all jobs keep their start")
    series = resampled(forecast.series, queue) if forecast else None
    seen = jobs if series is None else [within_grid(job, queue, series) for job in jobs]
    try:
        plans = replan(queue, seen, series, now)
    except InputError as error:
        # For example a grid with too many steps.
        notes.append(f"no plan: {error.message}; all jobs keep their start")
        plans, forecast = replan(queue, jobs, None, now), None
    return Round(queue, now, tuple(jobs), tuple(plans), forecast, tuple(notes))


def may_move(job: QueuedJob, user: str) -> bool:
    """Whether this user may change the start of the job: root of any job, other users of their own."""
    return os.getuid() == 0 or job.user == user


def move(plan: PlannedStart, client: SlurmClient, now: datetime | None = None) -> str | None:
    """Give a job its planned start. Returns the reason if that failed, such as for a job that has started.

    The start is never after the latest safe one, regardless of the plan. Before a job is delayed further it is read
    again, since its user may have released it.

    Raises:
        SetupError: Slurm does not answer.
    """
    now = now or datetime.now(UTC)
    start = min(plan.start_at, plan.latest_at)
    if start > max(now, plan.was_at or now) and (why := _changed(plan.job)):
        return why
    return client.ask(UpdateJob(plan.job.job_id, "now" if start <= now else start))


def _changed(job: QueuedJob) -> str | None:
    """How a job has changed since the round began; None if it has not."""
    try:
        again = next((one for one in read_snapshot(30, job.job_id) if one.job_id == job.job_id), None)
    except NoAnswer:
        raise
    except SetupError as error:
        return error.message  # for example if the job has ended
    if again is None or not again.movable:
        return "it no longer waits, or it is held"
    if (again.begin_at, again.comment_text) != (job.begin_at, job.comment_text):
        return "its start or comment has changed since the round began"
    return None


def release_job(job: QueuedJob) -> str | None:
    """Let a job start as soon as Slurm has nodes for it; it is not moved again. Returns and raises as ``move``.

    Its own earliest start no longer applies.
    """
    comment = insert_comment(job.comment_text, replace(job.comment, earliest=None, released=True))
    return slurm_client().ask(UpdateJob(job.job_id, "now", comment))
