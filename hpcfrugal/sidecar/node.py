"""Facts and meters of the node itself, from procfs (proc(5))."""

from __future__ import annotations

import os

from .sysfs import CountFile, read_bytes, read_text


def boot_id(proc: str) -> str | None:
    """The kernel's random id of this boot."""
    try:
        return read_text(f"{proc}/sys/kernel/random/boot_id", 64) or None
    except OSError:
        return None


def cpus_online() -> int | None:
    """CPUs of the node that are online."""
    try:
        count = os.sysconf("SC_NPROCESSORS_ONLN")
    except (OSError, ValueError):
        return None
    return count if count > 0 else None


def cpu_model(proc: str) -> str | None:
    """Name of the first CPU. Only the first page is read: the whole file takes long on a large node."""
    try:
        lines = read_bytes(f"{proc}/cpuinfo", 4096).split(b"\n")
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(b":")
        if key.strip() == b"model name":
            return value.strip().decode("utf-8", "replace") or None
    return None


def memory_total_b(proc: str) -> int | None:
    """Memory of the node in bytes; ``MemTotal`` is in KiB."""
    try:
        lines = read_bytes(f"{proc}/meminfo", 4096).split(b"\n")
    except OSError:
        return None
    for line in lines:
        if line.startswith(b"MemTotal:"):
            fields = line.split()
            if len(fields) > 1 and fields[1].isdigit():
                return int(fields[1]) * 1024
    return None


def ticks_per_s() -> int:
    """Unit of the CPU times in procfs, per second (100 on every Linux that matters, but ask)."""
    return os.sysconf("SC_CLK_TCK")


class NodeBusy:
    """CPU time in which the node's CPUs were not idle."""

    __slots__ = ("_file", "_tick_us")

    def __init__(self, proc: str) -> None:
        """Open ``/proc/stat``. Raises OSError."""
        self._file = CountFile(f"{proc}/stat")
        self._tick_us = 1_000_000 // ticks_per_s()

    def read_us(self) -> int | None:
        """Microseconds since boot, summed over all CPUs; guest time is inside user time."""
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
