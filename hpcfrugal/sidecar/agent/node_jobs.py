"""The jobs of a node: by their control groups where Slurm makes such, else by their processes."""

from __future__ import annotations

from ..cgroup import slurm_groups
from .job_groups import JobGroups
from .job_processes import JobProcesses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .node_job import NodeJob


class NodeJobs:
    """The jobs of ``node``, as Slurm calls it. ``cpu_us`` is the CPU time of all of them so far, those that have ended
    included."""

    def __init__(self, proc: str, node: str) -> None:
        self._groups = JobGroups(proc, slurm_groups(proc, node))
        self._processes: JobProcesses | None = JobProcesses(proc, node)
        self._ended_us = 0
        self.cpu_us = 0

    @property
    def source(self) -> str:
        """Where CPU times come from."""
        return self._groups.source if self._processes is None else self._processes.source

    def read(self, now_ns: int) -> list[NodeJob]:
        """All jobs that are here, or have ended since the call before."""
        jobs = self._find(now_ns)
        self.cpu_us = self._ended_us + sum([job.cpu_us for job in jobs])
        self._ended_us += sum([job.cpu_us for job in jobs if job.ended_ns is not None])
        return jobs

    def _find(self, now_ns: int) -> list[NodeJob]:
        if self._processes is None:
            return self._groups.read(now_ns)
        if not self._groups.are_there():
            return self._processes.read(now_ns)
        # slurmd has made the first group: from now on those count
        jobs = self._processes.read(now_ns)
        for job in jobs:
            job.ended_ns = now_ns
        self._processes = None
        return [*jobs, *self._groups.read(now_ns)]
