"""The queue, as squeue shows it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated, Any

from hpcfrugal.slurm.client import Request
from hpcfrugal.slurm.columns import (
    ColumnSource,
    OutputColumn,
    OutputTable,
    instant,
    least,
    node_names,
    walltime,
    whole_number,
)
from hpcfrugal.slurm.command import Result
from hpcfrugal.slurm.job_ids import het_job
from hpcfrugal.spool.job_state import JobState


def _is_held(priority: str) -> bool:
    """Whether a waiting job is held: then its priority is 0 (scontrol(1), hold), whatever reason Slurm shows, such as
    "launch failed requeued held"."""
    return whole_number(priority) == 0


# No column can hold the separator but the last one; a job's name could, and is not asked for.
_STATES = OutputTable(
    OutputColumn("job_id", "%A", str),
    OutputColumn("shown_id", "%i", str),
    OutputColumn("array_task_id", "%K"),
    OutputColumn("state", "%T", str),
    OutputColumn("submit_at", "%V", instant),
    OutputColumn("start_at", "%S", instant),
    OutputColumn("end_at", "%e", instant),
    OutputColumn("partition", "%P"),
    OutputColumn("account", "%a"),
    OutputColumn("qos", "%q"),
    OutputColumn("user", "%u"),
    OutputColumn("alloc_cpus", "%C", whole_number),
    OutputColumn("held", "%Q", _is_held),
    OutputColumn("nodes", "%N", node_names),
    OutputColumn("reason", "%r"),
)
_NOT_STARTED = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
)

_SNAPSHOT_STATES = ("PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED")
_STARTED = frozenset(_SNAPSHOT_STATES[1:]) | {"STAGE_OUT", "SIGNALING", "STOPPED"}


@dataclass(frozen=True, slots=True)
class PresentStates:
    """``problem`` says why squeue failed, None where it answered: then a job that is not listed is not in the queue."""

    states: Sequence[JobState]
    problem: str | None


@dataclass(frozen=True, slots=True)
class QueueStates(Request[PresentStates]):
    """The states of jobs that wait, run, or ended a short time ago, each array task for itself."""

    job_ids: Sequence[str]

    timeout_s = 120.0

    def argv(self) -> list[str]:
        """One squeue for all of them."""
        listed = ",".join(self.job_ids)
        return ["squeue", "--noheader", "--array", "--states=all", "-j", listed, "-o", _STATES.format()]

    def answer(self, result: Result) -> PresentStates:
        """Where none of the jobs is in the queue any more, squeue calls their ids invalid."""
        found = [listed_state(_with_jobs(row)) for row in _STATES.rows(result.out)]
        problem = None if "Invalid job id" in result.err else result.problem
        return PresentStates(found, problem)


def _with_jobs(row: dict[str, Any]) -> dict[str, Any]:
    """The columns with the array (17 of ``17_4`` and ``17_[1-3]``) or heterogeneous job that the shown id names."""
    shown_id = row.pop("shown_id")
    array, _, task = shown_id.partition("_")
    return {**row, "het_job_id": het_job(shown_id), "array_job_id": array if task else None}


def listed_state(row: dict[str, Any]) -> JobState:
    """The state of a job in the queue, by the values of the columns that are asked for."""
    waits = row["state"] in _NOT_STARTED
    if row["array_task_id"] is None:
        row["array_job_id"] = None
    elif waits and row["job_id"] == row["array_job_id"]:
        # Waiting tasks are listed under the array's own id: none of them has an id yet.
        row["array_task_id"] = None
    if waits:
        row |= {"start_at": None, "alloc_cpus": None}  # an expected start, requested CPUs
    row["held"] = waits and row["held"]
    if row["state"] not in {"COMPLETED", "FAILED"}:
        row["end_at"] = None
    state = JobState(**row)
    return replace(state, queued=not state.final)


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One job, or the tasks of an array that wait, as squeue shows it. Times are aware UTC.

    ``nodes`` and ``cpus`` are of one task, or of one component of a heterogeneous job, whose first is ``het_job_id``.
    ``eligible_at`` is when a waiting job may start at the earliest; ``held``: not until it is released.
    ``array_tasks`` are the tasks of an array, such as ``1-10%4``.
    """

    job_id: Annotated[str, ColumnSource("JobID", str)]
    user: Annotated[str, ColumnSource("UserName", str)]
    state: Annotated[str, ColumnSource("State", str)]
    nodes: Annotated[int, ColumnSource("NumNodes", least)]
    cpus: Annotated[int, ColumnSource("NumCPUs", least)]
    limit: Annotated[timedelta | None, ColumnSource("TimeLimit", walltime)]
    submit_at: Annotated[datetime | None, ColumnSource("SubmitTime", instant)]
    eligible_at: Annotated[datetime | None, ColumnSource("EligibleTime", instant)]
    end_at: Annotated[datetime | None, ColumnSource("EndTime", instant)]
    reason: Annotated[str | None, ColumnSource("Reason")]
    held: Annotated[bool, ColumnSource("PriorityLong", _is_held)]
    het_job_id: Annotated[str | None, ColumnSource("HetJobID")]
    array_job_id: Annotated[str, ColumnSource("ArrayJobID", str)]
    array_tasks: Annotated[str | None, ColumnSource("ArrayTaskID")]
    partition: Annotated[str | None, ColumnSource("Partition")]
    qos: Annotated[str | None, ColumnSource("QOS")]
    name: Annotated[str, ColumnSource("Name", str)]
    comment: Annotated[str, ColumnSource("Comment", str)]


_SNAPSHOT = OutputTable.of(QueueRow)


@dataclass(frozen=True, slots=True)
class QueueSnapshot(Request[list[QueueRow]]):
    """All jobs that wait or run, or one of them."""

    job_id: str | None = None
    # Unguessable: names and comments hold any character, line breaks too. With a known separator a user could forge
    # rows of other users' jobs.
    separator: str = field(default_factory=lambda: f"\x1f{secrets.token_hex(8)}\x1f")

    def argv(self) -> list[str]:
        """One squeue. A suffix and no width: values come whole, however long."""
        only = [] if self.job_id is None else [f"--jobs={self.job_id}"]
        wanted = _SNAPSHOT.format(after=f":{self.separator}", between=",")
        return ["squeue", "--noheader", f"--states={','.join(_SNAPSHOT_STATES)}", *only, "-O", wanted]

    def answer(self, result: Result) -> list[QueueRow]:
        """Raises SetupError: squeue failed, such as for one job that is over."""
        return list(self._rows(result.output()))

    def _rows(self, text: str) -> Iterator[QueueRow]:
        cells = [cell.strip() for cell in text.split(self.separator)]
        width = len(_SNAPSHOT.columns)
        for at in range(0, len(cells) - width, width):
            first = cells[at].rpartition("\n")[2]  # what a site's wrapper printed before
            row = _SNAPSHOT.row([first, *cells[at + 1 : at + width]])
            known = whole_number(row["job_id"]) is not None and None not in (row["nodes"], row["cpus"])
            if known and (row["state"] == "PENDING" or row["state"] in _STARTED):
                yield QueueRow(**row)


@dataclass(frozen=True, slots=True)
class PendingReasons(Request[list[str]]):
    """Why the pending jobs of a partition wait, as far as the site lets users see it (squeue(1), JOB REASON CODES)."""

    partition: str

    def argv(self) -> list[str]:
        """One squeue."""
        return ["squeue", "--noheader", "--states=PENDING", "--format=%r", f"--partition={self.partition}"]

    def answer(self, result: Result) -> list[str]:
        """Raises SetupError: squeue failed."""
        return result.output().split()
