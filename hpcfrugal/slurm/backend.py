"""The Slurm backend: submits, follows and cancels jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcfrugal.core.errors import SetupError
from hpcfrugal.job.backend import BackendStates, RenderedJob, Submitted, SubmittedRun
from hpcfrugal.slurm.client import SlurmClient, slurm_client
from hpcfrugal.slurm.cluster import Cluster, ClusterRequest
from hpcfrugal.slurm.job_ids import chunks
from hpcfrugal.slurm.submission import SubmitJob

if TYPE_CHECKING:
    from hpcfrugal.slurm.listing import ListedRuns
    from hpcfrugal.slurm.nodes import NodeCpus

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

    @property
    def submits_at_once(self) -> int:
        """See ``SlurmClient``."""
        return self._client.submits_at_once

    @contextmanager
    def for_many(self, jobs: int) -> Iterator[SlurmBackend]:
        """See ``Backend.for_many``: by pyslurm, where that can be used and is faster."""
        from hpcfrugal.slurm.many_requests import client_for

        with client_for(jobs) as client:
            yield SlurmBackend(self._timeout_s, client)

    def cluster(self) -> str:
        """``ClusterName`` of slurm.conf.

        Raises:
            SetupError: the controller does not answer.
        """
        return self._facts().name

    def max_array_size(self) -> int | None:
        """``MaxArraySize`` of slurm.conf."""
        return self._facts().max_array_size

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
        from hpcfrugal.slurm.nodes import NodesRequest

        allocates_cpus = self._facts().allocates_cpus
        found = self._client.ask(NodesRequest(nodes), self._timeout_s)
        if allocates_cpus:
            return found
        return {node: replace(cpus, oversubscribed=True) for node, cpus in found.items()}

    def submit(self, job: RenderedJob) -> Submitted:
        """Submit by sbatch."""
        request = SubmitJob(job.script, job.content, job.arguments)
        with ExitStack() as stack:
            submission = stack.enter_context(closing(self._client.start(request)))
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
        from hpcfrugal.slurm.listing import with_missing_jobs

        return with_missing_jobs(self.listed(runs), runs)

    def listed(self, runs: Sequence[SubmittedRun]) -> ListedRuns:
        """What Slurm lists of these runs; see ``list_runs``."""
        from hpcfrugal.slurm.listing import list_runs

        return list_runs(self._client, self.cluster, runs, self._timeout_s)

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Cancel by scancel."""
        from hpcfrugal.slurm.updates import CancelJobs

        for chunk in chunks(job_ids):
            self._client.ask(CancelJobs(chunk))
