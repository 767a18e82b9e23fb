"""A YAML file as plain values, with the line of every key.

Every scalar is kept as its text in the file; only an empty value or ``null`` is None. YAML 1.1 would turn
``1:30:00`` into the number 5400, ``no`` into false and ``1.10`` into 1.1; here the field that a value belongs to
decides what it means. The file is read event by event, so that deep nesting, aliases that multiply and duplicate keys
are reported with their line before they do harm.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import Any

import yaml

from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.section import KeyPath
from hpcfrugal.core.text import quoted_value
from hpcfrugal.job.section import dotted

MAX_DEPTH = 20
MAX_VALUES = 20_000
"""Limits far beyond any job file; without them aliases of aliases turn a kilobyte into gigabytes."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml, if PyYAML was built with it, is faster, but its messages and limits differ between releases; a text that
it refuses is read again by the parser in Python, which finds what is wrong with it."""

_NULLS = {"", "~", "null", "Null", "NULL"}
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq")}


@dataclass(slots=True)
class Source:
    """A file's value, the line (from 1) of each key path, and its duplicate keys."""

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

    Raises InputError if the text is not YAML, or uses parts of it that a job file does not need. A duplicate key
    is among the source's ``problems``, so that it is reported along with all other mistakes.
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
                    raise self._error(event, "a second document starts here", "write one job per file")
                value = self._value(self._loader.get_event(), ())

    def _line(self, event: Any) -> int:
        line: int = event.start_mark.line
        return line + 1

    def _error(self, event: Any, what: str, hint: str | None = None) -> InputError:
        return InputError([*self._problems, Problem(f"{self._where}:{self._line(event)}", what, hint)])

    def _value(self, event: Any, path: KeyPath) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            raise self._error(event, f"more than {MAX_VALUES} values", "a job file is small; check its aliases")
        if len(path) > MAX_DEPTH:
            raise self._error(event, f"more than {MAX_DEPTH} levels deep", "a job file has few levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        if event.tag is not None and event.tag != "!" and event.tag not in _PLAIN_TAGS:
            raise self._error(event, f"the YAML tag {quoted_value(event.tag)} is not supported", "write plain values")
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
            raise self._error(event, f"*{event.anchor} refers to a value that contains it")
        if event.anchor not in self._anchors:
            raise self._error(event, f"*{event.anchor} is not defined above", "put text that starts with * in quotes")
        value, below = self._anchors[event.anchor]
        self._count += _size(value)
        if self._count > MAX_VALUES:
            raise self._error(event, f"more than {MAX_VALUES} values", "a job file is small; check its aliases")
        for at, line in below.items():
            self._lines.setdefault((*path, *at), line)
        return value

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := self._loader.get_event(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._error(event, "a key must be plain text", "write `key: value`")
            key, line = event.value, self._line(event)
            if key == "<<" and event.implicit[0]:
                merged.update(self._merge(path))
                continue
            place = (*path, key)
            if key in found:
                self._problems.append(
                    Problem(
                        f"{self._where}:{line}: {dotted(place)}",
                        f"duplicate key, first on line {self._lines[place]}",
                        "keep one of the two",
                    )
                )
                # The first one counts, so the lines within the second are dropped.
                lines, self._lines = self._lines, {}
                self._value(self._loader.get_event(), place)
                self._lines = lines
                continue
            self._lines[place] = line
            found[key] = self._value(self._loader.get_event(), place)
        return {**merged, **found}

    def _merge(self, path: KeyPath) -> dict[str, Any]:
        """The keys that ``<<: *name`` or ``<<: [*name, *other]`` adds.

        The mapping's own keys take precedence, and those of an earlier one in the list.
        """
        event = self._loader.get_event()
        if isinstance(event, yaml.SequenceStartEvent):
            value = []
            while not isinstance(entry := self._loader.get_event(), yaml.SequenceEndEvent):
                value.append(self._value(entry, path))
        else:
            value = [self._value(event, path)]
        if not value or not all(isinstance(one, dict) for one in value):
            hint = "write `<<: *name`, or `<<: [*name, *other]`"
            raise self._error(event, "`<<` needs a mapping, or a list of mappings", hint)
        return {name: one[name] for one in reversed(value) for name in one}


def _not_yaml(text: str, where: str, error: yaml.YAMLError) -> InputError:
    """The mistake in our own words if it is a common one, found from the text and not from the parser's message."""
    if (control := yaml.reader.Reader.NON_PRINTABLE.search(text)) is not None:
        where = f"{where}:{text.count(chr(10), 0, control.start()) + 1}"
        return InputError.at(
            where, f"{quoted_value(control.group())} is not allowed in YAML", "remove the control characters"
        )
    mark: Any = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return InputError.at(where, "not YAML")
    where = f"{where}:{mark.line + 1}"
    before, rest = text[: mark.index].rpartition("\n")[2], text[mark.index :]
    # Only where a value can start: not within text or after an anchor.
    unread = isinstance(error, yaml.scanner.ScannerError)
    if unread and rest[:1] in set("\t@`%") and (not before or before[-1] in " \t[{,:"):
        if rest[0] == "\t":
            return InputError.at(where, "tabs can't indent lines in YAML", "use spaces")
        return InputError.at(where, f"{quoted_value(rest[0])} can't start a value in YAML", "put the text in quotes")
    if unread and re.match(r":(\s|$)", rest):
        hint = "put text that contains `: ` in quotes, or correct the indentation"
        return InputError.at(where, "not YAML: a `key: value` is not allowed here", hint)
    details = (getattr(error, "problem", None), getattr(error, "context", None))
    return InputError.at(where, f"not YAML: {' '.join(filter(None, details))}")


def _size(value: Any) -> int:
    """Number of values within a value, which has no cycles and is itself limited to MAX_VALUES."""
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_size, value))
    return 1
