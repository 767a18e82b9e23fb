"""What Slurm lists of runs: squeue knows the present, sacct the past."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace

from hpcfrugal.core.errors import SetupError
from hpcfrugal.job.backend import BackendStates, RunStates, SubmittedRun
from hpcfrugal.slurm.accounting import AccountingStates, PastStates
from hpcfrugal.slurm.client import SlurmClient
from hpcfrugal.slurm.command import NoAnswer
from hpcfrugal.slurm.executions import created_at, known_attempts, of_run, stored_states, with_ends
from hpcfrugal.slurm.job_ids import chunks, is_job_id
from hpcfrugal.slurm.queue import PresentStates, QueueStates
from hpcfrugal.spool import RunDir
from hpcfrugal.spool.job_state import JobState, is_over


@dataclass(frozen=True, slots=True)
class ListedRuns:
    """What Slurm lists of runs, by run id: no states where it does not know the job.

    ``problem`` is what could not be asked. ``accounting``: it answered; ``no_accounting``: the cluster keeps none.
    """

    runs: Mapping[str, RunStates]
    problem: str | None
    accounting: bool
    no_accounting: bool


@dataclass(slots=True)
class _Listed:
    """Executions by the id of their job, array or heterogeneous job, strangers that had the same id among them."""

    states: dict[str, list[JobState]] = field(default_factory=dict)
    queue_problem: str | None = None
    accounting_problem: str | None = None
    no_accounting: bool = False


def list_runs(
    client: SlurmClient, cluster: Callable[[], str], runs: Sequence[SubmittedRun], timeout_s: float | None
) -> ListedRuns:
    """What Slurm lists, by one squeue and one sacct per thousand jobs; sacct knows the past, squeue the present.

    What cannot be a job id of Slurm's is left out.

    Raises:
        SetupError: neither accounting nor controller answers.
    """
    asked = [run for run in runs if is_job_id(run.job_id)]
    listed = _listed(client, cluster(), list(dict.fromkeys(run.job_id for run in asked)), timeout_s)
    found = {}
    for run in asked:
        of_id = listed.states.get(run.job_id, ())
        run_dir = RunDir(str(run.directory))
        states = of_run(of_id, created_at(run_dir), known_attempts(run_dir))
        queued = None if listed.queue_problem is not None else any(state.queued for state in states)
        found[run.run_id] = RunStates(states, is_over(run.job_id, states), queued)
    problem = listed.queue_problem or (None if listed.no_accounting else listed.accounting_problem)
    return ListedRuns(found, problem, listed.accounting_problem is None, listed.no_accounting)


def with_missing_jobs(listed: ListedRuns, runs: Sequence[SubmittedRun]) -> BackendStates:
    """The states of runs, also of those whose jobs are not in the queue any more, which are over: where accounting does
    not list them, their end records are what is known of their end.
    """
    found = dict(listed.runs)
    for run in runs:
        states = found.get(run.run_id)
        if states is not None and states.queued is False and not (states.over or listed.accounting):
            run_dir = RunDir(str(run.directory))
            known = [*states.states]
            with suppress(OSError):
                known = known or stored_states(run_dir)
            ended = with_ends(known, known_attempts(run_dir))
            over = listed.no_accounting or is_over(run.job_id, ended)
            found[run.run_id] = RunStates(ended, over=over, queued=False)
    return BackendStates({run_id: states for run_id, states in found.items() if states.states}, listed.problem)


def _listed(client: SlurmClient, cluster: str, job_ids: Sequence[str], timeout_s: float | None) -> _Listed:
    """What Slurm lists of these ids, by the ids of jobs and arrays."""
    found = _Listed()
    for chunk in chunks(job_ids):
        with (
            closing(client.start(QueueStates(chunk))) as queue,
            closing(client.start(AccountingStates(chunk))) as accounting,
        ):
            until = time.monotonic() + (timeout_s or QueueStates.timeout_s)
            try:
                present = queue.answer(timeout_s)
            except NoAnswer as error:
                present = PresentStates((), error.message)
            try:
                past = accounting.answer(max(until - time.monotonic(), 0.5))
            except NoAnswer as error:
                past = PastStates((), error.message, disabled=False)
        # A cluster without accounting still has squeue; and accounting knows jobs that are over.
        if past.problem is not None and not past.disabled and not present.states:
            raise SetupError(past.problem)
        if present.problem is not None and not past.states:
            raise SetupError(present.problem)
        found.queue_problem = found.queue_problem or present.problem
        found.accounting_problem = found.accounting_problem or past.problem
        found.no_accounting = found.no_accounting or past.disabled
        for state in merged(past, present):
            own = replace(state, cluster=cluster)
            found.states.setdefault(state.array_job_id or state.het_job_id or state.job_id, []).append(own)
    return found


_LEAVING = frozenset({"BOOT_FAIL", "FAILED", "NODE_FAIL", "PREEMPTED", "REQUEUED"})
"""Ends after which Slurm may put a job back into the queue, once it has left its nodes (slurm.conf(5): JobRequeue,
PreemptMode, RequeueExit)."""

_UNCONFIRMED = _LEAVING - {"FAILED"}
"""Of them those that only the queue can confirm: where it does not answer, the job may come back."""


def merged(past: PastStates, present: PresentStates) -> list[JobState]:
    """The executions that sacct and squeue list: squeue is newer on what is not over, and sacct may lag."""
    by_id: dict[str, list[JobState]] = {}
    for state in past.states:
        by_id.setdefault(state.job_id, []).append(state)
    for state in present.states:
        _add(by_id.setdefault(state.job_id, []), state, accounting=past.problem is None)
    if present.problem is not None:
        for known in by_id.values():
            if known[-1].state in _UNCONFIRMED:
                known[-1] = _ending(known[-1])
    return [state for known in by_id.values() for state in known]


def _add(known: list[JobState], state: JobState, *, accounting: bool) -> None:
    """Add what squeue lists to the executions of a job in accounting."""
    at = max((at for at, past in enumerate(known) if _is_same(past, state)), default=None)
    over = state.final
    if over and accounting:
        # Only accounting knows how it ended, and it is a second or two behind.
        state = replace(state, state="COMPLETING")
    if at is not None and not known[at].final:
        known[at] = replace(known[at], state=state.state, reason=state.reason, queued=state.queued, held=state.held)
    elif at is None or not (over or state.state == "COMPLETING"):
        known.append(replace(state, restart=known[-1].restart + 1 if known else 0))
    elif not over and known[at].state in _LEAVING:
        known[at] = replace(_ending(known[at]), queued=True)


def _is_same(past: JobState, present: JobState) -> bool:
    """Whether both are the same execution. A job whose nodes were changed has a new time of submission."""
    return (
        present.submit_at is None
        or present.submit_at == past.submit_at
        or (present.start_at is not None and present.start_at == past.start_at)
    )


def _ending(state: JobState) -> JobState:
    return replace(state, state="COMPLETING", exit_code=None, signal=None, end_at=None)
