"""Facts and meters of the node itself, from procfs (proc(5))."""

from __future__ import annotations

import os

from .cgroup import GroupCpu, node_group
from .sysfs import CountFile, parse_count, parse_cpus, text_or_empty, value_after

_MOST_GROUPS = 32
"""Most top-level groups that are read; a usual system has a handful."""


def boot_id(proc: str) -> str | None:
    """The kernel's random id of this boot."""
    return text_or_empty(f"{proc}/sys/kernel/random/boot_id", 64) or None


def cpus_online() -> int | None:
    """CPUs of the node that are online."""
    try:
        count = os.sysconf("SC_NPROCESSORS_ONLN")
    except (OSError, ValueError):
        return None
    return count if count > 0 else None


def cores_online(proc: str, sysfs: str, cpus: int | None) -> int | None:
    """Physical cores of ``cpus`` online CPUs, by the threads per core of the first."""
    if cpus is None:
        return None
    siblings, cores = (parse_count((_first_cpu(proc, key) or "").encode()) for key in (b"siblings", b"cpu cores"))
    if siblings and cores and cores <= siblings:
        return max(1, cpus * cores // siblings)
    threads = parse_cpus(text_or_empty(f"{sysfs}/devices/system/cpu/cpu0/topology/thread_siblings_list", 256))
    return max(1, cpus // len(threads)) if threads else None


def cpu_model(proc: str) -> str | None:
    """Name of the first CPU."""
    return _first_cpu(proc, b"model name")


def cpu_vendor(proc: str) -> str | None:
    """Who made the first CPU, such as ``GenuineIntel``."""
    return _first_cpu(proc, b"vendor_id")


def _first_cpu(proc: str, key: bytes) -> str | None:
    # only the first page: the whole file takes long on a large node
    return value_after(text_or_empty(f"{proc}/cpuinfo", 4096).encode(), key, b":").decode() or None


def memory_total_b(proc: str) -> int | None:
    """Memory of the node in bytes; ``MemTotal`` is in KiB."""
    value = value_after(text_or_empty(f"{proc}/meminfo", 4096).encode(), b"MemTotal", b":")
    size_kib = parse_count(value.partition(b" ")[0])
    return None if size_kib is None else size_kib * 1024


def facts(proc: str, sysfs: str) -> dict[str, object]:
    """What a header line has about the node itself."""
    cpus_node = cpus_online()
    return {
        "boot_id": boot_id(proc),
        "cpus_node": cpus_node,
        "cores_node": cores_online(proc, sysfs, cpus_node),
        "cpu_model": cpu_model(proc),
        "memory_node_b": memory_total_b(proc),
    }


def ticks_per_s() -> int:
    """Clock ticks per second, the unit of CPU times in procfs: 100 on nearly every Linux."""
    return os.sysconf("SC_CLK_TCK")


class GroupsBusy:
    """CPU time of all control groups of the node, which the scheduler counts in nanoseconds."""

    def __init__(self, proc: str) -> None:
        self._proc = proc
        self._root: tuple[str, int] | None = None
        self._sought = False
        self._last_us: dict[str, int | None] | None = None

    def grown_us(self) -> int:
        """Microseconds since the previous call, as a lower bound; 0 at the first call and where nothing can be read."""
        if not self._sought:
            self._sought = True
            self._root = node_group(self._proc)
        if self._root is None:
            return 0
        try:
            names = self._names(*self._root)
        except OSError:
            return 0
        last_us = self._last_us
        self._last_us = now_us = dict.fromkeys(names)
        grown_us = 0
        for name in names[:_MOST_GROUPS]:
            before_us = None if last_us is None else last_us.get(name)
            value_us = _group_us(f"{self._root[0]}/{name}" if name else self._root[0], self._root[1])
            now_us[name] = before_us if value_us is None else value_us
            if value_us is None or last_us is None:
                continue
            if name not in last_us:
                grown_us += value_us  # a new group
            elif before_us is not None:
                grown_us += max(0, value_us - before_us)
        return grown_us

    @staticmethod
    def _names(root: str, version: int) -> list[str]:
        if version == 1:
            return [""]
        with os.scandir(root) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        # systemd itself and mount units use next to no CPU time
        return sorted(name for name in names if name != "init.scope" and not name.endswith(".mount"))


def _group_us(directory: str, version: int) -> int | None:
    try:
        group = GroupCpu(directory, version)
    except OSError:
        return None
    try:
        return group.read_us()
    finally:
        group.close()


class NodeBusy:
    """CPU time in which the node's CPUs were not idle.

    ``/proc/stat`` includes interrupts and kernel threads, but most kernels sample it at each clock tick, while the CPU
    time of a job is exact. The jobs of a node must never add up to more than the node, so each reading grows by the
    largest of three: the growth of ``/proc/stat``, of all control groups, and of the job.
    """

    def __init__(self, proc: str) -> None:
        """Open ``/proc/stat``. Raises OSError."""
        self._file = CountFile(f"{proc}/stat")
        self._tick_us = 1_000_000 // ticks_per_s()
        self._groups = GroupsBusy(proc)
        self._stat_us: int | None = None
        # the job's last known CPU time, and the busy time at that moment
        self._job: tuple[int, int] | None = None
        self._busy_us = 0

    def read_us(self, job_us: int | None = None) -> int | None:
        """Microseconds since boot, summed over all CPUs. Read ``job_us``, the CPU time of the job, before this call."""
        stat_us = self._read_stat_us()
        if stat_us is None:
            return None
        groups_us = self._groups.grown_us()
        if self._stat_us is None:
            self._busy_us = stat_us
        else:
            self._busy_us += max(0, stat_us - self._stat_us, groups_us)
        self._stat_us = stat_us
        if job_us is not None:
            if self._job is not None:
                job_then_us, busy_then_us = self._job
                self._busy_us = max(self._busy_us, busy_then_us + job_us - job_then_us)
            self._job = job_us, self._busy_us
        return self._busy_us

    def _read_stat_us(self) -> int | None:
        # guest time is inside user time
        try:
            line = self._file.read_bytes(512).split(b"\n", 1)[0].split()
        except OSError:
            return None
        if len(line) < 8 or line[0] != b"cpu" or not all(field.isdigit() for field in line[1:]):
            return None
        times = [int(field) for field in line[1:]]
        user, nice, system, _idle, _iowait, irq, softirq = times[:7]
        steal = times[7] if len(times) > 7 else 0
        return (user + nice + system + irq + softirq + steal) * self._tick_us

    def close(self) -> None:
        """Close the file."""
        self._file.close()
