"""Notations of figures: how each is written in JSON and CSV, and as text in a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from hpcfrugal.core.format import AmountUnit, clock, duration, micrograms, minute, money, percent, size
from hpcfrugal.core.text import plain
from hpcfrugal.core.time import iso_from_ns
from hpcfrugal.report.view import Json

V = TypeVar("V")
"""A value."""


class Scale(NamedTuple):
    """The units of a table's energies and masses."""

    energy: AmountUnit
    mass: AmountUnit

    def for_bounds(self) -> Scale:
        """For lower bounds."""
        return Scale(self.energy.for_bounds(), self.mass.for_bounds())


@dataclass(frozen=True, slots=True)
class Notation(Generic[V]):
    """How values are written: in JSON and CSV, and as text in a table."""

    json: Callable[[V], Json]
    text: Callable[[V, Scale], str]
    align: Literal["text", "word", "number"] = "number"


def same(value: V) -> V:
    """For values that JSON takes as they are."""
    return value


def _words(limit: int, align: Literal["text", "word"]) -> Notation[str]:
    return Notation(same, lambda value, _: plain(value, limit), align)


ENERGY: Notation[int] = Notation(lambda uj: float(uj) / 1e6, lambda uj, scale: scale.energy.show(uj))
"""Microjoules; joules in JSON, divided as the views of the ledger do, and exact up to a gigajoule."""
WATT_HOURS: Notation[int] = Notation(lambda uj: float(uj) / 1e6 / 3.6e3, lambda uj, scale: scale.energy.show(uj))
"""Microjoules; watt-hours in CSV."""
KILOWATT_HOURS: Notation[int] = Notation(lambda uj: float(uj) / 1e6 / 3.6e6, lambda uj, scale: scale.energy.show(uj))
"""Microjoules; kilowatt-hours in CSV, divided as the views of the ledger do."""
ENERGIES = (ENERGY, WATT_HOURS, KILOWATT_HOURS)
"""The notations of energies, which tables show in one unit."""
ENERGY_RANGE: Notation[tuple[int, int]] = Notation(
    lambda ends_uj: [float(uj) / 1e6 for uj in ends_uj],
    lambda ends_uj, scale: "–".join(dict.fromkeys(scale.energy.show(uj) for uj in ends_uj)),
)
"""From one amount of microjoules to another; one figure where both are shown alike."""
MASS: Notation[Fraction] = Notation(float, lambda mass_g, scale: scale.mass.show(mass_g))
"""Grams."""
MICROGRAMS: Notation[float] = Notation(lambda ug: float(ug) / 1e6, lambda ug, scale: micrograms(ug, scale.mass))
"""Micrograms; grams in JSON, divided as the views of the ledger do."""
MASS_RANGE: Notation[tuple[int, int]] = Notation(
    lambda ends_ug: [float(ug) / 1e6 for ug in ends_ug],
    lambda ends_ug, scale: "–".join(dict.fromkeys(micrograms(ug, scale.mass) for ug in ends_ug)),
)
"""From one amount of micrograms to another; one figure where both are shown alike."""
SPAN: Notation[int] = Notation(lambda ns: ns / 1_000_000_000, lambda ns, _: duration(ns))
"""Nanoseconds; seconds in JSON."""
TIME: Notation[int] = Notation(iso_from_ns, lambda ns, _: minute(ns), "word")
"""Nanoseconds since 1970; ISO 8601 in JSON, to the minute in tables."""
CLOCK_NS: Notation[int] = Notation(same, lambda ns, _: clock(ns), "word")
"""Nanoseconds since 1970, also in JSON; the time of day in tables."""
SHARE: Notation[float | Fraction] = Notation(float, lambda share, _: percent(float(share)))
"""A part of 1."""
COUNT: Notation[int] = Notation(same, lambda number, _: f"{number:,}")
NUMBER: Notation[float] = Notation(same, lambda number, _: f"{number:,.1f}")
MONEY: Notation[float] = Notation(same, lambda amount, _: money(amount))
"""An amount of money."""
INTENSITY: Notation[float] = Notation(same, lambda g_per_kwh, _: f"{g_per_kwh:,.0f}")
"""Grams per kilowatt-hour."""
BYTES: Notation[int] = Notation(same, lambda number, _: size(number))
WORD = _words(40, "word")
"""A name that a table keeps whole."""
TEXT = _words(40, "text")
"""A name that a table may shorten."""
PLAIN: Notation[Any] = Notation(same, lambda value, _: plain(str(value)))
"""A value that JSON takes as it is."""
