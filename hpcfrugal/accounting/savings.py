"""Savings by the timing of a job: its energy at its own times against the same energy at the counterfactual times.

Pure functions, exact. In the counterfactual the job starts at a given instant, and its attempts follow one another
without a break with the energy that each used. So both sides include the overhead of interruptions. Grams are those of
one signal of one provider, and known only if the intensity is known throughout.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from hpcfrugal.accounting.footprint import EnergyPiece, Levels, tallies, total_tally
from hpcfrugal.accounting.spans import joined


@dataclass(frozen=True, slots=True)
class AttemptEnergy:
    """One attempt of a job: its start, its run time, its energy over time."""

    start_ns: int
    elapsed_ns: int
    pieces: tuple[EnergyPiece, ...]


@dataclass(frozen=True, slots=True)
class Saving:
    """Actual and counterfactual grams; a negative ``saved_g`` is a loss."""

    actual_g: Fraction
    counterfactual_g: Fraction

    @property
    def saved_g(self) -> Fraction:
        return self.counterfactual_g - self.actual_g


def moved(attempts: Sequence[AttemptEnergy], start_ns: int) -> list[EnergyPiece]:
    """The energy of ``attempts`` if the first had started at ``start_ns`` and none had waited."""
    pieces: list[EnergyPiece] = []
    for attempt in attempts:
        by_ns = start_ns - attempt.start_ns
        pieces += [
            piece._replace(start_ns=piece.start_ns + by_ns, end_ns=piece.end_ns + by_ns) for piece in attempt.pieces
        ]
        start_ns += attempt.elapsed_ns
    return pieces


def energy_of(attempts: Sequence[AttemptEnergy]) -> list[EnergyPiece]:
    """The energy of ``attempts`` at its actual times."""
    return [piece for attempt in attempts for piece in attempt.pieces]


def grams(pieces: Sequence[EnergyPiece], levels: Levels, pue: float | None) -> Fraction | None:
    """Grams of ``pieces`` by ``levels``; None if there are no pieces, or if some have no intensity."""
    if not pieces:
        return None
    placed = [level for span in joined(piece.span for piece in pieces) for level in levels.within(*span)]
    whole = total_tally(tallies(pieces, placed, pue, cut_ns=1 << 62).values())
    return None if None in whole.energy_uj else sum(whole.grams.values(), Fraction(0))


def saving_of(attempts: Sequence[AttemptEnergy], start_ns: int, levels: Levels, pue: float | None) -> Saving | None:
    """The saving of ``attempts`` against a start at ``start_ns``; None if unknown."""
    actual_g = grams(energy_of(attempts), levels, pue)
    counterfactual_g = grams(moved(attempts, start_ns), levels, pue)
    return None if actual_g is None or counterfactual_g is None else Saving(actual_g, counterfactual_g)


@dataclass(slots=True)
class ForecastErrorStats:
    """The integral of ``|forecast - actual| / actual`` over the time in which both are known, and that time.

    Times with an actual intensity of 0 are left out, since the error is undefined.
    """

    sum_ns: float = 0.0
    over_ns: int = 0

    def add(self, other: ForecastErrorStats) -> None:
        """Add that of another job."""
        self.sum_ns += other.sum_ns
        self.over_ns += other.over_ns

    @property
    def mape(self) -> float | None:
        """The mean absolute percentage error as a share (0.1 is 10 %), weighted by time; None without any time."""
        return self.sum_ns / self.over_ns if self.over_ns else None


def forecast_error(forecast: Levels, actual: Levels, spans: Iterable[tuple[int, int]]) -> ForecastErrorStats:
    """The error of the forecast in ``spans``; overlapping times count once."""
    found = ForecastErrorStats()
    for start_ns, end_ns in joined(spans):
        for was in actual.within(start_ns, end_ns):
            if was.g_per_kwh == 0:
                continue
            for expected in forecast.within(was.start_ns, was.end_ns):
                length_ns = expected.end_ns - expected.start_ns
                found.sum_ns += abs(expected.g_per_kwh - was.g_per_kwh) / was.g_per_kwh * length_ns
                found.over_ns += length_ns
    return found
