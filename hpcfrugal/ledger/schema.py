"""The schema of the ledger: made in an empty file, and brought up to date in one of an older program.

``PRAGMA user_version`` is its number. What a newer program adds (tables, columns that may be unknown, indexes) follows
from the records and needs no step of its own; ``STEPS`` has what does not. All of it is one transaction, after which
the next sync reads the spool again and fills what is new.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from functools import cache

from hpcfrugal.ledger.accounted_due import ACCOUNTED_SCHEMA
from hpcfrugal.ledger.agent_due import AGENT_DUE_SCHEMA
from hpcfrugal.ledger.connection import LedgerConnection, transaction
from hpcfrugal.ledger.dictionary import Dictionary
from hpcfrugal.ledger.due import DUE_SCHEMA
from hpcfrugal.ledger.overlap import OVERLAP_SCHEMA
from hpcfrugal.ledger.rollup import ROLLUP_SCHEMA
from hpcfrugal.ledger.rows import LEDGER_SCHEMA
from hpcfrugal.ledger.tables import LEDGER_TABLES
from hpcfrugal.ledger.views import VIEWS

OLDEST = 34
"""A ledger of an older schema is not brought up to date; it is rebuilt."""

STEPS: Mapping[int, Callable[[LedgerConnection], None]] = {}
"""What is done to a ledger first, by the number of the schema that it leads to; in the order of these numbers."""


def schema() -> list[str]:
    """The statements that make an empty file a ledger."""
    return [statement for part in _parts() for statement in part]


def _parts() -> Iterator[list[str]]:
    """The statements of each dictionary and table: the table first, then its indexes."""
    dictionaries: dict[str, Dictionary] = {}
    for table in LEDGER_TABLES:
        for name, words in table.dictionaries.items():
            if name not in dictionaries:
                dictionaries[name] = words
                yield words.schema()
        yield table.schema()
    yield [*DUE_SCHEMA, *ACCOUNTED_SCHEMA, *AGENT_DUE_SCHEMA, *ROLLUP_SCHEMA, *OVERLAP_SCHEMA, *VIEWS]


@cache
def _expected() -> Mapping[str, str]:
    """What a ledger consists of: its tables, indexes, views and triggers by name, each with its kind."""
    words = (statement.replace("UNIQUE ", "", 1).split(maxsplit=3) for statement in schema())
    return {name: kind.lower() for _, kind, name, *_ in words}


def missing_parts(connection: sqlite3.Connection) -> list[str]:
    """What a ledger of this schema lacks, as "table jobs"; empty for a whole one."""
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    return [f"{kind} {name}" for name, kind in _expected().items() if name not in there]


def create_schema(connection: LedgerConnection) -> None:
    """Make the tables of a ledger in an empty file."""
    with transaction(connection):
        # Of two processes that come at once, the second finds the tables.
        if _version(connection) != LEDGER_SCHEMA:
            for statement in schema():
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {LEDGER_SCHEMA}")


def is_upgradable(version: int) -> bool:
    """Whether a ledger of this schema can be brought up to date without a rebuild."""
    return OLDEST <= version < LEDGER_SCHEMA


def upgrade(connection: LedgerConnection) -> None:
    """Bring a ledger of an older schema up to date."""
    with transaction(connection):
        version = _version(connection)
        for number in range(version + 1, LEDGER_SCHEMA + 1):
            if number in STEPS:
                STEPS[number](connection)
        _add_missing(connection)
        connection.execute("INSERT OR IGNORE INTO totals_due SELECT job FROM jobs")
        connection.execute("DELETE FROM meta WHERE key = 'derivation'")  # the spool is read again
        connection.execute(f"PRAGMA user_version = {LEDGER_SCHEMA}")


_MADE_ANEW = "SELECT name, type FROM sqlite_master WHERE type IN ('view', 'trigger')"


def _add_missing(connection: LedgerConnection) -> None:
    """Make tables, columns and indexes that are not there yet, and views and triggers anew."""
    wanted = LedgerConnection(":memory:")
    try:
        for statement in schema():
            wanted.execute(statement)
        for name, kind in connection.execute(_MADE_ANEW).fetchall():
            connection.execute(f"DROP {kind} {name}")
        known = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        for kind, name, sql in wanted.execute("SELECT type, name, sql FROM sqlite_master WHERE sql NOT NULL"):
            if name not in known:
                connection.execute(sql)
            elif kind == "table":
                columns = {row[1] for row in connection.execute(f"PRAGMA table_info({name})")}
                for _, column, column_type, *_ in wanted.execute(f"PRAGMA table_info({name})"):
                    if column not in columns:
                        connection.execute(f"ALTER TABLE {name} ADD COLUMN {column} {column_type}")
    finally:
        wanted.close()


def _version(connection: LedgerConnection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
