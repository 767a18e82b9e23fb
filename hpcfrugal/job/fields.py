"""Readers of a job's values: each takes the forms that people write and gives the one that is kept.

A job file's scalars arrive as their own text (see :mod:`hpcfrugal.job.yaml_source`), so ``name: no`` is a
name and ``energy: off`` a switch: only the field knows which. From Python, numbers and booleans come as such.
Every reader raises ``ValueError`` with one sentence, or :class:`Faults` where a value has several mistakes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from hpcfrugal.core.units import format_memory, parse_duration, parse_memory, parse_walltime

MAX_NAME_CHARS = 1024
MAX_TEXT_CHARS = 131_072
"""Longest text of one value: Linux takes no longer argument or environment string (execve(2))."""

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake below a section: the key relative to it, the sentence, the keys it takes into account."""

    path: KeyPath
    what: str
    hint: str | None = None
    involves: tuple[KeyPath, ...] = ()


class Faults(ValueError):
    """Several mistakes found by one validator."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(fault.what for fault in self.faults))


class Section(BaseModel):
    """Base of every mapping in a job file: unknown keys are refused, a built section never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, data: Any) -> Any:
        """A known key without a value is as if it were not there, so a commented-out section does no harm."""
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}


def shown(value: object) -> str:
    """A value in a message: quoted, escaped, and short."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def text_of(value: object, *, limit: int = MAX_TEXT_CHARS) -> str:
    """Any text: a string, or a number as its digits. NUL and broken text can't reach a process: refused."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        kind = {dict: "a mapping", list: "a list", tuple: "a list", bool: "a truth value"}.get(type(value))
        raise ValueError(f"must be text, not {kind or shown(value)}; put it in quotes if it is meant as text")
    text = str(value)
    if "\0" in text:
        raise ValueError("holds a NUL character, which no program can be given")
    if len(text) > limit:
        raise ValueError(f"is {len(text)} characters long; at most {limit} are taken")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds bytes that are not UTF-8 text") from None
    return text


def line_of(value: object, *, limit: int = MAX_TEXT_CHARS) -> str:
    """Text of one line: not empty, no line breaks or other control characters. Anything else is data."""
    text = text_of(value, limit=limit)
    if not text.strip():
        raise ValueError("is empty")
    for char in text:
        # Zl and Zp are Unicode's own line breaks, which terminals and log readers follow.
        if unicodedata.category(char) in {"Cc", "Zl", "Zp"}:
            raise ValueError(f"holds the control character {char!r}; it must be one plain line")
    return text


def name_of(value: object) -> str:
    """A name: one line of at most MAX_NAME_CHARS characters."""
    return line_of(value, limit=MAX_NAME_CHARS)


def path_of(value: object) -> str:
    """A path: any characters that a file's name can have, line breaks too; at most PATH_MAX long."""
    text = text_of(value, limit=4096)
    if not text.strip():
        raise ValueError("is empty")
    return text


def switch_of(value: object) -> bool:
    """A truth value: true/false, yes/no, on/off."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.strip().lower()
        if word in {"true", "yes", "on"}:
            return True
        if word in {"false", "no", "off"}:
            return False
    raise ValueError(f"{shown(value)} is neither true nor false; write true or false")


def count_of(value: object) -> int:
    """A whole number from 1 up."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()):
        number = int(value)
    else:
        raise ValueError(f"{shown(value)} is not a whole number; write for example 4")
    if not 1 <= number <= 999_999_999:
        raise ValueError(f"{number} is out of range; it must be 1 or more")
    return number


def _number_of(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,2})?", value.strip()):
        return float(value)
    return None


def positive_of(value: object) -> float:
    """A number above 0."""
    number = _number_of(value)
    if number is None or not 0 < number < 1e15:
        raise ValueError(f"{shown(value)} is not a number above 0; write for example 250")
    return number


def share_of(value: object) -> float:
    """A share of 1: ``0.05``, or the same as ``5 %``."""
    example = "write 0.05 or 5 %"
    if isinstance(value, str) and value.strip().endswith("%"):
        percent = _number_of(value.strip()[:-1].strip())
        number = None if percent is None else percent / 100
    else:
        number = _number_of(value)
    if number is None:
        raise ValueError(f"{shown(value)} is not a share; {example}")
    if not 0 <= number <= 1:
        raise ValueError(f"{shown(value)} is not between 0 and 1; {example}")
    return number


def list_of(value: object, read: Callable[[object], str]) -> tuple[str, ...]:
    """A list of texts; each entry's mistake is told with its place."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError("must be a list, such as [first, second]")
    found: list[str] = []
    faults: list[Fault] = []
    for at, entry in enumerate(value):
        try:
            found.append(read(entry))
        except ValueError as error:
            faults.append(Fault((at,), str(error)))
    if faults:
        raise Faults(faults)
    return tuple(found)


def joined_of(value: object) -> str:
    """One line, or a list that becomes one with commas, as Slurm takes several partitions, nodes or gres."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return line_of(",".join(list_of(value, line_of)))
    return line_of(value)


def walltime_of(value: object) -> timedelta:
    """A time limit in Slurm's forms, above 0."""
    duration = value if isinstance(value, timedelta) else parse_walltime(value)  # type: ignore[arg-type]
    if duration <= timedelta(0):
        raise ValueError("must be above 0; leave it out to take the partition's limit")
    return duration


def memory_of(value: object) -> str:
    """An amount of memory in Slurm's form, normalised (``4096`` is ``4G``)."""
    return format_memory(parse_memory(value))  # type: ignore[arg-type]


def duration_of(value: object) -> timedelta:
    """A duration with its unit."""
    if isinstance(value, timedelta):
        return value
    return parse_duration(value)  # type: ignore[arg-type]


def seconds_of(value: object) -> timedelta:
    """A duration, a bare number counting seconds."""
    if isinstance(value, timedelta):
        return value
    return parse_duration(value, bare_unit="s")  # type: ignore[arg-type]


def moment_of(value: object) -> datetime:
    """A moment in ISO 8601; without an offset it is this machine's local time."""
    example = "write 2026-05-31T18:00 or 2026-05-31T18:00+02:00"
    moment: datetime
    if isinstance(value, datetime):
        moment = value
    else:
        text = value.strip() if isinstance(value, str) else ""
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            raise ValueError(f"{shown(text)} is a day without an hour; {example}")
        if not re.match(r"\d{4}-\d{2}-\d{2}[T ]\d{2}", text):
            raise ValueError(f"{shown(value)} is not a moment; {example}")
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{shown(value)} is not a moment; {example}") from None
    try:
        return moment.astimezone() if moment.tzinfo is None else moment
    except (OverflowError, ValueError):
        raise ValueError(f"{shown(value)} is outside of the calendar; {example}") from None


_NODES = re.compile(r"([0-9]{1,7})(?:-([0-9]{1,7}))?")


def nodes_of(value: object) -> int | str:
    """A number of nodes, or Slurm's ``least-most``, kept as text."""
    text = text_of(value, limit=32).strip()
    match = _NODES.fullmatch(text)
    if match is None:
        raise ValueError(f"{shown(value)} is not a number of nodes; write 2, or 2-4 for 2 to 4")
    low, high = int(match[1]), int(match[2] or match[1])
    if low < 1 or high < low:
        raise ValueError(f"{shown(value)} is not a number of nodes; write 2, or 2-4 for 2 to 4")
    return low if match[2] is None else f"{low}-{high}"


_GPUS = re.compile(r"(?:[A-Za-z0-9_.-]+:)?[0-9]{1,6}(?:,(?:[A-Za-z0-9_.-]+:)?[0-9]{1,6})*")


def gpus_of(value: object) -> str:
    """Slurm's ``[type:]number``, several with commas."""
    text = text_of(value, limit=MAX_NAME_CHARS).strip()
    if not _GPUS.fullmatch(text):
        raise ValueError(f"{shown(value)} is not a number of GPUs; write 2 or a100:2")
    return text


_SPAN = r"[0-9]{1,9}(?:-[0-9]{1,9}(?::[0-9]{1,9})?)?"
_ARRAY = re.compile(rf"{_SPAN}(?:,{_SPAN})*(?:%[0-9]{{1,9}})?")


def array_of(value: object) -> str:
    """Slurm's array indices: ``0-15``, ``1,3,5``, ``0-20:2``, with ``%4`` at most 4 at once."""
    text = text_of(value).strip()
    example = "write 0-15, 1,3,5 or 0-99%10"
    if not _ARRAY.fullmatch(text):
        raise ValueError(f"{shown(value)} is not a list of array indices; {example}")
    indices, _, at_once = text.partition("%")
    for part in indices.split(","):
        span, _, step = part.partition(":")
        low, _, high = span.partition("-")
        if (high and int(high) < int(low)) or (step and int(step) < 1):
            raise ValueError(f"the range {part} in {shown(value)} is empty; {example}")
    if at_once and int(at_once) < 1:
        raise ValueError(f"{shown(value)} lets no task run at once; {example}")
    return text
