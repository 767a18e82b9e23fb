"""Values that many rows share, such as names of nodes: each is kept once, and a row has its integer key.

An entry is never changed and never removed, so a key that was read once stays right. Entries that no row has any more
go with a rebuild.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpcfrugal.core.record import Interned, RecordField
from hpcfrugal.ledger.connection import LedgerConnection

_REMEMBERED = 50_000
"""The number of entries of one dictionary that are held in memory."""


class Dictionary:
    """The dictionary of fields that are interned, those of one record together or a single one.

    A single text is in the column ``name``.
    """

    def __init__(self, mark: Interned, fields: Sequence[RecordField]) -> None:
        self.name, self.key, self.together = mark.table, mark.key, mark.together
        self.columns = tuple(field.name for field in fields) if mark.together else ("name",)
        self._types = [f"{field.sql_type}{'' if field.optional else ' NOT NULL'}" for field in fields]
        if not mark.together:
            self._types = ["TEXT NOT NULL"]
        same = " AND ".join(f"{column} IS ?" for column in self.columns)
        marks = ", ".join("?" * len(self.columns))
        self._find = f"SELECT {self.key} FROM {self.name} WHERE {same}"
        self._add = f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES ({marks})"

    def schema(self) -> list[str]:
        """The statements that create it."""
        columns = ", ".join(f"{name} {kind}" for name, kind in zip(self.columns, self._types, strict=True))
        return [
            f"CREATE TABLE {self.name} ({self.key} INTEGER PRIMARY KEY, {columns})",
            f"CREATE UNIQUE INDEX {self.name}_by_value ON {self.name} ({', '.join(self.columns)})",
        ]

    def key_of(self, connection: LedgerConnection, entry: Any) -> int:
        """The key of an entry that ``connection.interned`` does not have; one that is missing is made, inside the
        caller's transaction. ``entry`` is a single value, or of fields that are interned together a tuple."""
        values = entry if self.together else (entry,)
        row = connection.execute(self._find, values).fetchone()
        key = int(row[0] if row is not None else connection.execute(self._add, values).lastrowid or 0)
        known = connection.interned[self.name]
        if len(known) >= _REMEMBERED:
            known.clear()
        known[entry] = key
        return key
