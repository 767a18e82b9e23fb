"""How fast to sample and to write, so that a sidecar stays cheap and its file small, however long the job."""

from __future__ import annotations

GRACE_NS = 30_000_000_000
"""Nanoseconds in which CPU time is not judged yet: the start costs more than a minute of sampling."""

SLOWEST_NS = 10_000_000_000
SLOWEST_POWER_NS = 5_000_000_000
"""Longest interval between two samples that the self-limit chooses; with readings of power half as long, for
``counter.POWER_GAP_NS`` is not bridged."""

FILE_LIMIT_B = 64 * 1024 * 1024
"""Bytes that a node's file may have in the end."""

_LAST_LINES_B = 64 * 1024
"""Kept free below the limit, for the last line and for headers of new sessions."""


class CpuBudget:
    """Decides when to double the interval: when sampling uses more CPU time than ``percent`` of one core."""

    def __init__(self, percent: float, now_ns: int, cpu_ns: int) -> None:
        self._percent = percent
        self._first_ns = self._base_ns = now_ns
        self._first_cpu_ns = self._base_cpu_ns = cpu_ns

    def is_spent(self, now_ns: int, cpu_ns: int) -> bool:
        """Whether sampling costs too much, both since the start and since the interval last changed."""
        lately_ns = now_ns - self._base_ns
        if lately_ns < GRACE_NS:
            return False
        return self._over(cpu_ns - self._first_cpu_ns, now_ns - self._first_ns) and self._over(
            cpu_ns - self._base_cpu_ns, lately_ns
        )

    def changed(self, now_ns: int, cpu_ns: int) -> None:
        """Judge the new interval from here on."""
        self._base_ns = now_ns
        self._base_cpu_ns = cpu_ns

    def _over(self, used_ns: int, elapsed_ns: int) -> bool:
        return used_ns * 100 > self._percent * elapsed_ns


def slower_ns(interval_ns: int, shortest_wrap_ns: int | None, has_power: bool) -> int:
    """Twice the interval, but short enough that no counter wraps around within three of them."""
    slowest_ns = SLOWEST_POWER_NS if has_power else SLOWEST_NS
    if shortest_wrap_ns is not None:
        slowest_ns = min(slowest_ns, shortest_wrap_ns // 3)
    return max(interval_ns, min(2 * interval_ns, slowest_ns))


class FileBudget:
    """Decides when to write half as often: each time that a quarter of the remaining bytes is used up.

    At 600 bytes a record and one in 10 s, 64 MiB last for years: the next quarter is smaller, and lasts longer.
    """

    def __init__(self, limit_b: int, size_b: int) -> None:
        self._limit_b = max(0, limit_b - min(_LAST_LINES_B, limit_b // 4))
        self._next_b = size_b + max(0, self._limit_b - size_b) // 4

    def has_space(self, size_b: int, line_b: int) -> bool:
        """Whether one more record fits."""
        return size_b + line_b <= self._limit_b

    def quarter_used(self, size_b: int) -> bool:
        """Whether another quarter is used up, once for each."""
        if size_b < self._next_b:
            return False
        self._next_b = size_b + max(0, self._limit_b - size_b) // 4
        return True
