"""How the values of a record are read from JSON and written to it, one function for each type of a field.

A reader takes the value, and a list to which it adds what it leaves out of it; it raises ``InvalidValue`` for what its
field does not accept.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from hpcfrugal.core.errors import HpcfrugalError
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.text import clean_text
from hpcfrugal.core.time import from_ns, instant_ns

MAX_INT = 2**62
"""Larger integers are invalid, so that sums fit into SQLite's signed 64 bits."""

MAX_MEMORY_B = 2**50
"""More memory than this on one node, 1 PiB, is invalid; the largest shared-memory machines have a tenth of it."""

MIN_WALL_NS = 946_684_800 * 10**9
MAX_WALL_NS = 7_258_118_400 * 10**9
"""Wall clock readings outside 2000-01-01 .. 2200-01-01 UTC are invalid."""

Problems = list[str]


class InvalidValue(Exception):
    """A value that its field does not accept; the text describes a valid one."""


class InvalidRecord(Exception):
    """A record without a required field, or with an invalid value in a strict one; the text names the field."""


@dataclass(frozen=True)
class Range:
    """The least and the greatest valid value of a number, or of each number in a list."""

    low: int = 0
    high: int = MAX_INT


Read = Callable[[Any, Problems], Any]
Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the numbers of a field must be; ``size``: of lists of so many, in which there may be ``nulls``."""

    kinds: frozenset[type]
    low: float
    high: float
    nulls: bool = False
    size: int | None = None


class RecordReader(Protocol):
    """What reads a record within another one."""

    def read(self, data: Any, problems: Problems) -> Any: ...


def text_reader(choices: tuple[str, ...]) -> Read:
    def read(value: Any, _: Problems) -> str:
        if not isinstance(value, str):
            raise InvalidValue("a text")
        if choices and value not in choices:
            raise InvalidValue(f"one of {', '.join(choices)}")
        return value if value.isascii() else clean_text(value)

    return read


def member_reader(kind: type[StrEnum]) -> Read:
    text = text_reader(tuple(kind))
    return lambda value, problems: kind(text(value, problems))


def read_flag(value: Any, _: Problems) -> bool:
    if not isinstance(value, bool):
        raise InvalidValue("true or false")
    return value


def integer_reader(bounds: Range) -> Read:
    low, high = bounds.low, bounds.high

    def read(value: Any, _: Problems) -> int:
        if type(value) is int and low <= value <= high:
            return value
        raise InvalidValue(f"an integer from {low} to {high}")

    return read


def number_reader(bounds: Range | None) -> Read:
    low, high = (bounds.low, bounds.high) if bounds else (-MAX_INT, MAX_INT)
    wanted = "a number" if bounds is None else f"a number from {low}" + (f" to {high}" if high != MAX_INT else "")

    def read(value: Any, _: Problems) -> float:
        if type(value) in (int, float) and low <= value <= high:
            return float(value)
        raise InvalidValue(wanted)

    return read


def read_texts(value: Any, _: Problems) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidValue("a list of texts")
    return tuple(clean_text(item) for item in value)


def read_mapping(value: Any, _: Problems) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidValue("an object")
    return value


def numbers_reader(numbers: Numbers) -> Read:
    kinds, low, high, nulls, size = numbers.kinds, numbers.low, numbers.high, numbers.nulls, numbers.size
    exact = {type(None), float if float in kinds else int}
    what = f"a list of {'' if size is None else f'{size} '}{'numbers' if float in kinds else 'integers'}"

    def read(value: Any, _: Problems) -> tuple[float | None, ...]:
        if isinstance(value, list) and (size is None or len(value) == size):
            for item in value:
                if not (type(item) in kinds and low <= item <= high) and not (nulls and item is None):
                    break
            else:
                return tuple(item if type(item) in exact else float(item) for item in value)
        raise InvalidValue(f"{what} from {low} to {high}{' or null' if nulls else ''}")

    return read


def texts_by_name_reader(key: str) -> Read:
    def read(value: Any, problems: Problems) -> dict[str, str]:
        entries = read_mapping(value, problems)
        known = {name: text for name, text in entries.items() if text is not None}
        problems += [f"{key}.{name[:80]}: not a text" for name, text in known.items() if not isinstance(text, str)]
        return {clean_text(name): clean_text(text) for name, text in known.items() if isinstance(text, str)}

    return read


def integers_by_name_reader(key: str, bounds: Range) -> Read:
    integer = integer_reader(bounds)

    def read(value: Any, problems: Problems) -> tuple[tuple[str, int], ...]:
        found = []
        for name, number in sorted(read_mapping(value, problems).items()):
            if number is None:
                continue
            try:
                found.append((clean_text(name), integer(number, problems)))
            except InvalidValue as wanted:
                problems.append(f"{key}.{name[:80]}: not {wanted}")
        return tuple(found)

    return read


def nested_reader(key: str, inner: RecordReader) -> Read:
    def read(value: Any, problems: Problems) -> Any:
        own: Problems = []
        try:
            found = inner.read(read_mapping(value, problems), own)
        except InvalidRecord as refused:
            raise InvalidRecord(f"{key}.{refused}") from None
        problems += [f"{key}.{problem}" for problem in own]
        return found

    return read


def records_reader(key: str, inner: RecordReader, drop_invalid: bool) -> Read:
    def read(value: Any, problems: Problems) -> tuple[Any, ...]:
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise InvalidValue("a list of objects")
        found = []
        for index, item in enumerate(value):
            own: Problems = []
            try:
                found.append(inner.read(item, own))
            except InvalidRecord as refused:
                if not drop_invalid:
                    raise InvalidRecord(f"{key}[{index}].{refused}") from None
                own.append(str(refused))
            problems += [f"{key}[{index}].{problem}" for problem in own]
        return tuple(found)

    return read


def read_iso_time(value: Any, _: Problems) -> int:
    return _iso_time(value)[1]


def read_instant(value: Any, _: Problems) -> datetime:
    return _iso_time(value)[0].astimezone(UTC)


def _iso_time(value: Any) -> tuple[datetime, int]:
    if not isinstance(value, str):
        raise InvalidValue("a text")
    try:
        found = datetime.fromisoformat(value)
        return found, _in_range(instant_ns(found))
    except ValueError:
        raise InvalidValue("an ISO 8601 time with its offset from UTC") from None


def span_reader(bounds: Range | None) -> Read:
    number = number_reader(bounds)

    def read(value: Any, problems: Problems) -> timedelta:
        try:
            return timedelta(seconds=number(value, problems))
        except OverflowError:
            raise InvalidValue("a number of seconds") from None

    return read


def write_span(span: timedelta) -> float:
    seconds = span.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def own_json_reader(bare: Any) -> Read:
    def read(value: Any, problems: Problems) -> Any:
        try:
            return bare.from_json(read_mapping(value, problems))
        except HpcfrugalError as error:
            raise InvalidValue(f"valid: {error.message}") from None

    return read


def read_unix_time(value: Any, _: Problems) -> int:
    if type(value) not in (int, float) or not abs(value) <= MAX_INT:
        raise InvalidValue("a number")
    return _in_range(round(value * 1e6) * 1000)


def _in_range(wall_ns: int) -> int:
    if MIN_WALL_NS <= wall_ns <= MAX_WALL_NS:
        return wall_ns
    raise InvalidValue("a time between 2000 and 2200")


def write_iso_time(wall_ns: int) -> str:
    return from_ns(wall_ns).isoformat()


def write_unix_time(wall_ns: int) -> float:
    return wall_ns / 1e9
