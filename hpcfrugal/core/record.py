"""One definition for each record: a frozen dataclass, whose fields define its JSON and its SQL columns.

The annotation of a field is the type of its values: ``int``, ``float``, ``bool``, ``str``, a ``Literal`` of texts, a
``StrEnum``, ``tuple[str, ...]``, a ``dict``, another record or a tuple of them, each with ``| None`` where it may be
unknown; an aware ``datetime`` (ISO 8601), a ``timedelta`` (seconds), or a class with ``to_json`` and ``from_json``.
``Annotated`` adds further properties::

    @dataclass(frozen=True, slots=True)
    class EndDocument:
        job_id: str
        exit_code: Annotated[int | None, Bounds(high=255)] = None
        started_wall_ns: Annotated[int | None, UnixTime("started_wall_s")] = None

JSON may come from files of other users. A missing key or null means the default of the field. So does a value of the
wrong type or out of bounds, which is also reported in ``problems``: one bad field does not invalidate the whole record,
and is not ignored either. Only fields without a default are required: the record is refused without them.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hpcfrugal.core.errors import HpcfrugalError
from hpcfrugal.core.text import clean_text
from hpcfrugal.core.time import from_ns, instant_ns, iso, parse_iso

MAX_INT = 2**62
"""Larger integers are invalid, so that sums fit into SQLite's signed 64 bits."""

MAX_MEMORY_B = 2**50
"""More memory than this on one node, 1 PiB, is invalid; the largest shared-memory machines have a tenth of it."""

MIN_WALL_NS = 946_684_800 * 10**9
MAX_WALL_NS = 7_258_118_400 * 10**9
"""Wall clock readings outside 2000-01-01 .. 2200-01-01 UTC are invalid."""

_T = TypeVar("_T")

Problems = list[str]


class InvalidValue(Exception):
    """A value that its field does not accept; the text describes a valid one."""


class InvalidRecord(Exception):
    """A record without a required field, or with an invalid value in a strict one; the text names the field."""


@dataclass(frozen=True)
class Key:
    """The name of the field in JSON, if it differs from that of the attribute."""

    name: str


@dataclass(frozen=True)
class Range:
    """The least and the greatest valid value of a number, or of each number in a list."""

    low: int = 0
    high: int = MAX_INT


@dataclass(frozen=True)
class IsoTime:
    """ISO 8601 with an offset under ``name`` in JSON, nanoseconds since 1970 here (to the microsecond)."""

    name: str


@dataclass(frozen=True)
class UnixTime:
    """Seconds since 1970 with a fraction under ``name`` in JSON, nanoseconds here (to the microsecond)."""

    name: str


@dataclass(frozen=True)
class Interned:
    """In the ledger its value stands once, in the dictionary ``table``; the row has the integer ``key`` of the entry.

    The fields of a record that are ``together`` in one dictionary, or an embedded record with this mark, are one entry
    of it, and one column of the row.
    """

    table: str
    key: str
    together: bool = False


@dataclass(frozen=True)
class _Mark:
    name: str


STRICT = _Mark("strict")
"""An invalid value makes the whole record invalid; a missing one still means the default."""

EMBEDDED = _Mark("embedded")
"""A record whose fields appear among those of the record around it, in JSON and in SQL. It needs a default, which may
be None only for records without SQL columns."""

SIZED = _Mark("sized")
"""A list with the number of items that the codec was created for."""

NOT_STORED = _Mark("not stored")
"""Neither in JSON nor a column, but filled by who reads the record. It needs a default, and stands last."""

DROP_INVALID = _Mark("drop invalid")
"""Invalid records of a list are left out and reported as problems; by default they make the outer record invalid."""


Read = Callable[[Any, Problems], Any]
Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the numbers of a field must be, to check those of many records at once; ``size``: of lists of so many, in
    which there may be ``nulls``."""

    kinds: frozenset[type]
    low: float
    high: float
    nulls: bool = False
    size: int | None = None

    def hold(self, values: Sequence[Any], *, required: bool) -> bool:
        """Whether each of ``values`` is what ``read`` takes as it stands; None is where it is not ``required``."""
        nulls = not required
        if self.size is not None:
            if set(map(type, values)) != {list} or set(map(len, values)) != {self.size}:
                return False
            values, nulls = list(chain.from_iterable(values)), self.nulls
        kinds = set(map(type, values))
        if nulls and type(None) in kinds:
            kinds.remove(type(None))
            values = [value for value in values if value is not None]
        return kinds <= self.kinds and (not values or (self.low <= min(values) and max(values) <= self.high))


@dataclass(frozen=True, slots=True)
class RecordField:
    """One field of a record, compiled. A conversion that is None leaves the value as it is.

    ``numbers`` is None for what has to be read one by one.
    """

    name: str
    key: str
    read: Read
    write: Convert | None
    sql_type: str
    to_sql: Convert | None
    from_sql: Convert | None
    strict: bool
    optional: bool
    integers: tuple[int, int]
    numbers: Numbers | None
    interned: Interned | None


class Codec(Generic[_T]):
    """Reads and writes one class of records. Get it with ``codec``.

    ``columns`` are the names of its SQL columns in the order of its fields, with those of an embedded record in its
    place.
    """

    def __init__(self, record: type[_T], size: int | None = None) -> None:
        self.record = record
        self._fields: dict[str, RecordField] = {}
        self._embedded: dict[str, Codec[Any]] = {}
        self._interned: dict[str, Interned] = {}
        """The dictionary of an embedded record, by the name of its field."""
        self._order: list[RecordField | tuple[str, Codec[Any]]] = []
        required: set[str] = set()
        missing: dict[str, None] = {}
        hints = get_type_hints(record, include_extras=True)
        for item in dataclasses.fields(record):  # type: ignore[arg-type]
            bare, marks = _annotation(hints[item.name])
            if NOT_STORED in marks:
                continue
            if EMBEDDED in marks:
                self._embedded[item.name] = codec(bare)
                self._order.append((item.name, codec(bare)))
                self._interned.update((item.name, mark) for mark in marks if isinstance(mark, Interned))
                continue
            field = _compile(item.name, bare, marks, size)
            self._fields[field.key] = field
            self._order.append(field)
            if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
                if field.optional:
                    missing[field.name] = None
                else:
                    required.add(field.name)
        self._required, self._missing = frozenset(required), missing
        self._required_keys = {key for key, field in self._fields.items() if field.name in required}
        # Most values are integers, which are checked without a call; the bounds of other fields contain no integer.
        self._specs: dict[str, tuple[str, str | None, int, int, Read]] = {
            key: (field.name, None, *field.integers, field.read) for key, field in self._fields.items()
        }
        for name, inner in self._embedded.items():
            self._fields |= inner._fields
            self._specs |= {
                key: (field.name, name, *field.integers, field.read) for key, field in inner._fields.items()
            }
        columns = self.sql_fields()
        self.columns: tuple[str, ...] = tuple(field.name for field in columns)
        self._values: Callable[[_T], tuple[Any, ...]] = _columns_getter(self._paths())
        self._from_sql = [(at, field.from_sql) for at, field in enumerate(columns) if field.from_sql is not None]
        self._to_sql = [(at, field.to_sql) for at, field in enumerate(columns) if field.to_sql is not None]

    def _paths(self) -> list[str]:
        """The attribute of each column, in the form that ``attrgetter`` takes."""
        found: list[str] = []
        for part in self._order:
            found += (
                [part.name] if isinstance(part, RecordField) else [f"{part[0]}.{path}" for path in part[1]._paths()]
            )
        return found

    def sql_fields(self) -> list[RecordField]:
        """The fields that are columns, including those of embedded records."""
        found: list[RecordField] = []
        for part in self._order:
            if isinstance(part, RecordField):
                found.append(part)
                continue
            name, inner = part
            mark = self._interned.get(name)
            fields = inner.sql_fields()
            found += fields if mark is None else [dataclasses.replace(each, interned=mark) for each in fields]
        return found

    def read(self, data: Mapping[str, Any], problems: Problems) -> _T:
        """The record in a JSON object. Raises ``InvalidRecord``; mistakes in optional fields go to ``problems``."""
        specs = self._specs
        values: dict[str, Any] = dict(self._missing)
        for key, value in data.items():
            spec = specs.get(key)
            if spec is None or value is None:
                continue
            name, owner, low, high, read = spec
            try:
                if not (type(value) is int and low <= value <= high):
                    value = read(value, problems)
            except InvalidValue as wanted:
                if self._fields[key].strict:
                    raise InvalidRecord(f"{key}: not {wanted}") from None
                problems.append(f"{key}: not {wanted}")
                continue
            if owner is None:
                values[name] = value
            else:
                values.setdefault(owner, {})[name] = value
        if not self._required <= values.keys():
            self._refuse(values, problems)
        for name, inner in self._embedded.items():
            if name in values:
                values[name] = inner.record(**values[name])
        return self.record(**values)

    def read_columns(self, data: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]] | None:
        """The values of many JSON objects by key, each column in their order; a key that none of them has is left out.

        None where the objects differ in their keys, or where a value is not valid as it stands.
        """
        keys = [key for key in data[0] if key in self._fields]
        if len(keys) < 2 or set(map(len, data)) != {len(data[0])}:
            return None
        try:
            columns = dict(zip(keys, zip(*map(itemgetter(*keys), data), strict=True), strict=True))
        except KeyError:
            return None
        for key, values in list(columns.items()):
            if values[0] is None and all(value is None for value in values):
                del columns[key]
                continue
            numbers = self._fields[key].numbers
            if numbers is None or not numbers.hold(values, required=key in self._required_keys):
                return None
        return columns if self._required_keys <= columns.keys() else None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its JSON object."""
        return tuple(self._fields)

    def _refuse(self, values: Mapping[str, Any], problems: Problems) -> None:
        missing = [field.key for field in self._fields.values() if field.name in self._required - values.keys()]
        why = [problem for problem in problems if problem.partition(":")[0] in missing]
        raise InvalidRecord(why[-1] if why else f"{missing[0]}: missing")

    def write(self, record: _T) -> dict[str, Any]:
        """The record as JSON with all of its keys; unknown is null."""
        found: dict[str, Any] = {}
        for part in self._order:
            if isinstance(part, RecordField):
                value = getattr(record, part.name)
                found[part.key] = value if value is None or part.write is None else part.write(value)
            else:
                inner = getattr(record, part[0])
                found |= dict.fromkeys(part[1].keys) if inner is None else part[1].write(inner)
        return found

    def row(self, record: _T) -> list[Any]:
        """The values of its columns."""
        found = list(self._values(record))
        for at, convert in self._to_sql:
            if found[at] is not None:
                found[at] = convert(found[at])
        return found

    def of_row(self, row: Sequence[Any]) -> _T:
        """The record in a row whose columns are ``columns``."""
        if self._from_sql:
            values = list(row)
            for at, convert in self._from_sql:
                if values[at] is not None:
                    values[at] = convert(values[at])
            row = values
        if not self._embedded:
            return self.record(*row)
        return self.record(*self._gathered(row))

    def _gathered(self, row: Sequence[Any]) -> list[Any]:
        found: list[Any] = []
        at = 0
        for part in self._order:
            if isinstance(part, RecordField):
                found.append(row[at])
                at += 1
            else:
                inner = part[1]
                found.append(inner.record(*row[at : at + len(inner.columns)]))
                at += len(inner.columns)
        return found


_codecs: dict[tuple[type[Any], int | None], Codec[Any]] = {}


def codec(record: type[_T], size: int | None = None) -> Codec[_T]:
    """The codec of a class of records, created once; ``size`` is the length of its lists that are ``SIZED``."""
    found = _codecs.get((record, size))
    if found is None:
        found = _codecs[record, size] = Codec(record, size)
    return found


def assemble(record: type[_T], *sources: object, **values: Any) -> _T:
    """A dataclass of ``values``; its other fields are attributes of that name, from the first source that has one.

    Raises ``AttributeError`` for a field with neither.
    """
    kinds = (record, tuple(values), *map(type, sources))
    plan = _plans.get(kinds)
    if plan is None:
        plan = _plans[kinds] = _plan(record, values.keys(), sources)
    for source, (names, get) in zip(sources, plan, strict=True):
        if names:
            values.update(zip(names, get(source), strict=True))
    return record(**values)


_Plan = list[tuple[list[str], Callable[[Any], tuple[Any, ...]]]]

_plans: dict[tuple[Any, ...], _Plan] = {}


def _plan(record: type[Any], given: Collection[str], sources: Sequence[object]) -> _Plan:
    """Which fields of a record are taken from each source."""
    found: list[list[str]] = [[] for _ in sources]
    for name in record.__dataclass_fields__:
        if name in given:
            continue
        at = next(
            (at for at, source in enumerate(sources) if hasattr(type(source), name) or hasattr(source, name)), None
        )
        if at is None:
            raise AttributeError(f"no value for {record.__name__}.{name}")
        found[at].append(name)
    return [(names, _columns_getter(names) if names else tuple) for names in found]


def _columns_getter(paths: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    get = attrgetter(*paths)
    return get if len(paths) > 1 else lambda record: (get(record),)


def _is_record(bare: Any) -> bool:
    return isinstance(bare, type) and dataclasses.is_dataclass(bare)


def _annotation(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without its ``| None``, and what ``Annotated`` adds to it, with ``None`` if it was optional."""
    marks: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *more = get_args(hint)
        marks = tuple(more)
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(one for one in get_args(hint) if one is not type(None))
        marks = (*marks, None)
    return hint, marks


def _compile(name: str, bare: Any, marks: tuple[Any, ...], size: int | None) -> RecordField:
    key = next((mark.name for mark in marks if isinstance(mark, Key | IsoTime | UnixTime)), name)
    bounds = next((mark for mark in marks if isinstance(mark, Range)), None)
    interned = next((mark for mark in marks if isinstance(mark, Interned)), None)
    read: Read
    write: Convert | None = None
    to_sql: Convert | None = None
    from_sql: Convert | None = None
    numbers: Numbers | None = None
    sql_type, integers = "TEXT", (1, 0)
    if bare in (int, float, bool):
        sql_type = "REAL" if bare is float else "INTEGER"
    if time := next((mark for mark in marks if isinstance(mark, IsoTime | UnixTime)), None):
        read, write = (_iso_time, _iso) if isinstance(time, IsoTime) else (_unix_time, _seconds)
    elif bare is bool:
        read, from_sql, numbers = _flag, bool, Numbers(frozenset({bool}), 0, 1)
    elif bare is int:
        within = bounds or Range()
        read, integers = _integer(within), (within.low, within.high)
        numbers = Numbers(frozenset({int}), within.low, within.high)
    elif bare is float:
        read = _number(bounds)
    elif isinstance(bare, type) and issubclass(bare, StrEnum):
        read, from_sql = _member(bare), bare
    elif bare is str or get_origin(bare) is Literal:
        read = _text(get_args(bare))
    elif bare is datetime:
        read, write = (lambda value, problems: from_ns(_iso_time(value, problems))), iso
    elif bare is timedelta:
        read, write = _span(bounds), _span_seconds
    elif hasattr(bare, "from_json"):
        read, write = _own_json(bare), bare.to_json
    else:
        read, write, numbers = _container(key, bare, marks, bounds, size if SIZED in marks else None)
        to_sql, from_sql = _json_column(read, write)
    strict, optional = STRICT in marks, None in marks
    return RecordField(
        name, key, read, write, sql_type, to_sql, from_sql, strict, optional, integers, numbers, interned
    )


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
"""``json.dumps`` would make an encoder for each value."""


def _json_column(read: Read, write: Convert | None) -> tuple[Convert, Convert]:
    """Values other than numbers and text are JSON in their column. Raises as ``json.loads``, and ``InvalidValue``."""

    def to_sql(value: Any) -> str:
        return _encode(value if write is None else write(value))

    return to_sql, lambda text: read(json.loads(text), [])


def _container(
    key: str, bare: Any, marks: tuple[Any, ...], bounds: Range | None, size: int | None
) -> tuple[Read, Convert | None, Numbers | None]:
    """Reader and writer of another record, a list or a mapping."""
    if _is_record(bare):
        inner = codec(bare)
        return _nested(key, inner), inner.write, None
    arguments = get_args(bare)
    if get_origin(bare) in (dict, Mapping):
        return (_texts_by_name(key), dict, None) if arguments[1] is str else (_object, None, None)
    item, inner_marks = _annotation(arguments[0])
    if _is_record(item):
        inner = codec(item)
        return _records(key, inner, DROP_INVALID in marks), lambda value: [inner.write(one) for one in value], None
    if get_origin(item) is tuple:
        return _integers_by_name(key, bounds or Range()), dict, None
    if item is str:
        return _texts, list, None
    if item in (int, float):
        kinds, within = frozenset({item, int}), bounds or Range()
        length = size if Ellipsis in arguments else len(arguments)
        numbers = Numbers(kinds, within.low, within.high, None in inner_marks, length)
        return _numbers(numbers), list, None if length is None else numbers
    raise TypeError(f"no codec for {bare}")


def _text(choices: tuple[str, ...]) -> Read:
    def read(value: Any, _: Problems) -> str:
        if not isinstance(value, str):
            raise InvalidValue("a text")
        if choices and value not in choices:
            raise InvalidValue(f"one of {', '.join(choices)}")
        return value if value.isascii() else clean_text(value)

    return read


def _member(kind: type[StrEnum]) -> Read:
    text = _text(tuple(kind))
    return lambda value, problems: kind(text(value, problems))


def _flag(value: Any, _: Problems) -> bool:
    if not isinstance(value, bool):
        raise InvalidValue("true or false")
    return value


def _integer(bounds: Range) -> Read:
    low, high = bounds.low, bounds.high

    def read(value: Any, _: Problems) -> int:
        if type(value) is int and low <= value <= high:
            return value
        raise InvalidValue(f"an integer from {low} to {high}")

    return read


def _number(bounds: Range | None) -> Read:
    low, high = (bounds.low, bounds.high) if bounds else (-MAX_INT, MAX_INT)
    wanted = "a number" if bounds is None else f"a number from {low}" + (f" to {high}" if high != MAX_INT else "")

    def read(value: Any, _: Problems) -> float:
        if type(value) in (int, float) and low <= value <= high:
            return float(value)
        raise InvalidValue(wanted)

    return read


def _texts(value: Any, _: Problems) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidValue("a list of texts")
    return tuple(clean_text(item) for item in value)


def _object(value: Any, _: Problems) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidValue("an object")
    return value


def _numbers(numbers: Numbers) -> Read:
    kinds, low, high, nulls, size = numbers.kinds, numbers.low, numbers.high, numbers.nulls, numbers.size
    what = f"a list of {'' if size is None else f'{size} '}{'numbers' if float in kinds else 'integers'}"

    def read(value: Any, _: Problems) -> tuple[float | None, ...]:
        if isinstance(value, list) and (size is None or len(value) == size):
            for item in value:
                if not (type(item) in kinds and low <= item <= high) and not (nulls and item is None):
                    break
            else:
                return tuple(value)
        raise InvalidValue(f"{what} from {low} to {high}{' or null' if nulls else ''}")

    return read


def _texts_by_name(key: str) -> Read:
    def read(value: Any, problems: Problems) -> dict[str, str]:
        entries = _object(value, problems)
        known = {name: text for name, text in entries.items() if text is not None}
        problems += [f"{key}.{name[:80]}: not a text" for name, text in known.items() if not isinstance(text, str)]
        return {clean_text(name): clean_text(text) for name, text in known.items() if isinstance(text, str)}

    return read


def _integers_by_name(key: str, bounds: Range) -> Read:
    integer = _integer(bounds)

    def read(value: Any, problems: Problems) -> tuple[tuple[str, int], ...]:
        found = []
        for name, number in sorted(_object(value, problems).items()):
            if number is None:
                continue
            try:
                found.append((clean_text(name), integer(number, problems)))
            except InvalidValue as wanted:
                problems.append(f"{key}.{name[:80]}: not {wanted}")
        return tuple(found)

    return read


def _nested(key: str, inner: Codec[_T]) -> Read:
    def read(value: Any, problems: Problems) -> _T:
        own: Problems = []
        try:
            found = inner.read(_object(value, problems), own)
        except InvalidRecord as refused:
            raise InvalidRecord(f"{key}.{refused}") from None
        problems += [f"{key}.{problem}" for problem in own]
        return found

    return read


def _records(key: str, inner: Codec[_T], drop_invalid: bool) -> Read:
    def read(value: Any, problems: Problems) -> tuple[_T, ...]:
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


def _iso_time(value: Any, problems: Problems) -> int:
    if not isinstance(value, str):
        raise InvalidValue("a text")
    try:
        return _in_range(instant_ns(parse_iso(value)))
    except (ValueError, OverflowError):
        raise InvalidValue("an ISO 8601 time with its offset from UTC") from None


def _span(bounds: Range | None) -> Read:
    number = _number(bounds)

    def read(value: Any, problems: Problems) -> timedelta:
        try:
            return timedelta(seconds=number(value, problems))
        except OverflowError:
            raise InvalidValue("a number of seconds") from None

    return read


def _span_seconds(span: timedelta) -> float:
    seconds = span.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def _own_json(bare: Any) -> Read:
    def read(value: Any, problems: Problems) -> Any:
        try:
            return bare.from_json(_object(value, problems))
        except HpcfrugalError as error:
            raise InvalidValue(f"valid: {error.message}") from None

    return read


def _unix_time(value: Any, _: Problems) -> int:
    if type(value) not in (int, float) or not abs(value) <= MAX_INT:
        raise InvalidValue("a number")
    return _in_range(round(value * 1e6) * 1000)


def _in_range(wall_ns: int) -> int:
    if MIN_WALL_NS <= wall_ns <= MAX_WALL_NS:
        return wall_ns
    raise InvalidValue("a time between 2000 and 2200")


def _iso(wall_ns: int) -> str:
    return from_ns(wall_ns).isoformat()


def _seconds(wall_ns: int) -> float:
    return wall_ns / 1e9
