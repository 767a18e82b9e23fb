"""The Slurm backend: submits, follows and cancels jobs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace

from hpcfrugal.core.errors import SetupError
from hpcfrugal.job.backend import (
    BackendStates,
    RenderedJob,
    RunStates,
    Submitted,
    SubmittedRun,
)
from hpcfrugal.slurm.accounting import AccountingStates, PastStates
from hpcfrugal.slurm.client import SlurmClient, slurm_client
from hpcfrugal.slurm.cluster import Cluster, ClusterRequest
from hpcfrugal.slurm.command import NoAnswer
from hpcfrugal.slurm.executions import created_at, known_attempts, of_run, stored_states, with_ends
from hpcfrugal.slurm.job_ids import chunks, is_job_id
from hpcfrugal.slurm.nodes import NodeCpus, NodesRequest
from hpcfrugal.slurm.queue import PresentStates, QueueStates
from hpcfrugal.slurm.submission import SubmitJob
from hpcfrugal.slurm.updates import CancelJobs
from hpcfrugal.spool import RunDir
from hpcfrugal.spool.job_state import JobState, is_over

SHORT_S = 5.0
"""How long a command that has other work to do waits for Slurm."""


class SlurmBackend:
    """The backend for a Slurm cluster.

    ``timeout_s`` is how long any of its queries may take; None: as long as a busy controller needs. Submitting and
    cancelling have their own limits.
    """

    name = "slurm_cli"

    def __init__(self, timeout_s: float | None = None, client: SlurmClient | None = None) -> None:
        self._timeout_s = timeout_s
        self._client = client or slurm_client()
        self._known: Cluster | None = None

    def cluster(self) -> str:
        """``ClusterName`` of slurm.conf.

        Raises:
            SetupError: the controller does not answer.
        """
        return self._facts().name

    def _facts(self) -> Cluster:
        if self._known is None:
            self._known = self._client.ask(ClusterRequest(), self._timeout_s)
        return self._known

    def node_cpus(self, nodes: Sequence[str]) -> Mapping[str, NodeCpus]:
        """Slurm's count of the CPUs of nodes, and whether jobs may share them; unknown nodes are left out.

        Raises:
            SetupError: Slurm does not answer.
        """
        if not nodes:
            return {}
        allocates_cpus = self._facts().allocates_cpus
        found = self._client.ask(NodesRequest(nodes), self._timeout_s)
        if allocates_cpus:
            return found
        return {node: replace(cpus, oversubscribed=True) for node, cpus in found.items()}

    def submit(self, job: RenderedJob) -> Submitted:
        """Submit by sbatch."""
        with ExitStack() as stack:
            submission = stack.enter_context(closing(self._client.start(SubmitJob(job.script, job.arguments))))
            # Asked for while sbatch runs, so that both take the time of one. A job that is in the queue must not count
            # as refused because this query failed: its sidecar knows the cluster's name as well.
            facts = None
            with suppress(SetupError):
                if self._known is None:
                    facts = stack.enter_context(closing(self._client.start(ClusterRequest())))
            submitted = submission.answer()
            if facts is not None:
                with suppress(SetupError):
                    self._known = facts.answer(self._timeout_s)
        here = self._known.name if self._known is not None else ""
        return replace(submitted, cluster=submitted.cluster or here)

    def states(self, runs: Sequence[SubmittedRun]) -> BackendStates:
        """See ``listed``. A job that is not in the queue any more is over, also where accounting is off or does not
        answer: then its end records are what is known of its end.
        """
        listed = self.listed(runs)
        found = dict(listed.runs)
        for run in runs:
            states = found.get(run.run_id)
            if states is not None and states.queued is False and not (states.over or listed.accounting):
                run_dir = RunDir(run.directory)
                known = [*states.states]
                with suppress(OSError):
                    known = known or stored_states(run_dir)
                ended = with_ends(known, known_attempts(run_dir))
                over = listed.no_accounting or is_over(run.job_id, ended)
                found[run.run_id] = RunStates(ended, over=over, queued=False)
        return BackendStates({run_id: states for run_id, states in found.items() if states.states}, listed.problem)

    def listed(self, runs: Sequence[SubmittedRun]) -> ListedRuns:
        """What Slurm lists, by one squeue and one sacct per thousand jobs; sacct knows the past, squeue the present.

        What cannot be a job id of Slurm's is left out.

        Raises:
            SetupError: neither accounting nor controller answers.
        """
        asked = [run for run in runs if is_job_id(run.job_id)]
        listed = self._listed(list(dict.fromkeys(run.job_id for run in asked)))
        found = {}
        for run in asked:
            of_id = listed.states.get(run.job_id, ())
            run_dir = RunDir(run.directory)
            states = of_run(of_id, created_at(run_dir), known_attempts(run_dir))
            queued = None if listed.queue_problem is not None else any(state.queued for state in states)
            found[run.run_id] = RunStates(states, is_over(run.job_id, states), queued)
        problem = listed.queue_problem or (None if listed.no_accounting else listed.accounting_problem)
        return ListedRuns(found, problem, listed.accounting_problem is None, listed.no_accounting)

    def _listed(self, job_ids: Sequence[str]) -> _Listed:
        """What Slurm lists of these ids, by the ids of jobs and arrays."""
        cluster = self.cluster()
        found = _Listed()
        for chunk in chunks(job_ids):
            with (
                closing(self._client.start(QueueStates(chunk))) as queue,
                closing(self._client.start(AccountingStates(chunk))) as accounting,
            ):
                until = time.monotonic() + (self._timeout_s or QueueStates.timeout_s)
                try:
                    present = queue.answer(self._timeout_s)
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
                found.states.setdefault(state.array_job_id or state.job_id, []).append(own)
        return found

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Cancel by scancel."""
        for chunk in chunks(job_ids):
            self._client.ask(CancelJobs(chunk))


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
    """Executions by the id of their job or array, strangers that had the same id among them."""

    states: dict[str, list[JobState]] = field(default_factory=dict)
    queue_problem: str | None = None
    accounting_problem: str | None = None
    no_accounting: bool = False


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
        known[at] = replace(known[at], state=state.state, reason=state.reason, queued=state.queued)
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
