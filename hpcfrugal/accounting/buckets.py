"""Energy in buckets of 300 s of wall time, exactly, in integers.

Carbon intensity varies with the time of day and its actual values come later, so the ledger keeps energy by time. What
rose between two readings that lie in different buckets is split in proportion to time; each part is the difference of
two rounded cumulative values, so the parts always sum to the whole. Where more than a day lies between two readings it
is split into about as many parts as a day has buckets, at equal distances, so that a job that was suspended for a year
does not fill the ledger.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import field
from functools import cached_property
from itertools import accumulate
from operator import le

from hpcfrugal.accounting.series import differences
from hpcfrugal.core.quick import dataclass

BUCKET_NS = 300 * 10**9

MAX_PARTS = 288
"""The buckets of a day. What rose between two readings is split into at most this many parts, plus one if the first of
them is not on an edge."""


class Instants:
    """The wall times of readings, in ns and in their order, and where buckets begin between them.

    Buckets begin at multiples of 300 s since the epoch. What rises while no time goes by is in one bucket, and what
    rises until a bucket's end is in that one. In a long span each part covers several buckets and is put into the first
    of them. Raises ``ValueError`` for times out of order.
    """

    def __init__(self, times_ns: Sequence[int]) -> None:
        self.times_ns = times_ns
        self.lengths_ns = differences(times_ns)
        """From each reading to the next."""
        self._measured: tuple[Sequence[int], Sequence[int]] | None = None
        self._by_bucket: tuple[Sequence[int], dict[int, int]] | None = None

    @cached_property
    def _edges(self) -> tuple[list[int], list[tuple[int, int, int]], int]:
        """The starts of buckets; for each the position (reading before, ns after it, ns to the next reading) from which
        on it counts; and how often there are two buckets between neighbours."""
        times_ns, last = self.times_ns, len(self.times_ns) - 1
        if min(self.lengths_ns, default=0) < 0:
            raise ValueError("readings out of order")
        starts: list[int] = []
        positions: list[tuple[int, int, int]] = []
        at = parted = 0
        while at < last:
            start_ns, next_ns = times_ns[at], times_ns[at + 1]
            bucket = start_ns - start_ns % BUCKET_NS
            edge = bucket + BUCKET_NS
            if not starts or starts[-1] != bucket:
                starts.append(bucket)
                positions.append((at, 0, 1))
            if next_ns > edge:
                length_ns = next_ns - start_ns
                width_ns = BUCKET_NS * max(1, -(-length_ns // (BUCKET_NS * MAX_PARTS)))
                for edge in range(bucket + width_ns, next_ns, width_ns):
                    starts.append(edge)
                    positions.append((at, edge - start_ns, length_ns))
                    parted += 1
                at += 1
            else:
                inside = bisect_left(times_ns, edge, at + 1, last)
                at = inside if times_ns[inside] <= edge else inside - 1
        return starts, positions, parted

    @property
    def parted(self) -> int:
        """How many more buckets there are than those of each reading."""
        return self._edges[2]

    def at_most(self, measured_ns: Sequence[int]) -> Sequence[int]:
        """Measured time of which no more rises than time has passed: more is a rounding of two clock readings."""
        if self._measured is None or self._measured[0] is not measured_ns:
            self._measured = measured_ns, self._at_most(measured_ns)
        return self._measured[1]

    def _at_most(self, measured_ns: Sequence[int]) -> Sequence[int]:
        rises_ns, lengths_ns = differences(measured_ns), self.lengths_ns
        if all(map(le, rises_ns, lengths_ns)):
            return measured_ns
        return list(accumulate(map(min, rises_ns, lengths_ns), initial=measured_ns[0]))

    def measured_by_bucket(self, measured_ns: Sequence[int]) -> dict[int, int]:
        """``by_bucket`` of measured time, which many channels have in common."""
        if self._by_bucket is None or self._by_bucket[0] is not measured_ns:
            self._by_bucket = measured_ns, self.by_bucket(measured_ns)
        return self._by_bucket[1]

    def by_bucket(self, values: Sequence[int]) -> dict[int, int]:
        """By the start of each bucket how much of it lies there, of a counter with these values at the instants."""
        starts, positions, _ = self._edges
        if not starts:
            return {}
        upto = [
            values[at] + (values[at + 1] - values[at]) * past_ns // length_ns if past_ns else values[at]
            for at, past_ns, length_ns in positions
        ]
        upto.append(values[-1])
        return dict(zip(starts, differences(upto), strict=True))


@dataclass(frozen=True, slots=True)
class EnergyCurve:
    """Energy and measured time since some moment, at instants; ``rise_uj`` and ``rise_ns`` are how much both rose from
    the first instant to the last."""

    instants: Instants
    energy_uj: Sequence[int]
    measured_ns: Sequence[int]
    rise_uj: int = field(init=False, repr=False)
    rise_ns: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, values in (("rise_uj", self.energy_uj), ("rise_ns", self.measured_ns)):
            object.__setattr__(self, name, values[-1] - values[0] if values else 0)

    @property
    def is_measured(self) -> bool:
        return self.rise_ns > 0

    def part(self, part: slice) -> EnergyCurve:
        """That of some of its instants, which follow each other."""
        if part == slice(0, len(self.energy_uj)):
            return self
        return EnergyCurve(Instants(self.instants.times_ns[part]), self.energy_uj[part], self.measured_ns[part])


@dataclass(slots=True)
class EnergyByTime:
    """The sum of curves: in all, and by the start of the bucket in ns.

    ``parted`` is how many more buckets there are than those of each reading.
    """

    energy_uj: int = 0
    measured_ns: int = 0
    parted: int = 0
    energies_uj: dict[int, int] = field(default_factory=dict)
    measured: dict[int, int] = field(default_factory=dict)

    def add(self, curve: EnergyCurve) -> None:
        """Add what rose from the first instant of ``curve`` to its last."""
        instants = curve.instants
        self.energy_uj += curve.rise_uj
        self.measured_ns += curve.rise_ns
        self.parted += instants.parted
        for sums, found in (
            (self.energies_uj, instants.by_bucket(curve.energy_uj)),
            (self.measured, instants.measured_by_bucket(curve.measured_ns)),
        ):
            sums.update({bucket: sums.get(bucket, 0) + amount for bucket, amount in found.items()} if sums else found)
