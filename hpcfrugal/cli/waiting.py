"""Waits for submitted jobs, with progress, and a report and an exit code at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from hpcfrugal.cli.streams import echo_or_drop, warn
from hpcfrugal.core.errors import HpcfrugalError, SetupError
from hpcfrugal.core.format import duration, power
from hpcfrugal.core.text import plain
from hpcfrugal.job.backend import Backend, BackendStates, SubmittedRun
from hpcfrugal.settings.config import Config
from hpcfrugal.spool import RunDir, read_json
from hpcfrugal.spool.current_power import read_draw, sidecars_done
from hpcfrugal.spool.job_state import JobState, last_of_each
from hpcfrugal.submission import Prepared, SubmittedJob

_ACCOUNTING_S = 60.0  # until Slurm's accounting shows the end of jobs that have end records
_SIDECAR_POLL_S = 0.05
_POLL_S = 0.25  # for an end record in the run directory: a directory listing
_SIDECAR_S = 3.0  # for the sidecars' last records: a sidecar may end a moment after its job
_POWER_S = 1.0  # between two readings of the nodes' power: the ends of all sample files
_FIRST_QUERY_S = 1.0
_LONGEST_PAUSE_S = 15.0  # between two queries of Slurm: one squeue and one sacct for all jobs


class _Progress:
    """One line that is rewritten on a terminal; elsewhere a line for each change of state."""

    def __init__(self) -> None:
        self._status = None
        self._shown: dict[str, str] = {}
        self._drawn: dict[str, tuple[float, float | None]] = {}
        if sys.stderr.isatty():
            from hpcfrugal.cli.console import console

            self._status = console(stderr=True).status("")
            self._status.start()

    def show(self, jobs: dict[str, Prepared], states: dict[str, list[JobState]]) -> None:
        for job_id, job in jobs.items():
            words = ", ".join(sorted({state.state for state in last_of_each(states.get(job_id, []))})) or "SUBMITTED"
            if self._status is not None:
                self._status.update(self._line(job_id, job, words, states.get(job_id, [])))
            elif self._shown.get(job_id) != words:
                echo_or_drop(f"job {job_id}: {words}", err=True)
            self._shown[job_id] = words

    def _line(self, job_id: str, job: Prepared, words: str, states: list[JobState]) -> str:
        from rich.markup import escape

        parts = [f"[bold]{escape(job.spec.name[:40])}[/] {job_id} {words}"]
        started = min((state.start_at.timestamp() for state in states if state.start_at), default=None)
        if started is not None:
            parts.append(duration(int(time.time() - started) * 10**9))
        power_w = self._power_w(job.run_dir)
        if power_w is not None:
            parts.append(f"{power(power_w)} (nodes, as read)")
        return "  ".join(parts)

    def _power_w(self, run_dir: RunDir) -> float | None:
        """The power of the nodes, read at most ``_POWER_S`` ago."""
        read_at, power_w = self._drawn.get(run_dir.run_id, (-_POWER_S, None))
        if time.monotonic() - read_at >= _POWER_S:
            power_w = read_draw(run_dir).total_power_w
            self._drawn[run_dir.run_id] = (time.monotonic(), power_w)
        return power_w

    def close(self) -> None:
        if self._status is not None:
            self._status.stop()


def wait_for(
    submitted: Sequence[tuple[Prepared, SubmittedJob]], backend: Backend, config: Config, *, as_json: bool
) -> int:
    """Wait for the end of all jobs, report them, and return the first exit code that is not 0."""
    jobs = {result.job_id: job for job, result in submitted}
    runs = [SubmittedRun(job.run_dir.path, job_id) for job_id, job in jobs.items()]
    states: dict[str, list[JobState]] = {}
    over: set[str] = set()
    absent_since: dict[str, float] = {}
    progress = _Progress()
    try:
        query_at, pause_s, ends, trouble = 0.0, _FIRST_QUERY_S, 0, ""
        while len(over) < len(jobs):
            # End records appear before the end in Slurm's accounting, and reading them costs Slurm nothing.
            seen = sum(len(job.run_dir.files("end")) for job in jobs.values())
            if time.monotonic() >= query_at or seen != ends:
                ends = seen
                try:
                    found = backend.states([run for run in runs if run.job_id not in over])
                except SetupError as error:
                    found = BackendStates({}, error.message)
                # The controller may be restarting; the jobs continue.
                if found.problem is not None and found.problem != trouble:
                    warn(f"{found.problem}; still waiting")
                trouble = found.problem or ""
                for job_id, job in jobs.items():
                    now = found.runs.get(job.run_dir.run_id)
                    if now is None:
                        continue
                    states[job_id] = list(now.states)
                    if now.queued is not False:
                        absent_since.pop(job_id, None)
                    absent_s = time.monotonic() - absent_since.setdefault(job_id, time.monotonic())
                    # Over, but not in accounting: the exit codes recorded by the batch scripts are used.
                    forgotten = now.queued is False and absent_s > _ACCOUNTING_S and _end_codes(job)
                    if now.over or forgotten:
                        over.add(job_id)
                query_at = time.monotonic() + pause_s
                pause_s = min(pause_s * 1.3, _LONGEST_PAUSE_S)
            progress.show(jobs, states)
            if len(over) < len(jobs):
                time.sleep(_POLL_S)
    except KeyboardInterrupt:
        echo_or_drop(
            "no longer waiting; the jobs continue. To cancel them: hpcfrugal cancel " + " ".join(jobs), err=True
        )
        return 130
    finally:
        progress.close()
    _wait_for_sidecars(list(jobs.values()))
    # Whatever happens to the report, the exit code is that of the jobs.
    try:
        _report([job.run_dir.run_id for job in jobs.values()], config, as_json=as_json)
    except BrokenPipeError:
        pass
    except HpcfrugalError as error:
        warn(f"there is no report: {plain(error.message, 1000)}", 1100)
    return next((code for key, job in jobs.items() if (code := _exit_code(states.get(key, []), job)) != 0), 0)


def _wait_for_sidecars(jobs: Sequence[Prepared]) -> None:
    """Wait for the last records of the sidecars, so that the report covers the jobs to their end."""
    sampled = [job.run_dir for job in jobs if job.spec.energy.enabled]
    until = time.monotonic() + _SIDECAR_S
    while not all(sidecars_done(run_dir) for run_dir in sampled) and time.monotonic() < until:
        time.sleep(_SIDECAR_POLL_S)


def _end_codes(job: Prepared) -> dict[str, int]:
    """Exit codes by job id as recorded by the batch scripts, each of the last restart."""
    codes: dict[str, int] = {}
    found = [(name.job, path) for path, name in job.run_dir.files("end") if name.job is not None]
    for key, path in sorted(found):
        # A file that is still incomplete, on a slow file system, is read again later.
        code = (read_json(path) or {}).get("exit_code")
        if isinstance(code, int):
            codes[key.job_id] = code
    return codes


def _exit_code(states: Sequence[JobState], job: Prepared) -> int:
    """The exit code of a job: that of its last restart, and the highest of an array, as in ``sbatch --wait``."""
    recorded = _end_codes(job)
    codes = [_one_code(state, recorded.get(state.job_id)) for state in last_of_each(states)] or list(recorded.values())
    # A job without any record of its end counts as failed.
    return max(codes, default=1)


def _one_code(state: JobState, recorded: int | None) -> int:
    code = recorded if state.shell_code is None or state.is_cut(recorded) else state.shell_code
    failed = state.state != "COMPLETED" and (state.final or code is None)
    return code or int(failed)


def _report(run_ids: Sequence[str], config: Config, *, as_json: bool) -> None:
    from hpcfrugal.cli.report import show_jobs
    from hpcfrugal.cli.sync import sync_to_read

    sync_to_read(config.ledger, config)
    show_jobs(run_ids, config, "json" if as_json else None)
