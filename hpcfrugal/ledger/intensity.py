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
from hpcfrugal.ledger.rows import FILE_STATES, FILES, INTENSITIES, FileRow, FileStateRow, IntensityRow
from hpcfrugal.ledger.unreadable_files import note_read_error
from hpcfrugal.spool.intensity import intensity_dir, intensity_files, read_intensities
from hpcfrugal.spool.layout import INTENSITY_DIR

OWNER = INTENSITY_DIR
"""In place of a run id in ``files`` and ``file_states``; no run id has this form."""


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _states(paths: Sequence[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    for path in paths:
        try:
            yield path, path.lstat()
        except FileNotFoundError:
            continue


def _changed(connection: sqlite3.Connection, paths: Sequence[Path]) -> list[tuple[Path, os.stat_result]]:
    rows = connection.execute("SELECT name, size, mtime_ns, inode FROM file_states WHERE run_id = ?", (OWNER,))
    known = {name: FileState(size, mtime_ns, inode) for name, size, mtime_ns, inode in rows}
    return [(path, status) for path, status in _states(paths) if known.get(_name(path)) != FileState.of(status)]


def take_intensities(connection: sqlite3.Connection, spool_root: Path, skipped: list[str]) -> int:
    """Read the files of intensities that changed, inside the caller's transaction; returns how many."""
    paths = intensity_files(spool_root, lambda path, reason: skipped.append(f"{path}: {reason}"))
    if not paths:
        return 0
    owner_uid = os.lstat(intensity_dir(spool_root)).st_uid
    changed = _changed(connection, paths)
    for path, status in changed:
        _take(connection, path, status, owner_uid)
    return len(changed)


def _take(connection: sqlite3.Connection, path: Path, status: os.stat_result, owner_uid: int) -> None:
    name, state = _name(path), FileState.of(status)
    problems: tuple[str, ...] = ()
    file_row = FileRow(OWNER, name, "intensity")
    try:
        reason = refusal(status, owner_uid)
        if reason is not None:
            raise UnsafeFile(reason)
        file, state = read_intensities(path, owner_uid)
        connection.execute("DELETE FROM intensity WHERE file = ?", (name,))
        INTENSITIES.insert_all(connection, (IntensityRow(file.source, known, name) for known in file.intervals))
    except Unreadable as unreadable:
        note_read_error(connection, file_row, str(unreadable))
        return
    except UnsafeFile as refused:
        connection.execute("DELETE FROM intensity WHERE file = ?", (name,))
        problems = (str(refused),)
    FILES.insert(connection, replace(file_row, accepted=not problems, problems=problems))
    FILE_STATES.insert(connection, assemble(FileStateRow, state, run_id=OWNER, name=name))


def missing_intensities(connection: sqlite3.Connection, spool_root: Path) -> list[str]:
    """The files of intensities that count in the ledger and are not in the spool."""
    there = {_name(path) for path in intensity_files(spool_root)}
    rows = connection.execute("SELECT name FROM files WHERE run_id = ? AND accepted ORDER BY name", (OWNER,))
    return [f"{OWNER}/{name}" for (name,) in rows if name not in there]


def intensities_changed(connection: sqlite3.Connection, spool_root: Path) -> bool:
    """Whether a sync would read any file of intensities."""
    return bool(_changed(connection, intensity_files(spool_root)))


def intensity_providers(connection: sqlite3.Connection, zone: str, signal: str) -> list[str]:
    """The providers with figures of a zone, in order."""
    rows = connection.execute(
        "SELECT DISTINCT provider FROM intensity WHERE zone = ? AND signal = ? ORDER BY provider", (zone, signal)
    )
    return [provider for (provider,) in rows]


def settled_gaps(connection: sqlite3.Connection, zone: str, signal: str, provider: str) -> list[tuple[int, int]]:
    """Times for which a provider has no figure and will have none, in order."""
    rows = connection.execute(
        "SELECT start_ns, end_ns FROM intensity WHERE zone = ? AND signal = ? AND provider = ?"
        " AND g_per_kwh IS NULL AND settled ORDER BY start_ns",
        (zone, signal, provider),
    )
    return [(start_ns, end_ns) for start_ns, end_ns in rows]


def intensities(connection: sqlite3.Connection, zone: str, signal: str, provider: str) -> list[IntensityLevel]:
    """All figures of one provider for a zone, in the order of time; a time without a figure is left out."""
    rows = connection.execute(
        "SELECT start_ns, end_ns, g_per_kwh, settled FROM intensity"
        " WHERE zone = ? AND signal = ? AND provider = ? AND g_per_kwh IS NOT NULL ORDER BY start_ns",
        (zone, signal, provider),
    )
    return [IntensityLevel(start_ns, end_ns, level, bool(settled)) for start_ns, end_ns, level, settled in rows]
