"""Instants and spans as whole microseconds.

Internally, times are microseconds since 1970-01-01T00:00Z: sums and comparisons are exact, and time zones, clock
changes and leap seconds (POSIX time has none) need no special cases. In interfaces, an instant is an aware datetime.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LAST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_FIRST_US = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


def instant_us(moment: datetime) -> int:
    """Microseconds from 1970-01-01T00:00Z to ``moment``. Raises ValueError for a datetime without a time zone."""
    try:
        return (moment - _EPOCH) // _MICROSECOND
    except TypeError:
        raise ValueError(f"{moment.isoformat()} has no time zone") from None


def instant_ns(moment: datetime) -> int:
    """The same in nanoseconds, as times of clocks are kept in the spool and the ledger."""
    return instant_us(moment) * 1000


def span_us(span: timedelta) -> int:
    """A span in microseconds; exact, since timedelta stores microseconds."""
    return span // _MICROSECOND


def is_in_datetime_range(microseconds: int) -> bool:
    """Whether a datetime can represent the instant (years 1 to 9999)."""
    return _FIRST_US <= microseconds <= _LAST_US


def from_us(microseconds: int) -> datetime:
    """The instant in UTC. Raises OverflowError outside the years 1 to 9999."""
    return _EPOCH + timedelta(microseconds=microseconds)


def from_ns(wall_ns: int) -> datetime:
    """The instant in UTC, cut to microseconds. Raises OverflowError outside the years 1 to 9999."""
    return from_us(wall_ns // 1000)


def iso_from_ns(wall_ns: int | None) -> str | None:
    """Nanoseconds since 1970 as ``2026-11-21T10:00:00.123456Z``, always of the same width."""
    return None if wall_ns is None else f"{from_ns(wall_ns):%Y-%m-%dT%H:%M:%S.%fZ}"


def whole_hour(moment: datetime) -> datetime:
    """The full hour, in UTC, at or before an instant."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def iso(moment: datetime) -> str:
    """``2026-03-29T01:30:00Z``, with microseconds only where there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def iso_minute(moment: datetime) -> str:
    """``2026-03-29T01:30Z``; seconds are cut."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def parse_iso(text: str) -> datetime:
    """An instant of ISO 8601 with a zone, in UTC. Raises ValueError for anything else."""
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() is None:
        raise ValueError(f"{text!r} has no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is outside the years 1 to 9999 in UTC") from None
