"""Counts of processes that have ended between two scans of procfs.

When a process ends, the kernel adds its counts to the parent that waits for it. If no process that is counted waits for
it, its last known counts have to be kept, so that no sum ever decreases.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .proc_stat import Process


def lives_on(pid: int, before: Mapping[int, Process], now: Mapping[int, Process]) -> bool:
    """Whether a process of ``before`` is the one of that id ``now``."""
    process = now.get(pid)
    return process is not None and process.start == before[pid].start


def ended_by_heir(before: Mapping[int, Process], now: Mapping[int, Process]) -> dict[int, list[Process]]:
    """The processes that have ended, by the nearest one above them that lives on; those without one at 0."""
    found: dict[int, list[Process]] = {}
    for pid, process in before.items():
        if lives_on(pid, before, now):
            continue
        heir = process.parent
        while heir in before and not lives_on(heir, before, now):
            heir = before[heir].parent
        found.setdefault(heir if heir in before else 0, []).append(process)
    return found


def taken_by(heir: int, before: Mapping[int, Process], now: Mapping[int, Process]) -> list[int]:
    """What ``heir`` has taken over from processes that it waited for: CPU time in ticks, minor and major faults."""
    if not heir:
        return [0, 0, 0]
    new, last = now[heir].reaped, before[heir].reaped
    return [new[index] - last[index] for index in range(3)]


def left_over(ended: Sequence[Process], taken: Sequence[int], index: int) -> int:
    """What the ``ended`` processes had counted and nobody has taken over."""
    return max(0, sum([process.own[index] + process.reaped[index] for process in ended]) - taken[index])
