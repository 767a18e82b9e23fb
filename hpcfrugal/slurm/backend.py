"""The Slurm backend: submits, follows and cancels jobs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path

from hpcfrugal.core.errors import SetupError
from hpcfrugal.job.backend import JobState, Submitted
from hpcfrugal.slurm.accounting import AccountingStates
from hpcfrugal.slurm.client import SlurmClient, slurm_client
from hpcfrugal.slurm.cluster import Cluster, ClusterRequest
from hpcfrugal.slurm.job_ids import chunks, is_job_id
from hpcfrugal.slurm.nodes import NodeCpus, NodesRequest
from hpcfrugal.slurm.queue import QueueStates
from hpcfrugal.slurm.submission import SubmitJob
from hpcfrugal.slurm.updates import CancelJobs

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

    def submit(self, script: Path, arguments: Sequence[str], *, run_id: str, workdir: Path) -> Submitted:
        """Submit by sbatch."""
        with ExitStack() as stack:
            submission = stack.enter_context(closing(self._client.start(SubmitJob(script, arguments))))
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

    def states(self, job_ids: Sequence[str]) -> Mapping[str, Sequence[JobState]]:
        """One squeue and one sacct per thousand jobs; sacct knows the past, squeue the present.

        What cannot be a job id of Slurm's is left out.
        """
        return self.states_and_gone(job_ids)[0]

    def states_and_gone(self, job_ids: Sequence[str]) -> tuple[Mapping[str, Sequence[JobState]], Sequence[str]]:
        """The same, and the ids that neither accounting nor controller know, where accounting could be asked.

        Raises:
            SetupError: Slurm does not answer.
        """
        gone: list[str] = []
        found: dict[str, dict[tuple[str, int], JobState]] = {}
        cluster = self.cluster()

        def of_job(state: JobState) -> dict[tuple[str, int], JobState]:
            return found.setdefault(state.array_job_id or state.job_id, {})

        for chunk in chunks([job_id for job_id in job_ids if is_job_id(job_id)]):
            with (
                closing(self._client.start(QueueStates(chunk))) as queue,
                closing(self._client.start(AccountingStates(chunk))) as accounting,
            ):
                until = time.monotonic() + (self._timeout_s or QueueStates.timeout_s)
                past = accounting.answer(self._timeout_s)
                present = queue.answer(max(until - time.monotonic(), 0.5))
            # A cluster without accounting still has squeue; and squeue fails where every job is long gone.
            if past.problem is not None and not present:
                raise SetupError(past.problem)
            for state in _in_cluster(past.states, cluster):
                of_job(state)[state.job_id, state.restart] = state
            for state in _in_cluster(present, cluster):
                if state.final and past.problem is None:
                    # Only accounting knows how it ended, and it is a second or two behind.
                    state = replace(state, state="COMPLETING")
                _merge(of_job(state), state)
            if past.problem is None or past.disabled:
                gone += [job_id for job_id in chunk if job_id not in found]
        known: Mapping[str, Sequence[JobState]] = {
            job_id: list(found[job_id].values()) for job_id in job_ids if job_id in found
        }
        return known, gone

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Cancel by scancel."""
        for chunk in chunks(job_ids):
            self._client.ask(CancelJobs(chunk))


def _in_cluster(states: Iterable[JobState], cluster: str) -> Iterable[JobState]:
    return (replace(state, cluster=cluster) for state in states)


def _merge(known: dict[tuple[str, int], JobState], state: JobState) -> None:
    """Add a state of squeue's to those of sacct: it is newer on what is not over, and sacct may lag or be absent."""
    restart = max((restart for job_id, restart in known if job_id == state.job_id), default=0)
    last = known.get((state.job_id, restart))
    if last is not None and last.final:
        # Over in accounting: squeue still lists it for MinJobAge, or it waits to be started again.
        if state.final or state.state == "COMPLETING":
            return
        restart += 1
    if last is not None and not last.final:
        known[state.job_id, restart] = replace(last, state=state.state, reason=state.reason)
    else:
        known[state.job_id, restart] = replace(state, restart=restart)
