"""What the job uses beside energy, and the busy time of the node, as growth since the sidecar began.

CPU time, memory and page faults come from the job's control group, or else from its processes in procfs; bytes
to and from storage always from these: the io controller is seldom on, and knows nothing of network file systems.
"""

from __future__ import annotations

from .cgroup import GroupCpu, GroupFaults, GroupMemory, find_job_group
from .node import NodeBusy, cpus_online
from .proc_tree import ProcTree, TreeUse, shows_own_pids
from .worker import boottime_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .gpu_busy import GpuBusy
    from .hardware_counters import HardwareCounters
    from .identity import Identity

FIRST_GAP_NS = 1_000_000_000
LAST_GAP_NS = 8_000_000_000
"""The memory of processes is read 1, 2, 4 and 8 s after the start, and then with each record: for jobs that end
before their second record."""


TICK_US = 10_000
"""procfs counts CPU time in ticks of this length, on each CPU."""

HIDDEN = "procfs hides other users' processes: tasks of srun count only while they run"
"""Why figures from procfs may not be of all of the job."""


FOREIGN = "procfs has the process ids of another PID namespace"
"""Why nothing can be read from procfs about the job's processes."""


class MemoryTime:
    """Memory integrated over time: the trapezoid between two readings."""

    def __init__(self) -> None:
        self._at_ns = 0
        self._value_b: int | None = None
        self._double_b_ns = 0
        self.known_ns = 0

    def update(self, at_ns: int, value_b: int | None) -> None:
        """Take the reading of the moment ``at_ns``; None for a failed one."""
        if value_b is not None and self._value_b is not None:
            elapsed_ns = max(0, at_ns - self._at_ns)
            self._double_b_ns += (self._value_b + value_b) * elapsed_ns
            self.known_ns += elapsed_ns
        self._at_ns, self._value_b = at_ns, value_b

    @property
    def kib_s(self) -> int:
        """KiB x seconds, rounded down; 64 bits hold a year of 100 TB."""
        return self._double_b_ns // (2 * 1024 * 1_000_000_000)


class Usage:
    """Opened once; ``read`` gives the figures of a record, ``sample_memory`` is for the time between two."""

    def __init__(
        self,
        proc: str,
        identity: Identity,
        sluid: str | None,
        root_pid: int | None,
        *,
        gpu_busy: GpuBusy | None = None,
        counters: HardwareCounters | None = None,
        clock_ns: Callable[[], int] = boottime_ns,
    ) -> None:
        self._clock_ns = clock_ns
        self._gpu_busy = gpu_busy
        self._counters = counters
        self._cpu: GroupCpu | None = None
        self._memory: GroupMemory | None = None
        self._faults: GroupFaults | None = None
        self._tree: ProcTree | None = None
        self._foreign_pids = False
        self._busy: NodeBusy | None = None
        self._bases: dict[str, int] = {}
        self._first_cpu: tuple[int, int] | None = None
        self._memory_time = MemoryTime()
        self._gap_ns = self._look_ns = 0
        if identity.in_slurm:
            self._open_group(proc, identity.job_id, sluid)
        if identity.in_slurm or root_pid is not None:
            slurm_job = identity.job_id if identity.in_slurm else None
            self._foreign_pids = not shows_own_pids(proc)
            if not self._foreign_pids:
                self._tree = ProcTree(proc, root_pid, slurm_job, identity.node, identity.leader_id)
        try:
            self._busy = NodeBusy(proc)
        except OSError:
            self._busy = None
        self.cpu_time_source = self._source(self._cpu)

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
                faults = GroupFaults(group.memory_dir, group.memory_version)
            except OSError:
                return
            if faults.read() != (None, None):
                self._faults = faults

    def _source(self, group: GroupCpu | GroupMemory | GroupFaults | None) -> str | None:
        if group is not None:
            return group.source
        return None if self._tree is None else self._tree.source

    def header(self) -> dict[str, object]:
        """Where each figure comes from, and why one does not come at all."""
        tree = self._source(None)
        sources = {
            "memory": self._source(self._memory),
            "page_faults": self._source(self._faults),
            "io": tree,
            "gpu_busy": None,
            "hardware_counters": None,
        }
        missing = "unknown control group and first process of the job"
        reasons = {name: missing for name in ("memory", "page_faults", "io") if sources[name] is None}
        if self._tree is None and self._cpu is None and self._foreign_pids:
            reasons["cpu_time"] = FOREIGN
        if self._tree is not None and self._tree.hides_others:
            if self._cpu is None:
                reasons["cpu_time"] = HIDDEN
            for name in ("memory", "page_faults", "io"):
                if sources[name] == tree:
                    reasons[name] = HIDDEN
        if self._gpu_busy is None or self._gpu_busy.read_us()[0] is None:
            why = [] if self._gpu_busy is None else self._gpu_busy.reasons
            reasons["gpu_busy"] = "; ".join(why) or "no NVIDIA GPU of the job was found"
        else:
            sources["gpu_busy"] = "nvml"
            if self._gpu_busy.reasons:
                reasons["gpu_busy"] = "; ".join(self._gpu_busy.reasons)
        if self._counters is None:
            reasons["hardware_counters"] = "not requested"
        elif self._counters.reason is not None:
            reasons["hardware_counters"] = self._counters.reason
        else:
            sources["hardware_counters"] = "perf-event"
            if self._counters.missing:
                missing_events = [f"{name}: {why}" for name, why in self._counters.missing.items()]
                reasons["hardware_counters"] = "; ".join(missing_events)
        return {"sources": sources, "reasons": reasons}

    def restart(self) -> None:
        """Let the next ``read`` be the zero point of a new session."""
        self._bases = {}
        self._memory_time = MemoryTime()
        self._gap_ns = FIRST_GAP_NS
        self._look_ns = self._clock_ns() + self._gap_ns

    def sample_memory(self) -> None:
        """Sample the memory between two records: cheap from a control group, less often from processes."""
        now_ns = self._clock_ns()
        if self._memory is not None:
            self._memory_time.update(now_ns, self._memory.read_b()[0])
        elif self._tree is not None and now_ns >= self._look_ns and self._gap_ns <= LAST_GAP_NS:
            self._look_ns += self._gap_ns
            self._gap_ns *= 2
            self._memory_time.update(now_ns, self._tree.read().memory_b)

    def read(self) -> dict[str, object]:
        """The figures of a record, those that only grow since the first read. None is not known."""
        use = TreeUse() if self._tree is None else self._tree.read()
        at_ns = self._clock_ns()
        cpu_us = self._possible_us(use.cpu_us if self._cpu is None else self._cpu.read_us(), at_ns)
        busy_us = None if self._busy is None else self._busy.read_us(cpu_us)  # at once, to be of the same moment
        memory_b, peak_b = (use.memory_b, use.memory_peak_b) if self._memory is None else self._memory.read_b()
        self._memory_time.update(at_ns, memory_b)
        faults = (use.minor_faults, use.major_faults) if self._faults is None else self._faults.read()
        io_b = use.io_b or (None, None)
        record: dict[str, object] = {
            "job_cpu_us": self._grown("job_cpu_us", cpu_us),
            "node_busy_us": self._grown("node_busy_us", busy_us),
            "memory_b": memory_b,
            "memory_peak_b": peak_b,
            "memory_kib_s": self._memory_time.kib_s,
            "memory_ns": self._memory_time.known_ns,
            "page_faults_minor": self._grown("page_faults_minor", faults[0]),
            "page_faults_major": self._grown("page_faults_major", faults[1]),
            "io_read_b": self._grown("io_read_b", io_b[0]),
            "io_write_b": self._grown("io_write_b", io_b[1]),
        }
        if use.io_partial:
            record["io_partial"] = True
        if self._gpu_busy is not None:
            busy_us, seen_us = self._gpu_busy.read_us()
            if seen_us is not None:
                record["gpu_busy_us"] = self._grown("gpu_busy_us", busy_us)
                record["gpu_seen_us"] = self._grown("gpu_seen_us", seen_us)
        if self._counters is not None and self._counters.reason is None:
            for name, count in self._counters.read().items():
                record[name] = self._grown(name, count)
        return record

    def _possible_us(self, cpu_us: int | None, at_ns: int) -> int | None:
        """The job's CPU time, at most what the node's CPUs have had since the first reading of it."""
        if cpu_us is None:
            return None
        if self._first_cpu is None:
            self._first_cpu = at_ns, cpu_us
        first_ns, first_us = self._first_cpu
        cpus = cpus_online()
        if cpus is None:
            return cpu_us
        return min(cpu_us, first_us + cpus * ((at_ns - first_ns) // 1000 + TICK_US))

    def _grown(self, name: str, now: int | None) -> int | None:
        # A kernel may let a sum of per-CPU times slip back by a tick: that is no negative time.
        return None if now is None else max(0, now - self._bases.setdefault(name, now))
