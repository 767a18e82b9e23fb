"""Energy of intervals laid into buckets of 300 s on the wall clock, exactly, in integers.

Carbon intensity varies with the time of day and its actual values come later, so the ledger keeps energy by
time. An interval that crosses an edge is split in proportion to time, each part being the difference of two
rounded cumulative values; so the parts of any amount sum to that amount whatever the number of edges. Of an interval
of more than a day it is not known when in it the energy was drawn: it is put into as many buckets as a day has, at
equal distances, so that a job that slept for a year does not fill the ledger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BUCKET_NS = 300 * 10**9

MOST_PARTS = 288
"""An interval is split into so many parts, or one more where it does not begin on an edge: a day of buckets."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Energy over ``[start_ns, end_ns)`` of wall time, of which ``measured_ns`` have data behind them."""

    start_ns: int
    end_ns: int
    energy_uj: int
    measured_ns: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """Sums over one bucket. ``energy_uj`` is None where no interval of the job touches it."""

    energy_uj: int | None
    node_energy_uj: int | None
    measured_ns: int


def split(start_ns: int, end_ns: int, amount: int, bucket_ns: int = BUCKET_NS) -> Iterator[tuple[int, int]]:
    """(start of bucket, part of ``amount``) for each bucket that ``[start_ns, end_ns)`` touches.

    Buckets begin at multiples of ``bucket_ns`` since the epoch. An interval without length puts all of it
    into the bucket that holds it. In a long one each part is of several buckets and lies in the first of them.
    Raises ``ValueError`` where the interval ends before it starts.
    """
    if end_ns < start_ns:
        raise ValueError("interval ends before it starts")
    bucket = start_ns - start_ns % bucket_ns
    bucket_ns *= _width(start_ns, end_ns, bucket_ns)
    length = end_ns - start_ns
    if length == 0:
        yield bucket, amount
        return
    done = 0
    while bucket < end_ns:
        edge = min(bucket + bucket_ns, end_ns)
        upto = amount * (edge - start_ns) // length
        yield bucket, upto - done
        done = upto
        bucket += bucket_ns


def _width(start_ns: int, end_ns: int, bucket_ns: int) -> int:
    """Of how many buckets a part is."""
    return max(1, -((start_ns - end_ns) // (bucket_ns * MOST_PARTS)))


def parts(start_ns: int, end_ns: int, bucket_ns: int = BUCKET_NS) -> int:
    """How many parts ``split`` makes of ``[start_ns, end_ns)``."""
    bucket = start_ns - start_ns % bucket_ns
    if end_ns <= bucket + bucket_ns:
        return 1
    return -((bucket - end_ns) // (bucket_ns * _width(start_ns, end_ns, bucket_ns)))


def fill(job: Iterable[Interval], node: Iterable[Interval], bucket_ns: int = BUCKET_NS) -> dict[int, Bucket]:
    """Buckets by their start in ns, from the intervals of the job's energy and of the node's reading."""
    energy: defaultdict[int, int] = defaultdict(int)
    measured: defaultdict[int, int] = defaultdict(int)
    node_energy: defaultdict[int, int] = defaultdict(int)
    for interval in job:
        start_ns, end_ns = interval.start_ns, interval.end_ns
        bucket = start_ns - start_ns % bucket_ns
        if start_ns <= end_ns <= bucket + bucket_ns:  # as nearly all: there is nothing to split
            energy[bucket] += interval.energy_uj
            measured[bucket] += interval.measured_ns
            continue
        for bucket, part in split(start_ns, end_ns, interval.energy_uj, bucket_ns):
            energy[bucket] += part
        for bucket, part in split(start_ns, end_ns, interval.measured_ns, bucket_ns):
            measured[bucket] += part
    for interval in node:
        start_ns, end_ns = interval.start_ns, interval.end_ns
        bucket = start_ns - start_ns % bucket_ns
        if start_ns <= end_ns <= bucket + bucket_ns:
            node_energy[bucket] += interval.energy_uj
            continue
        for bucket, part in split(start_ns, end_ns, interval.energy_uj, bucket_ns):
            node_energy[bucket] += part
    return {
        bucket: Bucket(energy.get(bucket), node_energy.get(bucket), measured.get(bucket, 0))
        for bucket in sorted(energy.keys() | node_energy.keys())
    }
