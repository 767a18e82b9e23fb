"""Files of the spool that cannot be read at the moment: their rows stay, and a new ledger lacks them.

An I/O error of a disk or a file server does not change what is in a file. Such a file has no row in ``file_states``, so
the next sync tries it again, and a ledger that lacks it can be compared with one that has it.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from typing import NamedTuple

from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.rows import FILES, INTENSITY_FILES, FileRow, IntensityFileRow
from hpcfrugal.spool.layout import INTENSITY_DIR


class UnreadFile(NamedTuple):
    """A file of a run of a spool; the run id of one of intensities is empty."""

    spool: str
    run_id: str
    name: str

    def __str__(self) -> str:
        return f"{self.run_id or INTENSITY_DIR}/{self.name}"


def note_read_error(connection: LedgerConnection, run: int, file: FileRow, problem: str) -> None:
    """Note that a file could not be read; ``file`` is what its name says of it."""
    row = connection.execute("SELECT accepted FROM files WHERE run = ? AND name = ?", (run, file.name)).fetchone()
    if row is None:
        FILES.insert(connection, replace(file, problems=(problem,)), run)
        return
    connection.execute(
        "UPDATE files SET problems = ?, size = NULL, mtime_ns = NULL, inode = NULL WHERE run = ? AND name = ?",
        (json.dumps([_with_earlier(problem, row[0])]), run, file.name),
    )


def note_intensity_error(connection: LedgerConnection, spool: int, name: str, problem: str) -> None:
    """Note that a file of intensities could not be read."""
    row = connection.execute(
        "SELECT accepted FROM intensity_files WHERE spool = ? AND name = ?", (spool, name)
    ).fetchone()
    accepted = row is not None and bool(row[0])
    file = IntensityFileRow(name, accepted, (_with_earlier(problem, accepted),))
    INTENSITY_FILES.insert(connection, file, spool)


def _with_earlier(problem: str, accepted: bool) -> str:
    return f"{problem}; its earlier content counts" if accepted else problem


_OF_RUNS = "SELECT spools.path, run_id, name FROM files JOIN runs USING (run) JOIN spools USING (spool)"
_OF_INTENSITIES = "SELECT spools.path, '', name FROM intensity_files JOIN spools USING (spool)"


def unreadable_in(new: sqlite3.Connection, old: sqlite3.Connection) -> list[UnreadFile]:
    """Files that count in the old ledger and could not be read for the new one.

    Where that is so of a run's document, it is so of all of its files; the document then comes first.
    """
    order = "ORDER BY run_id, name != 'run.json', name"
    counted = [
        *old.execute(f"{_OF_RUNS} WHERE files.accepted {order}"),
        *old.execute(f"{_OF_INTENSITIES} WHERE accepted ORDER BY name"),
    ]
    read = {
        UnreadFile(*row) for query in (_OF_RUNS, _OF_INTENSITIES) for row in new.execute(f"{query} WHERE size NOT NULL")
    }
    return [file for row in counted if (file := UnreadFile(*row)) not in read]
