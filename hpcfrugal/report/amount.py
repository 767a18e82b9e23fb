"""Energy by quality: measured, modelled and unknown stay apart in every sum."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field as default

from hpcfrugal.core.format import NONE
from hpcfrugal.report import kind
from hpcfrugal.report.field import Field, field


@dataclass(slots=True)
class Amount:
    """Energy by quality. None: nothing of that quality is known.

    ``covered_ns`` of ``elapsed_ns`` have data; their quotient is the coverage. ``unknown`` names the parts without a
    known energy.
    """

    measured_uj: int | None = None
    modelled_uj: int | None = None
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

    def take(self, quality: str, energy_uj: int) -> None:
        """Add known energy of one quality."""
        if quality == "measured":
            self.measured_uj = (self.measured_uj or 0) + energy_uj
        else:
            self.modelled_uj = (self.modelled_uj or 0) + energy_uj

    def add(self, other: Amount) -> None:
        """Add another amount, of another component or job."""
        if other.measured_uj is not None:
            self.take("measured", other.measured_uj)
        if other.modelled_uj is not None:
            self.take("modelled", other.modelled_uj)
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
    field("measured_j", kind.ENERGY, lambda amount: amount.measured_uj, csv=True, heading="Measured", missing=NONE),
    field("modelled_j", kind.ENERGY, lambda amount: amount.modelled_uj, csv=True, heading="Modelled", missing=NONE),
    field("coverage", kind.SHARE, lambda amount: amount.coverage, csv=True, heading="Coverage"),
    field("complete", kind.PLAIN, lambda amount: amount.complete, csv=True),
)  # fmt: skip
