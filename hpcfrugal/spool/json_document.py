"""JSON documents of the spool: a record, with the version of the format in the key ``schema``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar

from hpcfrugal.core.record import Codec, InvalidRecord, codec
from hpcfrugal.core.record_json import ObjectReader
from hpcfrugal.core.safe_read import FileState, StrPath, UnsafeFile, json_object, read_regular
from hpcfrugal.spool.layout import SPOOL_SCHEMA

_D = TypeVar("_D")


def document_json(document: Any) -> dict[str, Any]:
    """The content of the file of a record."""
    return {"schema": SPOOL_SCHEMA, **codec(type(document)).write(document)}


def read_record(kind: type[_D], path: StrPath, owner_uid: int) -> tuple[_D, FileState, list[str]]:
    """The record in a file of ``owner_uid``, and which fields were wrong. Raises ``UnsafeFile``."""
    data, status = read_regular(path, owner_uid=owner_uid)
    problems: list[str] = []
    found: _D | None = _reader(codec(kind)).read(data)
    if found is None:
        content = json_object(data)
        check_schema(content)
        found = record_in(kind, content, problems)
    return found, FileState.of(status), problems


@cache
def _reader(of: Codec[Any]) -> ObjectReader[Any]:
    return ObjectReader(of, {"schema": Literal[SPOOL_SCHEMA]})


def read_valid(kind: type[_D], path: StrPath, owner_uid: int) -> tuple[_D, FileState]:
    """As ``read_record`` of a document that does not count where any field is wrong."""
    found, state, problems = read_record(kind, path, owner_uid)
    refuse(problems)
    return found, state


def check_schema(content: Mapping[str, Any]) -> None:
    """Raises ``UnsafeFile`` for a document of another version of the format."""
    schema = content.get("schema")
    if schema != SPOOL_SCHEMA or isinstance(schema, bool):
        raise UnsafeFile(f"has schema {str(schema)[:40]}, this program reads {SPOOL_SCHEMA}")


def record_in(kind: type[_D], content: Mapping[str, Any], problems: list[str]) -> _D:
    """The record in ``content``; what is wrong with a field is added to ``problems``. Raises ``UnsafeFile``."""
    try:
        return codec(kind).read(content, problems)
    except InvalidRecord as refused:
        raise UnsafeFile(f"is not valid: {refused}") from None


def refuse(problems: list[str]) -> None:
    """Raises ``UnsafeFile`` with the first problem, if there is one."""
    if problems:
        raise UnsafeFile(f"is not valid: {problems[0]}")
