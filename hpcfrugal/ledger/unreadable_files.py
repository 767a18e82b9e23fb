"""Files of the spool that cannot be read at the moment: their rows stay, and a new ledger lacks them.

An I/O error of a disk or a file server does not change what is in a file. Such a file has no size in the
ledger, so the next sync tries it again, and a ledger that lacks it can be compared with one that has it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from hpcfrugal.ledger.run_files import every_run_file
from hpcfrugal.spool.layout import ACCOUNTING_DIR, AGENTS_DIR, CLUSTERS_DIR, INTENSITY_DIR


class UnreadFile(NamedTuple):
    """A file of a run; the run id of one of intensities, of accounting, of a cluster or of an agent is empty."""

    run_id: str
    name: str

    def __str__(self) -> str:
        return f"{self.run_id}/{self.name}" if self.run_id else self.name


_BESIDE_RUNS = f"""
SELECT '{INTENSITY_DIR}/' || name, accepted, size NOT NULL FROM intensity_files
UNION ALL SELECT '{ACCOUNTING_DIR}/' || name, accepted, size NOT NULL FROM accounting_files
UNION ALL SELECT '{CLUSTERS_DIR}/' || name, accepted, size NOT NULL FROM cluster_files
UNION ALL SELECT '{AGENTS_DIR}/' || name, accepted, size NOT NULL FROM agent_files
"""


def unreadable_in(new: sqlite3.Connection, old: sqlite3.Connection) -> list[UnreadFile]:
    """Files that count in the old ledger and could not be read for the new one.

    Where that is so of a run's document, it is so of all of its files; the document then comes first.
    """
    counted = [file for file, accepted, _ in _files(old) if accepted]
    read = {file for file, _, was_read in _files(new) if was_read}
    lost = [file for file in counted if file not in read]
    return sorted(lost, key=lambda file: (file.run_id == "", file.run_id, file.name != "run.json", file.name))


def _files(connection: sqlite3.Connection) -> Iterator[tuple[UnreadFile, bool, bool]]:
    """Every file, whether it counts, and whether it was read."""
    cursor = connection.cursor()
    cursor.row_factory = None
    for run in every_run_file(connection):
        yield UnreadFile(run.run_id, run.row.name), run.row.read.accepted, run.sealed or run.row.read.size is not None
    for name, accepted, was_read in cursor.execute(_BESIDE_RUNS):
        yield UnreadFile("", name), bool(accepted), bool(was_read)
