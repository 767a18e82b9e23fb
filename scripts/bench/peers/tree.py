"""CPU time and peak memory of a process with all its descendants, as the kernel counts them."""

from __future__ import annotations

import os
import time
from pathlib import Path


def pids(root: int) -> list[int]:
    """`root` and every process that descends from it now."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path(f"/proc/{name}/stat").read_text(errors="replace")
            except OSError:
                continue
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_s(root: int) -> float:
    """CPU seconds so far: of the live processes to the nanosecond, of children that they have waited for in ticks.

    The first is each process's CPU clock (clock_getcpuclockid(3)), which includes threads that have ended.
    """
    total = 0.0
    for pid in pids(root):
        try:
            total += time.clock_gettime((~pid << 3) | 2)
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return total


def peak_rss_kib(root: int) -> list[int]:
    """VmHWM of each of the processes, the largest first."""
    found = []
    for pid in pids(root):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        found.append(int((status.partition("VmHWM:")[2].split() or ["0"])[0]))
    return sorted(found, reverse=True)
