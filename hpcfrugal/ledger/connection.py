"""A connection to the ledger: what its dictionaries hold is remembered, and forgotten when it is rolled back."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class LedgerConnection(sqlite3.Connection):
    """``interned`` has, for each dictionary, the integer keys of values that were looked up."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.interned: dict[str, dict[Any, int]] = defaultdict(dict)

    def roll_back_to(self, savepoint: str) -> None:
        """Undo what was done since ``savepoint``, which stays."""
        self.execute(f"ROLLBACK TO {savepoint}")
        self.interned.clear()  # entries made since then are gone


@contextmanager
def transaction(connection: LedgerConnection) -> Iterator[None]:
    """``BEGIN IMMEDIATE`` to ``COMMIT``: what is read inside cannot be changed by another writer."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.interned.clear()
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
