"""This machine as a cluster of one node, through submitit's LocalExecutor. Runs where there is no Slurm."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.safe_read import UnsafeFile, read_regular
from hpcfrugal.job.backend import JobState, Submitted
from hpcfrugal.job.output_path import DEFAULT_OUTPUT, expand_output
from hpcfrugal.local.job_process import KILL_WAIT_S, keep_state, kill_session, run_detached, run_script, start_ticks
from hpcfrugal.spool import RunDir, is_run_id, read_json

_START_TIMEOUT_S = 30.0
_TEN_YEARS_MIN = 10 * 365 * 24 * 60
_MOST_PID_BYTES = 100


class Local:
    """The backend for a machine without Slurm.

    A job's id is its run id: process ids come round again, and the ledger's keys may not.
    """

    name = "local"

    def __init__(self, spool: Path) -> None:
        self._spool = spool

    def cluster(self) -> str:
        """``local:`` and the host's name."""
        return f"local:{socket.gethostname().split('.')[0]}"

    def submit(self, script: Path, arguments: Sequence[str], *, run_id: str, workdir: Path) -> Submitted:
        """Start the job now; returns once its batch script runs.

        ``arguments`` are sbatch options of the form ``--name=value``; output, error, job-name and time are
        heeded, the rest is for a scheduler that is not there.
        """
        options = dict(argument.removeprefix("--").partition("=")[::2] for argument in arguments)
        names = {"job_id": run_id, "name": options.get("job-name", ""), "user": options.get("user", "")}
        output = workdir / expand_output(options.get("output", DEFAULT_OUTPUT), **names)
        error = workdir / expand_output(options["error"], **names) if "error" in options else None
        if not os.access(workdir, os.X_OK) or not workdir.is_dir():
            raise SetupError(f"the job cannot run in {workdir}", hint="set workdir in the job file to a directory")
        for path in (output, error):
            if path is not None:
                _try_output(path)
        run_dir = RunDir(script.parent)

        def start() -> bool:
            import submitit

            executor = submitit.LocalExecutor(folder=str(run_dir.submitit))
            executor.update_parameters(timeout_min=_TEN_YEARS_MIN)
            job = executor.submit(
                run_script,
                str(script),
                job_id=run_id,
                cluster=self.cluster(),
                output=str(output),
                error=str(error) if error else None,
                workdir=str(workdir),
                pid_file=str(run_dir.local_pid),
                cuda_visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
                limit_s=float(options["limit-s"]) if "limit-s" in options else None,
            )
            deadline = time.monotonic() + _START_TIMEOUT_S
            while not run_dir.local_pid.exists():
                if job.done() or time.monotonic() > deadline:
                    job.cancel()
                    return False
                time.sleep(0.02)
            return True

        log = run_dir.submitit / "start.log"
        log.parent.mkdir(mode=0o700)
        if not run_detached(start, log):
            raise SetupError(f"the job did not start: {_last_words(run_dir.submitit)}")
        return Submitted(cluster=self.cluster(), job_id=run_id)

    def _run_dirs(self, job_ids: Sequence[str]) -> dict[str, RunDir]:
        found: dict[str, RunDir] = {}
        for job_id in job_ids:
            if is_run_id(job_id):
                run_dir = RunDir.of(self._spool, job_id)
                if run_dir.path.is_dir():
                    found[job_id] = run_dir
        return found

    def states(self, job_ids: Sequence[str]) -> Mapping[str, Sequence[JobState]]:
        """From the end record and the process table."""
        return {job_id: [self._state(job_id, run_dir)] for job_id, run_dir in self._run_dirs(job_ids).items()}

    def _state(self, job_id: str, run_dir: RunDir) -> JobState:
        end = read_json(run_dir.end_json(job_id, 0)) or {}
        code = end.get("exit_code")
        code = code if type(code) is int else None
        if code is not None:
            state = "COMPLETED" if code == 0 else _said(run_dir, job_id) or "FAILED"
        elif _alive(run_dir):
            state = "RUNNING"
        else:
            # Killed, or the machine went down: where nobody said why, nothing was left that could say more.
            state = _said(run_dir, job_id) or "NODE_FAIL"
        return JobState(
            cluster=self.cluster(),
            job_id=job_id,
            state=state,
            exit_code=code,
            start_at=_time(end.get("started_wall_s")) or _file_time(run_dir.local_pid),
            end_at=_time(end.get("ended_wall_s")),
            nodes=(socket.gethostname().split(".")[0],),
        )

    def cancel(self, job_ids: Sequence[str]) -> None:
        """TERM to the job's processes, KILL after Slurm's default grace time."""
        for run_dir in self._run_dirs(job_ids).values():
            pid = _pid(run_dir)
            if pid is None:
                continue
            keep_state(run_dir, run_dir.run_id, self.cluster(), "CANCELLED")
            kill_session(pid, signal.SIGTERM)
            deadline = time.monotonic() + KILL_WAIT_S
            while _alive(run_dir) and time.monotonic() < deadline:
                time.sleep(0.05)
            if _alive(run_dir):
                kill_session(pid, signal.SIGKILL)


def _said(run_dir: RunDir, job_id: str) -> str | None:
    """CANCELLED or TIMEOUT where the job was ended from outside."""
    said = read_json(run_dir.slurm_json(job_id, 0)) or {}
    return str(said["state"]) if "state" in said else None


def _try_output(path: Path) -> None:
    """Raises SetupError where the job's output file cannot be written."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666))
    except OSError as error:
        raise SetupError(
            f"the job's output cannot be written: {path}: {error.strerror}",
            hint=f"make {path.parent}, or name another output",
        ) from None


def _last_words(folder: Path) -> str:
    """The last line of the logs of a job that did not start."""
    lines: list[str] = []
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        if path.suffix in {".err", ".log"}:
            lines += [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason given"


def _pid(run_dir: RunDir) -> int | None:
    """The batch script's process, None where it is over."""
    with suppress(OSError, UnsafeFile, ValueError):
        owner_uid = run_dir.path.stat().st_uid
        pid, ticks = read_regular(run_dir.local_pid, _MOST_PID_BYTES, owner_uid=owner_uid)[0].decode().split()
        if ticks != "None" and start_ticks(int(pid)) == int(ticks):
            return int(pid)
    return None


def _alive(run_dir: RunDir) -> bool:
    return _pid(run_dir) is not None


def _time(seconds: object) -> datetime | None:
    with suppress(OSError, OverflowError, ValueError):  # no time that a clock shows
        return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int | float) else None
    return None


def _file_time(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None
