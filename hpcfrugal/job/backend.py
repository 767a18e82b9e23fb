"""What every backend offers, and the data that goes in and out of it."""

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
    """A job as its backend took it.

    For a job array ``job_id`` is the array's own id. ``cluster`` is empty where its name could not be learnt.
    """

    cluster: str
    job_id: str


@dataclass(frozen=True, slots=True)
class JobState:
    """One execution of one job: an array has one per task, a requeued job one per restart.

    Times are aware UTC; None where the backend does not know. ``exit_code`` and ``signal`` are those of the
    batch script, None until it ended.
    """

    cluster: str
    job_id: str
    restart: int
    array_job_id: str | None
    array_task_id: str | None
    state: str
    exit_code: int | None
    signal: int | None
    submit_at: datetime | None
    eligible_at: datetime | None
    start_at: datetime | None
    end_at: datetime | None
    elapsed_s: int | None
    partition: str | None
    account: str | None
    qos: str | None
    user: str | None
    nodes: tuple[str, ...]
    alloc_cpus: int | None
    reason: str | None = None

    @property
    def final(self) -> bool:
        """Whether this execution is over for good; in the books a requeued one is, and the next one follows."""
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
        """The name that this backend's job ids belong to."""

    def submit(self, script: Path, arguments: Sequence[str], *, run_id: str, workdir: Path) -> Submitted:
        """Hand a script over; returns as soon as it is queued.

        Raises:
            SetupError: the backend is not there or refuses.
        """

    def states(self, job_ids: Sequence[str]) -> Mapping[str, Sequence[JobState]]:
        """The executions of many jobs, keyed by the id that ``submit`` gave; asked in one go.

        A job that is not known any more is left out.
        """

    def cancel(self, job_ids: Sequence[str]) -> None:
        """End jobs. A job that is over already is no error."""
