"""Reading the files of node agents by many processes: on this machine, or as a job array of Slurm.

submitit hands out the work. Each task leaves its rows as Parquet files, and this process puts them into the ledger. A
task that fails leaves its files to the sync that follows.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hpcfrugal.api.messages import Messages
from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.text import plain
from hpcfrugal.ledger.agent_parts import agent_files_to_read, read_part, take_part
from hpcfrugal.slurm.environment import submission_environment
from hpcfrugal.spool.layout import AGENTS_DIR

if TYPE_CHECKING:
    from submitit import Job

Executor = Literal["local", "slurm"]

_LOOK_S = 0.5
_MINUTES = 120
_MEMORY_GB = 2


def read_agents(
    executor: Executor,
    tasks: int,
    options: Mapping[str, str],
    spool: Path,
    ledger: Path,
    messages: Messages,
) -> int:
    """Read the agents' files that a sync would read from their beginning, in at most so many ``tasks``, and put them
    into the ledger; returns how many.

    ``options`` are further options of sbatch: ``{"partition": "short"}``. The tasks need this Python environment, the
    spool and the program at the same paths.

    Raises:
        SetupError: submitit or pyarrow is missing, or Slurm does not take the job.
        DataError: the ledger is damaged.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise SetupError("--executor needs pyarrow", hint="pip install 'hpcfrugal[parquet]'") from None
    files = agent_files_to_read(ledger, spool)
    if not files:
        return 0
    owner_uid = os.lstat(spool / AGENTS_DIR).st_uid
    count = min(tasks, len(files))
    parts = [files[start::count] for start in range(count)]
    taken = 0
    try:
        # beside the files of the agents, where the nodes see it too
        with tempfile.TemporaryDirectory(prefix=".sync-", dir=spool) as temporary:
            folders = [Path(temporary) / f"part-{number}" for number in range(len(parts))]
            jobs = _submit(executor, tasks, options, Path(temporary), parts, owner_uid, folders)
            with _cancelled_at_end(jobs), messages.progress("Reading files of agents") as progress:
                for number, job in enumerate(_as_they_end(jobs)):
                    folder = folders[jobs.index(job)]
                    os.listdir(temporary)  # a network file system looks anew then
                    if folder.is_dir():
                        taken += take_part(ledger, spool, folder)
                    else:
                        why = " ".join(plain(str(job.exception()), 300).split())
                        messages.warn(f"task {job.job_id} left nothing; its files are read here: {why}")
                    if progress is not None:
                        progress(number + 1, len(jobs))
    except OSError as error:
        raise SetupError(f"cannot write to {spool}: {error.strerror or error}") from None
    return taken


def _submit(
    executor: Executor,
    tasks: int,
    options: Mapping[str, str],
    folder: Path,
    parts: Sequence[Sequence[Any]],
    owner_uid: int,
    folders: Sequence[Path],
) -> list[Job[int]]:
    import submitit

    with _without_caller():
        try:
            made = submitit.AutoExecutor(folder=folder / "log-%j", cluster=executor)
            made.update_parameters(name="hpcfrugal-site-sync", timeout_min=_MINUTES, cpus_per_task=1)
            if executor == "slurm":
                made.update_parameters(
                    slurm_array_parallelism=tasks,
                    slurm_mem=f"{_MEMORY_GB}G",
                    slurm_additional_parameters=dict(options),
                )
            submitted: list[Job[int]] = made.map_array(
                read_part, parts, [owner_uid] * len(parts), [str(one) for one in folders]
            )
        except (RuntimeError, submitit.core.utils.FailedJobError) as error:
            reason = " ".join(plain(str(error), 500).split())
            raise SetupError(f"the files of agents are not read by tasks: {reason}") from None
    return submitted


@contextmanager
def _without_caller() -> Iterator[None]:
    """The environment without variables that change what sbatch does."""
    kept = dict(os.environ)
    os.environ.clear()
    os.environ.update(submission_environment(kept))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


@contextmanager
def _cancelled_at_end(jobs: Sequence[Job[int]]) -> Iterator[None]:
    try:
        yield
    finally:
        for job in jobs:
            if not job.done():
                job.cancel()


def _as_they_end(jobs: Sequence[Job[int]]) -> Iterator[Job[int]]:
    waiting = list(jobs)
    while waiting:
        ended = [job for job in waiting if job.done()]
        yield from ended
        waiting = [job for job in waiting if job not in ended]
        if waiting and not ended:
            time.sleep(_LOOK_S)
