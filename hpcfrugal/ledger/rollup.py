"""The roll-up: sums of all jobs by UTC day, user, account and partition, so that a period of months is read at once.

Days whose jobs were written since are in ``days_due``; of these the rows of jobs count, until the roll-up is made anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from hpcfrugal.core.record import MAX_INT
from hpcfrugal.ledger.connection import LedgerConnection, transaction
from hpcfrugal.ledger.overlap import note_overlaps
from hpcfrugal.ledger.selection import COUNTS, KEYS, ROLLED, JobDays
from hpcfrugal.ledger.sums import SUMS, in_whole

_KEYS = ("day", "first", *ROLLED, "place", "scope")
_COLUMNS = (*_KEYS, "component", *COUNTS, "job_ns", *SUMS)

ROLLUP_SCHEMA = (
    f"CREATE TABLE rollup ({', '.join(f'{name} INTEGER' for name in _KEYS)}, component TEXT NOT NULL,"
    f" {', '.join(f'{name} INTEGER' for name in (*COUNTS, 'job_ns', *SUMS))})",
    "CREATE INDEX rollup_by_day ON rollup (day)",
    "CREATE INDEX rollup_by_user ON rollup (user, day)",
)

_INSERT = f"INSERT INTO rollup VALUES ({', '.join('?' * len(_COLUMNS))})"


def refresh_rollup(connection: LedgerConnection) -> None:
    """Make the days anew that are due, each in a transaction of its own."""
    due = [day for (day,) in connection.execute("SELECT day FROM days_due ORDER BY day").fetchall()]
    for day in due:
        with transaction(connection):
            connection.execute("DELETE FROM rollup WHERE day = ?", (day,))
            connection.execute("DELETE FROM overlaps WHERE day = ?", (day,))
            rows = list(rolled_up(connection, day))
            if any(each > MAX_INT for row in rows for each in row if isinstance(each, int)):
                continue  # more than the ledger can hold: it is added up from the jobs, each time
            connection.executemany(_INSERT, rows)
            note_overlaps(connection, day)
            connection.execute("DELETE FROM days_due WHERE day = ?", (day,))


def rolled_up(connection: sqlite3.Connection, day: int) -> Iterator[list[int | str | None]]:
    """The rows of a day."""
    jobs = JobDays(["d.day", "d.first", *(KEYS[name].column for name in ROLLED)], "1", "d.day = ?")
    cursor = connection.cursor()
    cursor.row_factory = None
    width = len(_KEYS) + 1 + len(COUNTS)
    for query in (jobs.jobs, jobs.components(with_counts=True)):
        for row in cursor.execute(query, (day,)):
            sums = (in_whole(*halves) for halves in zip(row[width::2], row[width + 1 :: 2], strict=True))
            yield [*row[:width], *sums]
