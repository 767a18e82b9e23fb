"""Instructions, cycles and cache traffic of the job's processes, counted by the CPUs (perf_event_open(2)).

The counters are attached to the root process and to the processes it has already started, since a batch script does not
wait for the sidecar. Whatever these start later inherits the counters, and the counts of a process remain when it ends.
This needs no privilege up to ``perf_event_paranoid`` 2; work inside the kernel is not counted.

A task that srun launches is not a child of the batch script and is not counted. The CPU time of the counted processes
is therefore recorded too: what it lacks of the job's CPU time was not counted. If more counters are open than a CPU
has, the kernel runs them in turns. The counts are not scaled up; the time for which they were enabled and the time for
which they ran are recorded with them.
"""

from __future__ import annotations

import errno
import os

from . import perf_event
from .proc_stat import read_process
from .sysfs import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_HARDWARE, _SOFTWARE = 0, 1
"""PERF_TYPE_HARDWARE and PERF_TYPE_SOFTWARE."""

EVENTS = (
    ("instructions", _HARDWARE, 1),
    ("cycles", _HARDWARE, 0),
    ("cache_references", _HARDWARE, 2),
    ("cache_misses", _HARDWARE, 3),
)
"""Name, source and number of each event (perf_event_open(2), ``config``)."""

_TASK_CLOCK = (_SOFTWARE, 1)
"""PERF_COUNT_SW_TASK_CLOCK: nanoseconds on a CPU."""

_INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HV = 1 << 1, 1 << 5, 1 << 6

_TIMES = 1 | 2
"""PERF_FORMAT_TOTAL_TIME_ENABLED and PERF_FORMAT_TOTAL_TIME_RUNNING: a read gives both after the value."""


MOST_THREADS = 64
"""Most threads that counters are attached to; the CPU time shows what was not counted of a job that has more."""


class HardwareCounters:
    """Counts the ``events`` of ``root_pid``, of its present children and of everything they start. ``reason`` is why
    nothing is counted, None where something is."""

    def __init__(self, proc: str, root_pid: int | None, events: Sequence[tuple[str, int, int]] = EVENTS) -> None:
        """Open the counters. Does not raise where some are missing or refused."""
        self.missing: dict[str, str] = {}
        """Why single events are not counted."""
        self._names = [name for name, _, _ in events]
        self._fds: list[list[int]] = [[] for _ in events]
        self._clock_fds: list[int] = []
        self.reason = self._open(proc, root_pid, events)

    def read(self) -> dict[str, int | None]:
        """Counts since the start, for how long the events were counted, and the CPU time of the counted processes.

        ``counters_enabled_ns`` and ``counters_running_ns`` are of the event that ran for the smallest part of its time.
        An event that has not run at all has no count.
        """
        found: dict[str, int | None] = dict.fromkeys(self._names)
        least: tuple[int, int] | None = None
        for name, fds in zip(self._names, self._fds):  # noqa: B905 (strict= is not in Python 3.9)
            value = _read(fds)
            if value is None:
                continue
            count, enabled_ns, running_ns = value
            if running_ns or not enabled_ns:
                found[name] = count
            # compares running / enabled without dividing
            if least is None or running_ns * least[0] < least[1] * enabled_ns:
                least = (enabled_ns, running_ns)
        clock = _read(self._clock_fds)
        found["counters_enabled_ns"], found["counters_running_ns"] = least or (None, None)
        found["counters_cpu_us"] = None if clock is None else clock[0] // 1000
        return found

    def close(self) -> None:
        """Close the counters."""
        for fds in (*self._fds, self._clock_fds):
            for fd in fds:
                os.close(fd)
            fds.clear()

    def _open(self, proc: str, root_pid: int | None, events: Sequence[tuple[str, int, int]]) -> str | None:
        if root_pid is None:
            return "the batch script runs on another node; tasks that srun launches are not its children"
        if not perf_event.is_known_here():
            return f"not supported on {os.uname().machine}"
        # List the threads before the first counter is opened, so that none has inherited one.
        threads = _threads(proc, root_pid)
        reason = None
        for index, (name, kind, config) in enumerate(events):
            try:
                self._fds[index].append(_open(kind, config, root_pid))
            except OSError as error:
                self.missing[name] = _why(error, proc)
                reason = reason or self.missing[name]
                continue
            self._fds[index] += _open_more(kind, config, threads)
        if not any(self._fds):
            return reason or "no events"
        try:
            self._clock_fds.append(_open(*_TASK_CLOCK, root_pid))
        except OSError as error:
            # without this clock nobody could tell how much of the job was counted
            self.close()
            return _why(error, proc)
        self._clock_fds += _open_more(*_TASK_CLOCK, threads)
        return None


def _threads(proc: str, root_pid: int) -> list[int]:
    """Threads of the root and of the processes below it, without the root's main thread and without this process."""
    try:
        pids = [int(name) for name in os.listdir(proc) if name.isdigit()]
    except OSError:
        return []
    parents = {pid: process.parent for pid in pids for process in [read_process(proc, pid)] if process is not None}
    found: list[int] = []
    waiting = [root_pid]
    while waiting and len(found) < MOST_THREADS:
        pid = waiting.pop(0)
        try:
            found += [int(name) for name in os.listdir(f"{proc}/{pid}/task") if int(name) != root_pid]
        except OSError:
            continue  # it has ended
        waiting += [child for child, parent in parents.items() if parent == pid and child != os.getpid()]
    return found[:MOST_THREADS]


def _open_more(kind: int, config: int, threads: list[int]) -> list[int]:
    """Open a counter on each of the ``threads`` that still exists and may be counted."""
    fds = []
    for thread in threads:
        try:
            fds.append(_open(kind, config, thread))
        except OSError:
            continue  # its CPU time is missing in the clock too, and so counts as not counted
    return fds


def _open(kind: int, config: int, pid: int) -> int:
    flags = _INHERIT | _EXCLUDE_KERNEL | _EXCLUDE_HV
    return perf_event.open_event(kind, config, pid=pid, cpu=-1, read_format=_TIMES, flags=flags)


def _read(fds: list[int]) -> tuple[int, int, int] | None:
    """Value, time enabled and time running, summed; None where one cannot be read."""
    sums = [0, 0, 0]
    for fd in fds:
        try:
            data = os.read(fd, 24)
        except OSError:
            return None
        if len(data) != 24:
            return None
        # in the byte order of this machine
        for index, number in enumerate(memoryview(data).cast("Q")):
            sums[index] += number
    return (sums[0], sums[1], sums[2]) if fds else None


def _why(error: OSError, proc: str) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        try:
            level = read_text(f"{proc}/sys/kernel/perf_event_paranoid", 32)
        except OSError:
            level = "not readable"
        return f"denied: {proc}/sys/kernel/perf_event_paranoid is {level[:12]}"
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
        return "the CPU has no such counters, or the virtual machine hides them"
    return (error.strerror or "refused").lower()
