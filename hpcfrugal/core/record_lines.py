"""Many records at once, each a line of JSON, read straight into columns: an hour of a sidecar has hundreds of lines.

msgspec reads and checks them in one pass, by the same fields as ``Codec.read``, which makes an object of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from hpcfrugal.core.record import Codec
from hpcfrugal.core.record_values import Numbers


class LineReader:
    """Reads lines whose objects have the number fields of a record, the keys ``required`` with these types, and perhaps
    those of ``optional``."""

    def __init__(self, codec: Codec[Any], required: Mapping[str, Any], optional: Mapping[str, Any]) -> None:
        import msgspec  # takes 10 ms, which programs that read no samples save

        numbers = codec.numbers
        self._lists = [key for key, of in numbers.items() if of.size is not None]
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
            *required.items(),
            *((key, of | None, None) for key, of in optional.items()),
        ]
        for key, one in numbers.items():
            of = _type_of(one)
            fields.append((key, of) if key in codec.required_keys else (key, of | None, None))
        line = msgspec.defstruct("Line", fields, forbid_unknown_fields=True, kw_only=True, gc=False)
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
        return None if any(None in columns.get(key, ()) for key in self._lists) else columns


def _type_of(numbers: Numbers) -> Any:
    from msgspec import Meta

    if numbers.kinds == {bool}:
        return bool
    item: Any = Annotated[float if float in numbers.kinds else int, Meta(ge=numbers.low, le=numbers.high)]
    if numbers.size is None:
        return item
    item = item | None if numbers.nulls else item
    return Annotated[list[item], Meta(min_length=numbers.size, max_length=numbers.size)]
