"""The executions of a job by the rows of sacct, and the job's row of each. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.time import from_ns
from hpcfrugal.ledger.rows import AttemptRow
from hpcfrugal.slurm.sacct_jobs import SacctJob
from hpcfrugal.spool.job_state import JobState

_S = 10**9

_SAME_LIFE_S = 86_400
"""A job is requeued at most so long after its end; a later job of the same number is another one, since Slurm begins
again with the lowest number at some time."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One restart of a job, by the rows that Slurm has of it: several where it was resized, in the order of time."""

    restart: int
    rows: tuple[SacctJob, ...]


def rows_by_number(rows: Sequence[SacctJob], attempts: Sequence[AttemptRow]) -> dict[str, list[SacctJob]]:
    """The rows by the number of their job.

    A text without ``JobIDRaw`` has no numbers of the tasks of arrays; they are those that other texts, or runs, have of
    the same task about the same time.
    """
    numbers: dict[str, list[tuple[int, str]]] = {}
    for one in rows:
        if one.shown_id != one.job_id:
            numbers.setdefault(one.shown_id, []).append((one.submit_s, one.job_id))
    for attempt in attempts:
        if attempt.run is not None and attempt.array_task_id is not None:
            shown_id = f"{attempt.array_job_id}_{attempt.array_task_id}"
            numbers.setdefault(shown_id, []).append(((attempt.submitted_wall_ns or 0) // _S, attempt.job_id))
    found: dict[str, list[SacctJob]] = {}
    for one in rows:
        if one.shown_id == one.job_id and (known := numbers.get(one.shown_id)):
            _, number = min(known, key=lambda other: (abs(other[0] - one.submit_s), other[1]))
            one = replace(one, job_id=number)
        found.setdefault(one.job_id, []).append(one)
    return found


def executions(rows: Sequence[SacctJob]) -> list[Execution]:
    """The restarts of a job by the rows of sacct, given in the order in which they were asked for."""
    newest: dict[tuple[int, int | None], SacctJob] = {}
    for row in rows:
        newest[row.submit_s, row.start_s] = row
    started = {submit_s for submit_s, start_s in newest if start_s is not None}
    # A row of the time when it still waited is not another execution.
    known = [row for row in newest.values() if row.start_s is not None or row.submit_s not in started]
    found: list[Execution] = []
    for row in sorted(known, key=lambda one: (one.submit_s, one.start_s or 0)):
        before = found[-1].rows[-1] if found else None
        if before is not None and _goes_on(before, row):
            found[-1] = replace(found[-1], rows=(*found[-1].rows, row))
        elif before is not None and _is_restart(before, row):
            found.append(Execution(found[-1].restart + 1, (row,)))
        else:
            found.append(Execution(0, (row,)))
    return found


def _goes_on(before: SacctJob, row: SacctJob) -> bool:
    """Whether a row is the same execution with other resources."""
    return before.state == "RESIZING" and row.start_s is not None and row.start_s in (before.start_s, before.end_s)


def _is_restart(before: SacctJob, row: SacctJob) -> bool:
    over_s = max(before.submit_s, before.end_s or 0)
    return row.user == before.user and row.submit_s <= over_s + _SAME_LIFE_S


def attempt_of(execution: Execution) -> AttemptRow:
    """The job's row."""
    first, last = execution.rows[0], execution.rows[-1]
    ended_at = None if last.end_s is None else from_ns(last.end_s * _S)
    state = JobState(last.job_id, last.state, exit_code=last.exit_code, signal=last.signal, end_at=ended_at)
    final = state.final
    elapsed = [row.elapsed_s for row in parts_of_execution(execution) if row.elapsed_s is not None]
    return AttemptRow(
        origin="sacct",
        run=None,
        cluster=first.cluster,
        job_id=first.job_id,
        restart=execution.restart,
        user=last.user,
        name=last.name,
        array_job_id=last.array_job_id,
        array_task_id=last.array_task_id,
        het_job_id=last.het_job_id,
        partition=last.partition,
        account=last.account,
        qos=last.qos,
        state=last.state,
        final=final,
        exit_code=state.shell_code if final else None,
        signal=last.signal if final else None,
        submitted_wall_ns=first.submit_s * _S,
        eligible_wall_ns=_ns(first.eligible_s),
        started_wall_ns=_ns(first.start_s),
        ended_wall_ns=_ns(last.end_s) if first.start_s is not None else None,
        elapsed_ns=sum(elapsed) * _S if elapsed and final else None,
        elapsed_source="slurm" if elapsed and final else None,
        nodes=tuple(sorted({node for row in execution.rows for node in row.node_names})),
        alloc_cpus=last.cpus,
        alloc_gpus=last.gpus,
    )


def parts_of_execution(execution: Execution) -> tuple[SacctJob, ...]:
    """Its rows, each for the time in which the job had those resources.

    Slurm gives the last row of a resized job either its own start or that of the job.
    """
    found: list[SacctJob] = []
    for row in execution.rows:
        before = found[-1] if found else None
        if before is not None and before.end_s is not None and row.start_s is not None and row.start_s < before.end_s:
            elapsed_s = None if row.elapsed_s is None else max(0, row.elapsed_s - (before.elapsed_s or 0))
            row = replace(row, start_s=before.end_s, elapsed_s=elapsed_s)
        found.append(row)
    return tuple(found)


def _ns(seconds: int | None) -> int | None:
    return None if seconds is None else seconds * _S


def is_same_execution(attempt: AttemptRow, execution: Execution) -> bool:
    """Whether a job of the ledger is this execution."""
    return is_same_attempt(attempt, attempt_of(execution))


def is_same_attempt(attempt: AttemptRow, wanted: AttemptRow, life_ns: int | None = None) -> bool:
    """Whether the job of a run is this execution: submitted at the same second, or the same restart about then.

    The clock of the node on which it was submitted may be off Slurm's. ``life_ns`` is when the job was first submitted,
    which is what the run has of a restart before Slurm is asked.
    """
    if attempt.submitted_wall_ns is None or wanted.submitted_wall_ns is None:
        return attempt.restart == wanted.restart
    apart_ns = [abs(attempt.submitted_wall_ns - at_ns) for at_ns in (wanted.submitted_wall_ns, life_ns) if at_ns]
    return apart_ns[0] < _S or (attempt.restart == wanted.restart and min(apart_ns) <= _SAME_LIFE_S * _S)
