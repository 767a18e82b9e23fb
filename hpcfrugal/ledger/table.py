"""A table of the ledger: its schema, how a record becomes a row of it, and how a row becomes a record."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from hpcfrugal.core.record import codec

_R = TypeVar("_R")


class AttemptKey(NamedTuple):
    """One attempt of one job of one run: the first columns of every table with facts about it."""

    run_id: str
    job_id: str
    restart: int


class LedgerTable(Generic[_R]):
    """A table whose columns are the fields of one class of records.

    With ``of_attempt`` the columns of an ``AttemptKey`` come before them. ``key`` are the columns of the primary key,
    behind the attempt's. ``more`` are further constraints, ``indexes`` columns with an index of their own.
    """

    def __init__(
        self,
        name: str,
        record: type[_R],
        key: Sequence[str],
        *,
        of_attempt: bool = False,
        more: Sequence[str] = (),
        indexes: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.codec = codec(record)
        self._owner = AttemptKey._fields if of_attempt else ()
        self._key = (*self._owner, *key)
        self._more, self._indexes = more, indexes
        self.columns = (*self._owner, *self.codec.columns)
        marks = ", ".join("?" * len(self.columns))
        self._insert = f"INSERT OR REPLACE INTO {name} ({', '.join(self.columns)}) VALUES ({marks})"

    def schema(self) -> list[str]:
        """The statements that create it."""
        owner = ["run_id TEXT NOT NULL", "job_id TEXT NOT NULL", "restart INTEGER NOT NULL"] if self._owner else []
        columns = [
            f"{field.name} {field.sql_type}{'' if field.optional else ' NOT NULL'}" for field in self.codec.sql_fields()
        ]
        parts = ", ".join([*owner, *columns, f"PRIMARY KEY ({', '.join(self._key)})", *self._more])
        return [
            f"CREATE TABLE {self.name} ({parts}) WITHOUT ROWID",
            *(f"CREATE INDEX {self.name}_by_{column} ON {self.name} ({column})" for column in self._indexes),
        ]

    def insert(self, connection: sqlite3.Connection, record: _R, attempt: AttemptKey | None = None) -> None:
        """Insert a record in place of the one with its key."""
        connection.execute(self._insert, [*(attempt or ()), *self.codec.row(record)])

    def insert_all(
        self, connection: sqlite3.Connection, records: Iterable[_R], attempt: AttemptKey | None = None
    ) -> None:
        """Insert many records of one attempt."""
        owner = attempt or ()
        row = self.codec.row
        connection.executemany(self._insert, [[*owner, *row(record)] for record in records])

    def delete(self, connection: sqlite3.Connection, run_id: str) -> None:
        """Delete all rows of a run."""
        connection.execute(f"DELETE FROM {self.name} WHERE run_id = ?", (run_id,))

    def rows_of(
        self, connection: sqlite3.Connection, attempts: str, values: Sequence[Any], more: str = ""
    ) -> Iterator[tuple[tuple[Any, ...], _R]]:
        """The records of attempts, each with its ``AttemptKey`` as a tuple, in the order of the table's key.

        ``attempts`` is SQL that selects run id, job id and restart; ``more`` is another condition.
        """
        cursor = connection.cursor()
        cursor.row_factory = None
        where = f"(run_id, job_id, restart) IN ({attempts})" + (f" AND {more}" if more else "")
        cursor.execute(
            f"SELECT {', '.join(self.columns)} FROM {self.name} WHERE {where} ORDER BY {', '.join(self._key)}", values
        )
        of_row, width = self.codec.of_row, len(self._owner)
        for row in cursor:
            yield row[:width], of_row(row[width:])
