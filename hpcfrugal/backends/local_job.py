"""Runs inside the job that submitit starts for the local backend: one batch script, to its end or time limit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

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
        kill_session(process.pid, signal.SIGTERM)
        try:
            code = process.wait(timeout=KILL_WAIT_S)
        except subprocess.TimeoutExpired:
            kill_session(process.pid, signal.SIGKILL)
            code = process.wait()
    return code if code >= 0 else 128 - code


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
    """Signal the process group that ``run_script`` started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signum)
