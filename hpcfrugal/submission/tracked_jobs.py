"""The jobs of a user's spools with their present state, for `status`, `watch` and `cancel`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

from hpcfrugal.core.errors import InputError, Problem, SetupError
from hpcfrugal.core.text import plain
from hpcfrugal.job.array_tasks import indices_of, is_task, parse_array
from hpcfrugal.job.backend import Backend, SubmittedRun
from hpcfrugal.local.task import read_schedule
from hpcfrugal.slurm.executions import stored_states
from hpcfrugal.spool import RunDir, iter_runs, read_json
from hpcfrugal.spool.job_names import LATEST_RUN, is_part_of_run_id, several_jobs
from hpcfrugal.spool.job_state import JobState, is_over, last_of_each
from hpcfrugal.spool.local_cluster import is_local


@dataclass(slots=True)
class TrackedJob:
    """A submitted run and the states of its job (several for an array or after a requeue).

    ``job_id`` is empty where sbatch did not answer: then the job may be in the queue. ``task`` is the part of an array
    that was asked for alone, ``3`` or ``[1-3,7]``: the states are those of its tasks.
    """

    run_dir: RunDir
    job_id: str
    cluster: str
    backend: str
    name: str
    created_at: datetime | None
    states: list[JobState] = field(default_factory=list)
    task: str | None = None
    array: str | None = None
    """Its array, as ``sbatch --array`` takes it, as far as that is known."""
    forgotten: bool = False
    """Whether its user leaves it out of reports."""
    ended: bool = False
    """Whether the backend says that the job is over."""

    @property
    def label(self) -> str:
        """How Slurm's users write it: 17, or 15_3 for a task of an array, 15_[1-3] for several."""
        return self.job_id if self.task is None else f"{self.job_id}_{self.task}"

    @property
    def is_local(self) -> bool:
        """Whether it is a job of the local backend."""
        return self.backend == "local"

    @property
    def over(self) -> bool:
        """Whether no part of this job can run any more; after a requeue it runs again."""
        if self.task is None:
            return self.ended or is_over(self.job_id, self.states)
        return self.ended or (bool(self.states) and all(is_over(one.job_id, self.states) for one in self.states))

    @property
    def state(self) -> str:
        """One word, or several where the tasks of an array differ."""
        return ", ".join(sorted({state.state for state in last_of_each(self.states)})) or "unknown"

    def ran(self, now: datetime) -> timedelta | None:
        """How long it, or at least one of its tasks, has run until ``now``: not while it waits, also after a requeue.

        None where that is not known: it has not started, or was killed and left no record of its end.
        """
        running = (
            [] if self.over else [one for one in last_of_each(self.states) if one.end_at is None and not one.final]
        )
        ends = {(one.job_id, one.restart): now for one in running}
        spans = sorted(
            (one.start_at, end)
            for one in self.states
            if one.start_at is not None and (end := one.end_at or ends.get((one.job_id, one.restart))) is not None
        )
        total, counted = timedelta(), datetime.min.replace(tzinfo=UTC)
        for start, end in spans:
            total += max(end - max(start, counted), timedelta())
            counted = max(counted, end)
        return total if spans else None

    def take(self, states: Sequence[JobState]) -> None:
        """Keep these states, or those of the tasks that were asked for."""
        if self.task is None:
            self.states = list(states)
            return
        wanted = {str(index) for index in indices_of(self.task)}
        own = [state for state in states if state.array_task_id in wanted]
        # Tasks that wait are listed under the array's own id, together with the others that wait.
        waiting = [state for state in states if state.array_task_id is None]
        self.states = own if len({state.array_task_id for state in own}) == len(wanted) else [*own, *waiting]


def tracked_jobs(spools: Iterable[Path], *, since: timedelta | None, now: datetime) -> list[TrackedJob]:
    """Every submitted run of these spools, oldest first; with ``since``, only those created within that time."""
    found = []
    oldest = f"{now.astimezone(UTC) - since:%Y%m%dT%H%M%SZ}" if since is not None else ""
    for run_dir in chain.from_iterable(iter_runs(spool) for spool in spools):
        if run_dir.run_id < oldest:
            continue
        submitted = read_json(run_dir.submitted_json) or {}
        run = read_json(run_dir.run_json) or {}
        unanswered = run.get("backend") == "slurm_cli" and run_dir.script.exists()
        if not (submitted.get("job_id") or unanswered):
            continue
        try:
            created_at = datetime.fromisoformat(str(run.get("created_at"))).astimezone(UTC)
        except (ValueError, OverflowError):
            created_at = None
        spec, labels = run.get("spec"), read_json(run_dir.labels_json) or {}
        found.append(
            TrackedJob(
                run_dir=run_dir,
                job_id=str(submitted.get("job_id") or ""),
                cluster=str(submitted.get("cluster") or ""),
                backend=str(run.get("backend")),
                name=str(labels.get("name") or (spec.get("name") if isinstance(spec, dict) else "")),
                created_at=created_at,
                array=_array(spec),
                forgotten=labels.get("forgotten") is True,
            )
        )
    # Within a second the order of run ids is that of their random part.
    return sorted(found, key=lambda job: (job.run_dir.run_id[:16], job.created_at or datetime.min.replace(tzinfo=UTC)))


def _array(spec: object) -> str | None:
    resources = spec.get("resources") if isinstance(spec, dict) else None
    array = resources.get("array") if isinstance(resources, dict) else None
    return array if isinstance(array, str) else None


def refresh(jobs: Sequence[TrackedJob], backend_of: Callable[[str], Backend]) -> list[str]:
    """Ask each backend once about all its jobs that may still run.

    Jobs of other clusters, finished jobs, and those of a backend that does not answer keep their stored state. Returns
    a message for each backend that did not answer.
    """
    problems = []
    for job in jobs:
        if not job.states:
            job.take(stored_states(job.run_dir))
    for name in sorted({job.backend for job in jobs}):
        # Of a local job that was cancelled only the state is stored; its backend knows the rest.
        asked = [job for job in jobs if job.backend == name and job.job_id and not (job.over and _is_complete(job))]
        if not asked:
            continue
        try:
            backend = backend_of(name)
            here = {backend.cluster(), ""}
            found = backend.states([SubmittedRun(job.run_dir.path, job.job_id) for job in asked if job.cluster in here])
        except SetupError as error:
            problems.append(error.message)
            continue
        if found.problem is not None:
            problems.append(found.problem)
        for job in asked:
            now = found.runs.get(job.run_dir.run_id)
            if now is not None:
                job.take(now.states)
                job.ended = now.over
    return problems


def _is_complete(job: TrackedJob) -> bool:
    """Whether the stored state of a finished job says when it ran."""
    return not is_local(job.cluster) or all(state.start_at is not None for state in job.states)


def foreign(jobs: Sequence[TrackedJob], backend: Backend) -> list[Problem]:
    """A problem for each job of another cluster: its id means another job here."""
    here = {backend.cluster(), ""}
    return [
        Problem(job.job_id, f"is a job of cluster {job.cluster}", "run this command there")
        for job in jobs
        if job.cluster not in here
    ]


def pick(jobs: Sequence[TrackedJob], wanted: Sequence[str]) -> list[TrackedJob]:
    """The jobs that are meant by a job id, ``15_3`` or ``15_[1-3]`` for tasks of an array, a run id or its beginning or
    end, the name of a job, or ``latest``.

    Raises:
        InputError: every text that means no job, or several.
    """
    chosen: list[TrackedJob] = []
    problems: list[Problem] = []
    for text in wanted:
        fits = jobs_meant(jobs, text)
        if len(fits) == 1:
            chosen += fits
            problems += _no_such_task(fits[0])
        elif fits:
            problems.append(several_jobs(text, [job.job_id or job.run_dir.run_id for job in fits]))
        else:
            what = "is not a job that you submitted with hpcfrugal"
            problems.append(Problem(plain(text, 80) or "''", what, "see `hpcfrugal status --all`"))
    if problems:
        raise InputError(problems)
    return chosen


def jobs_meant(jobs: Sequence[TrackedJob], text: str) -> list[TrackedJob]:
    """The jobs that a text may mean, in the order in which they were submitted."""
    if text == LATEST_RUN:
        return list(jobs[-1:])
    # Slurm uses ids again: the last job of this id is meant.
    if fits := [job for job in jobs if text in (job.job_id, job.run_dir.run_id)]:
        return fits[-1:]
    base, _, task = text.rpartition("_")
    in_array = is_task(task)
    if in_array and (fits := [job for job in jobs if job.job_id == base]):
        return _with_task(fits[-1:], task)
    parts = [job for job in jobs if is_part_of_run_id(text, job.run_dir.run_id)]
    found = parts or [job for job in jobs if job.name == text]
    if not found and base and in_array:
        return _with_task(jobs_meant(jobs, base), task)
    return found


def _with_task(jobs: Sequence[TrackedJob], task: str) -> list[TrackedJob]:
    """A task of these jobs, of those of this machine only where they have any."""
    return [replace(job, task=task) for job in jobs if not job.is_local or read_schedule(job.run_dir).array is not None]


def _no_such_task(job: TrackedJob) -> Iterator[Problem]:
    """That a job does not have a task that was asked for, as far as its array is known."""
    if job.task is None or job.array is None:
        return
    with suppress(ValueError):
        if missing := indices_of(job.task) - set(parse_array(job.array).indices):
            yield Problem(f"{job.job_id}_{min(missing)}", "is not a task of this job", f"it has {job.array}")
