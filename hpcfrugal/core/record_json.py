"""Records from the bytes of JSON, where all is valid as it stands: a sync has hundreds of thousands of such objects.

msgspec reads and checks an object in one pass, by the fields of a codec. What it does not accept is for ``Codec.read``,
which names every mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, Generic, TypeVar

from hpcfrugal.core.record import Codec
from hpcfrugal.core.record_values import InvalidRecord, InvalidValue, Numbers, Problems, Read

_T = TypeVar("_T")

_REMEMBERED_BYTES = 1024 * 1024
_MOST_REMEMBERED_BYTES = 16 * 1024
"""Texts of inner records are remembered up to these sizes, of all of a field and of one of them: the channels of all
nodes of a kind are the same, and the facts of a node in all of its jobs."""


class ObjectReader(Generic[_T]):
    """Reads objects that have the keys ``required`` with these types beside those of a record without embedded ones."""

    def __init__(self, codec: Codec[_T], required: Mapping[str, Any]) -> None:
        import msgspec  # takes 10 ms, which programs that read no spool save

        self._record, self._skipped = codec.record, len(required)
        keys = list[tuple[str, Any] | tuple[str, Any, Any]](required.items())
        self._reads: list[tuple[int, Read]] = []
        self._defaults: list[tuple[int, Callable[[], Any]]] = []
        defaults = {item.name: _default_of(item) for item in fields(codec.record)}  # type: ignore[arg-type]
        names = [field.name for field in codec.json_fields.values()]
        if [*defaults][: len(names)] != names:
            raise TypeError(f"{codec.record.__name__} has fields between others that are embedded or not in JSON")
        for at, field in enumerate(codec.json_fields.values()):
            if field.plain is not None and not _is_list(field.plain):
                keys.append((field.key, _type_of(field.plain) | None, None))
            elif field.nested:
                keys.append((field.key, msgspec.Raw, msgspec.Raw(b"null")))
                self._reads.append((at, _remembering(field.read)))
            else:
                keys.append((field.key, Any, None))
                self._reads.append((at, field.read))
            default = _refuse if field.key in codec.required_keys else defaults[field.name]
            if default is not None:
                self._defaults.append((at, default))
        self._decode = msgspec.json.Decoder(msgspec.defstruct("Object", keys, gc=False)).decode
        self._values_of = msgspec.structs.astuple

    def read(self, data: bytes) -> _T | None:
        """The record; None where ``Codec.read`` has to look at the object, or there is none."""
        problems: Problems = []
        try:
            if not data.isascii():
                data.decode()  # msgspec does not decode the texts that it skips
            values = [*self._values_of(self._decode(data))[self._skipped :]]
            for at, read in self._reads:
                if values[at] is not None:
                    values[at] = read(values[at], problems)
            for at, default in self._defaults:
                if values[at] is None:
                    values[at] = default()
        except (ValueError, RecursionError, InvalidRecord, InvalidValue):
            return None
        return None if problems else self._record(*values)


class LineReader:
    """Reads lines whose objects have the plain fields of a record, the keys ``required`` with these types, and perhaps
    those of ``optional``, many at once into columns."""

    def __init__(self, codec: Codec[Any], required: Mapping[str, Any], optional: Mapping[str, Any]) -> None:
        import msgspec

        plain = {key: field.plain for key, field in codec.json_fields.items() if field.plain is not None}
        lists = {key for key, of in plain.items() if _is_list(of)}
        self._optional_lists = lists - codec.required_keys
        keys = list[tuple[str, Any] | tuple[str, Any, Any]](required.items())
        for key, one in plain.items():
            of = _type_of(one)
            keys.append((key, of) if key in codec.required_keys else (key, of | None, None))
        keys += ((key, of | None, None) for key, of in optional.items())
        line = msgspec.defstruct("Line", keys, forbid_unknown_fields=True, kw_only=True, gc=False)
        self._decode = msgspec.json.Decoder(line).decode
        self._keys: tuple[str, ...] = line.__struct_fields__
        self._values_of = msgspec.structs.astuple

    def columns(self, lines: Sequence[bytes]) -> dict[str, Any] | None:
        """The values by key, None where a line does not have it; a key that none of them has is left out.

        None where ``Codec.read`` has to look at the lines one by one: a value is not valid as it stands, there is
        another key, or only some of them have a list.
        """
        decode, values_of = self._decode, self._values_of
        try:
            rows = [values_of(decode(line)) for line in lines]
        except ValueError:
            return None
        every = zip(self._keys, zip(*rows, strict=True), strict=True)
        columns = {key: values for key, values in every if values[0] is not None or values.count(None) < len(lines)}
        return None if any(None in columns.get(key, ()) for key in self._optional_lists) else columns


def _default_of(item: Field[Any]) -> Callable[[], Any] | None:
    """What makes the value of a field that is missing; None where that is None."""
    if item.default_factory is not MISSING:
        return item.default_factory
    return None if item.default in (MISSING, None) else lambda: item.default


def _refuse() -> None:
    raise InvalidRecord("a required field is missing")


def _is_list(plain: Any) -> bool:
    """Whether values of a field are lists of numbers; a record has tuples."""
    return isinstance(plain, Numbers) and plain.size is not None


def _type_of(plain: Any) -> Any:
    """The type by which msgspec checks the values of a field."""
    from msgspec import Meta

    if not isinstance(plain, Numbers):
        return plain
    item: Any = Annotated[float if float in plain.kinds else int, Meta(ge=plain.low, le=plain.high)]
    if plain.size is None:
        return item
    item = item | None if plain.nulls else item
    return Annotated[list[item], Meta(min_length=plain.size, max_length=plain.size)]


def _remembering(read: Read) -> Callable[[Any, Problems], Any]:
    """Reads the text of inner records, of which many files have the same."""
    from msgspec.json import decode

    known: dict[bytes, Any] = {}
    left = _REMEMBERED_BYTES

    def remembered(text: Any, problems: Problems) -> Any:
        nonlocal left
        same = bytes(text)
        if same in known:
            return known[same]
        value = decode(same)
        found = None if value is None else read(value, problems)
        if not problems and len(same) <= _MOST_REMEMBERED_BYTES:
            left -= len(same)
            if left < 0:
                known.clear()
                left = _REMEMBERED_BYTES
            known[same] = found
        return found

    return remembered
