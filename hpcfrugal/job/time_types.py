"""Types of a job file's time limits, durations and times of day."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hpcfrugal.core.section import ValueType
from hpcfrugal.core.text import quoted_value
from hpcfrugal.core.units import checked_span, format_duration, format_walltime, parse_duration, parse_walltime
from hpcfrugal.job.slurm_time import YEARS, parse_slurm_time

_SLURM_TIME = re.compile(r"now|today|tomorrow|midnight|noon|\d{1,2}:\d")
_WITH_UNIT = re.compile(r"\s*[0-9.]+\s*[A-Za-z]")


def _to_walltime(value: object) -> timedelta:
    """A time limit in Slurm's forms, or with its unit, above 0."""
    if isinstance(value, timedelta):
        duration = checked_span(value)
    elif isinstance(value, str) and _WITH_UNIT.match(value):
        duration = parse_duration(value)
    else:
        duration = parse_walltime(value)  # type: ignore[arg-type]
    if duration <= timedelta(0):
        raise ValueError("must be above 0; leave it out to take the partition's limit")
    return duration


def _to_duration(value: object) -> timedelta:
    """A duration with its unit."""
    return checked_span(value) if isinstance(value, timedelta) else parse_duration(value)  # type: ignore[arg-type]


def to_seconds(value: object) -> timedelta:
    """A duration; a number without a unit is in seconds."""
    return checked_span(value) if isinstance(value, timedelta) else parse_duration(value, bare_unit="s")  # type: ignore[arg-type]


def _to_datetime(value: object) -> datetime:
    """A date and time in ISO 8601, or a time of day or one from now on as sbatch reads it.

    Without an offset it is this machine's local time.
    """
    example = "write 2026-05-31T18:00, 2026-05-31T18:00+02:00, 20:00 or now+8hours"
    moment: datetime
    if isinstance(value, datetime):
        moment = value
    else:
        text = value.strip() if isinstance(value, str) else ""
        if _SLURM_TIME.match(text):
            try:
                return parse_slurm_time(text)
            except ValueError:
                raise ValueError(f"{quoted_value(value)} is not a time; write now+8hours or 20:00") from None
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            raise ValueError(f"{quoted_value(text)} is a date without a time; {example}")
        if not re.match(r"\d{4}-\d{2}-\d{2}[T ]\d{2}", text):
            raise ValueError(f"{quoted_value(value)} is not a date and time; {example}")
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{quoted_value(value)} is not a date and time; {example}") from None
    if moment.year not in YEARS:
        raise ValueError(f"{quoted_value(value)} is out of range; {example}")
    local = moment if moment.tzinfo is not None else moment.astimezone()
    if moment.tzinfo is None and local.astimezone(UTC).astimezone().replace(tzinfo=None) != moment:
        raise ValueError(f"{quoted_value(value)} does not exist: the clocks are set forward then; write a later time")
    return local


_DURATION_SCHEMA = {"type": "string", "pattern": r"^[0-9P]"}

Walltime = ValueType(
    _to_walltime,
    {
        "anyOf": [
            {"type": "integer", "minimum": 1},
            {"type": "string", "pattern": r"^([0-9]+-)?[0-9]+(:[0-9]+){0,2}$"},
            {"type": "string", "pattern": r"^[0-9.]+\s*[A-Za-z]"},
        ]
    },
    format_walltime,
)
Duration = ValueType(_to_duration, _DURATION_SCHEMA, format_duration)
Seconds = ValueType(
    to_seconds, {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, _DURATION_SCHEMA]}, format_duration
)
DateAndTime = ValueType(
    _to_datetime,
    {"type": "string", "pattern": rf"^(\d{{4}}-\d{{2}}-\d{{2}}[T ]\d{{2}}|{_SLURM_TIME.pattern})"},
    datetime.isoformat,
)
