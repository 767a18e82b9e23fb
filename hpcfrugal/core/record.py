"""One definition for each record: a frozen dataclass, whose fields define its JSON and its SQL columns.

The annotation of a field is the type of its values: ``int``, ``float``, ``bool``, ``str``, a ``Literal`` of texts, a
``StrEnum``, ``tuple[str, ...]``, a ``dict``, another record or a tuple of them, each with ``| None`` where it may be
unknown; an aware ``datetime`` (ISO 8601), a ``timedelta`` (seconds), or a class with ``to_json`` and ``from_json``.
``Annotated`` adds further properties::

    @dataclass(frozen=True, slots=True)
    class EndDocument:
        job_id: str
        exit_code: Annotated[int | None, Range(high=255)] = None
        started_wall_ns: Annotated[int | None, UnixTime("started_wall_s")] = None

JSON may come from files of other users. A missing key or null means the default of the field. So does a value of the
wrong type or out of bounds, which is also reported in ``problems``: one bad field does not invalidate the whole record,
and is not ignored either. Only fields without a default are required: the record is refused without them.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record_values import (
    MAX_INT,
    MAX_MEMORY_B,
    MAX_WALL_NS,
    MIN_WALL_NS,
    Convert,
    InvalidRecord,
    InvalidValue,
    Numbers,
    Problems,
    Range,
    Read,
    integer_reader,
    integers_by_name_reader,
    member_reader,
    nested_reader,
    number_reader,
    numbers_reader,
    own_json_reader,
    read_flag,
    read_instant,
    read_iso_time,
    read_mapping,
    read_texts,
    read_unix_time,
    records_reader,
    span_reader,
    text_reader,
    texts_by_name_reader,
    write_iso_time,
    write_span,
    write_unix_time,
)
from hpcfrugal.core.time import iso

__all__ = [
    "DROP_INVALID",
    "EMBEDDED",
    "MAX_INT",
    "MAX_MEMORY_B",
    "MAX_WALL_NS",
    "MIN_WALL_NS",
    "NOT_STORED",
    "SIZED",
    "STRICT",
    "Codec",
    "Convert",
    "Interned",
    "InvalidRecord",
    "InvalidValue",
    "IsoTime",
    "Key",
    "Numbers",
    "Problems",
    "Range",
    "Read",
    "RecordField",
    "UnixTime",
    "assemble",
    "codec",
    "picker",
]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Key:
    """The name of the field in JSON, if it differs from that of the attribute."""

    name: str


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


@dataclass(frozen=True, slots=True)
class RecordField:
    """One field of a record, compiled. A conversion that is None leaves the value as it is.

    ``plain`` is what values in JSON must be to be those of the field as they stand, a type or ``Numbers``; None: each
    has to be read. The values of a ``nested`` field are records.
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
    plain: Any
    nested: bool
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
        self.required_keys = {key for key, field in self._fields.items() if field.name in required}
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

    @property
    def json_fields(self) -> Mapping[str, RecordField]:
        """The fields that JSON has, by key, with those of embedded records behind its own."""
        return self._fields

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
        plan = _plans[kinds] = _plan(record, list(values), sources)
    getters, in_order = plan
    found = [*values.values()]
    for source, get in zip(sources, getters, strict=True):
        found += get(source)
    return record(*in_order(found))


_Plan = tuple[list[Callable[[Any], tuple[Any, ...]]], Callable[[Sequence[Any]], tuple[Any, ...]]]

_plans: dict[tuple[Any, ...], _Plan] = {}


def _plan(record: type[Any], given: list[str], sources: Sequence[object]) -> _Plan:
    """What gets the fields of a record that each source has, and what puts those given and these into their order."""
    if not record.__dataclass_fields__.keys() >= set(given):
        raise TypeError(f"{record.__name__} has not all of the fields {', '.join(given)}")
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
    names = [*given, *chain.from_iterable(found)]
    getters = [_columns_getter(own) if own else lambda source: () for own in found]
    return getters, picker([names.index(name) for name in record.__dataclass_fields__])


def _columns_getter(paths: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    get = attrgetter(*paths)
    return get if len(paths) > 1 else lambda record: (get(record),)


def picker(places: Sequence[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """What gives the values at these places of a row."""
    return itemgetter(*places) if len(places) > 1 else lambda row: tuple(row[at] for at in places)


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
    plain: Any = None
    sql_type, integers = "TEXT", (1, 0)
    if bare in (int, float, bool):
        sql_type = "REAL" if bare is float else "INTEGER"
    if time := next((mark for mark in marks if isinstance(mark, IsoTime | UnixTime)), None):
        read, write = (
            (read_iso_time, write_iso_time) if isinstance(time, IsoTime) else (read_unix_time, write_unix_time)
        )
    elif bare is bool:
        read, from_sql, plain = read_flag, bool, bool
    elif bare is int:
        within = bounds or Range()
        read, integers = integer_reader(within), (within.low, within.high)
        plain = Numbers(frozenset({int}), within.low, within.high)
    elif bare is float:
        within = bounds or Range(-MAX_INT)
        read, plain = number_reader(bounds), Numbers(frozenset({int, float}), within.low, within.high)
    elif isinstance(bare, type) and issubclass(bare, StrEnum):
        read, from_sql = member_reader(bare), bare
    elif bare is str or get_origin(bare) is Literal:
        read, plain = text_reader(get_args(bare)), bare
    elif bare is datetime:
        read, write = read_instant, iso
    elif bare is timedelta:
        read, write = span_reader(bounds), write_span
    elif hasattr(bare, "from_json"):
        read, write = own_json_reader(bare), bare.to_json
    else:
        read, write, plain = _container(key, bare, marks, bounds, size if SIZED in marks else None)
        to_sql, from_sql = _json_column(read, write)
    strict, optional, nested = STRICT in marks, None in marks, any(map(_is_record, (bare, *get_args(bare))))
    return RecordField(
        name, key, read, write, sql_type, to_sql, from_sql, strict, optional, integers, plain, nested, interned
    )


def json_text(value: Any) -> str:
    """The text of a JSON column, with keys in order."""
    try:
        return _encoder()(value).decode()
    except UnicodeEncodeError:  # a lone surrogate, which only JSON's own escapes have
        return json.dumps(value, sort_keys=True, separators=(",", ":"))


@cache
def _encoder() -> Callable[[Any], bytes]:
    from msgspec.json import Encoder  # takes 10 ms, which programs that write no rows save

    return Encoder(order="sorted").encode


def _json_column(read: Read, write: Convert | None) -> tuple[Convert, Convert]:
    """Values other than numbers and text are JSON in their column. Raises as ``json.loads``, and ``InvalidValue``."""

    def to_sql(value: Any) -> str:
        return json_text(value if write is None else write(value))

    return to_sql, lambda text: read(json.loads(text), [])


def _container(
    key: str, bare: Any, marks: tuple[Any, ...], bounds: Range | None, size: int | None
) -> tuple[Read, Convert | None, Numbers | None]:
    """Reader and writer of another record, a list or a mapping."""
    if _is_record(bare):
        inner = codec(bare)
        return nested_reader(key, inner), inner.write, None
    arguments = get_args(bare)
    if get_origin(bare) in (dict, Mapping):
        return (texts_by_name_reader(key), dict, None) if arguments[1] is str else (read_mapping, None, None)
    item, inner_marks = _annotation(arguments[0])
    if _is_record(item):
        inner = codec(item)
        return (
            records_reader(key, inner, DROP_INVALID in marks),
            lambda value: [inner.write(one) for one in value],
            None,
        )
    if get_origin(item) is tuple:
        return integers_by_name_reader(key, bounds or Range()), dict, None
    if item is str:
        return read_texts, list, None
    if item in (int, float):
        kinds, within = frozenset({item, int}), bounds or Range()
        length = size if Ellipsis in arguments else len(arguments)
        numbers = Numbers(kinds, within.low, within.high, None in inner_marks, length)
        return numbers_reader(numbers), list, None if length is None else numbers
    raise TypeError(f"no codec for {bare}")
