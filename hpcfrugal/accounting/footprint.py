"""Operational carbon: energy over time multiplied by the grid's intensity at that time. Pure functions, exact.

    g = sum over pieces of kWh * PUE * intensity(t)

with PUE the data centre's power usage effectiveness (ISO/IEC 30134-2) and the intensity of the grid at the place and
time of use (location-based, GHG Protocol Scope 2 Guidance, 2015). The energy of a piece is spread evenly over its time.
Energy without an intensity is counted separately, never as zero grams.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm
from typing import Literal, NamedTuple

UJ_PER_KWH = 3_600_000_000_000

LevelSource = Literal["actual", "estimated", "forecast", "yearly-mean"]
SOURCES: tuple[LevelSource, ...] = ("actual", "estimated", "forecast", "yearly-mean")
"""Sources of an intensity, best first: the actual value, a provider's estimate of it after the fact, a forecast, the
mean of a country's year."""


class IntensityLevel(NamedTuple):
    """An intensity over ``[start_ns, end_ns)``; ``settled``: it will not be revised."""

    start_ns: int
    end_ns: int
    g_per_kwh: float
    settled: bool = True
    source: LevelSource = "actual"


@dataclass(frozen=True, slots=True)
class Levels:
    """Levels in chronological order without overlaps; between two the intensity is unknown."""

    levels: Sequence[IntensityLevel]
    starts_ns: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts_ns", tuple(level.start_ns for level in self.levels))

    def within(self, start_ns: int, end_ns: int) -> Iterator[IntensityLevel]:
        """The known parts of ``[start_ns, end_ns)``."""
        for index in range(max(0, bisect_right(self.starts_ns, start_ns) - 1), len(self.levels)):
            level = self.levels[index]
            if level.start_ns >= end_ns:
                return
            if level.end_ns > start_ns:
                yield level._replace(start_ns=max(level.start_ns, start_ns), end_ns=min(level.end_ns, end_ns))

    def known_ns(self, start_ns: int, end_ns: int) -> int:
        """The known time in ``[start_ns, end_ns)``."""
        return sum(level.end_ns - level.start_ns for level in self.within(start_ns, end_ns))


def layered(layers: Iterable[Levels], start_ns: int, end_ns: int) -> list[IntensityLevel]:
    """The best known levels in ``[start_ns, end_ns)``: each layer fills the gaps of the last."""
    placed: list[IntensityLevel] = []
    gaps = [(start_ns, end_ns)] if start_ns < end_ns else []
    for levels in layers:
        left: list[tuple[int, int]] = []
        for gap_start_ns, gap_end_ns in gaps:
            at_ns = gap_start_ns
            for level in levels.within(gap_start_ns, gap_end_ns):
                if at_ns < level.start_ns:
                    left.append((at_ns, level.start_ns))
                placed.append(level)
                at_ns = level.end_ns
            if at_ns < gap_end_ns:
                left.append((at_ns, gap_end_ns))
        gaps = left
    return sorted(placed)


class EnergyPiece(NamedTuple):
    """Energy drawn evenly over ``[start_ns, end_ns)``, or at ``start_ns`` if that is empty; ``of``: what drew it."""

    start_ns: int
    end_ns: int
    energy_uj: int
    of: Hashable
    quality: str

    @property
    def span(self) -> tuple[int, int]:
        """Its time, at least 1 ns."""
        return self.start_ns, max(self.end_ns, self.start_ns + 1)


@dataclass(slots=True)
class Tally:
    """Grams and energy of one or more jobs; exact.

    ``energy_uj`` is by source of the intensity, None for energy without one. ``grid_g`` are grams without the PUE, from
    which the mean intensity follows; ``grams`` include it and are by quality of the energy. ``open_uj`` is the energy
    whose intensity may still be revised.
    """

    energy_uj: dict[LevelSource | None, Fraction] = field(default_factory=dict)
    grid_g: dict[LevelSource, Fraction] = field(default_factory=dict)
    grams: dict[str, Fraction] = field(default_factory=dict)
    open_uj: Fraction = Fraction(0)

    def add(self, other: Tally) -> None:
        """Add another tally."""
        for source, energy_uj in other.energy_uj.items():
            self.energy_uj[source] = self.energy_uj.get(source, Fraction(0)) + energy_uj
        for known, grams in other.grid_g.items():
            self.grid_g[known] = self.grid_g.get(known, Fraction(0)) + grams
        for quality, grams in other.grams.items():
            self.grams[quality] = self.grams.get(quality, Fraction(0)) + grams
        self.open_uj += other.open_uj

    @property
    def operational_g(self) -> Fraction | None:
        """Grams of CO2e for the energy with an intensity; None if there is no such energy."""
        return sum(self.grams.values(), Fraction(0)) if self.known_uj else None

    @property
    def known_uj(self) -> Fraction:
        """The energy with an intensity."""
        return sum((uj for source, uj in self.energy_uj.items() if source is not None), Fraction(0))


@dataclass(slots=True)
class _Sums:
    """Numerators of one denominator: energy, energy whose intensity may be revised, energy times intensity."""

    energy: int = 0
    unsettled: int = 0
    cost: int = 0


def tallies(
    pieces: Sequence[EnergyPiece], placed: Sequence[IntensityLevel], pue: float | None, cuts_ns: Sequence[int] = ()
) -> dict[tuple[Hashable, int], Tally]:
    """Grams by what drew the energy and by the number of ``cuts_ns``, in order, that are not after a piece begins.

    ``pue`` is taken as the decimal number that was written; None is a factor of 1.
    """
    starts_ns = [level.start_ns for level in placed]
    ratios = [level.g_per_kwh.as_integer_ratio() for level in placed]
    shift = max((below.bit_length() - 1 for _, below in ratios), default=0)
    # A float's denominator is a power of two: over the largest of them every level is an integer.
    whole = [above << (shift - below.bit_length() + 1) for above, below in ratios]
    # Nearly all pieces are of one length, so the common denominator of their parts stays small.
    common = lcm(*{end_ns - start_ns for start_ns, end_ns in (piece.span for piece in pieces)})
    sums: dict[tuple[Hashable, int, str, LevelSource | None], _Sums] = {}
    for piece in pieces:
        start_ns, end_ns = piece.span
        part, per_ns = bisect_right(cuts_ns, start_ns), piece.energy_uj * (common // (end_ns - start_ns))
        unknown_ns = end_ns - start_ns
        for index in range(max(0, bisect_right(starts_ns, start_ns) - 1), len(placed)):
            level = placed[index]
            if level.start_ns >= end_ns:
                break
            overlap_ns = min(level.end_ns, end_ns) - max(level.start_ns, start_ns)
            if overlap_ns <= 0:
                continue
            unknown_ns -= overlap_ns
            one = sums.setdefault((piece.of, part, piece.quality, level.source), _Sums())
            energy = per_ns * overlap_ns
            one.energy += energy
            one.cost += energy * whole[index]
            one.unsettled += 0 if level.settled else energy
        if unknown_ns:
            one = sums.setdefault((piece.of, part, piece.quality, None), _Sums())
            one.energy += per_ns * unknown_ns
    factor = Fraction(1) if pue is None else Fraction(repr(pue))
    found: dict[tuple[Hashable, int], Tally] = {}
    for (of, part, quality, source), one in sums.items():
        tally = Tally({source: Fraction(one.energy, common)})
        if source is not None:
            grams = Fraction(one.cost, common * UJ_PER_KWH << shift)
            tally.grid_g, tally.grams = {source: grams}, {quality: grams * factor}
            tally.open_uj = Fraction(one.unsettled, common)
        if (of, part) in found:
            found[of, part].add(tally)
        else:
            found[of, part] = tally
    return found


def total_tally(found: Iterable[Tally]) -> Tally:
    """The sum of several tallies."""
    whole = Tally()
    for one in found:
        whole.add(one)
    return whole
