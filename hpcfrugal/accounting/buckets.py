"""Energy of intervals in buckets of 300 s of wall time, exactly, in integers.

Carbon intensity varies with the time of day and its actual values come later, so the ledger keeps energy by time. An
interval that crosses an edge is split in proportion to time; each part is the difference of two rounded cumulative
values, so the parts always sum to the whole. An interval of more than a day is split into about as many parts as a day
has buckets, at equal distances, so that a job that was suspended for a year does not fill the ledger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BUCKET_NS = 300 * 10**9

MAX_PARTS = 288
"""The buckets of a day. An interval is split into at most this many parts, plus one if it does not start on an edge."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Energy over ``[start_ns, end_ns)`` of wall time, of which ``measured_ns`` are measured."""

    start_ns: int
    end_ns: int
    energy_uj: int
    measured_ns: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """Sums over one bucket. ``energy_uj`` is None if no interval of the job overlaps it."""

    energy_uj: int | None
    node_energy_uj: int | None
    measured_ns: int


def split(start_ns: int, end_ns: int, amount: int) -> Iterator[tuple[int, int]]:
    """(start of bucket, part of ``amount``) for each bucket that overlaps ``[start_ns, end_ns)``.

    Buckets begin at multiples of ``BUCKET_NS`` since the epoch. All of an interval without length is in one bucket. In
    a long interval each part covers several buckets and is put into the first of them.
    Raises ``ValueError`` if the interval ends before it starts.
    """
    if end_ns < start_ns:
        raise ValueError("interval ends before it starts")
    bucket = start_ns - start_ns % BUCKET_NS
    part_ns = BUCKET_NS * _width(start_ns, end_ns)
    length = end_ns - start_ns
    if length == 0:
        yield bucket, amount
        return
    done = 0
    while bucket < end_ns:
        edge = min(bucket + part_ns, end_ns)
        upto = amount * (edge - start_ns) // length
        yield bucket, upto - done
        done = upto
        bucket += part_ns


def _width(start_ns: int, end_ns: int) -> int:
    """The number of buckets that one part covers."""
    return max(1, -((start_ns - end_ns) // (BUCKET_NS * MAX_PARTS)))


def parts(start_ns: int, end_ns: int) -> int:
    """The number of parts into which ``split`` divides ``[start_ns, end_ns)``."""
    bucket = start_ns - start_ns % BUCKET_NS
    if end_ns <= bucket + BUCKET_NS:
        return 1
    return -((bucket - end_ns) // (BUCKET_NS * _width(start_ns, end_ns)))


def fill(job: Iterable[Interval], node: Iterable[Interval]) -> dict[int, Bucket]:
    """Buckets by their start in ns, from the intervals of the job's energy and of the node's."""
    energy, measured = _sums(job)
    node_energy, _ = _sums(node)
    return {
        bucket: Bucket(energy.get(bucket), node_energy.get(bucket), measured.get(bucket, 0))
        for bucket in sorted(energy.keys() | node_energy.keys())
    }


def _sums(intervals: Iterable[Interval]) -> tuple[dict[int, int], dict[int, int]]:
    """Energy and measured time by the start of the bucket."""
    energy: defaultdict[int, int] = defaultdict(int)
    measured: defaultdict[int, int] = defaultdict(int)
    for interval in intervals:
        start_ns, end_ns = interval.start_ns, interval.end_ns
        bucket = start_ns - start_ns % BUCKET_NS
        if start_ns <= end_ns <= bucket + BUCKET_NS:  # nearly all are within one bucket
            energy[bucket] += interval.energy_uj
            measured[bucket] += interval.measured_ns
            continue
        for sums, amount in ((energy, interval.energy_uj), (measured, interval.measured_ns)):
            for bucket, part in split(start_ns, end_ns, amount):
                sums[bucket] += part
    return energy, measured
