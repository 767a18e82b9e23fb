"""A table of the ledger: its schema, how a record becomes a row of it, and how a row becomes a record."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Generic, TypeVar

from hpcfrugal.core.record import Interned, InvalidRecord, RecordField, codec, picker
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.dictionary import Dictionary

_R = TypeVar("_R")

_TOO_LARGE = 2**63
"""SQLite's integers have 64 bits, one of them for the sign."""

TableRow = tuple["LedgerTable[Any]", list[Any]]
"""A table and what its ``values_of`` gives."""

_OWNERS = {
    "spool": "spools",
    "run": "runs",
    "job": "jobs",
    "file": "intensity_files",
    "accounting": "accounting_files",
    "agent_file": "agent_files",
}
"""The tables to which a row may belong, by the column with their integer key."""


class LedgerTable(Generic[_R]):
    """A table whose columns are the fields of one class of records.

    ``owner`` is the integer key of what its rows belong to, the first column; ``key`` are the columns that tell the
    rows of one owner apart. With ``row_key`` the rows have an integer key of this name themselves, which stays when a
    row is replaced. ``more`` are further constraints, ``indexes`` what else rows are looked up by, by name and as SQL.
    ``aside`` are columns that the content of the spool does not determine. ``wide``: the rows are kept apart from
    their key, since pages of SQLite's indexes hold few of them.

    ``columns`` are all but the row's own key, ``interned`` those with keys of a dictionary.

    In SQL, ``source`` is the table with its dictionaries, ``joins`` the latter alone, ``selected`` the columns of the
    records in it.
    """

    def __init__(
        self,
        name: str,
        record: type[_R],
        key: Sequence[str],
        *,
        owner: str | None = None,
        row_key: str | None = None,
        more: Sequence[str] = (),
        indexes: Mapping[str, str] | None = None,
        aside: Sequence[str] = (),
        wide: bool = False,
    ) -> None:
        self.name, self.codec, self.owner, self.row_key = name, codec(record), owner, row_key
        self._own = (owner,) if owner else ()
        self._key = (*self._own, *key)
        self._more, self._indexes, self.aside = more, indexes or {}, aside
        self._has_rowid = wide or row_key is not None
        self.dictionaries: dict[str, Dictionary] = {}
        self._columns: dict[str, tuple[str, list[int]]] = {}
        """The columns after the owner's, each with its type and where in a record's row its values are."""
        fields = self.codec.sql_fields()
        for at, field in enumerate(fields):
            column = field.interned.key if field.interned and field.interned.together else field.name
            self._columns.setdefault(column, (_type_of(field), []))[1].append(at)
        self.interned = {
            column: self._dictionary(mark, [fields[at] for at in places])
            for column, (_, places) in self._columns.items()
            if (mark := fields[places[0]].interned) is not None
        }
        self.columns = (*self._own, *self._columns)
        self.joins, self.selected = self._joined(fields)
        self.source = f"{name} {self.joins}"
        self._needed = [
            (column, places[0])
            for column, (_, places) in self._columns.items()
            if column in self.interned and not fields[places[0]].optional
        ]
        self._insert = self._insertion()
        self._insert_new = (
            f"INSERT INTO {name} ({row_key}, {', '.join(self.columns)}) VALUES (?{', ?' * len(self.columns)})"
        )
        self._stored = self._storing()
        # An integer in another column is within the bounds of its field.
        self._integers = picker([at for at, field in enumerate(fields) if field.sql_type == "INTEGER"])

    def _dictionary(self, mark: Interned, fields: Sequence[RecordField]) -> Dictionary:
        return self.dictionaries.setdefault(mark.table, Dictionary(mark, fields))

    def _joined(self, fields: Sequence[RecordField]) -> tuple[str, tuple[str, ...]]:
        joins, selected = list[str](), dict[str, str]()
        for column, (_, places) in self._columns.items():
            words = self.interned.get(column)
            if words is None:
                selected[fields[places[0]].name] = f"{self.name}.{column}"
                continue
            alias = f"{self.name}_{column}"
            joins.append(f"LEFT JOIN {words.name} AS {alias} ON {alias}.{words.key} = {self.name}.{column}")
            for at, entry in zip(places, words.columns, strict=True):
                selected[fields[at].name] = f"{alias}.{entry}"
        return " ".join(joins), tuple(selected[name] for name in self.codec.columns)

    def _insertion(self) -> str:
        columns, marks = ", ".join(self.columns), ", ".join("?" * len(self.columns))
        if self.row_key is None:
            return f"INSERT OR REPLACE INTO {self.name} ({columns}) VALUES ({marks})"
        rest = [column for column in self.columns if column not in self._key] or self._key[:1]
        changes = ", ".join(f"{column} = excluded.{column}" for column in rest)
        return (
            f"INSERT INTO {self.name} ({columns}) VALUES ({marks})"
            f" ON CONFLICT ({', '.join(self._key)}) DO UPDATE SET {changes} RETURNING {self.row_key}"
        )

    def schema(self) -> list[str]:
        """The statements that create it."""
        columns = [f"{name} {kind}" for name, (kind, _) in self._columns.items()]
        keys = f"{', '.join(self._key)}"
        parts = [
            *([f"{self.row_key} INTEGER PRIMARY KEY"] if self.row_key else []),
            *(f"{name} INTEGER NOT NULL REFERENCES {_OWNERS[name]}" for name in self._own),
            *columns,
            f"UNIQUE ({keys})" if self.row_key else f"PRIMARY KEY ({keys})",
            *self._more,
        ]
        return [
            f"CREATE TABLE {self.name} ({', '.join(parts)}){'' if self._has_rowid else ' WITHOUT ROWID'}",
            *(_create_index(name, self.name, definition) for name, definition in self._indexes.items()),
        ]

    def _storing(self) -> Callable[[LedgerConnection, list[Any]], list[Any]]:
        """What puts keys of dictionaries into a record's row."""
        if not self.interned:
            return lambda connection, values: values
        columns = [(places, self.interned.get(column)) for column, (_, places) in self._columns.items()]
        firsts = picker([places[0] for places, _ in columns])
        plan = [
            (at, picker(places) if words.together else itemgetter(places[0]), words)
            for at, (places, words) in enumerate(columns)
            if words is not None
        ]

        def stored(connection: LedgerConnection, values: list[Any]) -> list[Any]:
            found, known = list(firsts(values)), connection.interned
            for at, entry_of, words in plan:
                entry = entry_of(values)
                if entry is not None:
                    found[at] = known[words.name].get(entry) or words.key_of(connection, entry)
            return found

        return stored

    def insert(self, connection: LedgerConnection, record: _R, owner: int | None = None) -> int:
        """Insert a record in place of the one with its key; returns the row's own key, 0 where it has none."""
        own = () if owner is None else (owner,)
        cursor = connection.execute(self._insert, [*own, *self._stored(connection, self.codec.row(record))])
        return int(cursor.fetchone()[0]) if self.row_key else 0

    def insert_all(self, connection: LedgerConnection, records: Iterable[_R], owner: int | None = None) -> None:
        """Insert many records of one owner."""
        own = () if owner is None else (owner,)
        row, stored = self.codec.row, self._stored
        rows = [[*own, *stored(connection, row(record))] for record in records]
        if rows:
            connection.executemany(self._insert, rows)

    def insert_values(self, connection: LedgerConnection, rows: Iterable[tuple[int, list[Any]]]) -> None:
        """Insert rows of several owners, each with the owner and what ``values_of`` gives."""
        stored = self._stored
        connection.executemany(self._insert, [[owner, *stored(connection, values)] for owner, values in rows])

    def insert_new(self, connection: LedgerConnection, rows: Iterable[tuple[int | None, list[Any]]]) -> Sequence[int]:
        """Insert rows of which the table has none with their key, each with its owner (None where it has none) and what
        ``values_of`` gives; returns the rows' own keys, in their order. Inside a transaction."""
        first = (connection.execute(f"SELECT max({self.row_key}) FROM {self.name}").fetchone()[0] or 0) + 1
        stored = self._stored
        values = [
            [key, *(() if owner is None else (owner,)), *stored(connection, values)]
            for key, (owner, values) in enumerate(rows, first)
        ]
        connection.executemany(self._insert_new, values)
        return range(first, first + len(values))

    def values_of(self, record: _R) -> list[Any]:
        """The values of a record for ``RowBatch``. Raises ``OverflowError`` for an integer that SQLite cannot hold."""
        values = self.codec.row(record)
        integers = [*filter(None, self._integers(values))]
        if integers and (max(integers) >= _TOO_LARGE or min(integers) < -_TOO_LARGE):
            raise OverflowError("a number larger than a row can have")
        return values

    def delete(self, connection: sqlite3.Connection, owner: int) -> None:
        """Delete all rows of an owner."""
        connection.execute(f"DELETE FROM {self.name} WHERE {self.owner} = ?", (owner,))

    def rows_of(
        self, connection: sqlite3.Connection, owners: str, values: Sequence[Any] = (), more: str = ""
    ) -> Iterator[tuple[int, _R]]:
        """The records of owners, each with the owner's key, in order of owners and of what tells the records apart.

        ``owners`` is SQL that selects keys of owners; ``more`` is another condition.
        """
        where = f"{self.name}.{self.owner} IN ({owners})" + (f" AND {more}" if more else "")
        order = [f"{self.name}.{self.owner}"]
        for column in self._key[1:]:
            words = self.interned.get(column)
            at = self._columns[column][1]
            order += [self.selected[place] for place in at] if words else [f"{self.name}.{column}"]
        cursor = connection.cursor()
        cursor.row_factory = None
        cursor.execute(
            f"SELECT {self.name}.{self.owner}, {', '.join(self.selected)} FROM {self.source}"
            f" WHERE {where} ORDER BY {', '.join(order)}",
            values,
        )
        for row in cursor:
            yield row[0], self.record_of(row[1:])

    def record_of(self, row: Sequence[Any]) -> _R:
        """The record in a row of what is ``selected``. Raises ``InvalidRecord`` where a dictionary lacks an entry."""
        for column, at in self._needed:
            if row[at] is None:
                raise InvalidRecord(f"{self.name}.{column}: not in its dictionary")
        return self.codec.of_row(row)


class RowBatch:
    """Rows of several owners, which are inserted together: a statement for each row costs as much as the row."""

    def __init__(self) -> None:
        self._rows: dict[LedgerTable[Any], list[tuple[int, list[Any]]]] = {}

    def add(self, table: LedgerTable[Any], values: list[Any], owner: int) -> None:
        """Add a row with the values of ``table.values_of``."""
        self._rows.setdefault(table, []).append((owner, values))

    def add_all(self, rows: Iterable[TableRow], owner: int) -> None:
        """Add rows of one owner."""
        for table, values in rows:
            self._rows.setdefault(table, []).append((owner, values))

    def extend(self, other: RowBatch) -> None:
        """Add all rows of another batch."""
        for table, rows in other._rows.items():
            self._rows.setdefault(table, []).extend(rows)

    def write(self, connection: LedgerConnection) -> None:
        """Insert the rows, inside a transaction. Each takes the place of the one with its key."""
        for table, rows in self._rows.items():
            table.insert_values(connection, rows)
        self._rows.clear()


def _create_index(name: str, table: str, definition: str) -> str:
    unique, _, rest = definition.rpartition("UNIQUE ")
    return f"CREATE {'UNIQUE ' if unique or definition != rest else ''}INDEX {name} ON {table} {rest}"


def _type_of(field: RecordField) -> str:
    if field.interned is None:
        return f"{field.sql_type}{'' if field.optional else ' NOT NULL'}"
    null = "" if field.optional and not field.interned.together else " NOT NULL"
    return f"INTEGER{null} REFERENCES {field.interned.table}"
