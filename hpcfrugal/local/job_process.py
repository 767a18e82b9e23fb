"""Runs inside the job that submitit starts for the local backend: one batch script, to its end or time limit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from hpcfrugal.spool import RunDir
from hpcfrugal.spool.documents import SlurmDocument, write_document

# Slurm's default KillWait: between TERM at the time limit and KILL (slurm.conf(5)).
KILL_WAIT_S = 30.0


def run_script(
    script: str,
    *,
    job_id: str,
    cluster: str,
    output: str,
    error: str | None,
    workdir: str,
    pid_file: str,
    cuda_visible_devices: str | None,
    limit_s: float | None,
) -> int:
    """Run ``script`` by bash in a session of its own; returns its exit code, 128 + n where a signal n ended it.

    ``cuda_visible_devices`` is the value at submission: submitit itself sets an empty one.
    """
    environ = {key: value for key, value in os.environ.items() if not key.startswith("SUBMITIT_")}
    environ.pop("CUDA_VISIBLE_DEVICES", None)
    if cuda_visible_devices is not None:
        environ["CUDA_VISIBLE_DEVICES"] = cuda_visible_devices
    environ |= {"HPCFRUGAL_JOB_ID": job_id, "HPCFRUGAL_CLUSTER": cluster}
    with contextlib.ExitStack() as files:
        out = files.enter_context(Path(output).open("ab"))
        err = files.enter_context(Path(error).open("ab")) if error else out
        process = subprocess.Popen(
            ["/bin/bash", script],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=workdir,
            env=environ,
            start_new_session=True,
        )
    temporary = Path(f"{pid_file}.tmp")
    temporary.write_text(f"{process.pid} {start_ticks(process.pid)}\n")
    temporary.replace(pid_file)
    try:
        code = process.wait(timeout=limit_s)
    except subprocess.TimeoutExpired:
        keep_state(RunDir(Path(pid_file).parent), job_id, cluster, "TIMEOUT")
        kill_session(process.pid, signal.SIGTERM)
        try:
            code = process.wait(timeout=KILL_WAIT_S)
        except subprocess.TimeoutExpired:
            kill_session(process.pid, signal.SIGKILL)
            code = process.wait()
    if code < 0:
        _end_rest(process.pid)
    return code if code >= 0 else 128 - code


def keep_state(run_dir: RunDir, job_id: str, cluster: str, state: str) -> None:
    """Say how the job ended where its exit code does not tell, in place of what Slurm would say."""
    document = SlurmDocument(job_id, 0, cluster=cluster, state=state, final=True)
    with contextlib.suppress(OSError):  # then it counts as failed, by its exit code
        write_document(run_dir.slurm_json(job_id, 0), document)


def _end_rest(pid: int) -> None:
    """End what a killed batch script left behind, as Slurm does; TERM first, so that the sidecar sees the end."""
    deadline = time.monotonic() + 2.0
    try:
        os.killpg(pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            os.killpg(pid, 0)
            time.sleep(0.05)
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # nothing is left


def run_detached(start: Callable[[], bool], log: Path) -> bool:
    """Call ``start`` in a process of a session of its own, without our terminal and pipes; returns what it did.

    What it starts is then reached neither by the terminal's Ctrl-C and hang-up, nor does it keep a reader of our
    output waiting. submitit's own processes would do both. ``log`` takes what it says.
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


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (proc(5), stat field 22); None where it is gone.

    Together with the pid it names a process for good: pids come round again.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])


def kill_session(pid: int, signum: int) -> None:
    """Signal the process group that ``run_script`` started; a process that leads no group, alone."""
    try:
        os.killpg(pid, signum)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
