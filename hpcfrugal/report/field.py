"""One definition per figure of a report: its name, unit, heading, and how it is computed.

JSON objects, CSV rows and tables are made from lists of these, so a new figure is one new ``field``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

from hpcfrugal.core.format import AT_LEAST, NONE, UNKNOWN, EnergyUnit, at_least, energy_unit, mass_unit
from hpcfrugal.report.notation import ENERGIES, MASS, MASS_RANGE, MICROGRAMS, PLAIN, Notation, Scale
from hpcfrugal.report.view import Cell, Column, Json, Role, Sheet, Table

R = TypeVar("R")
"""A record."""
P = TypeVar("P")
"""A part of a record."""
V = TypeVar("V")
"""A value."""


def rows(fields: Sequence[Field[R]]) -> Notation[Iterable[R]]:
    """A list of records, as JSON objects."""
    return Notation(lambda records: [to_json(fields, record) for record in records], lambda records, _: "")


def row(fields: Sequence[Field[R]]) -> Notation[R]:
    """A record, as a JSON object."""
    return Notation(lambda record: to_json(fields, record), lambda record, _: "")


def by_name(fields: Sequence[Field[R]]) -> Notation[dict[str, R]]:
    """Records by name, as a JSON object of objects."""
    return Notation(
        lambda found: {name: to_json(fields, record) for name, record in found.items()}, lambda found, _: ""
    )


@dataclass(frozen=True, slots=True)
class Field(Generic[R]):
    """A figure of records of a type. Make it by ``field``, which checks the types."""

    name: str
    notation: Notation[Any]
    get: Callable[[R], Any]
    path: tuple[str, ...]
    csv: bool
    heading: str
    drop: int | None
    key: bool
    optional: bool
    before: Callable[[R], str] | None
    after: Callable[[R], str] | None
    role: Callable[[R], Role] | None
    missing: Callable[[R], str]

    def value(self, record: R) -> Json:
        """As JSON and CSV have it; None where it is not known."""
        value = self.get(record)
        return None if value is None else self.notation.json(value)

    def cell(self, record: R, scale: Scale) -> Cell:
        """As a table has it, with its signs."""
        value = self.get(record)
        before = "" if value is None or self.before is None else self.before(record)
        if not value and before.startswith(AT_LEAST):
            return Cell(UNKNOWN, "unknown")  # at least nothing
        if value is None:
            text = self.missing(record)
            return Cell(
                text, {UNKNOWN: "unknown", NONE: "aside"}.get(text, "" if self.role is None else self.role(record))
            )
        if before.startswith(AT_LEAST):
            text = at_least(before.removeprefix(AT_LEAST) + self.notation.text(value, scale.for_bounds()))
        else:
            text = before + self.notation.text(value, scale)
        if self.after is not None:
            text += self.after(record)
        return Cell(text, "" if self.role is None else self.role(record))


def field(
    name: str,
    notation: Notation[V],
    get: Callable[[R], V | None],
    *,
    json: str | None = None,
    csv: bool = False,
    heading: str = "",
    drop: int | None = None,
    key: bool = False,
    optional: bool = False,
    before: Callable[[R], str] | None = None,
    after: Callable[[R], str] | None = None,
    role: Callable[[R], Role] | None = None,
    missing: str | Callable[[R], str] = UNKNOWN,
) -> Field[R]:
    """A figure.

    ``name``: in JSON and CSV, with its unit; ``json``: another place in JSON, with points between nested keys, or ""
    for none. ``csv``: it is a column of CSV. ``heading``: of its column in tables, "" for none; ``{energy}`` and
    ``{mass}`` stand for the table's units; ``drop`` and ``key`` as in ``Column``; ``optional``: the column is left out
    where no record has a value. ``before`` and ``after``: signs at a known value. ``missing``: text in place of an
    unknown one.
    """
    path = tuple((name if json is None else json).split(".")) if json != "" else ()
    absent = missing if callable(missing) else lambda record: missing
    return Field(name, notation, get, path, csv, heading, drop, key, optional, before, after, role, absent)


def attributes(notation: Notation[Any], *names: str, of: str = "", csv: bool = False) -> tuple[Field[Any], ...]:
    """Attributes of a record, or of its attribute ``of``, under their own names."""
    from operator import attrgetter

    return tuple(field(name, notation, attrgetter(f"{of}.{name}" if of else name), csv=csv) for name in names)


def on(fields: Iterable[Field[P]], part: Callable[[R], P]) -> tuple[Field[R], ...]:
    """The same figures for records that have the part which they are of."""

    def lift(function: Callable[[P], V]) -> Callable[[R], V]:
        return lambda record: function(part(record))

    return tuple(
        replace(
            cast("Any", each),
            get=lift(each.get),
            before=None if each.before is None else lift(each.before),
            after=None if each.after is None else lift(each.after),
            role=None if each.role is None else lift(each.role),
            missing=lift(each.missing),
        )
        for each in fields
    )


def to_json(fields: Iterable[Field[R]], record: R) -> dict[str, Json]:
    """A record as a JSON object."""
    # Without a call of ``Field.value`` for each figure: a report may have millions of them.
    found: dict[str, Json] = {}
    for each in fields:
        if each.path:
            value = each.get(record)
            if value is not None and each.notation is not PLAIN:
                value = each.notation.json(value)
            place = found
            for key in each.path[:-1]:
                place = place.setdefault(key, {})
            place[each.path[-1]] = value
    return found


def sheet(fields: Sequence[Field[R]], records: Iterable[R]) -> Sheet:
    """The columns of CSV, one row a record."""
    own = [each for each in fields if each.csv]
    return Sheet(tuple(each.name for each in own), ([each.value(record) for each in own] for record in records))


@dataclass(frozen=True, slots=True)
class Rows(Generic[R]):
    """Records for a table and what to show of them. ``apart``: a line separates them from the rows before."""

    fields: Sequence[Field[R]]
    records: Sequence[R]
    role: Role | Callable[[R], Role] = ""
    apart: bool = False


def scale(parts: Iterable[Rows[Any]], unit: EnergyUnit = "auto") -> Scale:
    """The units that fit all energies and masses of these rows; ``unit`` is that of the energies."""
    energies_uj: list[int] = []
    masses_g: list[Any] = []
    for part in parts:
        for each in part.fields:
            if each.heading and any(each.notation is one for one in (*ENERGIES, MASS, MICROGRAMS, MASS_RANGE)):
                values = [value for record in part.records if (value := each.get(record)) is not None]
                if each.notation is MASS_RANGE:
                    masses_g += [ug / 1e6 for ends_ug in values for ug in ends_ug]
                elif each.notation is MASS:
                    masses_g += values
                elif each.notation is MICROGRAMS:
                    masses_g += [ug / 1e6 for ug in values]
                else:
                    energies_uj += values
    return Scale(energy_unit(energies_uj, unit), mass_unit(masses_g))


def table(fields: Sequence[Field[R]], parts: Sequence[Rows[Any]], units: Scale | None = None) -> Table:
    """A table with the headings of ``fields``. Rows of other records fill the columns of the same names."""
    units = units or scale(parts)
    shown = [each for each in fields if each.heading and not (each.optional and _empty(each.name, parts))]
    names = [each.name for each in shown]
    made = Table(
        [
            Column(
                each.heading.format(energy=units.energy.name, mass=units.mass.name),
                each.notation.align,
                each.drop,
                each.key,
            )
            for each in shown
        ]
    )
    for part in parts:
        own = {each.name: each for each in part.fields}
        columns = [own.get(name) for name in names]
        for position, record in enumerate(part.records):
            role = part.role(record) if callable(part.role) else part.role
            cells = [Cell("") if each is None else each.cell(record, units) for each in columns]
            made.add(cells, role, apart=part.apart and not position)
    return made


def _empty(name: str, parts: Sequence[Rows[Any]]) -> bool:
    return all(
        each.get(record) is None
        for part in parts
        for each in part.fields
        if each.name == name
        for record in part.records
    )


def variant(each: Field[R], **changes: Any) -> Field[R]:
    """The same figure with another heading, missing text, ..."""
    return replace(each, **changes)
