"""The interface of every backend, and its data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

# Slurm's job states that a job never leaves (squeue(1), JOB STATE CODES).
FINAL_STATES = frozenset(
    (
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"),
        *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
    )
)


@dataclass(frozen=True, slots=True)
class Submitted:
    """A submitted job.

    For a job array ``job_id`` is the array's own id. ``cluster`` is empty where its name is not known.
    """

    cluster: str
    job_id: str


def shell_code(exit_code: int | None, signal: int | None) -> int | None:
    """The exit code as a shell and ``sbatch --wait`` give it: 128 + n for a job that died of signal n.

    Slurm reports a job that was out of memory as signal 125.
    """
    return 128 + signal if signal else exit_code


@dataclass(frozen=True, slots=True)
class JobState:
    """One execution of one job: an array has one per task, a requeued job one per restart.

    Times are aware UTC; None where the backend does not know. ``exit_code`` and ``signal`` are those of the
    batch script, None until it ended. ``queued``: the queue lists it now, and it is not over.
    """

    job_id: str
    state: str
    cluster: str = ""
    restart: int = 0
    array_job_id: str | None = None
    array_task_id: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    submit_at: datetime | None = None
    eligible_at: datetime | None = None
    start_at: datetime | None = None
    end_at: datetime | None = None
    elapsed_s: int | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    user: str | None = None
    nodes: tuple[str, ...] = ()
    alloc_cpus: int | None = None
    reason: str | None = None
    queued: bool = False

    @property
    def final(self) -> bool:
        """Whether this execution is over. In accounting a requeued one is, and the next one follows."""
        return self.state in FINAL_STATES or (self.state == "REQUEUED" and self.end_at is not None)

    @property
    def shell_code(self) -> int | None:
        """See ``shell_code``."""
        return shell_code(self.exit_code, self.signal)


def last_of_each(states: Iterable[JobState]) -> list[JobState]:
    """The last execution of each job: an array has one for each task."""
    return list({state.job_id: state for state in sorted(states, key=lambda state: state.restart)}.values())


def is_over(job_id: str, states: Iterable[JobState]) -> bool:
    """Whether no part of a job can run any more, by all of its executions.

    A requeued job comes back under a higher restart. Tasks of an array get their own ids as they start; those that wait
    are listed under the array's own id: without a final state under it, some still wait.
    """
    last = last_of_each(states)
    known = any(state.job_id == job_id for state in last)
    return known and all(state.final and state.state != "REQUEUED" for state in last)


@dataclass(frozen=True, slots=True)
class SubmittedRun:
    """A run, by its directory in the spool, and the job that it became."""

    directory: Path
    job_id: str

    @property
    def run_id(self) -> str:
        return self.directory.name


@dataclass(frozen=True, slots=True)
class RunStates:
    """The executions of a run's job, and whether it is over: no part of it can run any more.

    ``queued``: whether a part of it waits or runs now; None where that is not known.
    """

    states: Sequence[JobState]
    over: bool
    queued: bool | None


@dataclass(frozen=True, slots=True)
class BackendStates:
    """The answer of a backend, by run id. ``problem``: what it could not find out, None where it knows all."""

    runs: Mapping[str, RunStates]
    problem: str | None = None


class Backend(Protocol):
    """A way to run jobs."""

    name: str

    def cluster(self) -> str:
        """The name of the cluster that this backend's job ids belong to."""

    def submit(self, script: Path, arguments: Sequence[str], *, run_id: str, workdir: Path) -> Submitted:
        """Submit a script; returns as soon as it is in the queue.

        Raises:
            SetupError: the backend is not available or refuses the job.
        """

    def states(self, runs: Sequence[SubmittedRun]) -> BackendStates:
        """The executions of many runs. A run is left out whose job the backend does not know.

        Raises:
            SetupError: the backend does not answer.
        """

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Cancel jobs. A job that is over already is no error."""
