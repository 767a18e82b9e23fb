"""The roll-up: sums of all jobs by UTC day, user, account and partition, so that a period of months is read at once.

Days whose jobs were written since are in ``days_due``; of these the rows of jobs count, until the roll-up is made anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from hpcfrugal.core.record import MAX_INT
from hpcfrugal.core.time import from_us
from hpcfrugal.ledger.connection import LedgerConnection, transaction
from hpcfrugal.ledger.due import DAY_NS
from hpcfrugal.ledger.overlap import note_overlaps
from hpcfrugal.ledger.selection import COUNTS, KEYS, ROLLED, JobDays
from hpcfrugal.ledger.sums import SUMS, in_whole

_OF_JOB_DAY = ("day", "first", *ROLLED, "place", "scope")
_ORDER = ("month", "user", "place", "scope", "component", "day", "first", "account", "partition")
"""By month, then by user: so the users of a month, and the months of a user, are read in order."""

_FIGURES = (*COUNTS, "job_ns", *SUMS)
_COLUMNS = ("month", *_OF_JOB_DAY, "component", *_FIGURES)

ROLLUP_SCHEMA = (
    f"CREATE TABLE rollup ({', '.join(f'{name} INTEGER' for name in ('month', *_OF_JOB_DAY))}, component TEXT,"
    f" {', '.join(f'{name} INTEGER' for name in _FIGURES)}, PRIMARY KEY ({', '.join(_ORDER)})) WITHOUT ROWID",
)
"""``month`` is the first day of the day's month. A user, account, partition or scope that is not known is 0."""

_INSERT = f"INSERT INTO rollup VALUES ({', '.join('?' * len(_COLUMNS))})"


def refresh_rollup(connection: LedgerConnection) -> None:
    """Make the days anew that are due, each in a transaction of its own."""
    due = [day for (day,) in connection.execute("SELECT day FROM days_due ORDER BY day").fetchall()]
    for day in due:
        with transaction(connection):
            connection.execute("DELETE FROM rollup WHERE month = ? AND day = ?", (_month_of(day), day))
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
    keys, width = len(_OF_JOB_DAY), len(_OF_JOB_DAY) + 1 + len(COUNTS)
    for query in (jobs.jobs, jobs.components(with_counts=True)):
        for row in cursor.execute(query, (day,)):
            sums = (in_whole(*halves) for halves in zip(row[width::2], row[width + 1 :: 2], strict=True))
            yield [_month_of(day), *(key or 0 for key in row[:keys]), *row[keys:width], *sums]


def wrong_days(connection: sqlite3.Connection) -> Iterator[str]:
    """The days of which the roll-up is not what their jobs add up to."""
    query = "SELECT day FROM job_days UNION SELECT day FROM rollup EXCEPT SELECT day FROM days_due ORDER BY 1"
    stored = f"SELECT {', '.join(_COLUMNS)} FROM rollup WHERE month = ? AND day = ?"
    for (day,) in connection.execute(query).fetchall():
        rows = {tuple(row) for row in connection.execute(stored, (_month_of(day), day))}
        if rows != {tuple(row) for row in rolled_up(connection, day)}:
            yield f"{from_us(day * DAY_NS // 1000):%Y-%m-%d}"


def _month_of(day: int) -> int:
    """The first day of a day's month, both counted since 1970."""
    return day - from_us(day * DAY_NS // 1000).day + 1


def months_in(connection: sqlite3.Connection, since: int, until: int) -> Iterator[int]:
    """The months of the roll-up, by their first days, with days from ``since`` up to ``until``."""
    # From one to the next by the key, whatever the number of rows between them.
    month = connection.execute("SELECT min(month) FROM rollup WHERE month > ?", (since - 31,)).fetchone()[0]
    while month is not None and month < until:
        yield month
        month = connection.execute("SELECT min(month) FROM rollup WHERE month > ?", (month,)).fetchone()[0]
