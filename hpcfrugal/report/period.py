"""Points in time and periods as given on the command line: dates, months, or how long ago. All in UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hpcfrugal.core.errors import InputError
from hpcfrugal.core.time import instant_ns, iso_from_ns

_AGO = re.compile(r"(?P<count>[0-9]{1,5})(?P<unit>[hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_MONTH = re.compile(r"(?P<year>[0-9]{4})-(?P<month>0[1-9]|1[0-2])")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DEFAULT = "30d"


@dataclass(frozen=True, slots=True)
class Period:
    """``since`` <= t < ``until``; None: without that bound."""

    since: datetime | None = None
    until: datetime | None = None

    @property
    def since_ns(self) -> int | None:
        """Nanoseconds since 1970."""
        return _to_ns(self.since)

    @property
    def until_ns(self) -> int | None:
        """Nanoseconds since 1970."""
        return _to_ns(self.until)

    def document(self) -> dict[str, str | None]:
        """As JSON has it."""
        return {"since": iso_from_ns(self.since_ns), "until": iso_from_ns(self.until_ns)}


def period(since: str | None, until: str | None, month: str | None, *, everything: bool = False) -> Period:
    """The period that the options name: by default the last 30 days, or with ``everything`` all time.

    Raises InputError, which names the option.
    """
    now = datetime.now(UTC)
    if month is not None:
        if since is not None or until is not None:
            raise InputError.at("--month", "cannot be combined with --since and --until")
        if _MONTH.fullmatch(month) is None:
            raise InputError.at("--month", f"invalid month {month[:40]!r}", "use a year and a month: 2026-11")
        return Period(*parse_span(month, now, "--month"))
    if since is None:
        since = "all" if everything or until is not None else _DEFAULT
    found = Period(
        None if since == "all" else parse_span(since, now, "--since")[0],
        None if until is None else parse_span(until, now, "--until")[1],
    )
    if found.since is not None and found.until is not None and found.until <= found.since:
        raise InputError.at("--until", "is before --since")
    return found


def parse_span(text: str, now: datetime, where: str) -> tuple[datetime, datetime]:
    """Start and end of what ``text`` names: a month, a day, or one point in time.

    ``2026-11`` is a month, ``2026-11-21`` a day; ``7d``, ``24h`` and ``2w`` ago and a date with a time (UTC unless it
    has a zone) are points. Raises InputError, which names ``where``.
    """
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            point = now - int(ago["count"]) * _UNITS[ago["unit"]]
            return point, point
        if (match := _MONTH.fullmatch(text)) is not None:
            year, number = int(match["year"]), int(match["month"])
            return datetime(year, number, 1, tzinfo=UTC), datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
        point = datetime.fromisoformat(text)
        point = point.replace(tzinfo=UTC) if point.tzinfo is None else point.astimezone(UTC)
        return point, point + timedelta(days=1 if _DAY.fullmatch(text) else 0)
    except (ValueError, OverflowError):
        raise InputError.at(
            where, f"invalid time {text[:40]!r}", "use 2026-11-21, 2026-11, 2026-11-21T10:00, 7d, 24h or 2w"
        ) from None


def _to_ns(moment: datetime | None) -> int | None:
    """Nanoseconds since 1970; the nearest that 64 bits can hold, which reach from 1677 to 2262."""
    return None if moment is None else max(-(2**63), min(instant_ns(moment), 2**63 - 1))
