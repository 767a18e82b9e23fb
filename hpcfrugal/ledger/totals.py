"""What a job used by UTC day, node and component. Pure functions of its channels.

What is divided over time is the difference of two cumulative values, each rounded once. So the parts of a job add up
to its whole, however it is cut, and the CO2e of each component of a node is rounded once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from operator import itemgetter, sub
from types import MappingProxyType

from hpcfrugal.accounting.footprint import EnergyPiece, IntensityLevel, RoundedTally, Tally, tallies
from hpcfrugal.core.pue import Pue
from hpcfrugal.core.quick import dataclass
from hpcfrugal.ledger.due import DAY_NS
from hpcfrugal.ledger.packed import BUCKET_S, KnownBucket
from hpcfrugal.ledger.parts import counted_channels, parts_of
from hpcfrugal.ledger.rows import ChannelRow, JobRow
from hpcfrugal.ledger.sums import EnergySums

_STEADY_S = 3600

_MOST_DAYS = 400
"""Of a job that took longer, only the days with readings are told apart."""


@dataclass(frozen=True, slots=True)
class JobSlot:
    """A part of a job's time, from ``start_ns`` to the start of the next: a UTC day, or less where it is cut.

    ``elapsed_ns`` is the job's own time in it, None where none is known. ``sums`` are by (node, component), of those
    with energy or time in it; in the first slot, of all.
    """

    start_ns: int
    elapsed_ns: int | None
    sums: dict[tuple[str, str], EnergySums]


class JobEnergy:
    """The known energy of a job by time, each of its buckets read once.

    ``parts`` are its components by node, ``pieces`` its energy in the order of time, each of a (node, component,
    quality). ``of_days``: it is cut at days and nowhere else. Then parts of an hour give the same figures as buckets
    where the model takes the power to be the same all the time, as that of jobs that only Slurm knows.
    """

    def __init__(self, job: JobRow, *, of_days: bool = False) -> None:
        self.job = job
        self.parts = parts_of(job)
        own = counted_channels(job)
        # When the channels that count were first and last read; zeros where none was.
        self._first_ns = min([ns for one in own if (ns := one.first_wall_ns) is not None], default=0)
        self._last_ns = max([ns for one in own if (ns := one.last_wall_ns) is not None], default=0)
        is_steady = job.is_accounted_alone and not any(one.quality == "measured" for one in own)
        width_s = _STEADY_S if of_days and is_steady else BUCKET_S
        self._buckets: dict[tuple[str, str], list[tuple[int, KnownBucket]]] = {}
        energies_uj: dict[tuple[int, int, tuple[str, str, str]], int] = {}
        for one in own:
            of = one.node, one.component, one.quality
            buckets = self._buckets[one.node, one.channel] = []
            for bucket in one.buckets_of(width_s):
                start_ns, end_ns = self._span_of(bucket)
                buckets.append((start_ns, bucket))
                span = start_ns, end_ns, of
                energies_uj[span] = energies_uj.get(span, 0) + bucket.energy_uj
        pieces = [
            EnergyPiece(start_ns, end_ns, energy_uj, of, of[2])
            for (start_ns, end_ns, of), energy_uj in energies_uj.items()
        ]
        self.pieces = tuple(sorted(pieces, key=itemgetter(0)))

    def buckets_of(self, channel: ChannelRow) -> Sequence[tuple[int, KnownBucket]]:
        """The buckets of a channel that counts, each with the instant from which on it was drawn."""
        return self._buckets[channel.node, channel.channel]

    def _span_of(self, bucket: KnownBucket) -> tuple[int, int]:
        """When the energy of a bucket was drawn.

        In the first and in the last bucket that is between the first and the last reading, so that a job of seconds
        lies in its own seconds. Where the wall clock was set meanwhile, the bucket stands as it is.
        """
        bucket_end_ns = bucket.start_ns + bucket.length_ns
        start_ns, end_ns = max(bucket.start_ns, self._first_ns), min(bucket_end_ns, self._last_ns)
        return (bucket.start_ns, bucket_end_ns) if start_ns > end_ns else (start_ns, end_ns)

    @property
    def span_ns(self) -> tuple[int, int]:
        """The first and the last instant at which the job counts: it ran then, or its energy belongs to it."""
        start_ns, end_ns = run_span_ns(self.job)
        starts_ns = [piece.start_ns for piece in self.pieces]
        first_ns = min([start_ns, *starts_ns]) if start_ns or not starts_ns else starts_ns[0]
        return first_ns, max([end_ns - 1, start_ns, *starts_ns])

    def cut(
        self,
        placed: Sequence[IntensityLevel] | None = None,
        pue: Pue | None = None,
        cuts_ns: Sequence[int] = (),
        embodied: Mapping[str, tuple[int, int] | None] = MappingProxyType({}),
    ) -> list[JobSlot]:
        """The job by UTC day, and within a day by ``cuts_ns``, in the order of time; at least one slot.

        Energy belongs to the time at which its bucket begins; in the job's first bucket, to that of the first reading.
        ``placed`` are the intensities at its time, None where its zone is not known, ``pue`` the power usage
        effectiveness; None counts as 1. ``embodied`` are the embodied emissions of its nodes, see ``ledger.embodied``.
        """
        job, span_ns = self.job, run_span_ns(self.job)
        starts_ns = _starts([piece.start_ns for piece in self.pieces], span_ns, cuts_ns)
        cuts = starts_ns[1:]
        grams: dict[Hashable, dict[int, Tally]] = {}
        for (of, number), tally in tallies(self.pieces, placed, pue, cuts).items() if placed else ():
            grams.setdefault(of, {})[number] = tally
        of_time = _overlaps(starts_ns, span_ns)
        elapsed = [None] * len(starts_ns) if job.elapsed_ns is None else shares(job.elapsed_ns, of_time)
        slots = [JobSlot(*each, {}) for each in zip(starts_ns, elapsed, strict=True)]
        elapsed_ns = job.known_elapsed_ns or 0
        elapsed_parts_ns = shares(elapsed_ns, of_time)
        of_nodes = dict(embodied)
        for part in self.parts:
            rows = _PartSums(len(slots))
            for channel in part.channels:
                rows.add(channel, [(bisect_right(cuts, at_ns), one) for at_ns, one in self.buckets_of(channel)])
            rows.add_time(part.covered_ns(elapsed_ns), elapsed_parts_ns)
            if part.node in of_nodes:
                rows.add_embodied(of_nodes.pop(part.node), of_time)
            for quality in ("measured", "modelled") if placed is not None else ():
                if tallied := grams.get((part.node, part.component, quality)):
                    rows.add_grams(quality, tallied)
                if part.complete and not elapsed_ns:
                    rows.add_no_grams(quality)
            for number, sums in rows.sums(lacking=not part.complete):
                slots[number].sums[part.node, part.component] = sums
        return slots


def run_span_ns(job: JobRow) -> tuple[int, int]:
    """When a job ran, else the instant of its submission; empty where neither is known."""
    start_ns = job.started_wall_ns if job.started_wall_ns is not None else job.submitted_wall_ns
    if start_ns is None:
        return 0, 0
    end_ns = job.ended_wall_ns if job.ended_wall_ns is not None else start_ns + (job.elapsed_ns or 0)
    return start_ns, max(start_ns, end_ns)


def _starts(instants_ns: Sequence[int], span_ns: tuple[int, int], cuts_ns: Sequence[int]) -> list[int]:
    """When the slots begin: days, and the cuts between them."""
    first, last = span_ns[0] // DAY_NS, max(span_ns[0], span_ns[1] - 1) // DAY_NS
    days = {instant_ns // DAY_NS for instant_ns in instants_ns}
    days |= {first} if last - first > _MOST_DAYS else set(range(first, last + 1))
    starts_ns = sorted(day * DAY_NS for day in days)
    return sorted({*starts_ns, *(each for each in cuts_ns if starts_ns[0] < each < starts_ns[-1] + DAY_NS)})


def _overlaps(starts_ns: Sequence[int], span_ns: tuple[int, int]) -> list[int]:
    """How much of a span lies in each slot; the first and the last have no bound to the outside."""
    edges_ns = [span_ns[0], *(min(max(start_ns, span_ns[0]), span_ns[1]) for start_ns in starts_ns[1:]), span_ns[1]]
    return [after - before for before, after in pairwise(edges_ns)]


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """``total`` in proportion to ``weights``, in integers that add up to it; without any weight all in the first."""
    whole, done = sum(weights), 0
    found = []
    for weight in accumulate(weights):
        upto = total * weight // whole if whole else total
        found.append(upto - done)
        done = upto
    return found


class _PartSums:
    """The columns of ``EnergySums`` of a component of a node, by slot."""

    def __init__(self, slots: int) -> None:
        self._slots: list[dict[str, int]] = [{} for _ in range(slots)]
        self._read_ns = [0] * slots

    def _add(self, column: str, by_slot: Iterable[tuple[int, int]]) -> None:
        for number, value in by_slot:
            columns = self._slots[number]
            columns[column] = columns.get(column, 0) + value

    def add(self, channel: ChannelRow, buckets: Iterable[tuple[int, KnownBucket]]) -> None:
        """A channel's energy, with its range if it is modelled, or its edges are uncertain."""
        energy_uj: dict[int, int] = {}
        for number, bucket in buckets:
            energy_uj[number] = energy_uj.get(number, 0) + bucket.energy_uj
            self._read_ns[number] += bucket.measured_ns
        is_measured = channel.quality == "measured"
        self._add("measured_uj" if is_measured else "modelled_uj", energy_uj.items())
        if channel.range_uj is None:
            if not is_measured:
                self._add("unranged", dict.fromkeys(energy_uj, 1).items())
            return
        for column, end_uj in zip(("low_uj", "high_uj"), channel.range_uj, strict=True):
            # to the ends of modelled energy, measured energy is added: with what it may differ by
            whole_uj = end_uj - (channel.energy_uj or 0) if is_measured else end_uj
            parts_uj = shares(abs(whole_uj), list(energy_uj.values()))
            signed_uj = parts_uj if whole_uj >= 0 else [-part_uj for part_uj in parts_uj]
            self._add(column, zip(energy_uj, signed_uj, strict=True))

    def add_time(self, covered_ns: int, elapsed_parts_ns: Sequence[int]) -> None:
        """The time that has data, divided as its readings are, and the job's time by slot."""
        self._add("covered_ns", enumerate(shares(covered_ns, self._read_ns)))
        self._add("elapsed_ns", enumerate(elapsed_parts_ns))

    def add_embodied(self, ends_ug: tuple[int, int] | None, of_time: Sequence[int]) -> None:
        """Embodied emissions of a node, divided as the job's time; None: unknown."""
        if ends_ug is None:
            self._add("embodied_lacking", [(0, 1)])
            return
        for column, end_ug in zip(("embodied_low_ug", "embodied_high_ug"), ends_ug, strict=True):
            self._add(column, enumerate(shares(end_ug, of_time)))

    def add_grams(self, quality: str, tallied: Mapping[int, Tally]) -> None:
        """CO2e of energy of one quality by slot, and the energy by the source of its intensity; uses the tallies up."""
        upto: Tally | None = None
        before = RoundedTally()
        for number in sorted(tallied):
            has_known = tallied[number].has_known
            if upto is None:
                upto = tallied[number]
            else:
                upto.add(tallied[number])
            if not has_known:
                continue
            now, columns = upto.rounded(), self._slots[number]
            for column, amount in zip((f"{quality}_ug", *RoundedTally._fields[1:]), map(sub, now, before), strict=True):
                columns[column] = columns.get(column, 0) + amount
            before = now

    def add_no_grams(self, quality: str) -> None:
        """That the CO2e of no energy, that of a job of 0 s, is 0 at any intensity."""
        for columns in self._slots:
            if columns.get(f"{quality}_uj") == 0:
                columns.setdefault(f"{quality}_ug", 0)

    def sums(self, *, lacking: bool) -> Iterator[tuple[int, EnergySums]]:
        """The slots with energy or time, and the first. ``lacking``: something of the part is unknown."""
        for number, columns in enumerate(self._slots):
            if number == 0 or any(columns.values()) or columns.keys() & {"measured_uj", "modelled_uj"}:
                yield number, EnergySums(int(lacking), **columns)
