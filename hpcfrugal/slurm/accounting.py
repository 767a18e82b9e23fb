"""Past jobs, as sacct reads them from the accounting database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hpcfrugal.slurm.client import Request
from hpcfrugal.slurm.columns import OutputColumn, OutputTable, instant, node_names, slurm_time, whole_number
from hpcfrugal.slurm.command import Result
from hpcfrugal.slurm.job_ids import het_job
from hpcfrugal.spool.job_state import JobState

_EXECUTIONS = OutputTable(
    OutputColumn("job_id", "JobIDRaw", str),
    OutputColumn("shown_id", "JobID", str),
    OutputColumn("state", "State", str),
    OutputColumn("exit", "ExitCode", str),
    OutputColumn("submit_at", "Submit", instant),
    OutputColumn("eligible_at", "Eligible", instant),
    OutputColumn("start_at", "Start", instant),
    OutputColumn("end_at", "End", instant),
    OutputColumn("elapsed_s", "ElapsedRaw", whole_number),
    OutputColumn("partition", "Partition"),
    OutputColumn("account", "Account"),
    OutputColumn("qos", "QOS"),
    OutputColumn("user", "User"),
    OutputColumn("alloc_cpus", "AllocCPUS", whole_number),
    OutputColumn("nodes", "NodeList", node_names),
)
_STARTS = OutputTable(
    OutputColumn("partition", "Partition", str),
    OutputColumn("nodes", "NNodes", whole_number),
    OutputColumn("submit_at", "Submit", instant),
    OutputColumn("eligible_at", "Eligible", instant),
    OutputColumn("start_at", "Start", instant),
)
_ALLOCATIONS = ("sacct", "--parsable2", "--noheader", "--allocations")


@dataclass(frozen=True, slots=True)
class PastStates:
    """``problem`` says why sacct failed, None where it answered. ``disabled``: the cluster keeps no accounting."""

    states: Sequence[JobState]
    problem: str | None
    disabled: bool


@dataclass(frozen=True, slots=True)
class AccountingStates(Request[PastStates]):
    """The executions of jobs and of all tasks of arrays: one for each restart."""

    job_ids: Sequence[str]

    timeout_s = 120.0

    def argv(self) -> list[str]:
        """One sacct for all of them."""
        return [*_ALLOCATIONS, "--duplicates", "-j", ",".join(self.job_ids), f"--format={_EXECUTIONS.format('', ',')}"]

    def answer(self, result: Result) -> PastStates:
        """What sacct printed counts, even where it failed in the end."""
        # --duplicates lists each execution of a requeued job: with each one the time of its submission is a later one.
        rows = sorted(
            _EXECUTIONS.rows(result.out),
            key=lambda row: (row["job_id"], str(row["submit_at"] or "~"), str(row["start_at"] or "~")),
        )
        states: list[JobState] = []
        for row in rows:
            shown_id, exit_code = row.pop("shown_id"), row.pop("exit")
            base, separator, task = shown_id.partition("_")
            state = row["state"].split(" ")[0]  # "CANCELLED by 1000"
            code, _, signal = exit_code.partition(":")
            # 0:0 is an exit code only of a script that ended by itself; of a cancelled one it means "unknown".
            known = row["end_at"] is not None and (state in {"COMPLETED", "FAILED"} or exit_code != "0:0")
            row |= {
                "state": state,
                "exit_code": whole_number(code) if known else None,
                "signal": whole_number(signal) if known else None,
                "alloc_cpus": row["alloc_cpus"] or None,
            }
            found = JobState(
                **row,
                array_job_id=base if separator else None,
                array_task_id=task if separator and "[" not in task else None,
                het_job_id=het_job(shown_id),
            )
            before = states[-1] if states and states[-1].job_id == found.job_id else None
            if before is not None and _goes_on(before, found):
                states[-1] = replace(
                    found,
                    nodes=tuple(dict.fromkeys((*before.nodes, *found.nodes))),
                    start_at=before.start_at,
                    elapsed_s=_elapsed_s(before, found),
                    restart=before.restart,
                    submit_at=before.submit_at,
                    eligible_at=before.eligible_at,
                )
            else:
                states.append(replace(found, restart=0 if before is None else before.restart + 1))
        return PastStates(states, result.problem, "accounting storage is disabled" in result.err)


def _goes_on(before: JobState, after: JobState) -> bool:
    """Whether a row is the same execution after its nodes were changed. 22.05 gives it the start of the job, 24.11 and
    26.05 the time of the change."""
    return (
        before.state == "RESIZING" and after.start_at is not None and after.start_at in (before.start_at, before.end_at)
    )


def _elapsed_s(before: JobState, after: JobState) -> int | None:
    if after.start_at == before.start_at or None in (before.elapsed_s, after.elapsed_s):
        return after.elapsed_s
    return (before.elapsed_s or 0) + (after.elapsed_s or 0)


@dataclass(frozen=True, slots=True)
class StartedJob:
    """A job that has started. ``wait`` is the time from when it could start (submitted, its begin time reached, its
    dependencies over) until it started.
    """

    partition: str
    nodes: int
    start_at: datetime
    wait: timedelta


@dataclass(frozen=True, slots=True)
class StartedJobs(Request[list[StartedJob]]):
    """All users' jobs of a time, as far as the site lets users see them, that have started; by start."""

    since: datetime
    until: datetime
    partition: str | None = None
    """Several with commas; None: all."""

    def argv(self) -> list[str]:
        """One sacct."""
        argv = [*_ALLOCATIONS, "--allusers", f"--format={_STARTS.format('', ',')}"]
        argv += [f"--starttime={slurm_time(self.since)}", f"--endtime={slurm_time(self.until)}"]
        return argv if self.partition is None else [*argv, f"--partition={self.partition}"]

    def answer(self, result: Result) -> list[StartedJob]:
        """Raises SetupError: sacct failed."""
        found = []
        for row in _STARTS.rows(result.output()):
            nodes, start_at = row["nodes"], row["start_at"]
            # A job that still waits, or was cancelled before, has no start.
            if nodes and row["submit_at"] and row["eligible_at"] and start_at:
                wait = start_at - max(row["submit_at"], row["eligible_at"])
                found.append(StartedJob(row["partition"], nodes, start_at, max(timedelta(), wait)))
        return sorted(found, key=lambda job: job.start_at)


@dataclass(frozen=True, slots=True)
class AccountingCheck(Request[None]):
    """Whether sacct answers."""

    timeout_s = 10.0

    def argv(self) -> list[str]:
        """sacct for one job."""
        return [*_ALLOCATIONS, "-j", "1"]

    def answer(self, result: Result) -> None:
        """Raises SetupError: sacct failed."""
        result.output()
