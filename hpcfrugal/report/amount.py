"""Energy by quality: measured, modelled and unknown stay apart in every sum."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field as default

from hpcfrugal.core.format import NONE, UNKNOWN
from hpcfrugal.report import kind
from hpcfrugal.report.field import Field, field

_ALL_THE_TIME = 0.995
"""A coverage that is printed as 100 %."""


@dataclass(slots=True)
class Amount:
    """Energy by quality. None: nothing of that quality is known.

    ``modelled_range_uj``: the range in which the modelled part is expected with 90 %; None where that is not known of
    all of it. Ranges add up as if all models were wrong in the same direction, as those of like nodes are.
    ``covered_ns`` of ``elapsed_ns`` have data; their quotient is the coverage. ``unknown`` names the parts without a
    known energy.
    """

    measured_uj: int | None = None
    modelled_uj: int | None = None
    modelled_range_uj: tuple[int, int] | None = (0, 0)
    covered_ns: int = 0
    elapsed_ns: int = 0
    unknown: list[str] = default(default_factory=list)

    @property
    def energy_uj(self) -> int | None:
        """What is known, measured and modelled together; ``complete`` says whether that is all."""
        known = [part for part in (self.measured_uj, self.modelled_uj) if part is not None]
        return sum(known) if known else None

    @property
    def complete(self) -> bool:
        """Whether no part is unknown or was unread for long. Shorter gaps only lower the coverage."""
        return not self.unknown and self.energy_uj is not None

    @property
    def coverage(self) -> float | None:
        """Share of the time that has data; None where the time is not known."""
        return self.covered_ns / self.elapsed_ns if self.elapsed_ns > 0 else None

    @property
    def range_uj(self) -> tuple[int, int] | None:
        """The range of ``energy_uj``; None where nothing is modelled."""
        if self.modelled_uj is None or self.modelled_range_uj is None:
            return None
        low_uj, high_uj = self.modelled_range_uj
        return (self.measured_uj or 0) + low_uj, (self.measured_uj or 0) + high_uj

    @property
    def shown_coverage(self) -> float | None:
        """The coverage for a reader: of a model that ran all the time it says nothing, least of all how good it is."""
        if self.modelled_uj is not None and self.coverage is not None and self.coverage > _ALL_THE_TIME:
            return None
        return self.coverage

    def take(self, quality: str, energy_uj: int, range_uj: tuple[int, int] | None = None) -> None:
        """Add known energy of one quality, with its range if it is modelled."""
        if quality == "measured":
            self.measured_uj = (self.measured_uj or 0) + energy_uj
            return
        self.modelled_uj = (self.modelled_uj or 0) + energy_uj
        if self.modelled_range_uj is not None:
            low_uj, high_uj = self.modelled_range_uj
            self.modelled_range_uj = None if range_uj is None else (low_uj + range_uj[0], high_uj + range_uj[1])

    def add(self, other: Amount) -> None:
        """Add another amount, of another component or job."""
        if other.measured_uj is not None:
            self.take("measured", other.measured_uj)
        if other.modelled_uj is not None:
            self.take("modelled", other.modelled_uj, other.modelled_range_uj)
        self.covered_ns += other.covered_ns
        self.elapsed_ns += other.elapsed_ns
        self.unknown.extend(other.unknown)


def total_of(amounts: Iterable[Amount]) -> Amount:
    """The sum of several amounts."""
    total = Amount()
    for amount in amounts:
        total.add(amount)
    return total


def at_least(complete: bool) -> str:
    """The sign before a sum that lacks a part."""
    return "" if complete else "≥ "


AMOUNT_FIELDS: tuple[Field[Amount], ...] = (
    field(
        "energy_j", kind.ENERGY, lambda amount: amount.energy_uj, csv=True, heading="Energy [{energy}]",
        before=lambda amount: at_least(amount.complete),
    ),
    field("energy_low_j", kind.ENERGY, lambda amount: amount.range_uj and amount.range_uj[0], csv=True),
    field("energy_high_j", kind.ENERGY, lambda amount: amount.range_uj and amount.range_uj[1], csv=True),
    field(
        "range", kind.ENERGY_RANGE, lambda amount: amount.range_uj, json="", heading="90 % range", optional=True,
        missing=NONE,
    ),
    field("measured_j", kind.ENERGY, lambda amount: amount.measured_uj, csv=True, heading="Measured", missing=NONE),
    field("modelled_j", kind.ENERGY, lambda amount: amount.modelled_uj, csv=True, heading="Modelled", missing=NONE),
    field("coverage", kind.SHARE, lambda amount: amount.coverage, csv=True),
    field(
        "time_measured", kind.SHARE, lambda amount: amount.shown_coverage, json="", heading="Time covered",
        missing=lambda amount: UNKNOWN if amount.coverage is None else NONE,
    ),
    field("complete", kind.PLAIN, lambda amount: amount.complete, csv=True),
)  # fmt: skip
