"""Emissions per kilowatt-hour of electricity: by country and year, and by type of generation.

Both tables ship with the package. A yearly mean does not show single hours, so it is used only to account for past
energy if nothing better is known, and never to choose a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from hpcfrugal.accounting.tables import table_rows
from hpcfrugal.core.grid_zone import country_of
from hpcfrugal.core.quick import dataclass


@dataclass(frozen=True, slots=True)
class YearlyMean:
    """Mean intensity of a country's electricity over one year, in g CO2e per kWh. ``country`` is ISO 3166-1 alpha-2."""

    country: str
    name: str
    year: int
    g_per_kwh: float


@cache
def yearly_means() -> Mapping[str, YearlyMean]:
    """The latest yearly means in the table, by ISO 3166-1 alpha-2 code."""
    return {
        row["country"]: YearlyMean(row["country"], row["name"], int(row["year"]), float(row["g_per_kwh"]))
        for row in table_rows("yearly_mean.csv")
    }


def yearly_mean(zone: str) -> YearlyMean | None:
    """The yearly mean of the country of a grid zone: ``FR``, ``DK1``, ``US-CAL-CISO``.

    None if the zone does not begin with the code of a country, or if the country is not in the table.
    """
    return yearly_means().get(country_of(zone) or "")


@cache
def generation_factors() -> Mapping[str, float]:
    """Life-cycle emissions in g CO2e per kWh by type of generation, named as ENTSO-E names them.

    Storage and mixtures of unknown composition have no factor.
    """
    return {row["type"]: float(row["g_per_kwh"]) for row in table_rows("generation_factors.csv")}
