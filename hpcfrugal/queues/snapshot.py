"""All jobs of the low-carbon queues as Slurm has them now, by one squeue call."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.units import parse_walltime
from hpcfrugal.queues.job_comment import JobComment, parse_job_comment
from hpcfrugal.slurm import commands

_SEPARATOR = "\x1f"
_FIELDS = (
    "JobID", "UserName", "State", "NumNodes", "NumCPUs", "TimeLimit", "SubmitTime", "EligibleTime",
    "EndTime", "Reason", "ArrayJobID", "ArrayTaskID", "Partition", "QOS", "Name", "Comment",
)  # fmt: skip
_RUNS = frozenset({"RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STAGE_OUT", "SIGNALING", "STOPPED"})
# Somebody decided that such a job does not start, or not yet: it is not for us to say when. Or Slurm can't start it as
# it is, and it must not take room from others who can (squeue(1), JOB REASON CODES).
_HELD = (
    "JobHeld", "Dependency", "DependencyNeverSatisfied", "PartitionNodeLimit", "PartitionTimeLimit", "BadConstraints",
)  # fmt: skip
# The rest of an array whose tasks that may run at once are running: each end starts the next, whatever StartTime says.
_THROTTLED = "JobArrayTaskLimit"
# With these a job starts once it has nodes. With any other (QOSMax..., AssocGrp..., Licenses, ReqNodeNotAvail,
# PartitionDown, ...) nodes alone don't start it, for a time that nobody here knows.
_FREE = ("None", "(null)", "Priority", "Resources", "BeginTime", "Prolog", "Cleaning")
# squeue ends a long list of tasks with dots.
_ARRAY = re.compile(r"([\d,:-]+?)(?:,?\.\.\.)?(?:%(\d+))?", re.ASCII)

_MINUTE = timedelta(minutes=1)

LONGEST = timedelta(days=366)
"""A job is planned as if it ran no longer than this: a thousand tasks of a century in turn pass the year 9999."""


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """One job, or the part of an array that waits. All times are aware UTC.

    ``limit`` is the job's own where its ticket tells it, and covers all tasks, one after the other where they have to.
    ``nodes`` and ``cpus`` are of all ``at_once`` tasks that may run at once. ``begin_at`` is the moment before which
    Slurm does not start it, None where it may start at any time.

    ``held``: it waits for what somebody does, and is not for us to start. ``throttled``: it starts as tasks of the same
    array (of the same ``array_id``) end. ``blocked``: a limit or the like keeps it from nodes that are free.
    """

    job_id: str
    user: str
    name: str
    state: str
    nodes: int
    cpus: int
    limit: timedelta | None
    submit_at: datetime | None
    begin_at: datetime | None
    end_at: datetime | None
    held: bool
    comment: str
    ticket: JobComment
    array_id: str = ""
    at_once: int = 1
    throttled: bool = False
    blocked: bool = False
    partition: str = ""
    qos: str = ""

    @property
    def movable(self) -> bool:
        """Whether it waits, and when it starts is for us to say."""
        return self.waits and not (self.held or self.throttled)

    @property
    def waits(self) -> bool:
        """Whether it is still to be started."""
        return self.state == "PENDING"


def read_snapshot(timeout_s: float = 60, job_id: str | None = None) -> list[QueuedJob]:
    """The jobs that have a ticket and are not over: those waiting, and those that run; or one of them.

    Raises:
        SetupError: Slurm does not answer.
    """
    # A suffix and no width: the whole value, however long. A name may hold any character, line breaks too, and would
    # be taken for rows of other people's jobs if its user could tell what stands between the values.
    separator = f"{_SEPARATOR}{secrets.token_hex(8)}{_SEPARATOR}"
    wanted = ",".join(f"{field}:{separator}" for field in _FIELDS)
    only = [] if job_id is None else [f"--jobs={job_id}"]
    code, out, err = commands.run(["squeue", "--noheader", "--states=PENDING,RUNNING,CONFIGURING,COMPLETING,SUSPENDED",
                                   *only, "-O", wanted], timeout_s=timeout_s)  # fmt: skip
    if code != 0:
        raise SetupError(f"squeue failed: {commands.first_line(err)}")
    return list(parse_snapshot(out, separator))


def parse_snapshot(text: str, separator: str) -> Iterator[QueuedJob]:
    """Jobs from what squeue wrote, with ``separator`` after each value; those of no queue, and such as make no sense,
    are left out.
    """
    cells = [cell.strip() for cell in text.split(separator)]
    for at in range(0, len(cells) - len(_FIELDS), len(_FIELDS)):
        row = cells[at : at + len(_FIELDS)]
        row[0] = row[0].rpartition("\n")[2]  # with SLURM_CLUSTERS set, a line that names the cluster stands before
        ticket = parse_job_comment(row[-1])
        if ticket is not None:
            job = _job(row, ticket)
            if job is not None:
                yield job


def _job(cells: Sequence[str], ticket: JobComment) -> QueuedJob | None:
    (job_id, user, state, nodes, cpus, limit, submit, eligible, end, reason, array_id, array, partition, qos, name,
     comment) = cells  # fmt: skip
    if not (job_id.isdigit() and nodes.partition("-")[0].isdigit() and cpus.partition("-")[0].isdigit()):
        return None
    if state != "PENDING" and state not in _RUNS:
        return None
    waits = state == "PENDING"
    at_once, in_turn = tasks_of(array) if waits else (1, 1)
    span, ends = _limit(limit), None if waits else _time(end)
    told = ticket.limit
    # Only what Slurm rounded up: room is kept for as long as Slurm lets a job run, whatever its comment says.
    if told is not None and span is not None and span - _MINUTE < told < span:
        ends = ends - (span - told) if ends is not None else None
        span = told
    return QueuedJob(
        job_id=job_id,
        user=user,
        name=name,
        state=state,
        nodes=int(nodes.partition("-")[0]) * at_once,
        cpus=int(cpus.partition("-")[0]) * at_once,
        limit=min(span, LONGEST / in_turn) * in_turn if span is not None else None,
        submit_at=_time(submit),
        begin_at=_time(eligible) if waits else None,
        end_at=ends,
        held=waits and reason.startswith(_HELD),
        comment=comment,
        ticket=ticket,
        array_id=array_id,
        at_once=at_once,
        throttled=waits and reason.startswith(_THROTTLED),
        blocked=waits and reason != "" and not reason.startswith(_FREE),
        partition=partition,
        qos=qos,
    )


def tasks_of(array: str) -> tuple[int, int]:
    """Tasks that run at once, and how many times so many: ``1-10%4`` is 4 at once, 3 times."""
    match = _ARRAY.fullmatch(array)
    if match is None:
        return 1, 1
    count = 0
    for part in match[1].split(","):
        bounds, _, step = part.partition(":")
        first, _, last = bounds.partition("-")
        if not first.isdigit():
            return 1, 1
        count += (int(last or first) - int(first)) // max(1, int(step or 1)) + 1
    at_once = min(count, int(match[2] or count) or count)
    return max(1, at_once), -(-count // max(1, at_once))


def _limit(text: str) -> timedelta | None:
    try:
        return parse_walltime(text)
    except ValueError:
        return None  # UNLIMITED, NOT_SET


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
