"""The snapshot of the queue: the jobs of the low-carbon queues as Slurm has them now, from one query."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hpcfrugal.core.record import assemble
from hpcfrugal.queues.job_comment import JobComment, parse_job_comment
from hpcfrugal.slurm.client import slurm_client
from hpcfrugal.slurm.job_ids import array_shape
from hpcfrugal.slurm.queue import QueueRow, QueueSnapshot

# Such a job waits for another, or Slurm cannot start it as it is: it must not take capacity from others that can start
# (squeue(1), JOB REASON CODES).
_STUCK = (
    "Dependency", "DependencyNeverSatisfied", "PartitionNodeLimit", "PartitionTimeLimit", "BadConstraints",
)  # fmt: skip
# The rest of an array with as many running tasks as allowed: each end starts the next task, regardless of StartTime.
_THROTTLED = "JobArrayTaskLimit"
# With these reasons a job starts once nodes are free. With any other (QOSMax..., AssocGrp..., Licenses,
# ReqNodeNotAvail, PartitionDown, ...) it also waits for something else, for an unknown time.
_FREE = ("Priority", "Resources", "BeginTime", "Prolog", "Cleaning")

_MINUTE = timedelta(minutes=1)

LONGEST = timedelta(days=366)
"""Longest run time to plan with: a thousand tasks of a century, one after the other, would pass the year 9999."""


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """One job, or the tasks of an array that wait. All times are aware UTC.

    ``limit`` is the time limit, from the comment of the job if Slurm rounded it up; it covers all tasks of an array,
    including those that run one after the other. ``nodes`` and ``cpus`` are those of all ``at_once`` tasks that may run
    at once. Slurm does not start it before ``begin_at``; None: it may start at any time.

    ``held``: it waits for a person or another job, and must not be started. ``throttled``: it starts when tasks of the
    same array (with the same ``array_id``) end. ``blocked``: it cannot use free nodes, for example because of a limit.
    """

    job_id: str
    state: str
    nodes: int
    cpus: int
    limit: timedelta | None
    comment: JobComment
    comment_text: str = ""
    user: str = ""
    name: str = ""
    submit_at: datetime | None = None
    begin_at: datetime | None = None
    end_at: datetime | None = None
    held: bool = False
    throttled: bool = False
    blocked: bool = False
    array_id: str = ""
    at_once: int = 1
    partition: str | None = None
    qos: str | None = None

    @property
    def movable(self) -> bool:
        """Whether it waits and its start can be planned."""
        return self.waits and not (self.held or self.throttled)

    @property
    def waits(self) -> bool:
        """Whether it has not started yet."""
        return self.state == "PENDING"


def read_snapshot(timeout_s: float | None = None, job_id: str | None = None) -> list[QueuedJob]:
    """The waiting and running jobs with a comment of a low-carbon queue; or one of them.

    Raises:
        SetupError: Slurm does not answer.
    """
    rows = slurm_client().ask(QueueSnapshot(job_id), timeout_s)
    return queued_jobs(rows)


def queued_jobs(rows: Iterable[QueueRow]) -> list[QueuedJob]:
    """The jobs of the low-carbon queues among the rows of the queue.

    The components of a heterogeneous job are one job under the id of the first, with the nodes of all: they start
    together, and to change the first changes all.
    """
    jobs: dict[str, list[QueueRow]] = {}
    for row in rows:
        jobs.setdefault(row.het_job_id or row.job_id, []).append(row)
    whole = (_whole(job_id, parts) for job_id, parts in jobs.items())
    return [job for row in whole if (job := queued_job(row)) is not None]


def _whole(job_id: str, parts: Sequence[QueueRow]) -> QueueRow:
    first = next((part for part in parts if part.job_id == job_id), parts[0])
    if len(parts) == 1:
        return first
    limits = [part.limit for part in parts if part.limit is not None]
    ends = [part.end_at for part in parts if part.end_at is not None]
    return replace(
        first,
        nodes=sum(part.nodes for part in parts),
        cpus=sum(part.cpus for part in parts),
        limit=max(limits) if len(limits) == len(parts) else None,
        end_at=max(ends, default=None),
    )


def queued_job(row: QueueRow) -> QueuedJob | None:
    """The job of a row of the queue; None if it is in no low-carbon queue."""
    comment = parse_job_comment(row.comment)
    if comment is None:
        return None
    waits = row.state == "PENDING"
    at_once, in_turn = array_shape(row.array_tasks) if waits else (1, 1)
    limit, end_at, reason = row.limit, None if waits else row.end_at, row.reason or ""
    # Used only within Slurm's rounding: capacity is reserved for as long as Slurm lets the job run.
    if comment.limit is not None and limit is not None and limit - _MINUTE < comment.limit < limit:
        end_at = end_at - (limit - comment.limit) if end_at is not None else None
        limit = comment.limit
    return assemble(
        QueuedJob,
        row,
        nodes=row.nodes * at_once,
        cpus=row.cpus * at_once,
        limit=run_in_turn(limit, in_turn) if limit is not None else None,
        comment=comment,
        comment_text=row.comment,
        begin_at=row.eligible_at if waits else None,
        end_at=end_at,
        held=waits and (row.held or reason.startswith(_STUCK)),
        throttled=waits and reason.startswith(_THROTTLED),
        blocked=waits and reason != "" and not reason.startswith(_FREE),
        array_id=row.array_job_id,
        at_once=at_once,
    )


def run_in_turn(limit: timedelta, times: int) -> timedelta:
    """The total time of ``times`` runs of a time limit, one after the other; about ``LONGEST`` at most."""
    return min(limit, LONGEST / times) * times
