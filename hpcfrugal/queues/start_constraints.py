"""One waiting job as a round sees it: between which instants its StartTime may lie, and what a run from there meets.

One rule bounds StartTime: not before ``earliest``, the job's own; not after ``latest``, which its ticket says and,
where it has a deadline, the time limit that it has by now. A job runs some time after its StartTime, the usual wait,
and carbon counts from then on. Nodes are kept free from its StartTime on, as it may run at once. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.queues.settings import Queue
from hpcfrugal.queues.snapshot import QueuedJob

ASSUMED_LIMIT = timedelta(hours=24)
"""Run time of a job for which Slurm knows no limit."""

_NONE = timedelta()


@dataclass(frozen=True, slots=True)
class StartConstraints:
    """A waiting job. ``was`` is its StartTime where that is still to come, ``soonest`` when it would run if it could
    start at its ``earliest``. ``last`` is the latest StartTime to plan with: ``latest``, or where forecasts end; with
    ``beyond`` even its ``earliest`` is later than that.
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
    def of(
        cls, job: QueuedJob, queue: Queue, now: datetime, known_to: datetime | None, run: timedelta | None
    ) -> StartConstraints:
        """``known_to`` is where the forecast ends, ``run`` how long the job is expected to run (None: to its limit)."""
        ticket, limit = job.comment, limit_of(job)
        wait = min(ticket.wait or _NONE, queue.max_delay)
        earliest = max(now, ticket.earliest or now)
        latest = max(earliest, latest_start(job))
        # No further than that: one job that may wait for years would leave all others without a plan.
        horizon = max(now + queue.max_delay, known_to or now)
        # Part of its wait may be over.
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
            run=min(run, limit) if run is not None and run > _NONE else limit,
            limit=limit,
            wait=wait,
            min_saving=queue.min_saving if ticket.min_saving is None else ticket.min_saving,
        )

    @property
    def fixed_at(self) -> datetime | None:
        """The StartTime of a job that nobody plans any more: it was released, or its latest start is there."""
        if self.job.comment.released:
            # Not put off, and not before the moment that its file names.
            return min(self.earliest, self.was or self.now)
        return self.now if self.latest <= self.now else None

    @property
    def safe(self) -> datetime:
        """Its StartTime as it is, or the nearest that is allowed."""
        return min(max(self.earliest, self.was or self.earliest), self.latest)

    def allows(self, start: datetime) -> bool:
        """Whether this may be its StartTime."""
        return self.earliest <= start <= self.latest

    def runs_at(self, start: datetime) -> datetime:
        """When it is expected to run with this StartTime."""
        return self.soonest if start <= self.earliest else max(start + self.wait, self.soonest)

    def start_for(self, runs_at: datetime) -> datetime:
        """The StartTime with which it is expected to run then."""
        start = runs_at - self.wait
        return self.earliest if runs_at <= self.soonest or start <= self.earliest else min(start, self.last)

    def room(self, start: datetime) -> timedelta:
        """For how long from its StartTime on nodes are kept for it."""
        return self.runs_at(start) - start + self.limit

    def mean(self, series: CarbonSeries, start: datetime) -> float | None:
        """The intensity that it is expected to meet, in g/kWh; None where the forecast does not tell."""
        begin = self.runs_at(start)
        return series.mean(begin, begin + self.run)


def latest_start(job: QueuedJob) -> datetime:
    """The latest safe StartTime."""
    ticket = job.comment
    return ticket.latest if ticket.by is None or job.limit is None else ticket.by - job.limit


def limit_of(job: QueuedJob) -> timedelta:
    """How long it may run."""
    return job.limit if job.limit else ASSUMED_LIMIT


def width_of(job: QueuedJob, queue: Queue) -> int:
    """What it takes of the queue's capacity."""
    return max(1, job.nodes if queue.unit == "nodes" else job.cpus)


def in_queue(jobs: Iterable[QueuedJob], queue: Queue) -> list[QueuedJob]:
    """The jobs of a queue, those with a ticket of it elsewhere left out, in an order of their own."""
    # Not in squeue's: the planner's answer depends on it where there are several as good.
    return sorted(
        (job for job in jobs if job.comment.queue == queue.name and queue.runs_in(job.partition, job.qos)),
        key=lambda job: int(job.job_id),
    )


def in_use(jobs: Iterable[QueuedJob], queue: Queue, now: datetime) -> list[tuple[datetime, datetime, int]]:
    """What running jobs take, and arrays whose tasks follow on those that run: from, until, units."""
    jobs = list(jobs)
    used, ends = [], dict[str, list[datetime]]()
    for job in jobs:
        if not job.waits:
            # One that is past its limit is on its way out.
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


def takes_room(case: StartConstraints) -> bool:
    """Whether nodes are kept for it. Not for one that has its last StartTime, and that nodes alone don't start: nobody
    knows for how long, and in every round anew it would take the place of those that can.
    """
    return not (case.job.blocked and case.fixed_at is not None)
