"""Savings by the timing of a job: its energy at its own times against the same energy at the counterfactual times.

Pure functions, exact. In the counterfactual the job starts at a given instant and runs without interruption: its
attempts follow one another without a break, each with the energy that it used, less the overhead of interruptions.
Grams are those of one signal of one provider, and known only if the intensity is known throughout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

from hpcfrugal.accounting.footprint import EnergyPiece, Levels, tallies, total_tally
from hpcfrugal.accounting.spans import joined
from hpcfrugal.core.pue import Pue
from hpcfrugal.core.quick import dataclass


@dataclass(frozen=True, slots=True)
class AttemptEnergy:
    """One attempt of a job: its start, its run time, its energy over time.

    ``restart_ns`` at its beginning and ``checkpoint_ns`` at its end are overhead of planned interruptions.
    """

    start_ns: int
    elapsed_ns: int
    pieces: tuple[EnergyPiece, ...]
    restart_ns: int = 0
    checkpoint_ns: int = 0

    @property
    def worked_ns(self) -> int:
        """Its run time without the overhead of interruptions."""
        return max(0, self.elapsed_ns - self.restart_ns - self.checkpoint_ns)

    def worked(self) -> Iterator[EnergyPiece]:
        """Its energy without that of the overhead, of which each piece has its share by time (whole microjoules)."""
        if not self.restart_ns and not self.checkpoint_ns:
            yield from self.pieces
            return
        first_ns = self.start_ns + min(self.restart_ns, self.elapsed_ns)
        last_ns = first_ns + self.worked_ns
        for piece in self.pieces:
            # Readings may reach a little beyond the attempt: without overhead at that end they are work.
            start_ns = max(piece.start_ns, first_ns) if self.restart_ns else piece.start_ns
            end_ns = min(piece.end_ns, last_ns) if self.checkpoint_ns else piece.end_ns
            if start_ns < end_ns:
                energy_uj = piece.energy_uj * (end_ns - start_ns) // (piece.end_ns - piece.start_ns)
                yield piece._replace(start_ns=start_ns, end_ns=end_ns, energy_uj=energy_uj)
            elif start_ns == piece.start_ns and end_ns == piece.end_ns:
                yield piece  # drawn at an instant of the work


@dataclass(frozen=True, slots=True)
class Saving:
    """Actual and counterfactual grams; a negative ``saved_g`` is a loss."""

    actual_g: Fraction
    counterfactual_g: Fraction

    @property
    def saved_g(self) -> Fraction:
        return self.counterfactual_g - self.actual_g


def moved(attempts: Sequence[AttemptEnergy], start_ns: int) -> list[EnergyPiece]:
    """The energy of ``attempts`` if the first had started at ``start_ns`` and the job had run in one go."""
    pieces: list[EnergyPiece] = []
    for attempt in attempts:
        by_ns = start_ns - attempt.start_ns - min(attempt.restart_ns, attempt.elapsed_ns)
        pieces += [
            piece._replace(start_ns=piece.start_ns + by_ns, end_ns=piece.end_ns + by_ns) for piece in attempt.worked()
        ]
        start_ns += attempt.worked_ns
    return pieces


def energy_of(attempts: Sequence[AttemptEnergy]) -> list[EnergyPiece]:
    """The energy of ``attempts`` at its actual times."""
    return [piece for attempt in attempts for piece in attempt.pieces]


def grams(pieces: Sequence[EnergyPiece], levels: Levels, pue: Pue | None) -> Fraction | None:
    """Grams of ``pieces`` by ``levels``; None if there are no pieces, or if some have no intensity."""
    if not pieces:
        return None
    placed = [level for span in joined(piece.span for piece in pieces) for level in levels.within(*span)]
    whole = total_tally(tallies(pieces, placed, pue))
    return None if None in whole.energy else whole.operational_g or Fraction(0)


def saving_of(attempts: Sequence[AttemptEnergy], start_ns: int, levels: Levels, pue: Pue | None) -> Saving | None:
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
