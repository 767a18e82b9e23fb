"""The grid's carbon intensity in the ledger: read from the spool's files, as the runs are, and looked up by time.

A file is read whole where it changed. Its rows depend on it alone, so a rebuilt ledger has the same. What has vanished
from the spool keeps its rows.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hpcfrugal.accounting.footprint import IntensityLevel
from hpcfrugal.core.record import assemble
from hpcfrugal.core.safe_read import FileState, Unreadable, UnsafeFile, refusal
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.due import mark_revised
from hpcfrugal.ledger.rows import IntensityFileRow, IntensityRow
from hpcfrugal.ledger.tables import INTENSITIES, INTENSITY_FILES
from hpcfrugal.ledger.unreadable_files import note_intensity_error
from hpcfrugal.spool.intensity import intensity_dir, intensity_files, read_intensities
from hpcfrugal.spool.layout import INTENSITY_DIR


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _states(paths: Sequence[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    for path in paths:
        try:
            yield path, path.lstat()
        except FileNotFoundError:
            continue


def _changed(
    connection: sqlite3.Connection, spool: int | None, paths: Sequence[Path]
) -> list[tuple[Path, os.stat_result]]:
    rows = connection.execute(
        "SELECT name, size, mtime_ns, inode FROM intensity_files WHERE spool = ? AND size NOT NULL", (spool,)
    )
    known = {name: FileState(size, mtime_ns, inode) for name, size, mtime_ns, inode in rows}
    return [(path, status) for path, status in _states(paths) if known.get(_name(path)) != FileState.of(status)]


def take_intensities(connection: LedgerConnection, spool: int, spool_root: Path, skipped: list[str]) -> int:
    """Read the files of intensities that changed, inside the caller's transaction; returns how many."""
    paths = intensity_files(spool_root, lambda path, reason: skipped.append(f"{path}: {reason}"))
    if not paths:
        return 0
    owner_uid = os.lstat(intensity_dir(spool_root)).st_uid
    changed = _changed(connection, spool, paths)
    for path, status in changed:
        _take(connection, spool, path, status, owner_uid)
    return len(changed)


def _take(connection: LedgerConnection, spool: int, path: Path, status: os.stat_result, owner_uid: int) -> None:
    name = _name(path)
    try:
        reason = refusal(status, owner_uid)
        if reason is not None:
            raise UnsafeFile(reason)
        content, state = read_intensities(path, owner_uid)
    except Unreadable as unreadable:
        note_intensity_error(connection, spool, name, str(unreadable))
        return
    except UnsafeFile as refused:
        row = assemble(IntensityFileRow, FileState.of(status), name=name, accepted=False, problems=(str(refused),))
        _replace(connection, INTENSITY_FILES.insert(connection, row, spool), [])
        return
    row = assemble(IntensityFileRow, state, name=name, accepted=True, problems=())
    file = INTENSITY_FILES.insert(connection, row, spool)
    _replace(connection, file, [IntensityRow(content.source, known) for known in content.intervals])


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
    there = {_name(path) for path in intensity_files(spool_root)}
    rows = connection.execute("SELECT name FROM intensity_files WHERE spool = ? AND accepted ORDER BY name", (spool,))
    return [f"{INTENSITY_DIR}/{name}" for (name,) in rows if name not in there]


def intensities_changed(connection: sqlite3.Connection, spool: int | None, spool_root: Path) -> bool:
    """Whether a sync would read any file of intensities."""
    return bool(_changed(connection, spool, intensity_files(spool_root)))


def intensity_providers(connection: sqlite3.Connection, zone: str, signal: str) -> list[str]:
    """The providers with figures of a zone, in order."""
    rows = connection.execute(
        "SELECT DISTINCT provider FROM intensity WHERE zone = ? AND signal = ? ORDER BY provider", (zone, signal)
    )
    return [provider for (provider,) in rows]


_BEST = """
SELECT start_ns, end_ns, g_per_kwh, settled, estimated_by, row_number() OVER (
    PARTITION BY start_ns ORDER BY settled DESC, fetched_ns DESC, g_per_kwh, end_ns
) AS place FROM intensity WHERE zone = ? AND signal = ? AND provider = ?
"""
"""The figures of a provider. Two spools may each have one for a time: a settled one counts, else the newest."""


def settled_gaps(connection: sqlite3.Connection, zone: str, signal: str, provider: str) -> list[tuple[int, int]]:
    """Times for which a provider has no figure and will have none, in order."""
    rows = connection.execute(
        f"SELECT start_ns, end_ns FROM ({_BEST}) WHERE place = 1 AND g_per_kwh IS NULL AND settled ORDER BY start_ns",
        (zone, signal, provider),
    )
    return [(start_ns, end_ns) for start_ns, end_ns in rows]


def intensities(connection: sqlite3.Connection, zone: str, signal: str, provider: str) -> list[IntensityLevel]:
    """All figures of one provider for a zone, in the order of time; a time without a figure is left out."""
    rows = connection.execute(
        f"SELECT start_ns, end_ns, g_per_kwh, settled, estimated_by FROM ({_BEST})"
        " WHERE place = 1 AND g_per_kwh IS NOT NULL ORDER BY start_ns",
        (zone, signal, provider),
    )
    return [
        IntensityLevel(start_ns, end_ns, level, bool(settled), "actual" if method is None else "estimated")
        for start_ns, end_ns, level, settled, method in rows
    ]
