"""The texts of sacct in the ledger: each is read whole where it changed, and its rows depend on it alone."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import assemble
from hpcfrugal.core.safe_read import FileState, Unreadable, UnsafeFile
from hpcfrugal.core.text import clean_text
from hpcfrugal.ledger.accounted_due import mark_accounted
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.file_rows import AccountingFileRow, SetAsideRow
from hpcfrugal.ledger.garbage import paused_collection
from hpcfrugal.ledger.spool_files import changed_files, known_row, missing_files, name_in_spool, read_spool_file
from hpcfrugal.ledger.tables import ACCOUNTED_JOBS, ACCOUNTING_FILES, SET_ASIDE
from hpcfrugal.slurm.sacct_jobs import SacctJobs, read_jobs
from hpcfrugal.slurm.sacct_text import NoHeader
from hpcfrugal.spool.accounting_text import AccountingQuery, accounting_dir, accounting_texts, open_accounting
from hpcfrugal.spool.layout import ACCOUNTING_DIR

MOST_SET_ASIDE = 100_000
"""Rows that are kept of what could not be read in one text; more are only counted."""


def accounting_changed(connection: sqlite3.Connection, spool: int | None, spool_root: Path) -> bool:
    """Whether a sync would read any text of sacct."""
    return next(changed_files(connection, ACCOUNTING_FILES, spool, accounting_texts(spool_root)), None) is not None


def take_accounting(connection: LedgerConnection, spool: int, spool_root: Path, skipped: list[str]) -> int:
    """Read the texts that changed, inside the caller's transaction; returns how many.

    One that was replaced by a newer answer for the same day goes with its rows, since these are in the newer one.
    """
    paths = accounting_texts(spool_root, lambda path, reason: skipped.append(f"{path}: {reason}"))
    changed = list(changed_files(connection, ACCOUNTING_FILES, spool, paths))
    if changed:
        owner_uid = os.lstat(accounting_dir(spool_root)).st_uid
        for path, status in changed:
            with paused_collection():
                _take(connection, spool, path, status, owner_uid)
        _drop_replaced(connection, spool, spool_root)
    return len(changed)


def _take(connection: LedgerConnection, spool: int, path: Path, status: os.stat_result, owner_uid: int) -> None:
    name = name_in_spool(path)
    known = known_row(connection, ACCOUNTING_FILES, spool, name, otherwise=AccountingFileRow(name))
    file = read_spool_file(path, status, owner_uid, known.read, _read)
    if file.keep:
        ACCOUNTING_FILES.insert(connection, replace(known, read=file.read), spool)
        return
    row, jobs = AccountingFileRow(name, read=file.read), None
    if file.content is not None:
        query, jobs = file.content
        read = replace(file.read, problems=_problems(jobs))
        row = assemble(AccountingFileRow, query, name=name, rows=jobs.rows, read=read)
    _replace(connection, ACCOUNTING_FILES.insert(connection, row, spool), jobs)


def _read(path: Path, owner_uid: int) -> tuple[tuple[AccountingQuery, SacctJobs], FileState]:
    """What was asked for and the jobs in the answer. Raises ``UnsafeFile``."""
    with open_accounting(path, owner_uid) as (query, text, state):
        try:
            return (query, read_jobs(text, query.cluster, query.zone)), state
        except OSError as error:
            raise Unreadable(error) from error
        except NoHeader as error:
            raise UnsafeFile(str(error)) from None


def _problems(found: SacctJobs) -> tuple[str, ...]:
    """The first of what could not be read, and how much there is."""
    if not found.set_aside:
        return ()
    first = found.set_aside[0]
    what = f"{first.column}: {first.reason}" if first.column else first.reason
    return (
        f"rows or values that could not be read: {len(found.set_aside)}; the first is in line {first.line}: {what}",
    )


def _replace(connection: LedgerConnection, accounting: int, found: SacctJobs | None) -> None:
    _drop(connection, accounting)
    if found is None:
        return
    ACCOUNTED_JOBS.insert_all(connection, found.jobs, accounting)
    mark_accounted(connection, accounting)
    rows = (
        SetAsideRow(number, one.line, one.column, clean_text(one.reason), clean_text(one.content))
        for number, one in enumerate(found.set_aside[:MOST_SET_ASIDE])
    )
    SET_ASIDE.insert_all(connection, rows, accounting)


def _drop(connection: LedgerConnection, accounting: int) -> None:
    mark_accounted(connection, accounting)
    ACCOUNTED_JOBS.delete(connection, accounting)
    SET_ASIDE.delete(connection, accounting)


def missing_accounting(connection: sqlite3.Connection, spool: int | None, spool_root: Path) -> list[str]:
    """The texts that count in the ledger and are not in the spool."""
    return missing_files(connection, ACCOUNTING_FILES, spool, accounting_texts(spool_root), ACCOUNTING_DIR)


_REPLACED = """
SELECT old.accounting, old.name FROM accounting_files AS old JOIN accounting_files AS new USING (spool, since_wall_ns)
WHERE spool = ? AND old.cluster = new.cluster AND old.users = new.users AND new.asked_wall_ns > old.asked_wall_ns
    AND old.accepted AND new.accepted
"""


def _drop_replaced(connection: LedgerConnection, spool: int, spool_root: Path) -> None:
    there = {name_in_spool(path) for path in accounting_texts(spool_root)}
    for accounting, name in connection.execute(_REPLACED, (spool,)).fetchall():
        if name not in there:
            _drop(connection, accounting)
            connection.execute("DELETE FROM accounting_files WHERE accounting = ?", (accounting,))


def asked_until(connection: sqlite3.Connection, cluster: str, users: str) -> int | None:
    """Up to when Slurm was asked for the jobs of these users, at the earliest of when it was asked and what for, in ns
    since 1970; None where it never was. Days without an answer in between are not looked for."""
    row = connection.execute(
        "SELECT max(min(until_wall_ns, asked_wall_ns)) FROM accounting_files AS f"
        " JOIN texts AS c ON c.text = f.cluster JOIN texts AS u ON u.text = f.users"
        " WHERE c.name = ? AND u.name = ? AND accepted AND until_wall_ns NOT NULL",
        (cluster, users),
    ).fetchone()
    return None if row[0] is None else int(row[0])


@dataclass(frozen=True, slots=True)
class ImportedText:
    """A text of sacct in the ledger: how many rows of jobs and steps it has, and how many rows and values of it could
    not be read. ``problems`` has the reason where it does not count.
    """

    name: str
    accepted: bool
    rows: int
    set_aside: int
    problems: tuple[str, ...]


_TEXTS = """
SELECT accounting, name, accepted, rows,
    (SELECT count(*) FROM set_aside AS s WHERE s.accounting = f.accounting), problems
FROM accounting_files AS f WHERE name IN ({}) ORDER BY name
"""


def imported_texts(
    connection: sqlite3.Connection, names: Sequence[str], most: int
) -> tuple[list[ImportedText], list[tuple[str, SetAsideRow]]]:
    """These texts, and at ``most`` so many of the rows and values that could not be read, with the name of the text."""
    found, aside = list[ImportedText](), list[tuple[str, SetAsideRow]]()
    for accounting, name, accepted, rows, lost, problems in connection.execute(
        _TEXTS.format(", ".join("?" * len(names))), list(names)
    ).fetchall():
        found.append(ImportedText(name, bool(accepted), rows, lost, tuple(json.loads(problems))))
        some = SET_ASIDE.rows_of(connection, str(accounting), more=f"number < {most - len(aside)}")
        aside += [(name, row) for _, row in some]
    return found, aside


def jobs_in_texts(connection: sqlite3.Connection, names: Sequence[str]) -> int:
    """How many jobs these texts have, each once, whatever its restarts and sizes."""
    marks = ", ".join("?" * len(names))
    of_texts = f"SELECT accounting FROM accounting_files WHERE name IN ({marks})"
    shown = "coalesce(array_job_id || '_' || array_task_id, job_id)"
    query = f"SELECT DISTINCT cluster, {shown} FROM accounted_jobs WHERE accounting IN ({of_texts})"
    return int(connection.execute(f"SELECT count(*) FROM ({query})", list(names)).fetchone()[0])
