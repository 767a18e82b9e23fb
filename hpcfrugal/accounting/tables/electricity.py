"""What a kilowatt-hour of electricity emits: by country over a year, and by the way it was generated.

Both are tables that ship with the package. A yearly mean hides every hour, so it serves to account for what has been
used where nothing better is known, and never to choose a time by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from hpcfrugal.accounting.tables import table_rows


@dataclass(frozen=True, slots=True)
class YearlyMean:
    """Mean intensity of a country's electricity over one year, in g CO2e per kWh. ``country`` is ISO 3166-1 alpha-2."""

    country: str
    name: str
    year: int
    g_per_kwh: float


@cache
def yearly_means() -> Mapping[str, YearlyMean]:
    """The latest yearly mean that the table has, by ISO 3166-1 alpha-2 code."""
    return {
        row["country"]: YearlyMean(row["country"], row["name"], int(row["year"]), float(row["g_per_kwh"]))
        for row in table_rows("yearly_mean.csv")
    }


def yearly_mean(zone: str) -> YearlyMean | None:
    """The yearly mean of the country that a grid zone lies in: ``FR``, ``DK-DK1``, ``US-CAL-CISO``.

    None where the zone doesn't begin with a country's code and where the table has no figure of the country.
    """
    return yearly_means().get(zone.upper().partition("-")[0])


@cache
def generation_factors() -> Mapping[str, float]:
    """Life-cycle emissions in g CO2e per kWh by type of generation, named as ENTSO-E names them.

    Types that give back what they stored, and mixtures of unknown contents, have no factor.
    """
    return {row["type"]: float(row["g_per_kwh"]) for row in table_rows("generation_factors.csv")}
