"""The state of an execution of a job, as a backend gives it and as it is stored in the spool."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import NOT_STORED
from hpcfrugal.core.time import instant_ns

UNKNOWN_STATE = "UNKNOWN"

# Slurm's job states that a job never leaves (squeue(1), JOB STATE CODES).
FINAL_STATES = frozenset(
    (
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"),
        *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
    )
)


@dataclass(frozen=True, slots=True)
class JobState:
    """One execution of one job: an array has one per task, a requeued job one per restart.

    Stored in ``<job>.<restart>.slurm.json``. Times are aware UTC; None where the backend does not know. It could start
    at ``eligible_at``: submitted, its begin time come, what it depends on over. ``exit_code`` and ``signal`` are those
    of the batch script, None until it ended. ``het_job_id`` is the first component of a heterogeneous job, in each of
    its components. ``queued``: the queue lists it now, and it is not over. ``held``: it waits until it is released.
    """

    job_id: str
    state: str = UNKNOWN_STATE
    restart: int = 0
    cluster: str = ""
    array_job_id: str | None = None
    array_task_id: str | None = None
    het_job_id: str | None = None
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
    reason: Annotated[str | None, NOT_STORED] = None
    queued: Annotated[bool, NOT_STORED] = False
    held: Annotated[bool, NOT_STORED] = False

    @property
    def submit_wall_ns(self) -> int | None:
        """The times in nanoseconds since 1970."""
        return _wall_ns(self.submit_at)

    @property
    def eligible_wall_ns(self) -> int | None:
        return _wall_ns(self.eligible_at)

    @property
    def start_wall_ns(self) -> int | None:
        return _wall_ns(self.start_at)

    @property
    def end_wall_ns(self) -> int | None:
        return _wall_ns(self.end_at)

    @property
    def final(self) -> bool:
        """Whether this execution is over. In accounting a requeued one is, and the next one follows."""
        return self.state in FINAL_STATES or (self.state == "REQUEUED" and self.end_at is not None)

    @property
    def shell_code(self) -> int | None:
        """The exit code as a shell and ``sbatch --wait`` give it: 128 + n for a job that died of signal n.

        Slurm reports a job that was out of memory as signal 125.
        """
        return 128 + self.signal if self.signal else self.exit_code

    def is_cut(self, recorded: int | None) -> bool:
        """Whether its exit code is what is left of ``recorded``, that of the batch script: sacct of Slurm 22.05 shows
        codes from 128 on without their highest bit (143 as 15:0), and ``sbatch --wait`` ends with the whole one."""
        return not self.signal and None not in (recorded, self.exit_code) and recorded == 128 + (self.exit_code or 0)


def _wall_ns(moment: datetime | None) -> int | None:
    return None if moment is None else instant_ns(moment)


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
