"""A TOML file with the line of each key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import Any

from hpcfrugal.core.errors import Problem
from hpcfrugal.core.quick import dataclass

Keys = tuple[str, ...]
"""The path of a key in a file, outermost table first."""

_DEEPEST = 10
"""Levels of keys that get a line, more than any setting has: a dotted key can have thousands."""


@dataclass(frozen=True)
class TomlFile:
    """A file that was read and parsed."""

    path: Path
    text: str = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, path: Path, problems: list[Problem]) -> TomlFile | None:
        """Read a file; None if it does not exist, or cannot be read, which is added to ``problems``."""
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            problems.append(Problem(str(path), f"cannot be read: {error.strerror}"))
            return None
        import tomllib  # takes 2 ms, and most users have no file

        try:
            text = data.decode("utf-8-sig")
            return cls(path, text, tomllib.loads(text))
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            problems.append(Problem(f"{path}:{line}", "is not UTF-8 text", "save the file as UTF-8"))
        except tomllib.TOMLDecodeError as error:
            problems.append(Problem(f"{path}:{_line_of_error(error, text)}", f"is not valid TOML: {error}"))
        except ValueError:  # Python's limit of digits, sys.set_int_max_str_digits
            problems.append(Problem(str(path), "has a number with too many digits"))
        except RecursionError:
            problems.append(Problem(str(path), "is nested too deeply"))
        return None

    def line_of(self, keys: Sequence[str]) -> int | None:
        """The line (from 1) at which a key or table begins, else that of the table around it."""
        found = (self._lines.get(tuple(keys[:depth])) for depth in range(len(keys), 0, -1))
        return next((line for line in found if line is not None), None)

    @cached_property
    def _lines(self) -> dict[Keys, int]:
        """The first line of each key and table. tomllib gives no positions, so each statement is parsed by itself."""
        lines: dict[Keys, int] = {}
        table: Keys = ()
        for line, statement, is_header in _statements(self.text):
            paths = list(_paths(statement))
            if is_header:
                table = paths[-1]
            for path in paths:
                lines.setdefault(path if is_header else (*table, *path), line)
        return lines


def _line_of_error(error: ValueError, text: str) -> int:
    """The line at which the file is wrong: before Python 3.14 tomllib has it in its message alone."""
    found = re.search(r"at line (\d+)", str(error))
    return int(found[1]) if found else len(text.rstrip().split("\n"))


def _statements(text: str) -> Iterator[tuple[int, Mapping[str, Any], bool]]:
    """Each statement of a valid file: its first line, its content, and whether it is a table's header.

    A statement ends at the first line that makes it valid TOML, since an open bracket or string is not valid.
    """
    import tomllib

    pending: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        pending.append(line)
        statement = "\n".join(pending)
        try:
            content = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        yield number - len(pending) + 1, content, statement.lstrip().startswith("[")
        pending.clear()


def _paths(values: Any, above: Keys = ()) -> Iterator[Keys]:
    """The path of each table and key, outer ones first."""
    if isinstance(values, list) and values and isinstance(values[0], dict):
        values = values[0]  # [[an array of tables]]
    if isinstance(values, dict) and len(above) < _DEEPEST:
        for key, value in values.items():
            yield (*above, key)
            yield from _paths(value, (*above, key))
