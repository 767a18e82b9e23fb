"""Closing the energy of a node: what its jobs had, what it drew idle, and the rest, which add up to what was read.

The agent of a node gives each job its part at each sample; what no job had is the rest. The rest of the time in which
no job was on the node is *idle*, that beside jobs is *system*; of a bucket of 300 s with both, it is divided by time.
Where CPU times were not known, nothing could be divided: *undivided*. All are integers, and they add up to the node.

Slurm switches off a node that has been idle for SuspendTime; it is off after SuspendTimeout and needs ResumeTimeout to
come back (slurm.conf(5)). So of an idle time that is longer than these three together, the energy between them could
be saved. Pure functions.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from hpcfrugal.accounting.buckets import BUCKET_NS
from hpcfrugal.accounting.spans import joined
from hpcfrugal.core.quick import dataclass

_DAY_NS = 86_400 * 10**9

_SAME_NS = 120 * 10**9
"""An agent that begins anew within this time leaves no gap in which a job could have come and gone unseen."""

WallSpan = tuple[int, int]
"""From an instant to another, in ns since 1970."""


class SuspendRule(NamedTuple):
    """Seconds, as in slurm.conf."""

    suspend_s: int
    suspend_timeout_s: int
    resume_timeout_s: int

    @property
    def least_s(self) -> int:
        """An idle time has to be longer than this."""
        return sum(self)

    def off(self, idle: WallSpan) -> WallSpan:
        """When a node could have been off in an idle time; empty where that is too short."""
        start_ns = idle[0] + (self.suspend_s + self.suspend_timeout_s) * 10**9
        return start_ns, max(start_ns, idle[1] - self.resume_timeout_s * 10**9)


@dataclass(frozen=True, slots=True)
class AgentSpan:
    """What an agent read of a node from one instant to another: energy and rest by the start of their bucket, and when
    jobs were there. ``divided``: its energy could be divided among them."""

    start_ns: int
    end_ns: int
    divided: bool
    energy_uj: Mapping[int, int]
    rest_uj: Mapping[int, int]
    jobs: Sequence[WallSpan]


@dataclass(slots=True)
class NodeBalance:
    """Microjoules and nanoseconds of a node. ``could_be_off_uj`` is a part of ``idle_uj``."""

    jobs_uj: int = 0
    idle_uj: int = 0
    system_uj: int = 0
    undivided_uj: int = 0
    could_be_off_uj: int = 0
    read_ns: int = 0
    idle_ns: int = 0

    @property
    def node_uj(self) -> int:
        """All that was read."""
        return self.jobs_uj + self.idle_uj + self.system_uj + self.undivided_uj

    def take(
        self,
        divided: bool,
        energy_uj: int,
        rest_uj: int,
        bucket: WallSpan,
        free: Sequence[WallSpan],
        off: Sequence[WallSpan],
    ) -> None:
        """Add the energy of a bucket, in whose time there were no jobs in ``free``, and the node could be ``off``."""
        free_ns, whole_ns = _overlap(free, bucket), bucket[1] - bucket[0]
        self.jobs_uj += energy_uj - rest_uj
        if not divided and free_ns < whole_ns:
            self.undivided_uj += rest_uj
            return
        idle_uj = rest_uj * free_ns // whole_ns if whole_ns else 0
        self.idle_uj += idle_uj
        self.system_uj += rest_uj - idle_uj
        if free_ns and off:
            self.could_be_off_uj += idle_uj * _overlap(off, bucket) // free_ns


def close_node(spans: Sequence[AgentSpan], rule: SuspendRule, within: WallSpan) -> dict[int, NodeBalance]:
    """The balance of a node by UTC day, counted since 1970, of the buckets that begin ``within`` a time."""
    spans = sorted(spans, key=lambda span: span.start_ns)
    free = [list(_without(span.jobs, (span.start_ns, span.end_ns))) for span in spans]
    jobs = list(joined(job for span in spans for job in span.jobs))
    read = joined(((span.start_ns, span.end_ns) for span in spans), _SAME_NS)
    idle = (each for whole in read for each in _without(jobs, whole))
    off = [(start_ns, end_ns) for start_ns, end_ns in map(rule.off, idle) if end_ns > start_ns]
    found: dict[int, NodeBalance] = {}
    for span, free_spans in zip(spans, free, strict=True):
        for day in range(span.start_ns // _DAY_NS, -(-span.end_ns // _DAY_NS)):
            today = max(span.start_ns, day * _DAY_NS, within[0]), min(span.end_ns, (day + 1) * _DAY_NS, within[1])
            if today[1] > today[0]:
                balance = found.setdefault(day, NodeBalance())
                balance.read_ns += today[1] - today[0]
                balance.idle_ns += _overlap(free_spans, today)
        for start_ns in span.energy_uj.keys() | span.rest_uj.keys():
            if within[0] <= start_ns < within[1]:
                first_ns = max(start_ns, span.start_ns)
                bucket = first_ns, max(first_ns, min(start_ns + BUCKET_NS, span.end_ns))
                energy_uj, rest_uj = span.energy_uj.get(start_ns, 0), span.rest_uj.get(start_ns, 0)
                balance = found.setdefault(start_ns // _DAY_NS, NodeBalance())
                balance.take(span.divided, energy_uj, rest_uj, bucket, free_spans, off)
    return found


def _without(jobs: Iterable[WallSpan], whole: WallSpan) -> Iterator[WallSpan]:
    """The parts of a time in which there were no jobs."""
    at_ns = whole[0]
    for start_ns, end_ns in joined(jobs):
        if min(start_ns, whole[1]) > at_ns:
            yield at_ns, min(start_ns, whole[1])
        at_ns = max(at_ns, end_ns)
    if at_ns < whole[1]:
        yield at_ns, whole[1]


def _overlap(spans: Sequence[WallSpan], part: WallSpan) -> int:
    """How much of a part lies in spans, which are in order and do not overlap."""
    whole = 0
    for at in range(max(0, bisect_right(spans, part[0], key=itemgetter(0)) - 1), len(spans)):
        start_ns, end_ns = spans[at]
        if start_ns >= part[1]:
            break
        whole += max(0, min(end_ns, part[1]) - max(start_ns, part[0]))
    return whole
