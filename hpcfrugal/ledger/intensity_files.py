"""The grid's carbon intensity in the ledger: read from the spool's files, as the runs are.

A file is read whole where it changed. Its rows depend on it alone, so a rebuilt ledger has the same. What has vanished
from the spool keeps its rows.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.due import mark_revised
from hpcfrugal.ledger.file_rows import IntensityFileRow, IntensityRow
from hpcfrugal.ledger.spool_files import changed_files, known_row, missing_files, name_in_spool, read_spool_file
from hpcfrugal.ledger.tables import INTENSITIES, INTENSITY_FILES
from hpcfrugal.spool.intensity import intensity_dir, intensity_files, read_intensities
from hpcfrugal.spool.layout import INTENSITY_DIR


def take_intensities(connection: LedgerConnection, spool: int, spool_root: Path, skipped: list[str]) -> int:
    """Read the files of intensities that changed, inside the caller's transaction; returns how many."""
    paths = intensity_files(spool_root, lambda path, reason: skipped.append(f"{path}: {reason}"))
    if not paths:
        return 0
    owner_uid = os.lstat(intensity_dir(spool_root)).st_uid
    changed = list(changed_files(connection, INTENSITY_FILES, spool, paths))
    for path, status in changed:
        _take(connection, spool, path, status, owner_uid)
    return len(changed)


def _take(connection: LedgerConnection, spool: int, path: Path, status: os.stat_result, owner_uid: int) -> None:
    name = name_in_spool(path)
    known = known_row(connection, INTENSITY_FILES, spool, name, otherwise=IntensityFileRow(name))
    found = read_spool_file(path, status, owner_uid, known.read, read_intensities)
    file = INTENSITY_FILES.insert(connection, IntensityFileRow(name, found.read), spool)
    if not found.keep:
        content = found.content
        rows = [] if content is None else [IntensityRow(content.source, known) for known in content.intervals]
        _replace(connection, file, rows)


def _replace(connection: LedgerConnection, file: int, rows: Sequence[IntensityRow]) -> None:
    """Put these figures in place of those that the ledger has of a file; the jobs at the times of new ones are due."""
    before = {_figure(row) for _, row in INTENSITIES.rows_of(connection, str(file))}
    INTENSITIES.delete(connection, file)
    INTENSITIES.insert_all(connection, rows, file)
    revised: dict[str, list[IntensityRow]] = {}
    for row in before.symmetric_difference(map(_figure, rows)):
        if row.source.signal == "average":
            revised.setdefault(row.source.zone, []).append(row)
    for zone, some in revised.items():
        mark_revised(connection, zone, min(row.known.start_ns for row in some), max(row.known.end_ns for row in some))


def _figure(row: IntensityRow) -> IntensityRow:
    """A figure without when it was fetched."""
    return replace(row, known=replace(row.known, fetched_ns=0, issued_ns=None))


def missing_intensities(connection: sqlite3.Connection, spool: int | None, spool_root: Path) -> list[str]:
    """The files of intensities that count in the ledger and are not in the spool."""
    return missing_files(connection, INTENSITY_FILES, spool, intensity_files(spool_root), INTENSITY_DIR)


def intensities_changed(connection: sqlite3.Connection, spool: int | None, spool_root: Path) -> bool:
    """Whether a sync would read any file of intensities."""
    return next(changed_files(connection, INTENSITY_FILES, spool, intensity_files(spool_root)), None) is not None
