"""All jobs of the low-carbon queues as Slurm has them now, by one squeue call."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hpcfrugal.backends import commands
from hpcfrugal.errors import SetupError
from hpcfrugal.queues.ticket import Ticket, read_ticket
from hpcfrugal.units import parse_walltime

# A suffix and no width: the whole value, however long. No name or comment has a reason to hold this character.
_SEPARATOR = "\x1f"
_FIELDS = (
    "JobID", "UserName", "State", "NumNodes", "NumCPUs", "TimeLimit", "SubmitTime", "EligibleTime",
    "EndTime", "Reason", "ArrayTaskID", "Name", "Comment",
)  # fmt: skip
_RUNS = frozenset({"RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STAGE_OUT", "SIGNALING", "STOPPED"})
# Somebody decided that such a job does not start, or not yet: it is not for us to say when.
_HELD = ("JobHeld", "Dependency", "DependencyNeverSatisfied", "JobArrayTaskLimit")
_ARRAY = re.compile(r"([\d,:-]+)(?:%(\d+))?")


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """One job, or the part of an array that waits. All times are aware UTC.

    ``limit`` is the job's own where its ticket tells it, and covers all tasks, one after the other where they have to.
    ``nodes`` and ``cpus`` are of all tasks that may run at once. ``begin_at`` is the moment before which Slurm does not
    start it, None where it may start at any time.
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
    ticket: Ticket

    @property
    def waits(self) -> bool:
        """Whether it is still to be started."""
        return self.state == "PENDING"


def read_board() -> list[QueuedJob]:
    """The jobs that have a ticket and are not over: those waiting, and those that run.

    Raises:
        SetupError: Slurm does not answer.
    """
    wanted = ",".join(f"{field}:{_SEPARATOR}" for field in _FIELDS)
    code, out, err = commands.run(["squeue", "--noheader", "--states=PENDING,RUNNING,CONFIGURING,COMPLETING,SUSPENDED",
                                   "-O", wanted], timeout_s=60)  # fmt: skip
    if code != 0:
        raise SetupError(f"squeue failed: {commands.first_line(err)}")
    return list(parse_board(out))


def parse_board(text: str) -> Iterator[QueuedJob]:
    """Jobs from squeue's lines; those of no queue, and lines that make no sense, are left out."""
    for line in text.split("\n"):
        cells = [cell.strip() for cell in line.split(_SEPARATOR)]
        if len(cells) != len(_FIELDS) + 1:
            continue
        ticket = read_ticket(cells[-2])
        if ticket is not None:
            job = _job(cells, ticket)
            if job is not None:
                yield job


def _job(cells: Sequence[str], ticket: Ticket) -> QueuedJob | None:
    job_id, user, state, nodes, cpus, limit, submit, eligible, end, reason, array, name, comment, _ = cells
    if not (job_id.isdigit() and nodes.partition("-")[0].isdigit() and cpus.partition("-")[0].isdigit()):
        return None
    if state != "PENDING" and state not in _RUNS:
        return None
    at_once, in_turn = _tasks(array) if state == "PENDING" else (1, 1)
    span, ends = _limit(limit), _time(end) if state != "PENDING" else None
    told = ticket.limit
    if told is not None and span is not None and told < span:
        ends = ends - (span - told) if ends is not None else None
        span = told
    return QueuedJob(
        job_id=job_id,
        user=user,
        name=name,
        state=state,
        nodes=int(nodes.partition("-")[0]) * at_once,
        cpus=int(cpus.partition("-")[0]) * at_once,
        limit=span * in_turn if span is not None else None,
        submit_at=_time(submit),
        begin_at=_time(eligible) if state == "PENDING" else None,
        end_at=ends,
        held=reason.startswith(_HELD),
        comment=comment,
        ticket=ticket,
    )


def _tasks(array: str) -> tuple[int, int]:
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
