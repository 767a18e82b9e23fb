"""Files of a spool beside its runs: which of them have changed, which are gone, and what is known of each.

All are named ``<folder>/<file>`` in their table, and read whole.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.safe_read import FileState, Unreadable, UnsafeFile, check_usable
from hpcfrugal.ledger.file_rows import ReadState
from hpcfrugal.ledger.table import LedgerTable

_R = TypeVar("_R")
_C = TypeVar("_C")


def name_in_spool(path: Path) -> str:
    """How the ledger names a file."""
    return f"{path.parent.name}/{path.name}"


def changed_files(
    connection: sqlite3.Connection, table: LedgerTable[Any], spool: int | None, paths: Iterable[Path]
) -> Iterator[tuple[Path, os.stat_result]]:
    """The files that are to be read, with their status."""
    rows = connection.execute(
        f"SELECT name, size, mtime_ns, inode FROM {table.name} WHERE spool = ? AND size NOT NULL", (spool,)
    )
    known = {name: FileState(size, mtime_ns, inode) for name, size, mtime_ns, inode in rows}
    for path in paths:
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if known.get(name_in_spool(path)) != FileState.of(status):
            yield path, status


def missing_files(
    connection: sqlite3.Connection, table: LedgerTable[Any], spool: int | None, paths: Iterable[Path], folder: str
) -> list[str]:
    """The files that count in the ledger and are not among ``paths``, as below the spool."""
    there = set(map(name_in_spool, paths))
    rows = connection.execute(f"SELECT name FROM {table.name} WHERE spool = ? AND accepted ORDER BY name", (spool,))
    return [f"{folder}/{name}" for (name,) in rows if name not in there]


@dataclass(frozen=True, slots=True)
class WholeFile(Generic[_C]):
    """A file as a sync found it: its ``content``, None where it does not count, and the state for its row. With
    ``keep`` it cannot be read at the moment, and what the ledger has of it stays."""

    content: _C | None
    read: ReadState
    keep: bool = False


def read_spool_file(
    path: Path,
    status: os.stat_result,
    owner_uid: int,
    known: ReadState,
    read: Callable[[Path, int], tuple[_C, FileState]],
) -> WholeFile[_C]:
    """Read a file that has to be its owner's; ``known`` is its state in the ledger. ``read`` raises ``UnsafeFile``."""
    try:
        check_usable(status, owner_uid)
        content, state = read(path, owner_uid)
    except Unreadable as unreadable:
        return WholeFile(None, known.unreadable(str(unreadable)), keep=True)
    except UnsafeFile as refused:
        return WholeFile(None, ReadState.of(FileState.of(status), [str(refused)], accepted=False))
    return WholeFile(content, ReadState.of(state))


def known_row(connection: sqlite3.Connection, table: LedgerTable[_R], spool: int, name: str, *, otherwise: _R) -> _R:
    """The row of a file; ``otherwise`` where there is none yet."""
    rows = table.rows_of(connection, "?", (spool, name), more=f"{table.name}.name = ?")
    return next((row for _, row in rows), otherwise)
