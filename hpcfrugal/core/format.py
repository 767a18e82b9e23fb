"""Numbers, times and amounts as text. Figures are rounded here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from hpcfrugal.core.time import from_ns
from hpcfrugal.core.units import format_walltime

if TYPE_CHECKING:
    from fractions import Fraction

UNKNOWN = "unknown"
NONE = "–"
"""For a figure that does not apply."""

Units = Sequence[tuple[int, str]]
"""The size of each unit in the smallest, the largest first."""

_ENERGY_UNITS_UJ: Units = ((36 * 10**14, "MWh"), (36 * 10**11, "kWh"), (10**9, "kJ"), (10**6, "J"))
_MASS_UNITS_UG: Units = ((10**12, "t"), (10**9, "kg"), (10**6, "g"), (10**3, "mg"), (1, "µg"))
_PREFIXES = ((10**15, "G"), (10**12, "M"), (10**9, "k"), (10**6, ""), (10**3, "m"), (1, "µ"))
_SIZE_UNITS = (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10))


def count(number: int, noun: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def percent(share: float | None) -> str:
    """``99.9 %``: less than the whole is never shown as 100 %."""
    if share is None:
        return UNKNOWN
    if share >= 1:
        return "100 %"
    return f"{min(share * 100, 99.9):.1f} %"


def rough_percent(share: float) -> str:
    """``31 %``, for estimates; with one decimal below one percent."""
    return f"{share * 100:.0f} %" if abs(share) >= 0.01 else f"{share * 100:.1f} %"


def duration(span_ns: int | None) -> str:
    """``1-02:03:04``, ``02:03:04``; below a minute ``12.3 s``, or ``12 s`` for whole seconds.

    A negative span, from clocks that disagree, is shown as 0.
    """
    if span_ns is None:
        return UNKNOWN
    span_ns = max(0, span_ns)
    if span_ns < 60 * 10**9:
        return f"{span_ns / 1e9:.1f} s" if span_ns % 10**9 else f"{span_ns // 10**9} s"
    return format_walltime(timedelta(seconds=span_ns // 10**9))


def timespan(span: timedelta | None) -> str:
    """A span in the form of ``duration``, in whole seconds; below ten seconds with one decimal."""
    if span is None:
        return UNKNOWN
    if timedelta() < span < timedelta(milliseconds=100):
        return "<0.1 s"
    if timedelta() < span < timedelta(seconds=10):
        return duration(span // timedelta(microseconds=1) * 1000)
    return duration(span // timedelta(seconds=1) * 10**9)


def _in_unit(millionths: float, units: Units, at_zero: str) -> str:
    """Three digits in the unit that fits."""
    millionths = float(f"{millionths:.3g}")  # rounded before the unit is chosen: 999.7 W is 1 kW
    if not millionths:
        return f"0 {at_zero}"
    factor, name = next((unit for unit in units if abs(millionths) >= unit[0]), units[-1])
    value = millionths / factor
    if abs(value) < 0.001:
        return f"{'<' if value > 0 else '>-'}0.001 {name}"
    return f"{value:,.0f} {name}" if abs(value) >= 1000 else f"{value:.3g} {name}"


def _si(millionths: float, unit: str) -> str:
    return _in_unit(millionths, [(factor, prefix + unit) for factor, prefix in _PREFIXES], unit)


def power(power_w: float | None) -> str:
    """``110 W``, ``46.1 mW``."""
    return NONE if power_w is None else _si(power_w * 1e6, "W")


def energy(energy_uj: int | None) -> str:
    """``2.41 J``, ``5 GJ``."""
    return NONE if energy_uj is None else _si(energy_uj, "J")


def mass(mass_g: float) -> str:
    """``725 µg``, ``15.4 g``, ``1.2 kg``."""
    return _in_unit(mass_g * 1e6, _MASS_UNITS_UG, "g")


def size(size_b: int | None) -> str:
    """``1.5 KiB``: bytes in units of powers of two."""
    if size_b is None:
        return UNKNOWN
    for unit, bits in _SIZE_UNITS:
        if size_b >= 1 << bits:
            return f"{size_b / (1 << bits):,.1f} {unit}"
    return f"{size_b} B"


class TableUnit:
    """One unit for the figures of a table, so that they can be compared by eye.

    One unit of ``values`` is ``per_value`` of the smallest of ``units``.
    """

    def __init__(
        self, values: Iterable[float | Fraction | None], units: Units, at_zero: str, per_value: int = 1
    ) -> None:
        self._per_value = per_value
        largest = max((abs(float(value) * per_value) for value in values if value is not None), default=0.0)
        fitting = units if largest else [unit for unit in units if unit[1] == at_zero]
        self._factor, self.name = next((unit for unit in fitting if largest >= unit[0]), fitting[-1])

    def show(self, value: float | Fraction) -> str:
        """The figure without its unit, with three decimals. A non-zero value that rounds to 0 is ``<0.001``."""
        text = f"{float(value * self._per_value / self._factor):,.3f}"
        if value and text in ("0.000", "-0.000"):
            return "<0.001" if value > 0 else ">-0.001"
        return text


def energy_unit(values_uj: Iterable[int | None]) -> TableUnit:
    """The unit for these energies in microjoules: J to MWh."""
    return TableUnit(values_uj, _ENERGY_UNITS_UJ, "J")


def mass_unit(values_g: Iterable[float | Fraction | None]) -> TableUnit:
    """The unit for these masses in grams: µg to t."""
    return TableUnit(values_g, _MASS_UNITS_UG, "g", per_value=10**6)


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
