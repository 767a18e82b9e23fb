"""Numbers, times and amounts as text. Figures are rounded here and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple

from hpcfrugal.core.time import from_ns
from hpcfrugal.core.units import format_walltime

if TYPE_CHECKING:
    from fractions import Fraction

UNKNOWN = "unknown"
NONE = "–"
"""For a figure that does not apply."""
MODEL_ALONE = "model"
"""For the time that a sensor covered, where there was a model alone."""
AT_LEAST = "≥ "
"""Before a figure that lacks a part."""
ABOVE_0 = ">0"
"""For one that is too small for digits."""

EnergyUnit = Literal["J", "kJ", "MJ", "Wh", "kWh", "MWh", "auto"]
"""What energies are printed in for people; ``auto``: in what fits them."""


class AmountUnit(NamedTuple):
    """A unit of amounts: its name, how much it is of what the amounts are in, and from which amount on it is used.
    ``of_bounds``: the amounts are lower bounds."""

    name: str
    size: float
    least: float
    of_bounds: bool = False

    def for_bounds(self) -> AmountUnit:
        """For lower bounds, of which ``<0.001`` would be none: ``0.000203``, and ``>0`` for one of less."""
        return self._replace(of_bounds=True)

    def show(self, amount: float | Fraction) -> str:
        """Three digits, without the unit. What is not 0 is never shown as 0, but as ``<0.001``."""
        number = float(amount) / self.size
        rounded = float(f"{number:.3g}")
        if not rounded:
            return "0"
        if self.of_bounds and abs(rounded) < 0.0001:
            return ABOVE_0
        if not self.of_bounds and abs(rounded) < 0.001:
            return "<0.001" if rounded > 0 else ">-0.001"
        return f"{number:,.0f}" if abs(rounded) >= 1000 else f"{rounded:#.3g}".rstrip(".")

    def named(self, amount: float | Fraction) -> str:
        """Three digits and the unit."""
        return f"{self.show(amount)} {self.name}"


def _units(sizes: Mapping[str, float]) -> list[AmountUnit]:
    """Units of amounts that are as large as one of them; ``sizes`` has the largest first."""
    return [AmountUnit(name, size, size) for name, size in sizes.items()]


_ENERGY_UNITS_UJ = (
    *_units({"MWh": 3.6e15, "kWh": 3.6e12}),
    AmountUnit("Wh", 3.6e9, 3.6e6),  # a thousandth of it can still be shown
    AmountUnit("J", 1e6, 1e6),
)
_ON_REQUEST_UJ = _units({"MJ": 1e12, "kJ": 1e9})
"""Units that are used only where they are asked for: else watt-hours are."""
_MASS_UNITS_G = _units({"t": 1e6, "kg": 1e3, "g": 1.0, "mg": 1e-3, "µg": 1e-6})
_POWER_UNITS_W = _units({"GW": 1e9, "MW": 1e6, "kW": 1e3, "W": 1.0, "mW": 1e-3, "µW": 1e-6})
_SIZE_UNITS = (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10))


def count(number: int, noun: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def at_least(text: str) -> str:
    """A lower bound, as its unit shows it, with its sign."""
    return text if ABOVE_0 in text else f"{AT_LEAST}{text}"


def percent(share: float | None) -> str:
    """``99.9 %``: less than the whole is never shown as 100 %, and what is not 0 not as ``0.0 %``."""
    if share is None:
        return UNKNOWN
    if share >= 1:
        return "100 %"
    if 0 < share < 0.0005:
        return "<0.1 %"
    return f"{min(share * 100, 99.9):.1f} %"


def rough_percent(share: float) -> str:
    """``31 %``, for estimates; with one decimal below one percent."""
    return f"{share * 100:.0f} %" if abs(share) >= 0.01 else f"{share * 100:.1f} %"


def duration(span_ns: int | None) -> str:
    """``1-02:03:04``, ``02:03:04``; below a minute ``12.3 s``, ``<0.1 s``, or ``12 s`` for whole seconds.

    A negative span, from clocks that disagree, is shown as 0.
    """
    if span_ns is None:
        return UNKNOWN
    span_ns = max(0, span_ns)
    if 0 < span_ns < 10**8:
        return "<0.1 s"
    if span_ns < 60 * 10**9:
        return f"{span_ns / 1e9:.1f} s" if span_ns % 10**9 else f"{span_ns // 10**9} s"
    return format_walltime(timedelta(seconds=span_ns // 10**9))


def timespan(span: timedelta | None) -> str:
    """A span in the form of ``duration``, in whole seconds; below ten seconds with one decimal."""
    if span is None:
        return UNKNOWN
    if timedelta() < span < timedelta(seconds=10):
        return duration(span // timedelta(microseconds=1) * 1000)
    return duration(span // timedelta(seconds=1) * 10**9)


def _fitting(amounts: Iterable[float | Fraction | None], units: Sequence[AmountUnit], at_zero: str) -> AmountUnit:
    """The unit for the largest of the amounts, which is rounded first: 999.7 W is 1.00 kW."""
    largest = max((abs(float(amount)) for amount in amounts if amount is not None), default=0.0)
    if not largest:
        return next(unit for unit in units if unit.name == at_zero)
    return next((unit for unit in units if float(f"{largest / unit.size:.3g}") >= unit.least / unit.size), units[-1])


def energy_unit(energies_uj: Iterable[int | None], wanted: EnergyUnit = "auto") -> AmountUnit:
    """The unit for these energies in microjoules: the one that is wanted, else J to MWh as fits the largest."""
    asked = next((unit for unit in (*_ENERGY_UNITS_UJ, *_ON_REQUEST_UJ) if unit.name == wanted), None)
    return asked or _fitting(energies_uj, _ENERGY_UNITS_UJ, "Wh")


def mass_unit(masses_g: Iterable[float | Fraction | None]) -> AmountUnit:
    """The unit for these masses in grams: µg to t, as fits the largest."""
    return _fitting(masses_g, _MASS_UNITS_G, "g")


def power(power_w: float | None) -> str:
    """``110 W``, ``46.1 mW``."""
    return NONE if power_w is None else _fitting([power_w], _POWER_UNITS_W, "W").named(power_w)


def energy(energy_uj: int | None, wanted: EnergyUnit = "auto") -> str:
    """``2.41 Wh``, ``5.00 kWh``."""
    return NONE if energy_uj is None else energy_unit([energy_uj], wanted).named(energy_uj)


def mass(mass_g: float | Fraction) -> str:
    """``725 µg``, ``15.4 g``, ``1.20 kg``."""
    return mass_unit([mass_g]).named(mass_g)


def micrograms(mass_ug: float, unit: AmountUnit) -> str:
    """Whole micrograms in a unit of mass, without it, and without digits beyond them: ``61``, ``0.061``, ``<1``."""
    one = 1e-6 / unit.size
    if abs(mass_ug) < 0.5:
        if unit.of_bounds:
            return ABOVE_0 if mass_ug else "0"
        return f"<{max(one, 0.001):g}"
    shown = unit.show(mass_ug / 1e6)
    places = max(0, round(-math.log10(one)))
    return f"{mass_ug * one:,.{places}f}" if len(shown.partition(".")[2]) > places else shown


def money(amount: float) -> str:
    """Hundredths, and of less than one two digits: ``1,234.50``, ``0.25``, ``0.000028``."""
    places = 2 if amount >= 1 or not amount else 1 - math.floor(math.log10(amount))
    return f"{amount:,.{places}f}"


def size(size_b: int | None) -> str:
    """``1.5 KiB``: bytes in units of powers of two."""
    if size_b is None:
        return UNKNOWN
    for unit, bits in _SIZE_UNITS:
        if size_b >= 1 << bits:
            return f"{size_b / (1 << bits):,.1f} {unit}"
    return f"{size_b} B"


def minute(wall_ns: int | None) -> str:
    """``2026-11-21 05:27``, UTC."""
    return "" if wall_ns is None else f"{from_ns(wall_ns):%Y-%m-%d %H:%M}"


def second(wall_ns: int | None) -> str:
    """``2026-11-21 05:27:17``, UTC."""
    return "" if wall_ns is None else f"{from_ns(wall_ns):%Y-%m-%d %H:%M:%S}"


def clock(wall_ns: int | None) -> str:
    """``05:27:17.123``, UTC."""
    return "" if wall_ns is None else f"{from_ns(wall_ns):%H:%M:%S.%f}"[:-3]


def point_in_time(moment: datetime, now: datetime) -> str:
    """``02:30 UTC``; with the date if it is not today, with seconds if it is within ten minutes of ``now``."""
    at, today = moment.astimezone(UTC), now.astimezone(UTC)
    form = "%H:%M:%S" if abs(at - today) < timedelta(minutes=10) else "%H:%M"
    return f"{at:{form}} UTC" if at.date() == today.date() else f"{at:%a %Y-%m-%d {form}} UTC"
