"""Reads and writes durations, memory sizes and node lists in Slurm's forms.

Every reader raises ``ValueError`` with one sentence: what
was given and what would be right. Forms: sbatch(1) (``--time``, ``--mem``) and scontrol(1) (``show hostnames``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta

from hpcfrugal.core.text import quoted_value

MAX_NODES = 65_536
"""Most names in a node list; Slurm's own ``MaxNodeCount`` limit is of this order."""

_WALLTIME_EXAMPLE = "write 30 (minutes), 1:30:00 or 2-12:00:00"
_MAX_SECONDS = 100 * 366 * 86_400  # a century: longer than any limit, far below what timedelta can hold

_DAYS = re.compile(r"([0-9]{1,9})-([0-9]{1,9})(?::([0-9]{1,9}))?(?::([0-9]{1,9}))?")
_CLOCK = re.compile(r"([0-9]{1,9})(?::([0-9]{1,9}))?(?::([0-9]{1,9}))?")


def _bounded(seconds: float, value: object) -> timedelta:
    if seconds > _MAX_SECONDS:
        raise ValueError(f"{quoted_value(value)} is longer than a hundred years.")
    return timedelta(seconds=seconds)


def checked_span(span: timedelta) -> timedelta:
    """A duration that a program gives; raises ``ValueError`` where no text could stand for it."""
    if span < timedelta(0):
        raise ValueError("a duration can't be negative.")
    _bounded(span.total_seconds(), span)
    return span


def parse_walltime(value: str | int) -> timedelta:
    """A duration in one of Slurm's forms.

    ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``, ``days-hours``, ``days-hours:minutes`` and
    ``days-hours:minutes:seconds``; an ``int`` counts minutes. As in Slurm, a field may exceed its usual range
    (``90:00`` is one and a half hours).
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{quoted_value(value)} is not a time; {_WALLTIME_EXAMPLE}.")
    text = str(value).strip()
    if match := _DAYS.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return _bounded(((days * 24 + hours) * 60 + minutes) * 60 + seconds, value)
    if match := _CLOCK.fullmatch(text):
        first, second, third = match.groups()
        if third is not None:
            return _bounded((int(first) * 60 + int(second)) * 60 + int(third), value)
        return _bounded(int(first) * 60 + int(second or 0), value)
    if text.upper() in {"UNLIMITED", "INFINITE"}:
        raise ValueError("an unlimited time limit cannot be planned; leave `time` out for the limit of the partition.")
    raise ValueError(f"{quoted_value(value)} is not a time limit in Slurm's form; {_WALLTIME_EXAMPLE}.")


def format_walltime(duration: timedelta) -> str:
    """``[D-]HH:MM:SS``; fractions of a second are rounded up, so that a limit does not shrink."""
    if duration < timedelta(0):
        raise ValueError("a time can't be negative.")
    seconds = duration // timedelta(seconds=1) + (1 if duration % timedelta(seconds=1) else 0)
    days, rest = divmod(seconds, 86_400)
    clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}-{clock}" if days else clock


_UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?\s*(?:ms|min|s|m|h|d|w)\s*)+")
_DURATION_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(ms|min|s|m|h|d|w)")
_ISO_DURATION = re.compile(
    r"P(?:([0-9]{1,9})W)?(?:([0-9]{1,9})D)?"
    r"(?:T(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9}(?:\.[0-9]{1,9})?)S)?)?"
)
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")


def parse_duration(value: str | int | float, *, bare_unit: str | None = None) -> timedelta:
    """A duration with its unit: ``90s``, ``15m``, ``2h``, ``1d``, ``1h30m``, ``500ms``, ISO 8601's ``PT12H``.

    Slurm's forms with ``:`` or ``-`` are accepted too. A number without a unit is refused unless ``bare_unit`` is
    its unit, since Slurm would count it as minutes and most other programs as seconds.
    """
    example = "write a number with its unit: 90s, 15m, 2h, 1d or 1h30m"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{quoted_value(value)} is not a duration; {example}.")
    text = str(value).strip()
    lower = text.lower()
    if _DURATION.fullmatch(lower):
        parts = _DURATION_PART.findall(lower)
        units = [unit for _, unit in parts]
        if len(set(units)) != len(units):
            raise ValueError(f"{quoted_value(value)} names a unit twice; {example}.")
        return _bounded(sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts), value)
    if _NUMBER.fullmatch(text):
        if bare_unit is None:
            raise ValueError(f"{quoted_value(value)} has no unit; {example}.")
        return _bounded(float(text) * _UNIT_SECONDS[bare_unit], value)
    if (match := _ISO_DURATION.fullmatch(text.upper())) and any(match.groups()):
        weeks, days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return _bounded((((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60 + seconds, value)
    if ":" in text or "-" in text:
        try:
            return parse_walltime(text)
        except ValueError:
            raise ValueError(f"{quoted_value(value)} is not a duration; {example}.") from None
    raise ValueError(f"{quoted_value(value)} is not a duration; {example}.")


def format_duration(duration: timedelta) -> str:
    """The form that :func:`parse_duration` reads back to the same value: ``1d2h``; 90 s is ``1m30s``."""
    if duration < timedelta(0):
        raise ValueError("a duration can't be negative.")
    seconds, micros = divmod(duration // timedelta(microseconds=1), 1_000_000)
    parts = [
        f"{count}{unit}"
        for count, unit in (
            (seconds // 86_400, "d"),
            (seconds // 3600 % 24, "h"),
            (seconds // 60 % 60, "m"),
        )
        if count
    ]
    rest = seconds % 60
    if micros:
        fraction = f"{micros:06d}".rstrip("0")
        parts.append(f"{rest}.{fraction}s")
    elif rest or not parts:
        parts.append(f"{rest}s")
    return "".join(parts)


_MEMORY = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,6}))?\s*(?:([kmgt])(?:i?b)?)?", re.IGNORECASE)
_MEMORY_BYTES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_memory(value: str | int) -> int:
    """A size in Slurm's form as bytes: a number with K, M, G or T, in powers of 1024; without a unit, MiB.

    ``0`` is 0 bytes, which Slurm reads as all of a node's memory. A fraction (``1.5G``), which Slurm itself would
    refuse, is accepted if it is a whole number of KiB.
    """
    example = "write 4000M, 16G or 1T"
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{quoted_value(value)} is not an amount of memory; {example}.")
    match = _MEMORY.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"{quoted_value(value)} is not an amount of memory; {example}.")
    whole, fraction, letter = match.groups()
    unit_bytes = _MEMORY_BYTES[(letter or "M").upper()]
    size_bytes = int(whole) * unit_bytes
    if fraction:
        part, remainder = divmod(int(fraction) * unit_bytes, 10 ** len(fraction))
        if remainder or part % 1024:
            raise ValueError(f"{quoted_value(value)} is not a whole number of KiB; {example}.")
        size_bytes += part
    if size_bytes >= 1 << 62:
        raise ValueError(f"{quoted_value(value)} is too much memory; {example}.")
    return size_bytes


def format_memory(size_bytes: int) -> str:
    """Bytes as Slurm writes them: a whole number of the largest unit possible, rounded up to a whole KiB."""
    if size_bytes < 0:
        raise ValueError("an amount of memory can't be negative.")
    if size_bytes == 0:
        return "0"
    for letter in ("T", "G", "M"):
        if size_bytes % _MEMORY_BYTES[letter] == 0:
            return f"{size_bytes // _MEMORY_BYTES[letter]}{letter}"
    return f"{-(-size_bytes // 1024)}K"


_RANGE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")
_TRAILING_NUMBER = re.compile(r"(.*?)([0-9]{1,18})", re.DOTALL)


def _split_list(text: str) -> list[str]:
    """Split at the commas outside of brackets."""
    parts, start, inside = [], 0, False
    for at, char in enumerate(text):
        if char == "[":
            if inside:
                raise ValueError(f"{quoted_value(text)} has a bracket within a bracket; write n[1-4,7].")
            inside = True
        elif char == "]":
            if not inside:
                raise ValueError(f"{quoted_value(text)} closes a bracket that was not opened; write n[1-4,7].")
            inside = False
        elif char == "," and not inside:
            parts.append(text[start:at])
            start = at + 1
    if inside:
        raise ValueError(f"{quoted_value(text)} does not close its bracket; write n[1-4,7].")
    parts.append(text[start:])
    return [part.strip() for part in parts]


def _bracket_values(body: str, text: str) -> list[str]:
    """The items of a bracket: ``1-3,07`` is 1, 2, 3, 07. The lower number sets the width."""
    values: list[str] = []
    for item in (part.strip() for part in body.split(",")):
        if not item:
            raise ValueError(f"{quoted_value(text)} has an empty item in a bracket; write n[1-4,7].")
        match = _RANGE.fullmatch(item)
        if match is None:
            values.append(item)
            continue
        low, high = match.groups()
        count = int(high) - int(low) + 1
        if count < 1:
            raise ValueError(f"the range {item} in {quoted_value(text)} runs backwards.")
        if count + len(values) > MAX_NODES:
            raise ValueError(f"{quoted_value(text)} names more than {MAX_NODES} nodes.")
        values.extend(str(number).zfill(len(low)) for number in range(int(low), int(high) + 1))
    return values


def expand_nodelist(text: str) -> list[str]:
    """The names in a Slurm node list, in its order: ``n[1-2,07],login`` is n1, n2, n07, login.

    Several brackets in one name give each combination, the last varying fastest. What Slurm prints for no
    nodes (``(null)``, ``None assigned``) and the empty text give an empty list. More than ``MAX_NODES`` names
    are refused before they are expanded.
    """
    if text.strip() in {"", "(null)", "None assigned"}:
        return []
    names: list[str] = []
    for part in _split_list(text):
        if not part:
            raise ValueError(f"{quoted_value(text)} has an empty item between commas.")
        stems = [""]
        for at, piece in enumerate(re.split(r"[\[\]]", part)):
            values = _bracket_values(piece, text) if at % 2 else [piece]
            if len(names) + len(stems) * len(values) > MAX_NODES:
                raise ValueError(f"{quoted_value(text)} names more than {MAX_NODES} nodes.")
            stems = [stem + value for stem in stems for value in values]
        names.extend(stems)
    return names


def compress_nodelist(names: Iterable[str]) -> str:
    """The names as one Slurm node list, each once: n1, n2, n07, login is ``n[1-2,07],login``.

    Names with the same text before their last number are grouped at the place of the first, in the order of their
    numbers. :func:`expand_nodelist` returns the same set.
    """
    groups: dict[tuple[str, bool], list[str]] = {}
    for name in names:
        if not name or name != name.strip() or any(char in "[]," for char in name):
            raise ValueError(f"{quoted_value(name)} is not a node's name.")
        match = _TRAILING_NUMBER.fullmatch(name)
        if match is None:
            groups.setdefault((name, False), [])
        else:
            groups.setdefault((match[1], True), []).append(match[2])
    parts: list[str] = []
    for (stem, numbered), digits in groups.items():
        if not numbered:
            parts.append(stem)
            continue
        ranges: list[tuple[str, str]] = []
        for digit in sorted(set(digits), key=lambda text: (int(text), len(text))):
            if ranges:
                low, high = ranges[-1]
                # The lower number sets the width of a range, so a name of another width needs its own range.
                if int(digit) == int(high) + 1 and digit == str(int(digit)).zfill(len(low)):
                    ranges[-1] = (low, digit)
                    continue
            ranges.append((digit, digit))
        body = ",".join(low if low == high else f"{low}-{high}" for low, high in ranges)
        lone = len(ranges) == 1 and ranges[0][0] == ranges[0][1]
        parts.append(f"{stem}{body}" if lone else f"{stem}[{body}]")
    return ",".join(parts)
