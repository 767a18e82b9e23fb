"""Files of node agents that several processes read, on one machine or many: Parquet files of the ledger's rows.

Each process reads some files and leaves a folder with a file for each table of the ledger. One process then puts the
rows into the ledger, as if it had read the files itself.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from hpcfrugal.core.safe_read import UnsafeFile
from hpcfrugal.ledger.agent_files import ChangedAgentFile, files_to_read_whole, put_rows, rows_of_file
from hpcfrugal.ledger.agent_rows import AgentFileRows, SessionRows
from hpcfrugal.ledger.connection import transaction
from hpcfrugal.ledger.spools import LedgerSpool, key_for
from hpcfrugal.ledger.store import BUSY_TIMEOUT_S, lock, open_ledger
from hpcfrugal.ledger.sync import same_derivation
from hpcfrugal.ledger.table import LedgerTable
from hpcfrugal.ledger.tables import AGENT_FILES, AGENT_JOBS, AGENT_SESSIONS, NODE_CHANNELS

_FILE = "file_number"
"""The column that rows of one file have in common."""

_TABLES: tuple[LedgerTable[Any], ...] = (AGENT_FILES, AGENT_SESSIONS, NODE_CHANNELS, AGENT_JOBS)


class FileToRead(NamedTuple):
    """A file of an agent by its path, with what its row needs; made of plain values for other machines."""

    path: str
    name: str
    node: str
    day: str
    keeps_place: bool


def agent_files_to_read(ledger: Path, spool_root: Path) -> list[FileToRead]:
    """The files that the next sync would read from their beginning. Raises as ``open_ledger``."""
    with lock(ledger), open_ledger(ledger, write=True) as connection:
        same_derivation(connection, anew=False)
        with transaction(connection):
            spool = key_for(connection, LedgerSpool(spool_root))
        found = files_to_read_whole(connection, spool, spool_root)
    return [FileToRead(str(one.path), one.name, one.node, one.day.isoformat(), one.keeps_place) for one in found]


def read_part(files: Sequence[FileToRead], owner_uid: int, folder: str) -> int:
    """Read files and leave their rows in ``folder``, which appears when it is whole; returns how many were read. Those
    that do not count are left to the sync."""
    found: list[AgentFileRows] = []
    for file in files:
        path = Path(file.path)
        try:
            one = ChangedAgentFile(
                file.name, file.node, date.fromisoformat(file.day), path, path.lstat(), file.keeps_place
            )
            found.append(rows_of_file(one, owner_uid))
        except (OSError, UnsafeFile):
            continue
    _write_tables(found, Path(folder))
    return len(found)


def _write_tables(found: Sequence[AgentFileRows], folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: dict[str, list[list[Any]]] = {table.name: [] for table in _TABLES}
    for number, one in enumerate(found):
        rows[AGENT_FILES.name].append([number, *AGENT_FILES.codec.row(one.file)])
        for session in one.sessions:
            rows[AGENT_SESSIONS.name].append([number, *AGENT_SESSIONS.codec.row(session.session)])
            rows[NODE_CHANNELS.name] += ([number, *NODE_CHANNELS.codec.row(each)] for each in session.channels)
            rows[AGENT_JOBS.name] += ([number, *AGENT_JOBS.codec.row(each)] for each in session.jobs)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as temporary:
        made = Path(temporary) / "new"
        made.mkdir(mode=0o700)
        for table in _TABLES:
            names = [_FILE, *table.codec.columns]
            columns = list(zip(*rows[table.name], strict=True)) or [()] * len(names)
            pq.write_table(
                pa.table([pa.array(column) for column in columns], names=names), made / f"{table.name}.parquet"
            )
        os.rename(made, folder)


def _read_tables(folder: Path) -> Iterator[AgentFileRows]:
    import pyarrow.parquet as pq

    by_file: dict[str, Mapping[int, list[Any]]] = {}
    for table in _TABLES:
        stored = pq.ParquetFile(folder / f"{table.name}.parquet").read()
        numbers, *columns = (stored.column(name).to_pylist() for name in [_FILE, *table.codec.columns])
        found: dict[int, list[Any]] = {}
        for number, *row in zip(numbers, *columns, strict=True):
            found.setdefault(number, []).append(table.codec.of_row(row))
        by_file[table.name] = found
    for number, (file,) in by_file[AGENT_FILES.name].items():
        channels = by_file[NODE_CHANNELS.name].get(number, ())
        jobs = by_file[AGENT_JOBS.name].get(number, ())
        sessions = [
            SessionRows(
                session,
                [one for one in channels if one.session == session.session],
                [one for one in jobs if one.session == session.session],
            )
            for session in by_file[AGENT_SESSIONS.name].get(number, ())
        ]
        yield AgentFileRows(file, sessions)


def take_part(ledger: Path, spool_root: Path, folder: Path) -> int:
    """Put what ``read_part`` left into the ledger, in one transaction; returns the number of files. Raises as
    ``open_ledger``."""
    taken = 0
    with lock(ledger), open_ledger(ledger, write=True, timeout_s=BUSY_TIMEOUT_S) as connection, transaction(connection):
        spool = key_for(connection, LedgerSpool(spool_root))
        for rows in _read_tables(folder):
            put_rows(connection, spool, rows)
            taken += 1
    return taken
