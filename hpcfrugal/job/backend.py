"""The interface of every backend, and its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from hpcfrugal.core.quick import dataclass
from hpcfrugal.spool.job_state import JobState


@dataclass(frozen=True, slots=True)
class RenderedJob:
    """A job as it is handed to a backend: the path of its batch script with the ``content``, and what is in that as
    options of sbatch.

    ``arguments`` are options that no line of the script can hold. ``output`` and ``error`` are patterns, None where the
    job file names none. ``limit`` is the time limit of each task, ``begin`` the earliest start (None: at once), and
    ``tasks_at_once`` how many tasks of ``array`` may run at the same time where nothing else divides the machine.
    """

    run_id: str
    name: str
    script: Path
    content: bytes
    workdir: Path
    arguments: Sequence[str] = ()
    output: str | None = None
    error: str | None = None
    limit: timedelta | None = None
    begin: datetime | None = None
    array: str | None = None
    tasks_at_once: int = 1


@dataclass(frozen=True, slots=True)
class Submitted:
    """A submitted job.

    For a job array ``job_id`` is the array's own id. ``cluster`` is empty where its name is not known.
    """

    cluster: str
    job_id: str


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

    @property
    def submits_at_once(self) -> int:
        """How many jobs it takes at the same time, from several threads."""

    def for_many(self, jobs: int) -> AbstractContextManager[Backend]:
        """A block with the backend that is best for so many submissions. What that needs may begin at once, while the
        jobs are prepared.
        """

    def cluster(self) -> str:
        """The name of the cluster that this backend's job ids belong to."""

    def max_array_size(self) -> int | None:
        """What the indices of the tasks of an array are below; None where there is no such limit.

        Raises:
            SetupError: the backend does not answer.
        """

    def submit(self, job: RenderedJob) -> Submitted:
        """Submit a job; returns as soon as it is in the queue.

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
