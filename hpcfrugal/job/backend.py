"""The interface of every backend, and its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class JobState:
    """One execution of one job: an array has one per task, a requeued job one per restart.

    Times are aware UTC; None where the backend does not know. ``exit_code`` and ``signal`` are those of the
    batch script, None until it ended.
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

    @property
    def final(self) -> bool:
        """Whether this execution is over. In accounting a requeued one is, and the next one follows."""
        return self.state in FINAL_STATES or (self.state == "REQUEUED" and self.end_at is not None)

    @property
    def shell_code(self) -> int | None:
        """The exit code as a shell would give it: 128 + n for a job that died of signal n."""
        if self.signal:
            return 128 + self.signal
        return self.exit_code


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

    def states(self, job_ids: Sequence[str]) -> Mapping[str, Sequence[JobState]]:
        """The executions of many jobs, by the id that ``submit`` returned.

        A job that the backend does not know any more is left out.
        """

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Cancel jobs. A job that is over already is no error."""
