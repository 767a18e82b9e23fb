"""A YAML file as plain values, with the line of every key.

Every scalar is kept as the text that stands in the file, save for an empty value or ``null``, which is None.
YAML 1.1 would make ``1:30:00`` the number 5400, ``no`` false and ``1.10`` a version lost; here the field that
a value belongs to decides what it means. The file is read event by event, so that deep nesting, aliases that
multiply and keys given twice are met by a limit and a line number, and not by the parser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.job.fields import KeyPath, shown

MAX_DEPTH = 20
MAX_VALUES = 20_000
"""Bounds far beyond any job file; without them aliases of aliases make gigabytes out of a kilobyte."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml reads faster where PyYAML was built with it, but its words and limits differ from release to release; a
text that it refuses is read again in Python, which finds what is wrong with it."""

_NULLS = {"", "~", "null", "Null", "NULL"}
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq")}


@dataclass(slots=True)
class Source:
    """What a file holds: its value, the line (from 1) of each key path, and the keys that are given twice."""

    value: Any
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def line_of(self, path: KeyPath) -> int | None:
        """The line of a key, or of the nearest section around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


def read_yaml(text: str, where: str) -> Source:
    """Read one YAML document; ``where`` is the file's name in messages.

    Raises InputError where the text is no YAML or not in the plain part of it that a job file needs. A key
    given twice is among the source's ``problems``, so that it is told along with what else is wrong.
    """
    try:
        return _Reader(_Loader(text), where).read()
    except yaml.YAMLError:
        pass
    try:
        return _Reader(yaml.SafeLoader(text), where).read()
    except yaml.YAMLError as error:
        raise _not_yaml(text, where, error) from None


class _Reader:
    def __init__(self, loader: Any, where: str) -> None:
        self._where = where
        self._loader = loader
        self._anchors: dict[str, tuple[Any, dict[KeyPath, int]]] = {}
        self._open: set[str] = set()
        self._count = 0
        self._lines: dict[KeyPath, int] = {}
        self._problems: list[Problem] = []

    def read(self) -> Source:
        try:
            return self._document()
        finally:
            self._loader.dispose()

    def _document(self) -> Source:
        value: Any = None
        documents = 0
        while True:
            event = self._loader.get_event()
            if isinstance(event, yaml.StreamEndEvent):
                return Source(value, self._lines, tuple(self._problems))
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._error(event, "a second document begins here", "one file holds one job")
                value = self._value(self._loader.get_event(), ())

    def _line(self, event: Any) -> int:
        line: int = event.start_mark.line
        return line + 1

    def _error(self, event: Any, what: str, hint: str | None = None) -> InputError:
        return InputError([*self._problems, Problem(f"{self._where}:{self._line(event)}", what, hint)])

    def _value(self, event: Any, path: KeyPath) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            raise self._error(event, f"more than {MAX_VALUES} values", "a job file is small; are aliases repeated?")
        if len(path) > MAX_DEPTH:
            raise self._error(event, f"nested more than {MAX_DEPTH} deep", "a job file has few levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        if event.tag is not None and event.tag != "!" and event.tag not in _PLAIN_TAGS:
            raise self._error(event, f"the YAML tag {shown(event.tag)} is not taken", "write plain values")
        anchor = event.anchor
        if anchor is not None:
            self._open.add(anchor)
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0]
            value: Any = None if plain and event.value in _NULLS else event.value
        elif isinstance(event, yaml.SequenceStartEvent):
            value = []
            while not isinstance(entry := self._loader.get_event(), yaml.SequenceEndEvent):
                place = (*path, len(value))
                self._lines[place] = self._line(entry)
                value.append(self._value(entry, place))
        else:
            value = self._mapping(path)
        if anchor is not None:
            self._open.discard(anchor)
            below = {at[len(path) :]: line for at, line in self._lines.items() if at[: len(path)] == path}
            self._anchors[anchor] = (value, below)
        return value

    def _alias(self, event: Any, path: KeyPath) -> Any:
        if event.anchor in self._open:
            raise self._error(event, f"*{event.anchor} stands for something that it is a part of")
        if event.anchor not in self._anchors:
            raise self._error(event, f"*{event.anchor} is not defined above", "a text that begins with * needs quotes")
        value, below = self._anchors[event.anchor]
        self._count += _size(value)
        if self._count > MAX_VALUES:
            raise self._error(event, f"more than {MAX_VALUES} values", "a job file is small; are aliases repeated?")
        for at, line in below.items():
            self._lines.setdefault((*path, *at), line)
        return value

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := self._loader.get_event(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._error(event, "a key must be a word", "write `key: value`")
            key, line = event.value, self._line(event)
            if key == "<<" and event.implicit[0]:
                merged.update(self._merge(path))
                continue
            place = (*path, key)
            if key in found:
                self._problems.append(
                    Problem(
                        f"{self._where}:{line}: {dotted(place)}",
                        f"is given twice, first on line {self._lines[place]}",
                        "keep one of the two",
                    )
                )
                # The first one counts, so the lines within the second lead nowhere.
                lines, self._lines = self._lines, {}
                self._value(self._loader.get_event(), place)
                self._lines = lines
                continue
            self._lines[place] = line
            found[key] = self._value(self._loader.get_event(), place)
        return {**merged, **found}

    def _merge(self, path: KeyPath) -> dict[str, Any]:
        """What ``<<: *name`` brings in; the mapping's own keys go before it."""
        event = self._loader.get_event()
        value = self._value(event, path)
        if not isinstance(value, dict):
            raise self._error(event, "`<<` takes a mapping", "write `<<: *name`")
        return value


def _not_yaml(text: str, where: str, error: yaml.YAMLError) -> InputError:
    """What is wrong, in our words for the usual slips: told by the text at the place, not by the parser's words."""
    if (control := yaml.reader.Reader.NON_PRINTABLE.search(text)) is not None:
        where = f"{where}:{text.count(chr(10), 0, control.start()) + 1}"
        return InputError.at(where, f"{shown(control.group())} can't stand in YAML", "remove the control characters")
    mark: Any = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return InputError.at(where, "not YAML")
    where = f"{where}:{mark.line + 1}"
    before, rest = text[: mark.index].rpartition("\n")[2], text[mark.index :]
    # Where a value could begin, that is: not within a text or behind an anchor.
    unread = isinstance(error, yaml.scanner.ScannerError)
    if unread and rest[:1] in set("\t@`%") and (not before or before[-1] in " \t[{,:"):
        if rest[0] == "\t":
            return InputError.at(where, "a tab can't indent in YAML", "use spaces")
        return InputError.at(where, f"{shown(rest[0])} can't begin a value in YAML", "put the text in quotes")
    if unread and re.match(r":(\s|$)", rest):
        hint = "a text that holds `: ` needs quotes; or the line is indented by mistake"
        return InputError.at(where, "not YAML: a `key: value` can't stand here", hint)
    details = (getattr(error, "problem", None), getattr(error, "context", None))
    return InputError.at(where, f"not YAML: {' '.join(filter(None, details))}")


def _size(value: Any) -> int:
    """Number of values within; a value of ours holds no cycles, and is bounded by MAX_VALUES itself."""
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_size, value))
    return 1


def dotted(path: KeyPath) -> str:
    """A key path as people write it: ``resources.time``, ``sbatch, entry 2``; odd keys in quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f", entry {part + 1}"
        else:
            word = part if part and part.replace("-", "_").isidentifier() else shown(part)
            text += f".{word}" if text else word
    return text
