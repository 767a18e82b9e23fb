"""The spools that a ledger was filled from, each by the path that it has without links."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

from hpcfrugal.core.errors import DataError, SetupError
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.text import clean_text
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.rows import SpoolRow
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.tables import SPOOLS
from hpcfrugal.spool.layout import ACCOUNTING_DIR, RunDir
from hpcfrugal.spool.used_spools import noted_spools


@dataclass(frozen=True, slots=True)
class LedgerSpool:
    """A spool to fill a ledger from; ``user`` is as in ``SpoolRow``."""

    path: Path
    user: str | None = None


def path_of(spool_root: Path) -> str:
    """The path of a spool as the ledger has it."""
    return clean_text(os.path.realpath(spool_root))


def key_of(connection: sqlite3.Connection, spool_root: Path, user: str | None = None) -> int | None:
    """The key of a spool, ``user`` as in ``SpoolRow``; None where the ledger has none of it. One that was moved keeps
    its key."""
    row = connection.execute("SELECT spool FROM spools WHERE path = ?", (path_of(spool_root),)).fetchone()
    return int(row[0]) if row is not None else _moved_from(connection, spool_root, user)


def _moved_from(connection: sqlite3.Connection, spool_root: Path, user: str | None) -> int | None:
    """The spool that ``spool_root`` was before it was moved: its path is gone, it was the same user's, and its newest
    run is here, or its newest text of sacct, whose name has the time at which Slurm was asked: a site's spool may have
    no runs."""
    rows = connection.execute(
        "SELECT spool, path, (SELECT max(run_id) FROM runs WHERE runs.spool = spools.spool),"
        " (SELECT max(name) FROM accounting_files AS texts WHERE texts.spool = spools.spool) FROM spools"
        " LEFT JOIN texts AS users ON users.text = spools.user WHERE users.name IS ? ORDER BY spool",
        (user,),
    ).fetchall()
    for spool, path, run_id, text in rows:
        if os.path.isdir(path):
            continue
        if (run_id is not None and RunDir.of(spool_root, run_id).path.is_dir()) or (
            text is not None and (spool_root / ACCOUNTING_DIR / text).is_file()
        ):
            return int(spool)
    return None


def key_for(connection: LedgerConnection, spool: LedgerSpool) -> int:
    """The key of a spool, whose row is made where it is missing, inside the caller's transaction."""
    known, path = key_of(connection, spool.path, spool.user), path_of(spool.path)
    connection.execute("UPDATE spools SET path = ? WHERE spool = ? AND path != ?", (path, known, path))
    if known is None or spool.user is not None:
        return SPOOLS.insert(connection, SpoolRow(path, spool.user))
    return known


def spools_of(ledger_path: Path, spool_root: Path) -> list[LedgerSpool]:
    """``spool_root`` first, and the other spools that the ledger was filled from. A damaged ledger names none."""
    try:
        with open_ledger(ledger_path, older=True) as connection:
            known = key_of(connection, spool_root)
            rows = connection.execute(
                "SELECT path, texts.name FROM spools LEFT JOIN texts ON texts.text = spools.user"
                " WHERE spool IS NOT ? ORDER BY spools.user NOT NULL, spool",
                (known,),
            )
            others = [LedgerSpool(Path(path), user) for path, user in rows]
    except (DataError, SetupError):
        others = []
    return [LedgerSpool(spool_root), *others]


def spools_to_rebuild_from(ledger_path: Path, spool_root: Path) -> list[LedgerSpool]:
    """``spools_of``, and those of this user that jobs were put into: the ledger may have been deleted."""
    found = spools_of(ledger_path, spool_root)
    known = {path_of(spool.path) for spool in found}
    return [
        *found,
        *(LedgerSpool(path) for path in noted_spools(ledger_path) if path_of(path) not in known and _is_own(path)),
    ]


def own_spools(ledger_path: Path, spool_root: Path) -> list[Path]:
    """``spool_root`` first, and the other folders of this user that the ledger was filled from, or that jobs were put
    into, such as the spool before another one was set; not those of a site's users."""
    others = [spool.path for spool in spools_of(ledger_path, spool_root)[1:] if spool.user is None]
    every: dict[str, Path] = {}
    for path in (spool_root, *others, *noted_spools(ledger_path)):
        every.setdefault(path_of(path), path)
    return [path for path in every.values() if path == spool_root or _is_own(path)]


def _is_own(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
