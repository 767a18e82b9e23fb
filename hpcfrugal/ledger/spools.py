"""The spools that a ledger was filled from, each by the path that it has without links."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from hpcfrugal.core.errors import DataError, SetupError
from hpcfrugal.core.text import clean_text
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.rows import SPOOLS, SpoolRow
from hpcfrugal.ledger.store import open_ledger


def path_of(spool_root: Path) -> str:
    """The path of a spool as the ledger has it."""
    return clean_text(os.path.realpath(spool_root))


def key_of(connection: sqlite3.Connection, spool_root: Path) -> int | None:
    """The key of a spool; None where the ledger has none of it."""
    row = connection.execute("SELECT spool FROM spools WHERE path = ?", (path_of(spool_root),)).fetchone()
    return None if row is None else int(row[0])


def key_for(connection: LedgerConnection, spool_root: Path) -> int:
    """The key of a spool, whose row is made where it is missing, inside the caller's transaction."""
    known = key_of(connection, spool_root)
    return known if known is not None else SPOOLS.insert(connection, SpoolRow(path_of(spool_root)))


def spools_of(ledger_path: Path, spool_root: Path) -> list[Path]:
    """``spool_root``, and the other spools that the ledger was filled from. A damaged ledger names none."""
    try:
        with open_ledger(ledger_path, older=True) as connection:
            paths = [str(path) for (path,) in connection.execute("SELECT path FROM spools ORDER BY spool")]
    except (DataError, SetupError):
        paths = []
    return [spool_root, *(Path(path) for path in paths if path != path_of(spool_root))]
