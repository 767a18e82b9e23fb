"""Types of a job file's texts, lists and switches: how a value is read, and its JSON Schema.

A job file's scalars arrive as their own text (see :mod:`hpcfrugal.job.yaml_source`), so ``name: no`` is a name and
``energy: off`` a switch: only the field knows which. From Python, numbers and booleans come as such. Every reader
raises ``ValueError`` with one sentence, or :class:`Faults` where a value has several mistakes. The schemas describe
what people write (a time as a number or as text), not the one form that is kept.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from hpcfrugal.core.section import Fault, Faults, ValueType
from hpcfrugal.core.text import quoted_value

MAX_NAME_CHARS = 1024
MAX_TEXT_CHARS = 131_072
"""Longest text of one value: Linux accepts no longer argument or environment string (execve(2))."""

# A job file's `name: no` is the text `no`; an editor that reads YAML sees a truth value in it.
TEXT_KINDS = ["string", "number", "boolean"]
TEXT_SCHEMA = {"type": TEXT_KINDS, "minLength": 1}


def to_text(value: object, *, limit: int = MAX_TEXT_CHARS) -> str:
    """Any text: a string, or a number as its digits, without NUL and surrogates, which no process can receive."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        kind = {dict: "a mapping", list: "a list", tuple: "a list", bool: "a truth value"}.get(type(value))
        raise ValueError(f"must be text, not {kind or quoted_value(value)}; put it in quotes if it is meant as text")
    text = str(value)
    if "\0" in text:
        raise ValueError("contains a NUL character, which can't be passed to a program")
    if len(text) > limit:
        raise ValueError(f"is {len(text)} characters long; the limit is {limit}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("contains bytes that are not UTF-8 text") from None
    return text


def to_line(value: object, *, limit: int = MAX_TEXT_CHARS) -> str:
    """Text of one line: not empty, without line breaks or other control characters."""
    text = to_text(value, limit=limit)
    if not text.strip():
        raise ValueError("is empty")
    for char in text:
        # Zl and Zp are Unicode's own line breaks, which terminals and log readers follow.
        if unicodedata.category(char) in {"Cc", "Zl", "Zp"}:
            raise ValueError(f"contains the control character {char!r}; it must be one line of plain text")
    return text


def to_name(value: object) -> str:
    """A name: one line of at most MAX_NAME_CHARS characters."""
    return to_line(value, limit=MAX_NAME_CHARS)


def to_list(value: object, read: Callable[[object], str]) -> tuple[str, ...]:
    """A list of texts; the mistakes of its entries are collected."""
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
        raise Faults(*faults)
    return tuple(found)


def to_switch(value: object) -> bool:
    """A truth value: true/false, yes/no, on/off."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.strip().lower()
        if word in {"true", "yes", "on"}:
            return True
        if word in {"false", "no", "off"}:
            return False
    raise ValueError(f"{quoted_value(value)} is neither true nor false; write true or false")


def to_choice(value: object, choices: Sequence[str]) -> str:
    """One of a few words; case does not matter, and `_` counts as `-`."""
    word = str(value).strip().lower().replace("_", "-")
    if word not in choices:
        *most, last = choices
        raise ValueError(f"{quoted_value(value)} is unknown; write {', '.join(most)} or {last}")
    return word


def _to_name_or_none(value: object) -> str:
    """A name; the empty text counts as none."""
    return "" if value == "" else to_name(value)


def word_of(choices: Sequence[str]) -> ValueType[Any]:
    """One of a few words, such as those of a ``Literal``."""
    return ValueType(lambda value: to_choice(value, choices), {"enum": list(choices), "type": "string"})


def _to_path(value: object) -> str:
    """A path of at most PATH_MAX characters; line breaks are valid in it."""
    text = to_text(value, limit=4096)
    if not text.strip():
        raise ValueError("is empty")
    return text


def _to_joined(value: object) -> str:
    """One line, or a list that becomes one with commas, as Slurm takes several partitions, nodes or gres."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return to_line(",".join(to_list(value, to_line)))
    return to_line(value)


TextLine = ValueType(to_line, TEXT_SCHEMA)
NameLine = ValueType(_to_name_or_none, {**TEXT_SCHEMA, "maxLength": MAX_NAME_CHARS})
FilePath = ValueType(_to_path, TEXT_SCHEMA)
CommaList = ValueType(_to_joined, {"anyOf": [TEXT_SCHEMA, {"type": "array", "items": {"type": TEXT_KINDS}}]})
Switch = ValueType(to_switch, {"enum": [True, False, "true", "false", "yes", "no", "on", "off"]})
Lines = ValueType(lambda value: to_list(value, to_line), {"type": "array", "items": TEXT_SCHEMA})
Texts = ValueType(lambda value: to_list(value, to_text), {"type": "array", "items": {"type": TEXT_KINDS}})
