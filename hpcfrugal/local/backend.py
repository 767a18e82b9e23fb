"""This machine as a cluster of one node, through submitit's LocalExecutor. Runs where there is no Slurm."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.safe_read import UnsafeFile
from hpcfrugal.core.time import from_ns
from hpcfrugal.job.backend import BackendStates, RunStates, Submitted, SubmittedRun
from hpcfrugal.job.output_path import DEFAULT_OUTPUT, expand_output
from hpcfrugal.local.identity import cluster_name, node_name
from hpcfrugal.local.job_process import keep_state, run_detached, run_script
from hpcfrugal.local.pid_file import read_pid
from hpcfrugal.local.session import becomes_true, end_session
from hpcfrugal.spool import JobKey, RunDir, is_run_id
from hpcfrugal.spool.documents import EndDocument, read_end, read_slurm
from hpcfrugal.spool.job_state import JobState

_START_TIMEOUT_S = 30.0
_TEN_YEARS_MIN = 10 * 365 * 24 * 60

D = TypeVar("D")


class Local:
    """The backend for a machine without Slurm.

    A job's id is its run id: process ids are reused, and the ledger's keys must not be.
    """

    name = "local"

    def __init__(self, spool: Path) -> None:
        self._spool = spool

    def cluster(self) -> str:
        """``local:`` and the host's name."""
        return cluster_name()

    def submit(self, script: Path, arguments: Sequence[str], *, run_id: str, workdir: Path) -> Submitted:
        """Start the job now; returns once its batch script runs.

        ``arguments`` are sbatch options of the form ``--name=value``; output, error, job-name and the time limit
        apply, the others need a scheduler.
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
                str(run_dir.path),
                output=str(output),
                error=str(error) if error else None,
                workdir=str(workdir),
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
            raise SetupError(f"the job did not start: {_last_log_line(run_dir.submitit)}")
        return Submitted(cluster=self.cluster(), job_id=run_id)

    def _run_dirs(self, job_ids: Sequence[str]) -> dict[str, RunDir]:
        found: dict[str, RunDir] = {}
        for job_id in job_ids:
            if is_run_id(job_id):
                run_dir = RunDir.of(self._spool, job_id)
                if run_dir.path.is_dir():
                    found[job_id] = run_dir
        return found

    def states(self, runs: Sequence[SubmittedRun]) -> BackendStates:
        """From the end record and the process table."""
        found = self._run_dirs([run.job_id for run in runs])
        states = {job_id: self._state(job_id, run_dir) for job_id, run_dir in found.items()}
        return BackendStates(
            {job_id: RunStates([state], over=state.final, queued=not state.final) for job_id, state in states.items()}
        )

    def _state(self, job_id: str, run_dir: RunDir) -> JobState:
        key = JobKey(job_id, 0)
        end = _read(read_end, run_dir, run_dir.end_json(job_id, 0), key) or EndDocument(job_id, 0)
        recorded = _read(read_slurm, run_dir, run_dir.slurm_json(job_id, 0), key)
        code = end.exit_code
        if code == 0:
            state = "COMPLETED"
        elif code is None and read_pid(run_dir) is not None:
            state = "RUNNING"
        else:
            # without an exit code or a recorded state, it was killed or the machine went down
            state = recorded.state if recorded else "NODE_FAIL" if code is None else "FAILED"
        return JobState(
            cluster=self.cluster(),
            job_id=job_id,
            state=state,
            exit_code=code,
            start_at=from_ns(end.started_wall_ns) if end.started_wall_ns else _file_time(run_dir.local_pid),
            end_at=from_ns(end.ended_wall_ns) if end.ended_wall_ns else None,
            nodes=(node_name(),),
        )

    def cancel(self, job_ids: Sequence[str]) -> None:
        """TERM to the job's processes, KILL after Slurm's default grace time."""
        for run_dir in self._run_dirs(job_ids).values():
            _cancel(run_dir)


def _cancel(run_dir: RunDir) -> None:
    pid = read_pid(run_dir)
    if pid is not None:
        keep_state(run_dir, "CANCELLED")
        end_session(pid, lambda timeout_s: becomes_true(lambda: read_pid(run_dir) is None, timeout_s))


def _read(
    reader: Callable[[Path, int, JobKey], tuple[D, Any, list[str]]], run_dir: RunDir, path: Path, key: JobKey
) -> D | None:
    """The document in ``path``; None where there is no valid one."""
    try:
        return reader(path, run_dir.path.stat().st_uid, key)[0]
    except (OSError, UnsafeFile):
        return None


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


def _file_time(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None
