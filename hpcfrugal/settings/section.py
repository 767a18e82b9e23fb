"""Tables of the settings, and the mistakes in them as sentences.

To add a setting, add a key to the class of its table. The key's type (see ``hpcfrugal.settings.values``) reads the
value and raises ValueError with one sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from hpcfrugal.core.errors import InputError, Problem, did_you_mean
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.section import Fault, Section, SectionKey, ValueType, keys_below, required
from hpcfrugal.settings.origin import SettingOrigin
from hpcfrugal.settings.toml_file import Keys

_T = TypeVar("_T")


class SettingsSection(Section):
    """A table of the settings."""

    what: ClassVar[str]
    """What the section describes, such as ``a queue``, for messages."""
    refused: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Keys that are refused with their own reason and hint."""
    not_a_mapping: ClassVar[tuple[str, str | None]] = ("needs a table of keys", None)


class NamedSection(SettingsSection):
    """A table ``[kind.NAME]``; ``name`` comes from the table's header and is not a key."""

    name: str = required(ValueType(str))


_S = TypeVar("_S", bound=SettingsSection)
_N = TypeVar("_N", bound=NamedSection)


@dataclass(frozen=True, slots=True)
class NamedTable:
    """A table ``[kind.NAME]`` of a settings file, not yet checked."""

    name: str
    values: Mapping[str, Any]
    origin: SettingOrigin


def settings_of(section: type[Section]) -> Iterator[tuple[Keys, SectionKey]]:
    """Every key of a section as in the file, sections before their keys."""
    for path, key in keys_below(section):
        if not (path == ("name",) and issubclass(section, NamedSection)):
            yield tuple(map(str, path)), key


def check(
    section: type[_S], values: Mapping[str, Any], tables: Iterable[str] = ()
) -> tuple[_S | None, list[tuple[Keys, Problem]]]:
    """The section, or None and every mistake with its key; ``where`` of the problems is left empty.

    ``tables`` are other names that may appear in the file, for suggestions.
    """
    found, faults = section.checked(values)
    mistakes = [(tuple(map(str, fault.path)), _problem(fault, tables)) for fault in faults]
    return (None if mistakes else found), mistakes


def _problem(fault: Fault, tables: Iterable[str]) -> Problem:
    section = fault.unknown_to
    if section is None or not issubclass(section, SettingsSection):
        return Problem("", fault.what, fault.hint)
    *above, written = map(str, fault.path)
    if written in section.refused:
        return Problem("", *section.refused[written])
    known = [".".join(path) for path, _ in settings_of(section)] + ([] if above else [*tables])
    return Problem("", f"is not a setting of {section.what}", did_you_mean(written, known))


def in_line_order(mistakes: Iterable[tuple[SettingOrigin, Problem]]) -> list[Problem]:
    """The problems with their places, in the order of the lines."""
    in_order = sorted(mistakes, key=lambda mistake: mistake[0].line or 0)
    return [Problem(str(origin), problem.what, problem.hint) for origin, problem in in_order]


def read_table(section: type[_N], table: NamedTable, problems: list[Problem]) -> _N | None:
    """The section that a table describes; None if it has mistakes, which are added to ``problems``."""
    found, mistakes = check(section, {**table.values, "name": table.name})
    places = [(table.origin if keys == ("name",) else table.origin.below(*keys), one) for keys, one in mistakes]
    if "name" in table.values:
        problem = Problem("", f"is not a setting of {section.what}", "the name is in the table's header")
        places.append((table.origin.below("name"), problem))
    problems += in_line_order(places)
    return found


def read_tables(
    tables: Mapping[str, NamedTable], read: Callable[[NamedTable, list[Problem]], _T | None]
) -> dict[str, _T]:
    """The result of ``read`` for each table, by name and in the order of the files.

    Raises:
        InputError: every mistake of every table.
    """
    problems: list[Problem] = []
    found = {name: read(table, problems) for name, table in tables.items()}
    if problems:
        raise InputError(problems)
    return {name: one for name, one in found.items() if one is not None}
