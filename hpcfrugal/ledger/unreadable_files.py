"""Files of the spool that could not be read just now: what the ledger has of them stays, and a new one lacks it.

That a disk or a file server is not well at the moment says nothing about what is in a file. Such a file has no row in
``file_states``, so the next sync tries it again, and two ledgers can be told apart that differ by no more than that.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from hpcfrugal.ledger.jobs import insert


def note_unread(connection: sqlite3.Connection, known: Mapping[str, Any], problem: str) -> None:
    """Note that a file could not be read; ``known`` are the columns of ``files`` that its name tells."""
    key = (known["run_id"], known["name"])
    before = connection.execute("SELECT accepted FROM files WHERE run_id = ? AND name = ?", key).fetchone()
    if before is None:
        insert(connection, "files", {**known, "accepted": 0, "problems": json.dumps([problem])})
    else:
        said = [f"{problem}; what it said before counts" if before["accepted"] else problem]
        connection.execute("UPDATE files SET problems = ? WHERE run_id = ? AND name = ?", (json.dumps(said), *key))
    connection.execute("DELETE FROM file_states WHERE run_id = ? AND name = ?", key)


def lacking(old: sqlite3.Connection, new: sqlite3.Connection) -> list[tuple[str, str]]:
    """Files (run id, name) that count in one ledger and that another, made from the spool since, could not read.

    Where that is so of a run's document, it is so of all of its files; the document then comes first.
    """
    rows = old.execute("SELECT run_id, name FROM files WHERE accepted ORDER BY run_id, kind != 'run', name")
    read = {(run_id, name) for run_id, name in new.execute("SELECT run_id, name FROM file_states")}
    return [(run_id, name) for run_id, name in rows if (run_id, name) not in read]
