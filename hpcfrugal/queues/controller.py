"""One round over the low-carbon queues: look, plan, move. Nothing is kept between rounds but what Slurm keeps.

Every change is one ``scontrol update`` of one job, to a start no later than its latest safe one. So whoever ends the
controller, at whatever instant, leaves every job with a start that is safe.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hpcfrugal.carbon.forecast import Forecast, get_forecast
from hpcfrugal.core.errors import ForecastError, InputError, SetupError
from hpcfrugal.queues.horizon import foreseen, gridded
from hpcfrugal.queues.job_comment import with_ticket
from hpcfrugal.queues.replan import Planned, replan
from hpcfrugal.queues.settings import Queue
from hpcfrugal.queues.snapshot import QueuedJob, read_snapshot
from hpcfrugal.queues.start_constraints import in_queue
from hpcfrugal.settings.config import Config
from hpcfrugal.slurm.client import slurm_client
from hpcfrugal.slurm.command import NoAnswer
from hpcfrugal.slurm.updates import UpdateJob

HORIZON = timedelta(hours=96)
"""How far ahead a forecast is asked for; none of the providers reaches further."""

_SHOWN = 10

Ask = Callable[[Queue, datetime], Forecast]


@dataclass(frozen=True, slots=True)
class Round:
    """What was found and planned for one queue. ``forecast`` is None where there was none: ``notes`` say why."""

    queue: Queue
    at: datetime
    jobs: tuple[QueuedJob, ...]
    plans: tuple[Planned, ...]
    forecast: Forecast | None
    notes: tuple[str, ...]


def asker(config: Config) -> Ask:
    """Asks the provider of the settings for the forecast of a queue's zone."""

    def ask(queue: Queue, now: datetime) -> Forecast:
        # Whole hours: a series that is cut at an odd second would ask for a grid of seconds.
        start = now.replace(minute=0, second=0, microsecond=0)
        return get_forecast(config, queue.zone, queue.signal, start, start + HORIZON)

    return ask


def look(queues: Sequence[Queue], ask: Ask, now: datetime | None = None) -> list[Round]:
    """Plan all queues anew, by one squeue call and at most one forecast each. Changes nothing.

    Raises:
        SetupError: Slurm does not answer.
        InputError: a queue's zone is not known, or the settings of a provider are wrong.
    """
    board = read_snapshot()
    now = now or datetime.now(UTC)
    return [_round(queue, [job for job in board if job.comment.queue == queue.name], ask, now) for queue in queues]


def _round(queue: Queue, named: Sequence[QueuedJob], ask: Ask, now: datetime) -> Round:
    jobs = in_queue(named, queue)
    forecast = None
    notes: list[str] = []
    if elsewhere := sorted({job.job_id for job in named} - {job.job_id for job in jobs}, key=int):
        shown = ", ".join(elsewhere[:_SHOWN]) + (", ..." if len(elsewhere) > _SHOWN else "")
        notes.append(f"left alone, since not in the queue's partition or QOS: {shown}")
    if any(job.movable for job in jobs):
        try:
            forecast = ask(queue, now)
            notes += forecast.notes
        except ForecastError as error:
            notes.append(f"no forecast: {error.message}; every job keeps its start")
    series = gridded(forecast.series, queue) if forecast else None
    seen = jobs if series is None else [foreseen(job, queue, series) for job in jobs]
    try:
        runs = {job.job_id: job.comment.run for job in seen if job.comment.run is not None}
        plans = replan(queue, seen, series, now, runs=runs)
    except InputError as error:
        # Such as a grid of too many steps: the jobs have their starts, and keep them.
        notes.append(f"no plan: {error.message}; every job keeps its start")
        plans, forecast = replan(queue, jobs, None, now), None
    return Round(queue, now, tuple(jobs), tuple(plans), forecast, tuple(notes))


def may_move(job: QueuedJob, user: str) -> bool:
    """Whether this user may say when the job starts: root everybody's, others their own."""
    return os.getuid() == 0 or job.user == user


def move(plan: Planned, now: datetime | None = None) -> str | None:
    """Give a job its planned start. Returns a sentence where Slurm refused, such as for a job that has started.

    The start is bounded once more by the latest safe one, whatever the plan says. A job that would be put off is looked
    at once more before: its user may have let it go since.

    Raises:
        SetupError: Slurm does not answer; it would not for the next job either.
    """
    now = now or datetime.now(UTC)
    start = min(plan.start_at, plan.latest_at)
    if start > max(now, plan.was_at or now) and (why := _changed(plan.job)):
        return why
    return slurm_client().ask(UpdateJob(plan.job.job_id, "now" if start <= now else start))


def _changed(job: QueuedJob) -> str | None:
    """Why a job is not as it was when the round began; None where it is."""
    try:
        again = next((one for one in read_snapshot(30, job.job_id) if one.job_id == job.job_id), None)
    except NoAnswer:
        raise
    except SetupError as error:
        return error.message  # such as for a job that is over
    if again is None or not again.movable:
        return "it does not wait any more, or is held"
    if (again.begin_at, again.comment_text) != (job.begin_at, job.comment_text):
        return "its start or its comment was changed meanwhile"
    return None


def release(job: QueuedJob) -> str | None:
    """Let a job start as soon as Slurm has room, and leave it alone from then on. Returns and raises as ``move``.

    Its own earliest start does not hold any more.
    """
    comment = with_ticket(job.comment_text, replace(job.comment, earliest=None, released=True))
    return slurm_client().ask(UpdateJob(job.job_id, "now", comment))
