"""The jobs of a spool with their present state, for `status`, `watch` and `cancel`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hpcfrugal.core.errors import InputError, Problem, SetupError
from hpcfrugal.job.backend import Backend, JobState
from hpcfrugal.slurm.states import stored_states
from hpcfrugal.spool import RunDir, iter_runs, read_json


@dataclass(slots=True)
class TrackedJob:
    """A submitted run and the states of its job (several for an array or after a requeue)."""

    run_dir: RunDir
    job_id: str
    cluster: str
    backend: str
    name: str
    created_at: datetime | None
    states: list[JobState] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether no part of this job can run any more; after a requeue it runs again."""
        last = {state.job_id: state for state in sorted(self.states, key=lambda state: state.restart)}
        return bool(last) and all(state.final and state.state != "REQUEUED" for state in last.values())

    @property
    def state(self) -> str:
        """One word, or several where the tasks of an array differ."""
        return ", ".join(sorted({state.state for state in self.states})) or "unknown"


def tracked_jobs(spool: Path, *, since: timedelta | None, now: datetime) -> list[TrackedJob]:
    """Every submitted run of the spool, oldest first; with ``since``, only those created within that time."""
    found = []
    oldest = f"{now.astimezone(UTC) - since:%Y%m%dT%H%M%SZ}" if since is not None else ""
    for run_dir in iter_runs(spool):
        if run_dir.run_id < oldest:
            continue
        submitted = read_json(run_dir.submitted_json) or {}
        run = read_json(run_dir.run_json) or {}
        if not submitted.get("job_id"):
            continue
        try:
            created_at = datetime.fromisoformat(str(run.get("created_at")))
        except ValueError:
            created_at = None
        spec = run.get("spec")
        found.append(
            TrackedJob(
                run_dir=run_dir,
                job_id=str(submitted["job_id"]),
                cluster=str(submitted.get("cluster")),
                backend=str(run.get("backend")),
                name=str(spec.get("name")) if isinstance(spec, dict) else "",
                created_at=created_at,
            )
        )
    return found


def refresh(jobs: Sequence[TrackedJob], backend_of: Callable[[str], Backend]) -> list[str]:
    """Ask each backend once about all its jobs that may still run.

    Jobs of other clusters, finished jobs, and those of a backend that does not answer keep their stored state. Returns
    a message for each backend that did not answer.
    """
    problems = []
    for job in jobs:
        if not job.states:
            job.states = stored_states(job.run_dir)
    for name in sorted({job.backend for job in jobs}):
        # Of a local job that was cancelled only the state is stored; its backend knows the rest.
        asked = [job for job in jobs if job.backend == name and not (job.over and _is_complete(job))]
        if not asked:
            continue
        try:
            backend = backend_of(name)
            here = {backend.cluster(), ""}
            found = backend.states([job.job_id for job in asked if job.cluster in here])
        except SetupError as error:
            problems.append(error.message)
            continue
        for job in asked:
            if job.cluster in here:
                job.states = list(found.get(job.job_id, job.states))
    return problems


def _is_complete(job: TrackedJob) -> bool:
    """Whether the stored state of a finished job says when it ran."""
    return not job.cluster.startswith("local:") or all(state.start_at is not None for state in job.states)


def foreign(jobs: Sequence[TrackedJob], backend: Backend) -> list[Problem]:
    """A problem for each job of another cluster: its id means another job here."""
    here = {backend.cluster(), ""}
    return [
        Problem(job.job_id, f"is a job of cluster {job.cluster}", "run this command there")
        for job in jobs
        if job.cluster not in here
    ]


def pick(jobs: Sequence[TrackedJob], wanted: Sequence[str]) -> list[TrackedJob]:
    """The jobs with these ids: a job id, a run id, or a beginning or end of a run id that is unique.

    Raises:
        InputError: every id that matches no job.
    """
    chosen: list[TrackedJob] = []
    problems = []
    for text in wanted:
        fits = [job for job in jobs if text in (job.job_id, job.run_dir.run_id)] or [
            job
            for job in jobs
            if len(text) >= 4 and (job.run_dir.run_id.startswith(text) or job.run_dir.run_id.endswith(text))
        ]
        if len(fits) == 1 or (fits and fits[0].job_id == text):
            chosen.append(fits[-1])
        else:
            what = "matches several runs" if fits else "is not a job that you submitted with hpcfrugal"
            problems.append(Problem(text, what, "see `hpcfrugal status --all`"))
    if problems:
        raise InputError(problems)
    return chosen
