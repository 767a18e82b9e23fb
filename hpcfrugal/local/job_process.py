"""Runs inside the job that submitit starts for the local backend: waits until the job may start, and runs its tasks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from hpcfrugal.core.lock import LockHeld
from hpcfrugal.job.backend import RenderedJob
from hpcfrugal.job.output_path import DEFAULT_OUTPUT, expand_output
from hpcfrugal.local.child import start_child
from hpcfrugal.local.pid_file import write_pid
from hpcfrugal.local.session import end_rest_of_session
from hpcfrugal.local.task import LocalTask, lock_tasks, tasks_of
from hpcfrugal.spool import RunDir

_LOOK_S = 1.0
"""A job that waits looks so often at the wall clock, which may have been set, or have gone on while the machine was
suspended, and whether it was cancelled."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A job and what its batch script needs from the submission: the user's name, and ``CUDA_VISIBLE_DEVICES``, since
    submitit itself sets an empty one (None: not set)."""

    job: RenderedJob
    user: str
    cuda_visible_devices: str | None

    def outputs(self, task: LocalTask) -> list[Path]:
        """The output file of a task, and that of its errors where it is another one."""
        job = self.job
        patterns = [job.output or DEFAULT_OUTPUT, *([job.error] if job.error is not None else [])]
        names = [
            expand_output(
                pattern,
                job_id=task.job_id,
                array_job_id=job.run_id,
                index=task.index,
                name=job.name,
                user=self.user,
            )
            for pattern in patterns
        ]
        return [job.workdir / name for name in names]


def run_job(launch: Launch) -> int:
    """Run the batch script of a job, once for each task; returns the highest exit code."""
    job = launch.job
    run_dir = RunDir(str(job.script.parent))
    write_pid(run_dir.local_pid, os.getpid())
    waiting = [*tasks_of(run_dir, job.array)]
    wait_to_begin(waiting, job.begin)
    running, codes = set[int](), [0]
    while waiting or running:
        while waiting and len(running) < job.tasks_at_once:
            task = waiting.pop(0)
            if not task.is_cancelled():
                running.add(_fork_task(task, launch))
        if running:
            pid, status = os.wait()
            running.discard(pid)
            codes.append(os.waitstatus_to_exitcode(status))
    return max(codes)


def wait_to_begin(tasks: Sequence[LocalTask], begin: datetime | None) -> None:
    """Wait until ``begin`` by the wall clock, or until all tasks are cancelled."""
    while begin is not None and (left_s := begin.timestamp() - time.time()) > 0:
        if all(task.is_cancelled() for task in tasks):
            return
        time.sleep(min(left_s, _LOOK_S))


def _fork_task(task: LocalTask, launch: Launch) -> int:
    """Run a task in a process of its own, which is the parent of all that it starts; returns that process."""

    def run() -> int:
        try:
            return run_task(task, launch)
        except (OSError, LockHeld):
            task.now().keep_state("FAILED", ended=True)
            raise

    pid = os.fork()
    return pid if pid else _run_and_exit(run)


def run_task(task: LocalTask, launch: Launch) -> int:
    """Run a task to its end, which is that of its last segment; returns its exit code. Raises what ``run_segment``
    raises."""
    while True:
        code = run_segment(task, launch)
        with lock_tasks(task.run_dir):
            begin = task.take_next_start()
            if begin is None or task.is_cancelled():
                return code
            task.keep_state("REQUEUED", ended=True)
            task = replace(task, restart=task.restart + 1)
            task.keep_state("PENDING", eligible=begin)
        wait_to_begin([task], begin)


def run_segment(task: LocalTask, launch: Launch) -> int:
    """Run the batch script by bash, in a session of its own; returns its exit code as a shell gives it.

    Raises ``OSError`` where it cannot be started, such as for want of its output file.
    """
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("SUBMITIT_", "SLURM_ARRAY_"))}
    environ.pop("CUDA_VISIBLE_DEVICES", None)
    if launch.cuda_visible_devices is not None:
        environ["CUDA_VISIBLE_DEVICES"] = launch.cuda_visible_devices
    with ExitStack() as opened:
        out, *error = [opened.enter_context(path.open("ab")) for path in launch.outputs(task)]
        with lock_tasks(task.run_dir):
            if task.is_cancelled():
                return 0
            child = opened.enter_context(
                start_child(
                    ["/bin/bash", str(launch.job.script)],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=error[0] if error else out,
                    cwd=launch.job.workdir,
                    env=environ | task.environ(launch.job.array),
                    start_new_session=True,
                )
            )
            write_pid(task.pid_path, child.pid)
            waited = task.recorded()
            task.keep_state("RUNNING", eligible=None if waited is None else waited.eligible_at)
        limit = launch.job.limit
        if not child.ends_within(None if limit is None else limit.total_seconds()):
            task.keep_state("TIMEOUT")
            child.end()
    if child.was_killed:
        end_rest_of_session(child.pid)
    return child.exit_code


def run_detached(start: Callable[[], bool], log: Path) -> bool:
    """Call ``start`` in a process in a session of its own, without our terminal and pipes; returns its result.

    What it starts is not reached by the terminal's Ctrl-C and hang-up, and does not keep a reader of our output
    waiting, as submitit's own processes would. ``log`` takes its output.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:

        def detached() -> int:
            os.setsid()
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(out, 1)
            os.dup2(out, 2)
            return 0 if start() else 1

        _run_and_exit(detached)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _run_and_exit(work: Callable[[], int]) -> NoReturn:
    """Exit with what ``work`` returns, and with 1 and a traceback where it raises."""
    code = 1
    try:
        code = work()
    except BaseException:
        os.write(2, traceback.format_exc().encode(errors="replace"))
    finally:
        os._exit(code)
