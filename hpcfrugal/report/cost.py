"""What the energy of jobs costs, at the price of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hpcfrugal.core.format import NONE
from hpcfrugal.report import notation
from hpcfrugal.report.amount import bound_sign
from hpcfrugal.report.energy import Accounted
from hpcfrugal.report.field import Field, field
from hpcfrugal.report.view import Note, note
from hpcfrugal.settings.config import SiteSettings


@dataclass(frozen=True, slots=True)
class Tariff:
    """The price of a kilowatt-hour."""

    price: float
    currency: str

    @classmethod
    def of_settings(cls, site: SiteSettings) -> Tariff | None:
        """None where the settings have none."""
        return None if site.energy_price is None else cls(site.energy_price, site.currency or "EUR")

    def cost_of(self, record: Accounted) -> float | None:
        """The cost of the known energy."""
        energy_uj = record.sums.energy_uj
        return None if energy_uj is None else energy_uj / 3.6e12 * self.price

    @property
    def fields(self) -> tuple[Field[Any], ...]:
        """The figures of jobs and groups."""
        return (
            field(
                "cost", notation.MONEY, self.cost_of, csv=True, heading=f"Cost [{self.currency}]", drop=11,
                optional=True, missing=NONE, before=lambda record: bound_sign(record.complete),
            ),
            field("currency", notation.PLAIN, lambda record: self.currency, csv=True),
        )  # fmt: skip

    @property
    def note(self) -> Note:
        """What the cost is."""
        return note(f"Cost: {self.price:g} {self.currency}/kWh for the energy as shown, without the PUE.", "aside")
