"""A job of this machine, or one task of a job array: its id, its files, and the environment of its batch script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from hpcfrugal.core.lock import take_lock
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.safe_read import UnsafeFile
from hpcfrugal.job.array_tasks import parse_array
from hpcfrugal.local.identity import cluster_name, job_environ
from hpcfrugal.local.pid_file import read_pid
from hpcfrugal.spool import JobKey, RunDir
from hpcfrugal.spool.documents import (
    EndDocument,
    LocalDocument,
    read_end,
    read_local,
    read_slurm,
    write_document,
)
from hpcfrugal.spool.job_state import JobState

MOST_LOCAL_TASKS = 10_000
"""So many tasks an array of this machine may have."""

_LOCK_WAIT_S = 30.0

_D = TypeVar("_D")


@dataclass(frozen=True, slots=True)
class LocalTask:
    """A job, whose ``index`` is None, or a task of an array; ``restart`` counts the segments of one that is stopped and
    started again."""

    run_dir: RunDir
    index: int | None = None
    restart: int = 0

    @property
    def job_id(self) -> str:
        """The run id, with the index of a task: process ids are reused, and the ledger's keys must not be."""
        run_id = self.run_dir.run_id
        return run_id if self.index is None else f"{run_id}_{self.index}"

    @property
    def key(self) -> JobKey:
        return JobKey(self.job_id, self.restart)

    @property
    def pid_path(self) -> Path:
        """Names the process of its batch script, from its start on."""
        return self.run_dir.pid(self.job_id, self.restart)

    def now(self) -> LocalTask:
        """It in its last segment."""
        task, recorded = self, self.recorded()
        while recorded is not None and recorded.state == "REQUEUED":
            task = replace(task, restart=task.restart + 1)
            recorded = task.recorded()
        return task

    def process(self) -> int | None:
        """The process of its batch script, while that runs."""
        return read_pid(self.pid_path)

    def end(self) -> EndDocument:
        """What the batch script noted at its end."""
        return self._read(read_end, self.run_dir.end_json(self.job_id, self.restart)) or EndDocument(
            self.job_id, self.restart
        )

    def recorded(self) -> JobState | None:
        """What ``keep_state`` noted."""
        return self._read(read_slurm, self.run_dir.slurm_json(self.job_id, self.restart))

    def _read(self, reader: Callable[[Path, int, JobKey], tuple[_D, Any, list[str]]], path: Path) -> _D | None:
        try:
            return reader(path, self.run_dir.path.stat().st_uid, self.key)[0]
        except (OSError, UnsafeFile):
            return None

    def keep_state(self, state: str, *, ended: bool = False, eligible: datetime | None = None) -> None:
        """Record a state that the exit code does not show, where Slurm's state of a job would be. ``ended``: it has
        ended now, which no end record says. ``eligible`` is when it may start."""
        end_at = datetime.now(UTC) if ended else None
        recorded = replace(self.with_state(state), end_at=end_at, eligible_at=eligible)
        with suppress(OSError):  # then it counts as failed, by its exit code
            write_document(self.run_dir.slurm_json(self.job_id, self.restart), recorded)

    def has_next_start(self) -> bool:
        """Whether its segment has ended, and the next one is not recorded yet."""
        return self.run_dir.next_start(self.job_id).exists()

    def take_next_start(self) -> datetime | None:
        """When the next segment begins, as the batch script left it; None where it is over."""
        path = self.run_dir.next_start(self.job_id)
        try:
            found = datetime.fromtimestamp(int(path.read_text()), UTC)
            path.unlink()
        except (OSError, ValueError, OverflowError):
            return None
        return found

    def is_cancelled(self) -> bool:
        """Whether it was cancelled, before its start or later."""
        recorded = self.recorded()
        return recorded is not None and recorded.state == "CANCELLED"

    def with_state(self, state: str) -> JobState:
        """It in this state."""
        of_array, task = (None, None) if self.index is None else (self.run_dir.run_id, str(self.index))
        return JobState(
            self.job_id, state, self.restart, cluster=cluster_name(), array_job_id=of_array, array_task_id=task
        )

    def environ(self, array: str | None) -> dict[str, str]:
        """The variables by which sidecar and batch script know their job, and those of sbatch in a task of an array
        (sbatch(1), OUTPUT ENVIRONMENT VARIABLES)."""
        variables = job_environ(self.job_id, self.restart)
        if array is not None and self.index is not None:
            tasks = parse_array(array)
            indices = tasks.indices
            variables |= {
                "SLURM_ARRAY_JOB_ID": self.run_dir.run_id,
                "SLURM_ARRAY_TASK_ID": str(self.index),
                "SLURM_ARRAY_TASK_COUNT": str(len(indices)),
                "SLURM_ARRAY_TASK_MIN": str(indices[0]),
                "SLURM_ARRAY_TASK_MAX": str(indices[-1]),
                "SLURM_ARRAY_TASK_STEP": str(tasks.step),
            }
        return variables


def tasks_of(run_dir: RunDir, array: str | None) -> Sequence[LocalTask]:
    """The tasks of a job in the order of their start. Raises ``ValueError`` for an ``array`` that is none."""
    if array is None:
        return [LocalTask(run_dir)]
    tasks = parse_array(array)
    if tasks.count > MOST_LOCAL_TASKS:
        raise ValueError(f"{tasks.count} tasks; this machine takes {MOST_LOCAL_TASKS} at most")
    return [LocalTask(run_dir, index) for index in tasks.indices]


def read_schedule(run_dir: RunDir) -> LocalDocument:
    """When a job starts, and its tasks. One without such a file, as of `hpcfrugal run`, started at once."""
    try:
        document = read_local(run_dir.local_json, run_dir.path.stat().st_uid)[0]
        tasks_of(run_dir, document.array)
        return document
    except (OSError, UnsafeFile, ValueError):
        return LocalDocument()


def lock_tasks(run_dir: RunDir) -> BinaryIO:
    """Held while a task is started, or cancelled. Raises ``OSError`` and ``LockHeld``."""
    return take_lock(run_dir.local_lock, _LOCK_WAIT_S)
