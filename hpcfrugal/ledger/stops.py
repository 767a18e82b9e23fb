"""Times in which a job may have been stopped, as Slurm does to suspend it: others may have had the node then.

The sidecar is stopped with the job and writes no record. Times are spans in ns since boot, in their order and apart.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from hpcfrugal.spool.sidecar_session import SidecarSession

Span = tuple[int, int]


def longest_ns(session: SidecarSession) -> float:
    """The time of two records, within which a sidecar that runs has written one; 0 is not known."""
    header = session.header
    return 2 * max(header.record_s or 0, (header.interval_s or 0) * max(session.slowed or 1, 1)) * 10**9


def was_stopped(session: SidecarSession) -> bool:
    """Whether the sidecar wrote no record for the time of more than two, as happens while Slurm suspends the job."""
    longest = longest_ns(session)
    return 0 < longest < session.longest_ns


def stops(session: SidecarSession) -> list[Span]:
    """When the job may have been stopped: others may have had all of the node then.

    The sidecar wrote no record for more than the time of two, and no CPU time shows that the job went on: neither more
    than all of its CPUs have in the time of two records, nor half of what it used on average while records came. Where
    it did, only the sidecar was late.
    """
    if not was_stopped(session):
        return []
    longest, header = longest_ns(session), session.header
    ends = zip(session.times_ns, [0, *session.job_cpu_us], strict=True)
    silent: list[tuple[int, int, int]] = []
    spoke_ns = spoke_us = 0
    for (old_ns, old_us), (new_ns, new_us) in pairwise(ends):
        used_us = 0 if old_us is None or new_us is None else max(0, new_us - old_us)
        if new_ns - old_ns > longest:
            silent.append((old_ns, new_ns, used_us))
        elif old_us is not None and new_us is not None:
            spoke_ns, spoke_us = spoke_ns + new_ns - old_ns, spoke_us + used_us
    cpus = header.cpus_alloc or header.cpus_node

    def went_on(silent_ns: int, used_us: int) -> bool:
        if cpus is not None and used_us * 1000 > longest * cpus:
            return True
        return spoke_us > 0 and 2 * used_us * spoke_ns >= spoke_us * silent_ns

    return [(old_ns, new_ns) for old_ns, new_ns, used_us in silent if not went_on(new_ns - old_ns, used_us)]


def falls_in(start_ns: int, end_ns: int, spans: Sequence[Span]) -> bool:
    """Whether any of ``[start_ns, end_ns)`` lies in one of ``spans``."""
    after = bisect_right(spans, start_ns, key=lambda span: span[1])
    return after < len(spans) and spans[after][0] < end_ns


def outside(times_ns: Sequence[int], spans: Sequence[Span]) -> list[slice]:
    """The longest parts of ``times_ns`` between whose neighbours nothing lies in ``spans``."""
    if not spans:
        return [slice(0, len(times_ns))]
    found: list[slice] = []
    start: int | None = None
    for at, (old_ns, new_ns) in enumerate(pairwise(times_ns)):
        if falls_in(old_ns, new_ns, spans):
            if start is not None:
                found.append(slice(start, at + 1))
            start = None
        elif start is None:
            start = at
    if start is not None:
        found.append(slice(start, len(times_ns)))
    return found
