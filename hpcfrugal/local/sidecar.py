"""The sidecar beside a command of `hpcfrugal run`. (Beside a job, its batch script starts the sidecar.)"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence

from hpcfrugal.local.identity import job_environ
from hpcfrugal.spool import RunDir
from hpcfrugal.spool.zipapp import SIDECAR_ENVIRON, put_sidecar

FIRST_SAMPLE_S = 2.0
"""Longest wait for the first sample before the command starts."""

LAST_SAMPLE_S = 1.7
"""Longest wait for the last sample after the command; the sidecar itself gives up after 1.5 s."""

KILLED_S = 0.2
"""Longest wait for a killed sidecar to end."""


def start_sidecar(run_dir: RunDir, options: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start the sidecar with these more ``options`` and wait for its first sample. Raises OSError."""
    put_sidecar(run_dir.spool, run_dir.sidecar)
    argv = [
        sys.executable,
        "-I",
        "-S",
        str(run_dir.sidecar),
        "--run-dir",
        str(run_dir.path),
        "--run-id",
        run_dir.run_id,
    ]
    argv += ["--until-eof", "--root-pid", str(os.getpid()), *options]
    log_path = run_dir.path / f"{run_dir.run_id}.0.sidecar.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=os.environ | job_environ(run_dir.run_id) | SIDECAR_ENVIRON,
            start_new_session=True,
        )
    deadline = time.monotonic() + FIRST_SAMPLE_S
    while time.monotonic() < deadline and process.poll() is None and not _has_begun(run_dir):
        time.sleep(0.002)
    return process


def stop_sidecar(process: subprocess.Popen[bytes]) -> None:
    """Let the sidecar write its last sample and end; kill it where it does not."""
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(timeout=LAST_SAMPLE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        # a process that hangs in a driver does not end by that either
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=KILLED_S)


def _has_begun(run_dir: RunDir) -> bool:
    """Whether the header and the first record are there (they are written together)."""
    return any(path.stat().st_size > 0 for path in run_dir.path.glob("*.jsonl"))
