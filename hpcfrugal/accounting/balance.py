"""All known jobs of a node together: the energy of a channel, the share of each job, and the rest.

The sidecars of all jobs read the same counter of the node, but at different instants. Time is split at all of their
records, counters are interpolated linearly between records, and each piece is divided once. So the shares plus the
rest are exactly the energy of the node, for each piece and in total.

The energy of the node is that of one sidecar until it ends, then of the one that runs longest, so that the energy which
a sidecar read over its whole session is unchanged. Records of a job without CPU time are used only if there are no
others: they split no pieces and do not change the dynamic shares of others.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from itertools import pairwise

from hpcfrugal.accounting.attribution import Attribution, JobUse, NodeIntervals, split_node
from hpcfrugal.accounting.series import CumulativeSeries, differences
from hpcfrugal.core.quick import dataclass

AttemptName = tuple[str, str, int]
"""Run id, job id and restart; the run id is empty where a job is no run."""

_Shares = list[tuple[AttemptName, "EnergyShare | None"]]

_MAX_PIECES = 4096
"""Pieces of time that are in memory at once."""


@dataclass(frozen=True, slots=True)
class ChannelReading:
    """Readings of one channel by one sidecar, on the node's clock (time since boot).

    ``energy`` and ``measured`` (ns with data behind them) are the channel's, ``job_cpu`` and ``node_busy`` CPU times in
    us, ``idle`` the channel's idle energy in uJ; None is unknown. ``alloc_cpus`` 0: no CPUs are allocated to the job,
    or it is not known how many, so that its part of the idle energy stays in the rest.
    """

    job: AttemptName
    attribution: Attribution
    energy: CumulativeSeries
    measured: CumulativeSeries
    job_cpu: CumulativeSeries | None = None
    node_busy: CumulativeSeries | None = None
    idle: CumulativeSeries | None = None
    alloc_cpus: int = 0
    node_cpus: int = 1

    @property
    def idles(self) -> bool:
        """Whether the job used no CPU time at all, so that its share is idle energy only."""
        cpu = self.job_cpu
        return self.attribution.is_share and cpu is not None and cpu.values[0] == cpu.values[-1]


@dataclass(frozen=True, slots=True)
class EnergyShare:
    """One job's part of a node's energy."""

    dynamic_uj: int
    idle_uj: int

    @property
    def energy_uj(self) -> int:
        return self.dynamic_uj + self.idle_uj


@dataclass(frozen=True, slots=True)
class Slice:
    """A piece of time: the energy of the node in it and its division. An unknown share is None and part of the rest."""

    start_ns: int
    end_ns: int
    energy_uj: int
    measured_ns: int
    shares: tuple[tuple[AttemptName, EnergyShare | None], ...]
    residual_uj: int


@dataclass(slots=True)
class Balance:
    """The sum of slices. ``energy_uj`` is the sum of ``shares`` and ``residual_uj``.

    ``covered_ns`` is the time in which any sidecar read the channel, ``unknown`` are jobs with an unknown share of some
    of it.
    """

    energy_uj: int = 0
    residual_uj: int = 0
    measured_ns: int = 0
    covered_ns: int = 0
    shares: dict[AttemptName, EnergyShare] = field(default_factory=dict)
    unknown: set[AttemptName] = field(default_factory=set)

    @property
    def jobs_uj(self) -> int:
        return sum(share.energy_uj for share in self.shares.values())

    def add(self, piece: Slice) -> None:
        """Add one slice."""
        self.energy_uj += piece.energy_uj
        self.residual_uj += piece.residual_uj
        self.measured_ns += piece.measured_ns
        self.covered_ns += piece.end_ns - piece.start_ns
        for job, share in piece.shares:
            if share is None:
                self.unknown.add(job)
            else:
                self.give(job, share)

    def merge(self, other: Balance) -> None:
        """Add the balance of the same channel at another time, such as after a reboot."""
        self.energy_uj += other.energy_uj
        self.residual_uj += other.residual_uj
        self.measured_ns += other.measured_ns
        self.covered_ns += other.covered_ns
        self.unknown |= other.unknown
        for job, share in other.shares.items():
            self.give(job, share)

    def give(self, job: AttemptName, share: EnergyShare) -> None:
        """Add to the share of a job."""
        before = self.shares.get(job, EnergyShare(0, 0))
        self.shares[job] = EnergyShare(before.dynamic_uj + share.dynamic_uj, before.idle_uj + share.idle_uj)


def balance(readings: Iterable[ChannelReading]) -> Balance:
    """Divide the energy of one channel of one node, from the ``readings`` of all sidecars."""
    found = Balance()
    for piece in slices(readings):
        found.add(piece)
    return found


def slices(readings: Iterable[ChannelReading]) -> Iterator[Slice]:
    """The pieces of time in which the channel was read, each with its division, not in chronological order."""
    every = sorted(readings, key=lambda reading: (reading.energy.start_ns, reading.job))
    leading = [reading for reading in every if not reading.idles]
    idling = [reading for reading in every if reading.idles]
    times_ns = _instants(idling)
    gaps: list[tuple[int, int]] = []
    free_from_ns = times_ns[0] if times_ns else 0
    for piece in _pieces(leading, idling, _instants(leading)):
        yield piece
        if free_from_ns < piece.start_ns:
            gaps.append((free_from_ns, piece.start_ns))
        free_from_ns = max(free_from_ns, piece.end_ns)
    if not idling:
        return
    for start_ns, end_ns in [*gaps, (free_from_ns, times_ns[-1])]:
        if start_ns < end_ns:
            inside = times_ns[bisect_right(times_ns, start_ns) : bisect_left(times_ns, end_ns)]
            yield from _pieces(idling, (), [start_ns, *inside, end_ns])


def _instants(readings: Iterable[ChannelReading]) -> list[int]:
    times: set[int] = set()
    for reading in readings:
        for series in (reading.energy, reading.job_cpu, reading.node_busy):
            if series is not None:
                times.update(series.times_ns)
    return sorted(times)


class _LongestSeries:
    """One of several series of the same counter until it ends, then the one that lasts longest."""

    def __init__(self) -> None:
        self._held: CumulativeSeries | None = None

    def over(self, start_ns: int, end_ns: int, among: Iterable[CumulativeSeries | None]) -> CumulativeSeries | None:
        """The series for this piece; None if none covers it."""
        if self._held is None or not self._held.covers(start_ns, end_ns):
            able = [one for one in among if one is not None and one.covers(start_ns, end_ns)]
            self._held = max(able, key=lambda one: one.end_ns, default=None)
        return self._held


class _ActiveReadings:
    """The readings at one time after another; they are sorted by their start."""

    def __init__(self, readings: Sequence[ChannelReading]) -> None:
        self._waiting = list(reversed(readings))
        self._here: list[ChannelReading] = []

    def over(self, start_ns: int, end_ns: int) -> list[ChannelReading]:
        """The readings that overlap this time. Calls are in chronological order."""
        while self._waiting and self._waiting[-1].energy.start_ns < end_ns:
            self._here.append(self._waiting.pop())
        self._here = [reading for reading in self._here if reading.energy.end_ns > start_ns]
        return self._here


def _stretches(readings: Iterable[ChannelReading], times_ns: Sequence[int]) -> Iterator[Sequence[int]]:
    """``times_ns`` in consecutive parts within which no series begins or ends; neighbours share a time."""
    cuts = {0, len(times_ns) - 1}
    for reading in readings:
        for series in (reading.energy, reading.job_cpu, reading.node_busy, reading.idle):
            if series is not None:
                cuts.add(bisect_left(times_ns, series.start_ns))
                cuts.add(bisect_right(times_ns, series.end_ns) - 1)
    for first, last in pairwise(sorted(cut for cut in cuts if 0 <= cut < len(times_ns))):
        for start in range(first, last, _MAX_PIECES):
            yield times_ns[start : min(start + _MAX_PIECES, last) + 1]


def _pieces(
    readings: Sequence[ChannelReading], beside: Sequence[ChannelReading], times_ns: Sequence[int]
) -> Iterator[Slice]:
    """Slices between ``times_ns``, from ``readings``; ``beside`` are jobs without CPU time."""
    energies, busies, idles = _LongestSeries(), _LongestSeries(), _LongestSeries()
    leading, idling = _ActiveReadings(readings), _ActiveReadings(beside)
    for stretch in _stretches(readings, times_ns):
        start_ns, end_ns = stretch[0], stretch[-1]
        here = [reading for reading in leading.over(start_ns, end_ns) if reading.energy.covers(start_ns, end_ns)]
        energy = energies.over(start_ns, end_ns, (reading.energy for reading in here))
        if energy is None:
            continue
        busy = busies.over(start_ns, end_ns, (reading.node_busy for reading in here))
        idle = idles.over(start_ns, end_ns, (reading.idle for reading in here))
        measured = next(reading.measured for reading in here if reading.energy is energy)
        also = idling.over(start_ns, end_ns)
        energies_uj = energy.rises(stretch)
        idles_uj = [0] * len(energies_uj) if idle is None else list(map(min, idle.rises(stretch), energies_uj))
        if not also and _is_undivided(here):
            # All pieces are divided in the same way, so they are one slice.
            whole, residual_uj = _undivided(here, sum(energies_uj), sum(idles_uj))
            yield Slice(
                start_ns, end_ns, sum(energies_uj), measured.between(start_ns, end_ns), tuple(whole), residual_uj
            )
            continue
        present, pieces = [*here, *also], list(pairwise(stretch))
        lengths_ns = differences(stretch)
        # CPUs x time, as a job without CPU time may run during a part of a piece only.
        there_ns = [lengths_ns] * len(here) + [[_overlap_ns(one, *piece) for piece in pieces] for one in also]
        used_us = [*(_rises(one.job_cpu, stretch) for one in here), *[[0] * len(pieces)] * len(also)]
        uses = [
            JobUse(cpu_us, [one.alloc_cpus * span_ns for span_ns in spans_ns])
            for one, cpu_us, spans_ns in zip(present, used_us, there_ns, strict=True)
        ]
        most_cpus = max(one.node_cpus for one in here)
        cpus_ns = [most_cpus * span_ns for span_ns in lengths_ns]
        split = split_node(NodeIntervals(energies_uj, _rises(busy, stretch), cpus_ns, idles_uj), uses)
        measured_ns, rests_uj = measured.rises(stretch), split.residual_uj()
        for at, (start_ns, end_ns) in enumerate(pieces):
            near = [them for them in zip(present, split.shares, there_ns, strict=True) if them[2][at]]
            shares: _Shares = [
                (one.job, None if share is None else EnergyShare(share.dynamic_uj[at], share.idle_uj[at]))
                for one, share, _ in near
            ]
            residual_uj = rests_uj[at]
            if _is_undivided([one for one, _, _ in near]):
                shares, residual_uj = _undivided([one for one, _, _ in near], energies_uj[at], idles_uj[at])
            yield Slice(start_ns, end_ns, energies_uj[at], measured_ns[at], tuple(shares), residual_uj)


def _rises(series: CumulativeSeries | None, times_ns: Sequence[int]) -> list[int] | None:
    """Increments of a counter between consecutive ``times_ns``; None unless the series covers all of them."""
    if series is None or not series.covers(times_ns[0], times_ns[-1]):
        return None
    return series.rises(times_ns)


def _overlap_ns(reading: ChannelReading, start_ns: int, end_ns: int) -> int:
    return max(0, min(end_ns, reading.energy.end_ns) - max(start_ns, reading.energy.start_ns))


def _is_undivided(present: Sequence[ChannelReading]) -> bool:
    """Whether CPU time does not matter: one job gets all energy, or the shares are unknown.

    Exclusive jobs that ran at the same time share the node like others.
    """
    if not all(reading.attribution.is_share or reading.attribution.is_whole_node for reading in present):
        return True
    return len(present) == 1 and present[0].attribution.is_whole_node


def _undivided(present: Sequence[ChannelReading], energy_uj: int, idle_uj: int) -> tuple[_Shares, int]:
    """All for a job that is alone, and the rest, which is 0 then; else unknown shares of the rest."""
    if len(present) == 1 and not present[0].attribution.is_unknown:
        return [(present[0].job, EnergyShare(energy_uj - idle_uj, idle_uj))], 0
    return [(reading.job, None) for reading in present], energy_uj
