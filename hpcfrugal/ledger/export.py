"""The content of the ledger as lines of text, in which rows have the names of what they belong to, not integer keys."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from hpcfrugal.ledger.run_files import every_run_file
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.table import LedgerTable
from hpcfrugal.ledger.tables import FILES, JOBS, LEDGER_TABLES, TOTALS_TABLES

INTENSITIES_OF_SPOOLS = ""
"""In place of a run id, for the intensities of all spools."""

_OF_RUN = "LEFT JOIN runs USING (run) LEFT JOIN spools USING (spool)"
_OWNERS = {
    None: ("", {}),
    "spool": ("JOIN spools USING (spool)", {}),
    "run": (_OF_RUN, {"run_id": "runs.run_id"}),
    "job": (
        f"JOIN jobs USING (job) {_OF_RUN}",
        {"run_id": "runs.run_id", "job_id": "jobs.job_id", "restart": "jobs.restart"},
    ),
    "accounting": (
        "JOIN accounting_files USING (accounting) JOIN spools USING (spool)",
        {"file": "accounting_files.name"},
    ),
    "agent_file": (
        "JOIN agent_files USING (agent_file) JOIN spools USING (spool)",
        {"file": "agent_files.name"},
    ),
    "file": (
        "JOIN intensity_files USING (file) JOIN spools USING (spool)",
        {"file": "intensity_files.name"},
    ),
}
"""How rows of an owner are joined with it, and what names it."""


def _query(table: LedgerTable[Any]) -> str:
    """SQL for the run id of each row, and its content."""
    owner = "run" if table is JOBS else table.owner
    joins, names = _OWNERS[owner]
    columns = dict(zip(table.codec.columns, table.selected, strict=True))
    columns = names | {name: sql for name, sql in columns.items() if name not in table.aside}
    place = "runs.run_id" if "runs" in joins or table.name == "runs" else "''"
    shown = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    return f"SELECT {place}, {shown} FROM {table.source} {joins}"


def dump(ledger_path: Path, leave_out: Collection[str] = ()) -> list[str]:
    """The content as sorted lines of text, one a row; equal for two ledgers of the same spools.

    ``leave_out`` are ids of runs whose rows are not wanted, or ``INTENSITIES_OF_SPOOLS``, without which the totals of
    jobs are left out too.
    """
    with open_ledger(ledger_path) as connection:
        return sorted(_lines(connection, leave_out))


def _lines(connection: sqlite3.Connection, leave_out: Collection[str]) -> Iterator[str]:
    cursor = connection.cursor()
    cursor.row_factory = None
    without_totals = INTENSITIES_OF_SPOOLS in leave_out
    for table in LEDGER_TABLES:
        if without_totals and table in TOTALS_TABLES:
            continue
        if set(table.codec.columns) <= set(table.aside):
            continue
        if table is FILES:
            yield from _files(connection, leave_out)
            continue
        cursor.execute(_query(table))
        names = [column[0] for column in cursor.description][1:]
        for run_id, *values in cursor:
            if (run_id or INTENSITIES_OF_SPOOLS) not in leave_out:
                yield _line(table.name, dict(zip(names, values, strict=True)))


def _files(connection: sqlite3.Connection, leave_out: Collection[str]) -> Iterator[str]:
    """The files of runs, whether these are sealed or not."""
    for file in every_run_file(connection):
        if file.run_id not in leave_out:
            row = dict(zip(FILES.codec.columns, FILES.codec.row(file.row), strict=True))
            shown = {"run_id": file.run_id} | {name: row[name] for name in row if name not in FILES.aside}
            yield _line(FILES.name, shown)


def _line(table: str, row: dict[str, Any]) -> str:
    return f"{table} {json.dumps(row, sort_keys=True, ensure_ascii=False)}"
