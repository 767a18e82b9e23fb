"""sbatch's forms of a point in time (``--begin``, ``--deadline``).

After sbatch(1) and src/common/parse_time.c of Slurm: ``now+8hours``, ``20:00``, ``tomorrow``, ``05/31-18:00`` and so
on, in the local time of this machine. A time of day that has passed is that of tomorrow, a day without a year that has
passed is that of the next year.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

YEARS = range(1970, 2200)
"""Other times are refused: a plan adds run times and waits to them, of a century each at most."""

_TIMES_OF_DAY = {"midnight": 0, "elevenses": 11, "noon": 12, "fika": 15, "teatime": 16}
_UNITS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
# Texts, which `re` compiles when it first needs them: few jobs have such a time.
_RELATIVE = r"now(?:\s*([+-])\s*([0-9]{1,9})\s*([a-z]*))?"
_SECONDS = r"uts([0-9]{1,11})"
_CLOCK = r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]+)?)?\s*([ap]m)?"
_DATES = (
    r"(?P<y>[0-9]{4})-(?P<m>[0-9]{1,2})-(?P<d>[0-9]{1,2})",
    r"(?P<m>[0-9]{2})(?P<d>[0-9]{2})(?P<y>[0-9]{2})(?![0-9:])",
    r"(?P<m>[0-9]{1,2})/(?P<d>[0-9]{1,2})(?:/(?P<y>[0-9]{4}|[0-9]{2}))?",
    r"(?P<d>[0-9]{1,2})\.(?P<m>[0-9]{1,2})(?:\.(?P<y>[0-9]{4}|[0-9]{2}))?",
)


def parse_slurm_time(text: str, now: datetime | None = None) -> datetime:
    """The instant, aware, that sbatch would read; ``now`` is when.

    Raises:
        ValueError: it is in none of sbatch's forms, or no point in time of ``YEARS``.
    """
    try:
        found = _instant(text.strip().lower(), (now or datetime.now(UTC)).astimezone().replace(microsecond=0))
    except OverflowError:
        raise ValueError("is out of range") from None
    if found.year not in YEARS:
        raise ValueError("is out of range")
    return found


def _instant(rest: str, now: datetime) -> datetime:
    if match := re.fullmatch(_RELATIVE, rest):
        return now + _delta(match)
    if match := re.fullmatch(_SECONDS, rest):
        return datetime.fromtimestamp(int(match[1]), UTC).astimezone()
    day: date | None = None
    has_year = True
    clock: time | None = None
    while rest:
        if clock is None and (match := re.match(_CLOCK, rest)):
            clock = _time_of_day(match)
        elif clock is None and (match := re.match("|".join(_TIMES_OF_DAY), rest)):
            clock = time(_TIMES_OF_DAY[match[0]])
        elif day is None and (match := re.match("today|tomorrow", rest)):
            day = now.date() + timedelta(days=match[0] == "tomorrow")
        elif day is None and (match := next(filter(None, (re.match(form, rest) for form in _DATES)), None)):
            has_year = match["y"] is not None
            year = int(match["y"]) if has_year else now.year
            day = date(year + 2000 if year < 100 else year, int(match["m"]), int(match["d"]))
        else:
            raise ValueError("not a time in a form of sbatch's")
        rest = re.sub(r"^(?:[t-](?=[0-9])|\s+)", "", rest[match.end() :])
    if day is None and clock is None:
        raise ValueError("is empty")
    found = _local(day or now.date(), clock or time())
    if found < now and day is None:
        found = _local(now.date() + timedelta(days=1), clock or time())
    elif found < now and not has_year and day is not None:
        found = _local(day.replace(year=day.year + 1), clock or time())
    return found


def _local(day: date, clock: time) -> datetime:
    """A local time. One that is skipped as the clocks are set forward is so much later, as with mktime(3)."""
    return datetime.fromtimestamp(datetime.combine(day, clock).timestamp()).astimezone()


def _delta(match: re.Match[str]) -> timedelta:
    sign, number, unit = match.groups()
    if sign is None:
        return timedelta()
    word = unit.removesuffix("s") or "second"
    scale = next((seconds for name, seconds in _UNITS_S.items() if name.startswith(word)), None)
    if scale is None:
        raise ValueError(f"{unit!r} is not a unit of time")
    return timedelta(seconds=int(f"{sign}{number}") * scale)


def _time_of_day(match: re.Match[str]) -> time:
    hour, half = int(match[1]), match[4]
    if half is not None:
        if not 1 <= hour <= 12:
            raise ValueError(f"{hour} {half} is not an hour")
        hour = hour % 12 + (12 if half == "pm" else 0)
    return time(hour, int(match[2]), int(match[3] or 0))
