"""The jobs of a node: by their control groups where Slurm makes such, else by their processes."""

from __future__ import annotations

from ..cgroup import slurm_groups
from .gpu_devices import gpu_devices
from .job_groups import JobGroups
from .job_processes import JobProcesses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .job_groups import Watch
    from .node_job import NodeJob


LOOK_AGAIN = 60
"""Samples without a group of a job, after which processes are looked at: the folders may be left over from a time when
Slurm made groups (proctrack/linuxproc since then)."""


class NodeJobs:
    """The jobs of ``node``, as Slurm calls it. ``cpu_us`` is the CPU time of all of them so far, those that have ended
    included.

    By their groups where the folders of these are there, by processes where there is none of a job that processes show.
    ``watch`` as ``JobWait.watch``.
    """

    def __init__(self, proc: str, node: str, watch: Watch | None = None) -> None:
        self._proc = proc
        self._node = node
        self._groups = JobGroups(proc, slurm_groups(proc, node), watch)
        self._processes = None if self._groups.are_there() else JobProcesses(proc, node)
        self._without = 0
        self._seen: set[str | None] = set()
        """Jobs that processes showed when they were looked at last, and that have no group."""
        self._ended_us = 0
        self.cpu_us = 0

    def note_gpus(self, *, any_there: bool, sysfs: str = "/sys") -> None:
        """Whether the node has GPUs."""
        self._groups.has_gpus = any_there
        self._groups.gpu_devices = gpu_devices(self._proc, sysfs) if any_there else {}
        if self._processes is not None:
            self._processes.has_gpus = any_there

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

    def look(self) -> None:
        """Look at what the processes of jobs show: after ``read``, and when the busy time of the node has been read."""
        if self._processes is None:
            self._groups.look()

    def _find(self, now_ns: int) -> list[NodeJob]:
        if self._processes is None:
            return self._by_groups(now_ns)
        jobs = self._processes.read(now_ns)
        if not self._groups.have_jobs():
            return jobs
        # Slurm makes groups from now on
        for job in jobs:
            job.ended_ns = now_ns
        self._processes = None
        return [*jobs, *self._groups.read(now_ns)]

    def _by_groups(self, now_ns: int) -> list[NodeJob]:
        jobs = self._groups.read(now_ns)
        self._without = 0 if jobs else self._without + 1
        if self._without < LOOK_AGAIN:
            return jobs
        self._without = 0
        processes = JobProcesses(self._proc, self._node)
        processes.has_gpus = self._groups.has_gpus
        found = processes.read(now_ns)
        # twice, since a job's first process may be there before its group
        again = self._seen & {job.job_id for job in found}
        self._seen = {job.job_id for job in found}
        if not again:
            return jobs
        self._processes = processes
        return found
