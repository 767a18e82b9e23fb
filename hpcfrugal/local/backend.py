"""This machine as a cluster of one node, through submitit's LocalExecutor. Runs where there is no Slurm."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from hpcfrugal.core.errors import InputError, SetupError
from hpcfrugal.core.lock import LockHeld
from hpcfrugal.core.user import user_name
from hpcfrugal.job.array_tasks import indices_of
from hpcfrugal.job.backend import BackendStates, RenderedJob, RunStates, Submitted, SubmittedRun
from hpcfrugal.local.identity import cluster_name
from hpcfrugal.local.job_process import Launch, run_detached, run_job
from hpcfrugal.local.session import becomes_true, end_sessions
from hpcfrugal.local.states import job_states
from hpcfrugal.local.task import LocalTask, lock_tasks, read_schedule, tasks_of
from hpcfrugal.spool import RunDir, is_run_id
from hpcfrugal.spool.documents import LocalDocument, write_document

_START_TIMEOUT_S = 30.0
_TEN_YEARS_MIN = 10 * 365 * 24 * 60


class Local:
    """The backend for a machine without Slurm. A job's id is its run id."""

    name = "local"
    submits_at_once = 1  # it forks, which a process with several threads should not

    def __init__(self, spool: Path) -> None:
        self._spool = spool

    def for_many(self, jobs: int) -> AbstractContextManager[Local]:
        """The same backend, however many."""
        return nullcontext(self)

    def cluster(self) -> str:
        """``local:`` and the host's name."""
        return cluster_name()

    def max_array_size(self) -> int | None:
        """The number of tasks has a limit, the indices have none."""
        return None

    def submit(self, job: RenderedJob) -> Submitted:
        """Start the job, or the process that waits for its earliest start; returns once its batch script runs, or it
        waits.
        """
        run_dir = RunDir(str(job.script.parent))
        if job.begin is not None and job.begin <= datetime.now(UTC):
            job = replace(job, begin=None)
        # The content has the values of the job's environment, and is in its own file.
        launch = Launch(replace(job, content=b""), user_name(), os.environ.get("CUDA_VISIBLE_DEVICES"))
        first = tasks_of(run_dir, job.array)[0]
        if not os.access(job.workdir, os.X_OK) or not job.workdir.is_dir():
            raise SetupError(f"the job cannot run in {job.workdir}", hint="set workdir in the job file to a directory")
        for path in launch.outputs(first):
            _try_output(path)
        write_document(run_dir.local_json, LocalDocument(job.begin, job.array))
        # What waits has a process, what starts at once has a batch script.
        begun = first.pid_path if job.begin is None else run_dir.local_pid

        def start() -> bool:
            import submitit

            executor = submitit.LocalExecutor(folder=str(run_dir.submitit))
            executor.update_parameters(timeout_min=_TEN_YEARS_MIN)
            started = executor.submit(run_job, launch)
            deadline = time.monotonic() + _START_TIMEOUT_S
            while not begun.exists():
                if started.done() or time.monotonic() > deadline:
                    started.cancel()
                    return begun.exists()
                time.sleep(0.02)
            return True

        log = run_dir.submitit / "start.log"
        log.parent.mkdir(mode=0o700)
        if not run_detached(start, log):
            raise SetupError(f"the job did not start: {_last_log_line(run_dir.submitit)}")
        return Submitted(cluster=self.cluster(), job_id=job.run_id)

    def states(self, runs: Sequence[SubmittedRun]) -> BackendStates:
        """From the files of the job and the process table."""
        found = {}
        for run in runs:
            if run.directory.is_dir():
                states = job_states(RunDir(str(run.directory)))
                over = all(state.final for state in states)
                found[run.run_id] = RunStates(states, over=over, queued=not over)
        return BackendStates(found)

    def cancel(self, job_ids: Sequence[str]) -> None:
        """TERM to the job's processes, KILL after Slurm's default grace time. What has not started never does.

        Raises:
            InputError: an array has no such task.
            SetupError: the run directory cannot be written.
        """
        chosen = [tasks for job_id in job_ids if (tasks := self._tasks(job_id))]
        running = [one for tasks in chosen for one in _mark_cancelled(tasks)]

        def ended() -> bool:
            return all(task.process() is None for _, task in running)

        end_sessions([pid for pid, _ in running], lambda timeout_s: becomes_true(ended, timeout_s))

    def _tasks(self, job_id: str) -> Sequence[LocalTask]:
        """The tasks of a job, or those behind its ``_``; none where there is no such job. Raises InputError."""
        base, _, wanted = job_id.partition("_")
        if not is_run_id(base) or not (run_dir := RunDir.of(self._spool, base)).path.is_dir():
            return []
        tasks = tasks_of(run_dir, read_schedule(run_dir).array)
        if not wanted:
            return tasks
        indices = indices_of(wanted)
        if missing := indices - {task.index for task in tasks}:
            raise InputError.at(f"{base}_{min(missing)}", "is not a task of this job")
        return [task for task in tasks if task.index in indices]


def _mark_cancelled(tasks: Sequence[LocalTask]) -> list[tuple[int, LocalTask]]:
    """Mark these tasks of a job as cancelled; returns those that run, with their processes."""
    running = []
    run_dir = tasks[0].run_dir
    try:
        with lock_tasks(run_dir):
            for task in tasks:
                task = task.now()
                pid = task.process()
                if pid is not None:
                    running.append((pid, task))
                recorded = task.recorded()
                waits = not task.pid_path.exists() and (recorded is None or not recorded.final)
                if pid is not None or waits or task.has_next_start():
                    task.keep_state("CANCELLED", ended=pid is None)
    except (OSError, LockHeld) as error:
        raise SetupError(f"job {run_dir.run_id} cannot be cancelled: {error}") from None
    return running


def _try_output(path: Path) -> None:
    """Raises SetupError where the job's output file cannot be written."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666))
    except OSError as error:
        raise SetupError(
            f"the job's output cannot be written: {path}: {error.strerror}",
            hint=f"make {path.parent}, or name another output",
        ) from None


def _last_log_line(folder: Path) -> str:
    """The last line of the logs of a job that did not start."""
    lines: list[str] = []
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        if path.suffix in {".err", ".log"}:
            lines += [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason given"
