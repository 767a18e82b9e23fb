"""Operational carbon: energy over time multiplied by the grid's intensity at that time. Pure functions, exact.

    g = sum over pieces of kWh * PUE * intensity(t)

with PUE the data centre's power usage effectiveness (ISO/IEC 30134-2) at that time and the intensity of the grid at the
place and time of use (location-based, GHG Protocol Scope 2 Guidance, 2015). The energy of a piece is spread evenly over
its time. Energy without an intensity is counted separately, never as zero grams.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from math import lcm
from typing import Literal, NamedTuple

from hpcfrugal.core.pue import MonthlyPue, Pue
from hpcfrugal.core.quick import dataclass

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
        object.__setattr__(self, "starts_ns", tuple([level.start_ns for level in self.levels]))

    def within(self, start_ns: int, end_ns: int) -> Iterator[IntensityLevel]:
        """The known parts of ``[start_ns, end_ns)``."""
        for index in range(max(0, bisect_right(self.starts_ns, start_ns) - 1), len(self.levels)):
            level = self.levels[index]
            if level.start_ns >= end_ns:
                return
            if level.end_ns > start_ns:
                is_inside = start_ns <= level.start_ns and level.end_ns <= end_ns
                yield (
                    level
                    if is_inside
                    else IntensityLevel(max(level.start_ns, start_ns), min(level.end_ns, end_ns), *level[2:])
                )

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


class TallyUnit(NamedTuple):
    """What the integers of tallies count: ``energy`` of them are a microjoule, ``grid`` of them a gram without the PUE,
    ``operational`` of them a gram with it."""

    energy: int
    grid: int
    operational: int


@dataclass(slots=True)
class Tally:
    """Grams and energy of one or more jobs; exact, in integers of one ``unit``.

    ``energy`` is by source of the intensity, None for energy without one. ``grid`` are the grams without the PUE, from
    which the mean intensity follows, ``operational`` those with it. The intensity of ``open`` may still be revised.
    """

    unit: TallyUnit
    energy: dict[LevelSource | None, int] = field(default_factory=dict)
    grid: int = 0
    operational: int = 0
    open: int = 0

    def add(self, other: Tally) -> None:
        """Add another tally of the same unit."""
        for source, energy in other.energy.items():
            self.energy[source] = self.energy.get(source, 0) + energy
        self.grid += other.grid
        self.operational += other.operational
        self.open += other.open

    @property
    def operational_g(self) -> Fraction | None:
        """Grams of CO2e for the energy with an intensity; None if there is no such energy."""
        return Fraction(self.operational, self.unit.operational) if self.has_known else None

    @property
    def has_known(self) -> bool:
        """Whether there is energy with an intensity."""
        return any(energy for source, energy in self.energy.items() if source is not None)

    def rounded(self) -> RoundedTally:
        """In integers. The sources add up to the energy that has an intensity."""
        unit = self.unit
        upto = accumulate([self.energy.get(source, 0) for source in SOURCES])
        actual, estimated, forecast, mean = [_rounded(energy, unit.energy) for energy in upto]
        return RoundedTally(
            _rounded(self.operational * 10**6, unit.operational),
            _rounded(self.grid * 10**9, unit.grid),
            actual,
            estimated - actual,
            forecast - estimated,
            mean - forecast,
            _rounded(self.open, unit.energy),
        )


class RoundedTally(NamedTuple):
    """A tally in micrograms with the PUE, nanograms without it, and microjoules by the source of their intensity."""

    ug: int = 0
    grid_ng: int = 0
    actual_uj: int = 0
    estimated_uj: int = 0
    forecast_uj: int = 0
    yearly_mean_uj: int = 0
    open_uj: int = 0


def _rounded(above: int, below: int) -> int:
    """A quotient as ``round`` makes it an integer: half to even."""
    if not above:
        return 0
    whole, rest = divmod(above, below)
    return whole + (2 * rest > below or (2 * rest == below and whole % 2))


def tallies(
    pieces: Sequence[EnergyPiece], placed: Sequence[IntensityLevel], pue: Pue | None, cuts_ns: Sequence[int] = ()
) -> dict[tuple[Hashable, int], Tally]:
    """Grams by what drew the energy and by the number of ``cuts_ns``, in order, that are not after a piece begins.

    ``pue`` is taken as the decimal number that was written; None is a factor of 1.
    """
    placed, factors, divisor = _by_pue(placed, pue)
    starts_ns = [level.start_ns for level in placed]
    ratios = [level.g_per_kwh.as_integer_ratio() for level in placed]
    shift = max((below.bit_length() - 1 for _, below in ratios), default=0)
    # A float's denominator is a power of two: over the largest of them every level is an integer.
    whole = [above << (shift - below.bit_length() + 1) for above, below in ratios]
    spans_ns = [(*piece.span, max(0, bisect_right(starts_ns, piece.start_ns) - 1)) for piece in pieces]
    # Nearly all pieces lie in one level each, so the common denominator of the parts of the others stays small.
    common = lcm(*{end_ns - start_ns for start_ns, end_ns, at in spans_ns if not _within(start_ns, end_ns, placed, at)})
    grid_unit = common * UJ_PER_KWH << shift
    unit = TallyUnit(common, grid_unit, grid_unit * divisor)
    found: dict[tuple[Hashable, int], Tally] = {}
    for piece, (start_ns, end_ns, first) in zip(pieces, spans_ns, strict=True):
        key = piece.of, bisect_right(cuts_ns, start_ns)
        tally = found.get(key)
        if tally is None:
            tally = found[key] = Tally(unit)
        unknown_ns = length_ns = end_ns - start_ns
        all_energy = piece.energy_uj * common
        for index in range(first, len(placed)):
            level = placed[index]
            if level.start_ns >= end_ns:
                break
            overlap_ns = min(level.end_ns, end_ns) - max(level.start_ns, start_ns)
            if overlap_ns <= 0:
                continue
            unknown_ns -= overlap_ns
            energy, source = all_energy * overlap_ns // length_ns, level.source
            tally.energy[source] = tally.energy.get(source, 0) + energy
            grid = energy * whole[index]
            tally.grid += grid
            tally.operational += grid * factors[index]
            tally.open += 0 if level.settled else energy
        if unknown_ns:
            tally.energy[None] = tally.energy.get(None, 0) + all_energy * unknown_ns // length_ns
    return found


def _within(start_ns: int, end_ns: int, placed: Sequence[IntensityLevel], at: int) -> bool:
    """Whether ``[start_ns, end_ns)`` lies within one level, whose position can only be ``at``."""
    return at < len(placed) and placed[at].start_ns <= start_ns and end_ns <= placed[at].end_ns


def _by_pue(placed: Sequence[IntensityLevel], pue: Pue | None) -> tuple[Sequence[IntensityLevel], Sequence[int], int]:
    """The levels, cut where the PUE changes, with the PUE of each as an integer over a common divisor."""
    if not isinstance(pue, MonthlyPue):
        factor = _factor(pue)
        return placed, [factor.numerator] * len(placed), factor.denominator
    parts = [
        (level._replace(start_ns=start_ns, end_ns=end_ns), _factor(figure))
        for level in placed
        for start_ns, end_ns, figure in pue.within(level.start_ns, level.end_ns)
    ]
    divisor = lcm(*(factor.denominator for _, factor in parts))
    factors = [factor.numerator * (divisor // factor.denominator) for _, factor in parts]
    return [level for level, _ in parts], factors, divisor


@lru_cache
def _factor(pue: float | None) -> Fraction:
    return Fraction(1) if pue is None else Fraction(repr(pue))


def total_tally(found: Mapping[tuple[Hashable, int], Tally]) -> Tally:
    """The sum of all that ``tallies`` found."""
    whole = Tally(next((one.unit for one in found.values()), TallyUnit(1, 1, 1)))
    for one in found.values():
        whole.add(one)
    return whole
