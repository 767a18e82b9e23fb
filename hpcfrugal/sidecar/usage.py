"""CPU time and memory of the job and busy time of the node, as growth since the sidecar began."""

from __future__ import annotations

from .cgroup import GroupCpu, GroupMemory, find_job_group
from .node import NodeBusy
from .proc_tree import ProcTree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .identity import Identity


class Usage:
    """Opened once; ``read`` gives the four figures of a record."""

    __slots__ = ("_base_cpu_us", "_base_node_us", "_busy", "_cpu", "_memory", "_tree", "cpu_time_source")

    def __init__(self, proc: str, identity: Identity, sluid: str | None, root_pid: int | None) -> None:
        self._cpu: GroupCpu | None = None
        self._memory: GroupMemory | None = None
        self._tree: ProcTree | None = None
        self._busy: NodeBusy | None = None
        self._base_cpu_us: int | None = None
        self._base_node_us: int | None = None
        if identity.in_slurm:
            self._open_group(proc, identity.job_id, sluid)
        if self._cpu is None and (identity.in_slurm or root_pid is not None):
            slurm_job = identity.job_id if identity.in_slurm else None
            self._tree = ProcTree(proc, root_pid, slurm_job, identity.node)
        try:
            self._busy = NodeBusy(proc)
        except OSError:
            self._busy = None
        self.cpu_time_source: str | None = None
        if self._cpu is not None:
            self.cpu_time_source = self._cpu.source
        elif self._tree is not None:
            self.cpu_time_source = self._tree.source

    def _open_group(self, proc: str, job_id: str, sluid: str | None) -> None:
        group = find_job_group(proc, job_id, sluid)
        if group.cpu_dir is not None:
            try:
                cpu = GroupCpu(group.cpu_dir, group.cpu_version)
            except OSError:
                cpu = None
            if cpu is not None and cpu.read_us() is not None:
                self._cpu = cpu
        if group.memory_dir is not None:
            try:
                self._memory = GroupMemory(group.memory_dir, group.memory_version)
            except OSError:
                self._memory = None

    def restart(self) -> None:
        """Let the next ``read`` be the zero point of a new segment."""
        self._base_cpu_us = None
        self._base_node_us = None

    def read(self) -> dict[str, object]:
        """Job CPU and node busy microseconds since the first read, memory and its peak in bytes."""
        cpu_us: int | None = None
        memory_b: int | None = None
        peak_b: int | None = None
        if self._tree is not None:
            cpu_us, memory_b, peak_b = self._tree.read()
        elif self._cpu is not None:
            cpu_us = self._cpu.read_us()
        if self._memory is not None:
            memory_b, peak_b = self._memory.read_b()
        node_us = self._busy.read_us() if self._busy is not None else None
        if self._base_cpu_us is None:
            self._base_cpu_us = cpu_us
        if self._base_node_us is None:
            self._base_node_us = node_us
        return {
            "job_cpu_us": _since(cpu_us, self._base_cpu_us),
            "node_busy_us": _since(node_us, self._base_node_us),
            "memory_b": memory_b,
            "memory_peak_b": peak_b,
        }


def _since(now: int | None, base: int | None) -> int | None:
    # A kernel may let a sum of per-CPU times slip back by a tick: that is no negative time.
    return None if now is None or base is None else max(0, now - base)
