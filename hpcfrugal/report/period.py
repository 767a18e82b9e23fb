"""Points in time as people give them on the command line: dates, months, or how long ago. All in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hpcfrugal.core.errors import InputError

_AGO = re.compile(r"(?P<count>[0-9]{1,5})(?P<unit>[hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_MONTH = re.compile(r"(?P<year>[0-9]{4})-(?P<month>0[1-9]|1[0-2])")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_span(text: str, now: datetime, where: str) -> tuple[datetime, datetime]:
    """First instant and first instant after what ``text`` names: a month, a day, or one point in time.

    ``2026-11`` is a month, ``2026-11-21`` a day; ``7d``, ``24h`` and ``2w`` ago and a date with time (UTC unless it
    says otherwise) are points, of no length. Raises ``InputError`` naming ``where``.
    """
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            point = now - int(ago["count"]) * _UNITS[ago["unit"]]
            return point, point
        if _MONTH.fullmatch(text) is not None:
            return _month(text)
        point = datetime.fromisoformat(text)
        point = point.replace(tzinfo=UTC) if point.tzinfo is None else point.astimezone(UTC)
        return point, point + timedelta(days=1 if _DAY.fullmatch(text) else 0)
    except (ValueError, OverflowError):
        raise InputError.at(
            where, f"not a time: {text[:40]!r}", "use 2026-11-21, 2026-11, 2026-11-21T10:00, 7d, 24h or 2w"
        ) from None


def _month(text: str) -> tuple[datetime, datetime]:
    """First instant of ``YYYY-MM`` and of the month after it. Raises ``ValueError``."""
    match = _MONTH.fullmatch(text)
    if match is None:
        raise ValueError(text)
    year, number = int(match["year"]), int(match["month"])
    return datetime(year, number, 1, tzinfo=UTC), datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)


def month(text: str) -> tuple[datetime, datetime]:
    """Where the month that is given by ``--month`` begins and ends. Raises ``InputError``."""
    try:
        return _month(text)
    except ValueError:
        raise InputError.at(
            "--month", f"not a month: {text[:40]!r}", "use a year and a month, such as 2026-11"
        ) from None


def since(text: str, now: datetime) -> datetime:
    """Where a period that is given by ``--since`` begins."""
    return parse_span(text, now, "--since")[0]


def until(text: str, now: datetime) -> datetime:
    """Where a period that is given by ``--until`` ends: after the named day or month."""
    return parse_span(text, now, "--until")[1]


def to_wall_ns(when: datetime) -> int:
    """Nanoseconds since the epoch of an aware time; the nearest that 64 bits hold, which reach from 1677 to 2262."""
    wall_ns = (when - _EPOCH) // timedelta(microseconds=1) * 1000
    return max(-(2**63), min(wall_ns, 2**63 - 1))
