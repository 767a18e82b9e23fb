"""When a waiting job may start, and what a run from there on would cost. Pure.

StartTime is not before ``earliest``, which the job sets, and not after ``latest``, which follows from its comment and,
with a deadline, from its current time limit. The job is expected to run after its StartTime plus the usual wait, and
carbon counts from then on. Nodes are reserved from its StartTime on, since it may run at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.queues.settings import Queue
from hpcfrugal.queues.snapshot import QueuedJob

ASSUMED_LIMIT = timedelta(hours=24)
"""Run time of a job without a time limit."""

_NONE = timedelta()


@dataclass(frozen=True, slots=True)
class StartConstraints:
    """A waiting job and its constraints. ``width`` is the number of units that it uses. ``was`` is its present
    StartTime if that is in the future, ``soonest`` the time at which it would run if it started at ``earliest``.
    ``last`` is the latest StartTime to plan with: ``latest``, or the end of the forecast. ``beyond``: even ``earliest``
    is later.
    """

    job: QueuedJob
    width: int
    now: datetime
    earliest: datetime
    latest: datetime
    last: datetime
    beyond: bool
    soonest: datetime
    was: datetime | None
    run: timedelta
    limit: timedelta
    wait: timedelta
    min_saving: float

    @classmethod
    def of(cls, job: QueuedJob, queue: Queue, now: datetime, known_to: datetime | None) -> StartConstraints:
        """``known_to`` is the end of the forecast. A job whose run time is unknown is expected to run to its limit."""
        comment, limit = job.comment, limit_of(job)
        wait = min(comment.wait or _NONE, queue.max_delay)
        earliest = max(now, comment.earliest or now)
        latest = max(earliest, latest_start(job))
        # One job that may wait for years must not prevent a plan for all others.
        horizon = max(now + queue.max_delay, known_to or now)
        # It may already have waited for some time.
        since = job.begin_at if job.begin_at is not None and job.begin_at < now else earliest
        return cls(
            job=job,
            width=width_of(job, queue),
            now=now,
            earliest=earliest,
            latest=latest,
            last=max(earliest, min(latest, horizon)),
            beyond=earliest > horizon,
            soonest=max(earliest, since + wait),
            was=job.begin_at if job.begin_at is not None and job.begin_at > now else None,
            run=min(comment.run or limit, limit),
            limit=limit,
            wait=wait,
            min_saving=queue.min_saving if comment.min_saving is None else comment.min_saving,
        )

    @property
    def job_id(self) -> str:
        """Slurm's id of the job."""
        return self.job.job_id

    @property
    def fixed_at(self) -> datetime | None:
        """The StartTime of a job that is no longer planned: it was released, or its latest start has been reached."""
        if self.job.comment.released:
            # Not delayed, but not before the earliest start in its job file either.
            return min(self.earliest, self.was or self.now)
        return self.now if self.latest <= self.now else None

    @property
    def safe(self) -> datetime:
        """Its present StartTime, or the nearest allowed one."""
        return min(max(self.earliest, self.was or self.earliest), self.latest)

    def allows(self, start: datetime) -> bool:
        """Whether this may be its StartTime."""
        return self.earliest <= start <= self.latest

    def runs_at(self, start: datetime) -> datetime:
        """The time at which it is expected to run with this StartTime."""
        return self.soonest if start <= self.earliest else max(start + self.wait, self.soonest)

    def start_for(self, runs_at: datetime) -> datetime:
        """The StartTime with which it is expected to run then."""
        start = runs_at - self.wait
        return self.earliest if runs_at <= self.soonest or start <= self.earliest else min(start, self.last)

    def reserved(self, start: datetime) -> timedelta:
        """How long nodes are reserved for it from this StartTime on."""
        return self.runs_at(start) - start + self.limit

    def mean(self, series: CarbonSeries, start: datetime) -> float | None:
        """The expected mean intensity of its run, in g/kWh; None if the forecast has gaps."""
        begin = self.runs_at(start)
        return series.mean(begin, begin + self.run)


def latest_start(job: QueuedJob) -> datetime:
    """The latest safe StartTime."""
    comment = job.comment
    return comment.latest if comment.by is None or job.limit is None else comment.by - job.limit


def limit_of(job: QueuedJob) -> timedelta:
    """How long the job may run."""
    return job.limit if job.limit else ASSUMED_LIMIT


def width_of(job: QueuedJob, queue: Queue) -> int:
    """Units that the job takes of the queue's capacity."""
    return max(1, job.nodes if queue.unit == "nodes" else job.cpus)


def in_queue(jobs: Iterable[QueuedJob], queue: Queue) -> list[QueuedJob]:
    """The jobs of a queue by job id, without those in a partition or QOS of another."""
    # Sorted, since the order decides among plans that are equally good.
    return sorted(
        (job for job in jobs if job.comment.queue == queue.name and queue.runs_in(job.partition, job.qos)),
        key=lambda job: int(job.job_id),
    )


def in_use(jobs: Iterable[QueuedJob], queue: Queue, now: datetime) -> list[tuple[datetime, datetime, int]]:
    """What running jobs use, and the next tasks of running arrays: from, until, units."""
    jobs = list(jobs)
    used, ends = [], dict[str, list[datetime]]()
    for job in jobs:
        if not job.waits:
            # A job past its limit is about to end.
            end = max(now + timedelta(seconds=1), job.end_at or now + limit_of(job))
            used.append((now, end, width_of(job, queue)))
            ends.setdefault(job.array_id or job.job_id, []).append(end)
    for job in jobs:
        if job.waits and job.throttled and not job.held:
            before = sorted(ends.get(job.array_id or job.job_id, []))[: job.at_once]
            starts = [now] * (job.at_once - len(before)) + before
            each = max(1, width_of(job, queue) // job.at_once)
            used += [(start, start + limit_of(job), each) for start in starts]
    return used


def reserves_capacity(candidate: StartConstraints) -> bool:
    """Whether nodes are reserved for it. Not for a blocked job past its latest start: it is unknown how long it will
    wait, and in every round it would take the place of jobs that can start.
    """
    return not (candidate.job.blocked and candidate.fixed_at is not None)
