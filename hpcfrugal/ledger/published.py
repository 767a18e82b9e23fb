"""A ledger with some of another's jobs, and nothing else of it: what a site gives a user.

Copied are the jobs, their runs, all that belongs to jobs (``LedgerTable.owner``), what Slurm's accounting has of them,
intensities of the zones in which they count, and of each dictionary the entries that these rows refer to. Files of the
spool, rows that could not be read, and what agents recorded of nodes are not. Sums by day are made anew.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from hpcfrugal.ledger.accounted_due import own_or_array
from hpcfrugal.ledger.connection import LedgerConnection, transaction
from hpcfrugal.ledger.dictionary import Dictionary
from hpcfrugal.ledger.file_rows import AccountingFileRow, IntensityFileRow, ReadState
from hpcfrugal.ledger.refresh import refresh_ledger
from hpcfrugal.ledger.rows import SpoolRow
from hpcfrugal.ledger.schema import create_schema
from hpcfrugal.ledger.store import create_private, open_ledger, sqlite_errors
from hpcfrugal.ledger.table import LedgerTable
from hpcfrugal.ledger.tables import (
    ACCOUNTED_JOBS,
    ACCOUNTING_FILES,
    INTENSITIES,
    INTENSITY_FILES,
    JOBS,
    LEDGER_TABLES,
    META,
    RUNS,
    SPOOLS,
)

_OF_JOBS = tuple(table for table in LEDGER_TABLES if table.owner == "job")
_COPIED: tuple[tuple[LedgerTable[Any], str], ...] = (
    (JOBS, "job IN (SELECT job FROM wanted)"),
    (RUNS, "run IN (SELECT run FROM main.jobs)"),
    (SPOOLS, "spool IN (SELECT spool FROM main.runs)"),
    *((table, "job IN (SELECT job FROM wanted)") for table in _OF_JOBS),
    (META, "TRUE"),
)
"""The tables and the condition for the rows that are copied as they are, with their keys."""

_MANY = 2000
"""From so many jobs on, pages are large. Each of the ledger's tables and indexes takes one at least."""

_NO_SPOOL = "published"
"""In place of the path of a spool, for figures that belong to none of these jobs' runs."""


def owners_in(ledger: Path, column: str) -> list[str]:
    """The users or the accounts (``column``) that have jobs in a ledger, in order. Raises as ``open_ledger``."""
    with sqlite_errors(ledger), open_ledger(ledger) as connection:
        query = f"SELECT name FROM texts WHERE text IN (SELECT DISTINCT {column} FROM jobs) ORDER BY name"
        return [name for (name,) in connection.execute(query)]


def jobs_by_account(ledger: Path, accounts: Collection[str]) -> dict[str, array[int]]:
    """The keys of the jobs of these accounts, by one pass over all jobs. Raises as ``open_ledger``."""
    found = {account: array("q") for account in accounts}
    with sqlite_errors(ledger), open_ledger(ledger) as connection:
        cursor = connection.cursor()
        cursor.row_factory = None
        for account, job in cursor.execute("SELECT texts.name, job FROM jobs JOIN texts ON texts.text = jobs.account"):
            if account in found:
                found[account].append(job)
    return found


def publish_jobs(ledger: Path, target: Path, column: str, name: str, among: Iterable[int] | None = None) -> int:
    """Make a ledger ``target`` of the jobs of a user or an account (``column``); returns how many there are.

    ``among``: only jobs with these keys are looked at, as far as they are this owner's now.
    ``target`` must not be there yet; it is 0600, and no journal is beside it. Raises as ``open_ledger``.
    """
    create_private(target)
    with sqlite_errors(ledger):
        connection = sqlite3.connect(
            f"{target.absolute().as_uri()}", uri=True, isolation_level=None, factory=LedgerConnection
        )
        try:
            return _fill(connection, ledger, column, name, among)
        finally:
            connection.close()


def _fill(connection: LedgerConnection, ledger: Path, column: str, name: str, among: Iterable[int] | None) -> int:
    connection.row_factory = sqlite3.Row
    # Read only, so that BEGIN IMMEDIATE does not wait for a sync that writes into it.
    connection.execute("ATTACH ? AS site", (f"{ledger.absolute().as_uri()}?mode=ro",))
    of_owner = f"SELECT job FROM site.jobs WHERE {column} = (SELECT text FROM site.texts WHERE name = ?)"
    if among is not None:
        connection.execute("CREATE TEMP TABLE among (job INTEGER PRIMARY KEY)")
        connection.execute("BEGIN")  # not IMMEDIATE, which would fix the size of pages
        connection.executemany("INSERT INTO among VALUES (?)", ((job,) for job in among))
        connection.execute("COMMIT")
        of_owner += " AND job IN (SELECT job FROM among)"
    some = len(connection.execute(f"{of_owner} LIMIT {_MANY}", (name,)).fetchall())
    page_size = 8192 if some == _MANY else 1024
    for pragma in ("main.secure_delete = ON", "main.synchronous = OFF", f"main.page_size = {page_size}"):
        connection.execute(f"PRAGMA {pragma}")
    create_schema(connection)
    connection.execute("CREATE TEMP TABLE wanted (job INTEGER PRIMARY KEY)")
    with transaction(connection):
        connection.execute(f"INSERT INTO wanted {of_owner}", (name,))
        for table, condition in _COPIED:
            columns = _columns(table)
            connection.execute(
                f"INSERT INTO main.{table.name} ({columns}) SELECT {columns} FROM site.{table.name} WHERE {condition}"
            )
        # The triggers of the ledger have noted all of them.
        connection.execute("DELETE FROM totals_due WHERE job NOT IN (SELECT job FROM site.totals_due)")
        connection.execute("DELETE FROM accounted_due")
        _copy_dictionary_entries(connection, [table for table, _ in _COPIED])
        spool = _spool(connection)
        _copy_intensities(connection, spool)
        _copy_accounting(connection, spool)
        _copy_dictionary_entries(connection, [INTENSITIES, ACCOUNTED_JOBS])
    jobs = int(connection.execute("SELECT count(*) FROM wanted").fetchone()[0])
    connection.execute("DETACH site")
    refresh_ledger(connection)
    return jobs


def _columns(table: LedgerTable[Any]) -> str:
    return ", ".join([*([table.row_key] if table.row_key else []), *table.columns])


def _copy_dictionary_entries(connection: LedgerConnection, tables: Sequence[LedgerTable[Any]]) -> None:
    """The entries of dictionaries to which rows of these tables refer; they keep their keys."""
    places: dict[str, tuple[Dictionary, list[str]]] = {}
    for table in tables:
        for column, words in table.interned.items():
            used = f"SELECT {column} FROM main.{table.name}"
            places.setdefault(words.name, (words, []))[1].append(used)
    for words, uses in places.values():
        columns = ", ".join([words.key, *words.columns])
        connection.execute(
            f"INSERT OR IGNORE INTO main.{words.name} ({columns}) SELECT {columns} FROM site.{words.name}"
            f" WHERE {words.key} IN ({' UNION '.join(uses)})"
        )


def _spool(connection: LedgerConnection) -> int:
    """The spool to which figures that no run has are assigned."""
    row = connection.execute("SELECT min(spool) FROM main.spools").fetchone()
    return SPOOLS.insert(connection, SpoolRow(_NO_SPOOL)) if row[0] is None else int(row[0])


def _copy_intensities(connection: LedgerConnection, spool: int) -> None:
    """Those of the zones and providers by which these jobs count. Of files of several spools with one name, that with
    the better figure at a time counts, as in the site's ledger."""
    source = "main.places JOIN site.intensity AS i USING (zone, provider) JOIN site.intensity_files AS f USING (file)"
    columns = ", ".join(f"i.{column}" for column in INTENSITIES.columns[1:])
    for (name,) in connection.execute(f"SELECT DISTINCT f.name FROM {source}").fetchall():
        file = INTENSITY_FILES.insert(connection, IntensityFileRow(name, ReadState(accepted=True)), spool)
        connection.execute(
            f"INSERT OR REPLACE INTO main.intensity ({', '.join(INTENSITIES.columns)})"
            f" SELECT DISTINCT ?, {columns} FROM {source} WHERE f.name = ? ORDER BY i.settled, i.fetched_ns",
            (file, name),
        )


def _copy_accounting(connection: LedgerConnection, spool: int) -> None:
    """What Slurm's accounting has of these jobs; of several texts with a row, the one that was asked for later."""
    of_job = ("cluster", "user", "account")
    jobs = f"SELECT DISTINCT {', '.join(of_job)}, {own_or_array('jobs')} AS id FROM main.jobs"
    same = " AND ".join(f"a.{column} IS j.{column}" for column in of_job)
    columns = ", ".join(f"a.{column}" for column in ACCOUNTED_JOBS.columns[1:])
    accounting = ACCOUNTING_FILES.insert(connection, AccountingFileRow(_NO_SPOOL, read=ReadState(accepted=True)), spool)
    connection.execute(
        f"INSERT OR REPLACE INTO main.accounted_jobs ({', '.join(ACCOUNTED_JOBS.columns)}) SELECT ?, {columns}"
        f" FROM ({jobs}) AS j JOIN site.accounted_jobs AS a ON {own_or_array('a')} = j.id AND {same}"
        " JOIN site.accounting_files AS f USING (accounting) ORDER BY f.asked_wall_ns, f.name",
        (accounting,),
    )
