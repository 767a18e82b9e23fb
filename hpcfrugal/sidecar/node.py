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
    """CPU time of the node's control groups, which the scheduler counts in nanoseconds.

    ``are_all``: whether no task of the node is outside, as below the root of version 1. Version 2 counts tasks of the
    root, such as the kernel's threads, in no group.
    """

    def __init__(self, proc: str) -> None:
        self._proc = proc
        self._root: tuple[str, int] | None = None
        self.are_all = False
        self._sought = False
        self._last_us: dict[str, int | None] | None = None
        self._total_us = 0

    def read_us(self) -> int:
        """Microseconds since the first call; a lower bound where groups come and go, 0 where nothing can be read."""
        if not self._sought:
            self._sought = True
            self._root = node_group(self._proc)
            self.are_all = self._root is not None and _has_all_tasks(*self._root)
        if self._root is None:
            return 0
        try:
            names = self._names(*self._root)
        except OSError:
            return self._total_us
        last_us = self._last_us
        self._last_us = now_us = dict.fromkeys(names)
        for name in names[:_MOST_GROUPS]:
            before_us = None if last_us is None else last_us.get(name)
            value_us = _group_us(f"{self._root[0]}/{name}" if name else self._root[0], self._root[1])
            now_us[name] = before_us if value_us is None else value_us
            if value_us is None or last_us is None:
                continue
            if name not in last_us:
                self._total_us += value_us  # a new group
            elif before_us is not None:
                self._total_us += max(0, value_us - before_us)
        return self._total_us

    @staticmethod
    def _names(root: str, version: int) -> list[str]:
        if version == 1:
            return [""]
        with os.scandir(root) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        # systemd itself and mount units use next to no CPU time
        return sorted(name for name in names if name != "init.scope" and not name.endswith(".mount"))


def _has_all_tasks(directory: str, version: int) -> bool:
    # only the root of a hierarchy has this file (cgroups(7)), the topmost group that a container sees has not
    return version == 1 and os.path.exists(f"{directory}/release_agent") and _group_us(directory, version) is not None


def _group_us(directory: str, version: int) -> int | None:
    try:
        group = GroupCpu(directory, version)
    except OSError:
        return None
    try:
        return group.read_us()
    finally:
        group.close()


class _Ahead:
    """By how much one count has been ahead of another that it includes, at most so far.

    Then the first is at least the other plus that. The noise of two counts, or of the moments at which they are read,
    is in the result once, and not at each reading.
    """

    def __init__(self) -> None:
        self._most_us: int | None = None

    def over(self, whole_us: int, part_us: int) -> int:
        """``whole_us``, or more where it has grown by less than ``part_us`` has."""
        ahead_us = whole_us - part_us
        self._most_us = ahead_us if self._most_us is None else max(self._most_us, ahead_us)
        return part_us + self._most_us


class NodeBusy:
    """CPU time in which the node's CPUs were not idle.

    Most kernels sample ``/proc/stat`` at each clock tick, while the CPU time of control groups, and so of a job, is
    exact. So it is the CPU time of the groups, and of ``/proc/stat`` what is in none of them: tasks outside of them,
    and interrupts. The jobs of a node never add up to more than the node.

    Where the kernel measures the time of interrupts (CONFIG_IRQ_TIME_ACCOUNTING), no task has it; else ``irq`` is 0 and
    interrupts are in the time of the tasks they interrupt (Linux: kernel/sched/cputime.c, ``rq_clock_task``). Time that
    a hypervisor took (``steal``) is of no task, and not of this node.
    """

    def __init__(self, proc: str) -> None:
        """Open ``/proc/stat``. Raises OSError."""
        self._file = CountFile(f"{proc}/stat")
        self._tick_us = 1_000_000 // ticks_per_s()
        self._groups = GroupsBusy(proc)
        self._stat, self._job = _Ahead(), _Ahead()
        self._measures_interrupts: bool | None = None
        self._busy_us = 0

    def read_us(self, job_us: int | None = None) -> int | None:
        """Microseconds since any moment, summed over all CPUs. Read ``job_us``, the CPU time of the job, before this
        call."""
        times_us = self._read_stat_us()
        if times_us is None:
            return None
        stat_us, irq_us, softirq_us = times_us
        if self._measures_interrupts is None:
            self._measures_interrupts = irq_us > 0
        busy_us = self._groups.read_us()
        if not self._groups.are_all:
            busy_us = self._stat.over(stat_us, busy_us)
        elif self._measures_interrupts:
            busy_us += irq_us + softirq_us
        if job_us is not None:
            busy_us = self._job.over(busy_us, job_us)
        self._busy_us = max(self._busy_us, busy_us)
        return self._busy_us

    def _read_stat_us(self) -> tuple[int, int, int] | None:
        """All that is neither idle nor stolen, and of it interrupts and soft interrupts."""
        # guest time is inside user time
        try:
            line = self._file.read_bytes(512).split(b"\n", 1)[0].split()
        except OSError:
            return None
        if len(line) < 8 or line[0] != b"cpu" or not all(field.isdigit() for field in line[1:]):
            return None
        user, nice, system, _idle, _iowait, irq, softirq = [int(field) * self._tick_us for field in line[1:8]]
        return user + nice + system + irq + softirq, irq, softirq

    def close(self) -> None:
        """Close the file."""
        self._file.close()
