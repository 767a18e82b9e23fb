"""Numbers and times as a person reads them. Rounding happens here and nowhere before."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from hpcfrugal.core.text import UNKNOWN

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def count(number: int, noun: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def wall_time(wall_ns: int | None) -> datetime | None:
    """Nanoseconds since the epoch as an aware time, cut to microseconds."""
    return None if wall_ns is None else _EPOCH + timedelta(microseconds=wall_ns // 1000)


def iso(wall_ns: int | None) -> str | None:
    """Nanoseconds since the epoch in ISO 8601, UTC, to the microsecond."""
    time = wall_time(wall_ns)
    return None if time is None else time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def minute(wall_ns: int | None) -> str:
    """``2026-11-21 05:27``, UTC."""
    time = wall_time(wall_ns)
    return "" if time is None else f"{time:%Y-%m-%d %H:%M}"


def second(wall_ns: int | None) -> str:
    """``2026-11-21 05:27:17``, UTC."""
    time = wall_time(wall_ns)
    return "" if time is None else f"{time:%Y-%m-%d %H:%M:%S}"


def clock(wall_ns: int | None) -> str:
    """``05:27:17.123``, UTC."""
    time = wall_time(wall_ns)
    return "" if time is None else f"{time:%H:%M:%S}.{time.microsecond // 1000:03}"


def percent(share: float | None) -> str:
    """A share as a percentage; what is less than whole is never shown as 100 %."""
    if share is None:
        return UNKNOWN
    if share >= 1:
        return "100 %"
    return f"{min(share * 100, 99.9):.1f} %"


class EnergyUnit:
    """One unit for a whole table, so that its figures can be compared by eye."""

    _UNITS = (
        (3_600_000_000_000_000, "MWh"),
        (3_600_000_000_000, "kWh"),
        (1_000_000_000, "kJ"),
        (1_000_000, "J"),
    )

    def __init__(self, values_uj: Iterable[int | None]) -> None:
        largest = max((value for value in values_uj if value is not None), default=0)
        self.factor_uj, self.name = next((unit for unit in self._UNITS if largest >= unit[0]), self._UNITS[-1])

    def show(self, energy_uj: int | None, *, unknown: str = UNKNOWN) -> str:
        """The figure without its unit, three digits behind the point. What rounds to 0 and is not is no 0."""
        if energy_uj is None:
            return unknown
        text = f"{energy_uj / self.factor_uj:,.3f}"
        return "<0.001" if energy_uj > 0 and text == "0.000" else text
