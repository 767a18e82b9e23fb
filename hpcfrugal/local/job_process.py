"""Runs inside the job that submitit starts for the local backend: one batch script, to its end or time limit."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from hpcfrugal.local.child import start_child
from hpcfrugal.local.identity import cluster_name, job_environ
from hpcfrugal.local.pid_file import write_pid
from hpcfrugal.local.session import end_rest_of_session
from hpcfrugal.spool import RunDir
from hpcfrugal.spool.documents import write_document
from hpcfrugal.spool.job_state import JobState


def run_script(
    run_path: str,
    *,
    output: str,
    error: str | None,
    workdir: str,
    cuda_visible_devices: str | None,
    limit_s: float | None,
) -> int:
    """Run the batch script of a run directory by bash, in a session of its own; returns its exit code as a shell
    gives it.

    ``cuda_visible_devices`` is the value at submission: submitit itself sets an empty one.
    """
    run_dir = RunDir(Path(run_path))
    environ = {key: value for key, value in os.environ.items() if not key.startswith("SUBMITIT_")}
    environ.pop("CUDA_VISIBLE_DEVICES", None)
    if cuda_visible_devices is not None:
        environ["CUDA_VISIBLE_DEVICES"] = cuda_visible_devices
    with ExitStack() as opened:
        out = opened.enter_context(Path(output).open("ab"))
        err = opened.enter_context(Path(error).open("ab")) if error else out
        child = opened.enter_context(
            start_child(
                ["/bin/bash", str(run_dir.script)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=workdir,
                env=environ | job_environ(run_dir.run_id),
                start_new_session=True,
            )
        )
        write_pid(run_dir, child.pid)
        if not child.ends_within(limit_s):
            keep_state(run_dir, "TIMEOUT")
            child.end()
    if child.was_killed:
        end_rest_of_session(child.pid)
    return child.exit_code


def keep_state(run_dir: RunDir, state: str) -> None:
    """Record CANCELLED or TIMEOUT, which the exit code does not show, where Slurm's state of a job would be."""
    document = JobState(run_dir.run_id, state, cluster=cluster_name())
    with suppress(OSError):  # then it counts as failed, by its exit code
        write_document(run_dir.slurm_json(run_dir.run_id, 0), document)


def run_detached(start: Callable[[], bool], log: Path) -> bool:
    """Call ``start`` in a process in a session of its own, without our terminal and pipes; returns its result.

    What it starts is not reached by the terminal's Ctrl-C and hang-up, and does not keep a reader of our output
    waiting, as submitit's own processes would. ``log`` takes its output.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(out, 1)
            os.dup2(out, 2)
            code = 0 if start() else 1
        except BaseException:
            os.write(2, traceback.format_exc().encode(errors="replace"))
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
