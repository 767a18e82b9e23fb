"""Periods as people name them: dates, months, days of the week, or how long ago. All in UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.core.text import quoted_value
from hpcfrugal.core.time import instant_us, iso_from_ns

ALL_TIME = "all"
"""In place of a time: without that bound."""

_AGO = re.compile(r"(?P<count>[0-9]{1,5}) ?(?P<unit>[hdw]|(?:hour|day|week)s?)(?: ago)?")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_MONTH = re.compile(r"(?P<year>[0-9]{4})-(?P<month>0[1-9]|1[0-2])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?P<clock>[t ].+)?")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_FORMS = "use 2026-11-21, 2026-11, 2026-11-21T10:00, 7d, 24h, 2w, '7 days ago', today, yesterday or a day of the week"

Bound = datetime | date | str | None
"""An aware datetime, a day in UTC, or a text for ``dates_of``; None or ``all``: none."""


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


def period(since: Bound, until: Bound, *, prefix: str = "") -> Period:
    """The period from the beginning of what ``since`` names to the end of what ``until`` names.

    ``prefix`` stands before their names in messages. Raises InputError with everything that is wrong with them.
    """
    now = datetime.now(UTC)
    problems: list[Problem] = []

    def bound(given: Bound, name: str, end: int) -> datetime | None:
        try:
            if given is None or given == ALL_TIME:
                return None
            if isinstance(given, date) and not isinstance(given, datetime):
                given = given.isoformat()
            if isinstance(given, str):
                return dates_of(given, now)[end]
            if not isinstance(given, datetime):
                what = f"is of the type {type(given).__name__}, not a time"
                raise InputError.at("", what, "give an aware datetime, a date, or a text such as 7d")
            if given.utcoffset() is None:
                raise InputError.at("", f"{given.isoformat()} has no time zone", "add tzinfo=datetime.UTC")
        except InputError as error:
            problems.extend(Problem(prefix + name, one.what, one.hint) for one in error.problems)
            return None
        return given

    found = Period(bound(since, "since", 0), bound(until, "until", 1))
    if found.since is not None and found.until is not None and found.until <= found.since:
        problems.append(Problem(f"{prefix}until", f"is not after {prefix}since"))
    if problems:
        raise InputError(problems)
    return found


def dates_of(text: str, now: datetime) -> tuple[datetime, datetime]:
    """Start and end of what ``text`` names: a month, a day, or one point in time.

    ``2026-11`` is a month; ``2026-11-21``, ``today``, ``yesterday`` and ``monday`` (the last one, or today) are days;
    ``7d``, ``24h``, ``2 weeks ago`` and a date with a time (UTC unless it has a zone) are points. Raises InputError.
    """
    words = " ".join(text.lower().split())
    try:
        if (ago := _AGO.fullmatch(words)) is not None:
            point = now - int(ago["count"]) * _UNITS[ago["unit"][0]]
            return point, point
        if (match := _MONTH.fullmatch(words)) is not None:
            year, number = int(match["year"]), int(match["month"])
            return datetime(year, number, 1, tzinfo=UTC), datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
        if (days := _days_ago(words, now)) is not None:
            day = datetime.combine(now.date() - timedelta(days=days), time(), UTC)
            return day, day + timedelta(days=1)
        # Of the other forms of ISO 8601 not all name a day as one: 20261121 would be its first instant.
        if (match := _DATE.fullmatch(words)) is not None:
            point = datetime.fromisoformat(text.strip())
            point = point.replace(tzinfo=UTC) if point.tzinfo is None else point.astimezone(UTC)
            return point, point + timedelta(days=0 if match["clock"] else 1)
    except (ValueError, OverflowError):
        pass
    raise InputError.at("", f"invalid time {quoted_value(text, 40)}", _FORMS)


def is_month(text: str) -> bool:
    """Whether ``text`` has the form of a month."""
    return _MONTH.fullmatch(text) is not None


def _days_ago(word: str, now: datetime) -> int | None:
    """How many days ago the day was that a word names; None where it names none."""
    if word in ("today", "yesterday"):
        return int(word == "yesterday")
    return (now.weekday() - _WEEKDAYS.index(word)) % 7 if word in _WEEKDAYS else None


def _to_ns(moment: datetime | None) -> int | None:
    """Nanoseconds since 1970; the nearest that 64 bits can hold, which reach from 1677 to 2262."""
    return None if moment is None else max(-(2**63), min(instant_us(moment) * 1000, 2**63 - 1))
