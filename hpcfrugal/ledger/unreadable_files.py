"""Files of the spool that cannot be read at the moment: their rows stay, and a new ledger lacks them.

An I/O error of a disk or a file server does not change what is in a file. Such a file has no row in ``file_states``, so
the next sync tries it again, and a ledger that lacks it can be compared with one that has it.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

from hpcfrugal.ledger.rows import FILES, FileRow


def note_read_error(connection: sqlite3.Connection, file: FileRow, problem: str) -> None:
    """Note that a file could not be read; ``file`` is what its name says of it."""
    key = (file.run_id, file.name)
    before = connection.execute("SELECT accepted FROM files WHERE run_id = ? AND name = ?", key).fetchone()
    if before is None:
        FILES.insert(connection, replace(file, problems=(problem,)))
    else:
        problems = [f"{problem}; its earlier content counts" if before["accepted"] else problem]
        connection.execute("UPDATE files SET problems = ? WHERE run_id = ? AND name = ?", (json.dumps(problems), *key))
    connection.execute("DELETE FROM file_states WHERE run_id = ? AND name = ?", key)


def unreadable_in(new: sqlite3.Connection, old: sqlite3.Connection) -> list[tuple[str, str]]:
    """Files (run id, name) that count in the old ledger and could not be read for the new one.

    Where that is so of a run's document, it is so of all of its files; the document then comes first.
    """
    rows = old.execute("SELECT run_id, name FROM files WHERE accepted ORDER BY run_id, kind != 'run', name")
    read = {(run_id, name) for run_id, name in new.execute("SELECT run_id, name FROM file_states")}
    return [(run_id, name) for run_id, name in rows if (run_id, name) not in read]
