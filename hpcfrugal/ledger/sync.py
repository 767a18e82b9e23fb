"""Bringing the ledger up to date with the spool, building it anew, checking it and writing it out."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcfrugal.core.errors import DataError, SetupError
from hpcfrugal.ledger.clocks import skews
from hpcfrugal.ledger.ingest import accepted_names, changes_of, ingest
from hpcfrugal.ledger.intensity import OWNER, intensities_changed, missing_intensities, take_intensities
from hpcfrugal.ledger.rows import CONTENT_TABLES, INTENSITIES, META, MetaRow
from hpcfrugal.ledger.store import (
    BUSY_TIMEOUT_S,
    lock,
    open_ledger,
    refuse_foreign,
    sqlite_errors,
    transaction,
)
from hpcfrugal.ledger.unreadable_files import unreadable_in
from hpcfrugal.spool import RunDir, iter_runs

Progress = Callable[[int, int], None]
"""Called with (runs done, runs in all)."""

DERIVATION = "7"
"""Version of what is derived from a file. A ledger with another one is read again from the spool at the next sync."""

_RUNS_PER_TRANSACTION = 64


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a sync found and did.

    ``vanished``: runs in the ledger that the spool no longer holds; their rows stay. ``vanished_files``: files
    of other runs (``run_id/name``) of which the same is true. ``skipped``: entries of the spool that could not
    be read, with the reason. ``problem_files``: files in the ledger with a problem. ``skewed``: nodes of jobs
    whose clock disagrees with Slurm's.
    """

    runs: int
    runs_changed: int
    files_read: int
    vanished: tuple[str, ...]
    vanished_files: tuple[str, ...]
    skipped: tuple[str, ...]
    problem_files: int
    skewed: int = 0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found. ``damage`` is SQLite's own finding, ``differences`` lines of the two dumps.

    ``not_synced``: runs with files that are new or have changed since the last sync. These, and runs that are in
    ``vanished`` or have files in ``vanished_files`` or files that cannot be read now, which are in ``skipped``, are not
    compared; nor are intensities to which the same applies.
    """

    damage: tuple[str, ...]
    problems: tuple[str, ...]
    skipped: tuple[str, ...]
    vanished: tuple[str, ...]
    vanished_files: tuple[str, ...]
    not_synced: tuple[str, ...]
    differences: tuple[str, ...]


def sync(
    spool_root: Path,
    ledger_path: Path,
    progress: Progress | None = None,
    on_wait: Callable[[], None] | None = None,
    wait_s: float = BUSY_TIMEOUT_S,
) -> SyncResult:
    """Read what is new in the spool. A second sync waits for the first, up to ``wait_s``; ``on_wait`` is called then.

    Raises ``DataError`` where the ledger is damaged, ``SetupError`` where it cannot be opened or written.
    """
    with lock(ledger_path, on_wait, wait_s):
        return _fill(spool_root, ledger_path, progress, wait_s)


def sync_intensities(
    spool_root: Path,
    ledger_path: Path,
    on_wait: Callable[[], None] | None = None,
    wait_s: float = BUSY_TIMEOUT_S,
) -> int:
    """Read what is new of the grid's intensities alone; returns how many files were read. Raises as ``sync``."""
    with (
        lock(ledger_path, on_wait, wait_s),
        open_ledger(ledger_path, write=True, timeout_s=wait_s) as connection,
        transaction(connection),
    ):
        return take_intensities(connection, spool_root, [])


def _fill(spool_root: Path, ledger_path: Path, progress: Progress | None, wait_s: float = BUSY_TIMEOUT_S) -> SyncResult:
    skipped: list[str] = []
    runs = list(iter_runs(spool_root, lambda path, reason: skipped.append(f"{path}: {reason}")))
    missing: list[str] = []
    changed = files_read = 0
    with open_ledger(ledger_path, write=True, timeout_s=wait_s) as connection:
        _same_derivation(connection)
        for start in range(0, len(runs), _RUNS_PER_TRANSACTION):
            chunk = runs[start : start + _RUNS_PER_TRANSACTION]
            due = [run for run in chunk if _is_due(connection, run, skipped, missing)]
            if due:
                with transaction(connection):
                    for run in due:
                        files_read += _ingest(connection, run, skipped)
            changed += len(due)
            if progress is not None:
                progress(start + len(chunk), len(runs))
        with transaction(connection):
            files_read += take_intensities(connection, spool_root, skipped)
        missing += missing_intensities(connection, spool_root)
        return SyncResult(
            runs=len(runs),
            runs_changed=changed,
            files_read=files_read,
            vanished=_vanished(connection, runs),
            vanished_files=tuple(missing),
            skipped=tuple(skipped),
            problem_files=_count(connection, "SELECT count(*) FROM files WHERE problems != '[]'"),
            skewed=sum(1 for _ in skews(connection)),
        )


def _same_derivation(connection: sqlite3.Connection) -> None:
    if _is_derived_now(connection):
        return
    with transaction(connection):
        connection.execute("DELETE FROM file_states")
        META.insert(connection, MetaRow("derivation", DERIVATION))


def _is_derived_now(connection: sqlite3.Connection) -> bool:
    """Whether this version of the program would make the same rows of the same files."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'derivation'").fetchone()
    return row is not None and bool(row["value"] == DERIVATION)


def _is_due(connection: sqlite3.Connection, run: RunDir, skipped: list[str], missing: list[str]) -> bool:
    try:
        found = changes_of(connection, run)
    except OSError as error:
        skipped.append(f"{run.path}: cannot be read: {error.strerror}")
        return False
    missing.extend(f"{run.run_id}/{name}" for name in found.missing)
    return found.changed


def _ingest(connection: sqlite3.Connection, run: RunDir, skipped: list[str]) -> int:
    """One run in a savepoint of its own, so that one that fails leaves nothing half done."""
    connection.execute("SAVEPOINT run")
    try:
        files_read = ingest(connection, run)
    except (OSError, OverflowError) as error:
        connection.execute("ROLLBACK TO run")
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else "holds a number too large"
        skipped.append(f"{run.path}: {reason}")
        files_read = 0
    connection.execute("RELEASE run")
    return files_read


def _vanished(connection: sqlite3.Connection, runs: Sequence[RunDir]) -> tuple[str, ...]:
    there = {run.run_id for run in runs}
    known = [run_id for (run_id,) in connection.execute("SELECT run_id FROM runs ORDER BY run_id")]
    return tuple(run_id for run_id in known if run_id not in there)


def _vanished_files(connection: sqlite3.Connection, runs: Sequence[RunDir], spool_root: Path) -> tuple[str, ...]:
    """Files that count in the ledger and are not in the spool; all of a run whose directory cannot be listed."""
    missing: list[str] = []
    for run in runs:
        try:
            names: Sequence[str] = changes_of(connection, run).missing
        except OSError:
            names = accepted_names(connection, run.run_id)
        missing.extend(f"{run.run_id}/{name}" for name in names)
    return (*missing, *missing_intensities(connection, spool_root))


def _not_synced(connection: sqlite3.Connection, runs: Sequence[RunDir]) -> tuple[str, ...]:
    """Runs of which a sync would read files; all where another version of the program has read them."""
    if not _is_derived_now(connection):
        return tuple(run.run_id for run in runs)
    return tuple(run.run_id for run in runs if _is_due(connection, run, [], []))


def _count(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def rebuild(
    spool_root: Path,
    ledger_path: Path,
    progress: Progress | None = None,
    on_wait: Callable[[], None] | None = None,
    *,
    drop_vanished: bool = False,
) -> SyncResult:
    """Build the ledger from nothing beside the old one and put it in its place in one step.

    Raises ``DataError`` where the old ledger holds runs or files that the spool no longer has, or of which a file
    cannot be read now, unless ``drop_vanished``; the old ledger then stays as it is. A damaged old ledger is replaced
    without this check: it cannot be read.
    """
    refuse_foreign(ledger_path)
    ledger_path = Path(os.path.realpath(ledger_path))  # a link stays one, and leads to the new ledger
    with lock(ledger_path, on_wait):
        if not drop_vanished:
            _refuse_loss(spool_root, ledger_path)
        pattern = f".{ledger_path.name}.*.rebuild*"
        for stale in ledger_path.parent.glob(pattern):
            stale.unlink(missing_ok=True)
        temp = ledger_path.with_name(f".{ledger_path.name}.{os.getpid()}.rebuild")
        try:
            result = _fill(spool_root, temp, progress)
            with sqlite_errors(temp), open_ledger(temp) as connection:
                connection.execute("PRAGMA query_only = OFF")
                connection.execute("PRAGMA journal_mode = delete").fetchone()
            if not drop_vanished:
                _refuse_lack(ledger_path, temp)
            _replace(temp, ledger_path)
        finally:
            for stale in ledger_path.parent.glob(pattern):
                stale.unlink(missing_ok=True)
        return result


def _refuse_loss(spool_root: Path, ledger_path: Path) -> None:
    runs = list(iter_runs(spool_root))
    try:
        with open_ledger(ledger_path, older=True) as connection:
            vanished, files = _vanished(connection, runs), _vanished_files(connection, runs, spool_root)
    except (DataError, SetupError):
        return
    counts = ((len(vanished), "runs"), (len(files), "files of runs that are there"))
    lost = [f"{what}: {number}" for number, what in counts if number]
    if lost:
        raise DataError(
            f"what the ledger holds and the spool {spool_root} no longer does would be lost: {', '.join(lost)}",
            hint="bring them back, or drop them with `hpcfrugal ledger rebuild --drop-vanished`",
        )


def _refuse_lack(ledger_path: Path, temp: Path) -> None:
    """Raise ``DataError`` where the new ledger lacks what the old one has of files that could not be read."""
    try:
        with open_ledger(ledger_path, older=True) as old, open_ledger(temp) as new:
            lost = [f"{run_id}/{name}" for run_id, name in unreadable_in(new, old)]
    except (DataError, SetupError):
        return
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise DataError(
            f"what the ledger holds of a file that cannot be read now would be lost: {lost[0]}{more}",
            hint="rebuild when it can be read, or drop it with `hpcfrugal ledger rebuild --drop-vanished`",
        )


def _replace(temp: Path, ledger_path: Path) -> None:
    try:
        with temp.open("rb") as file:
            os.fsync(file.fileno())
        # A journal of the old file must never be replayed into the new one.
        for suffix in ("-wal", "-shm", "-journal"):
            ledger_path.with_name(ledger_path.name + suffix).unlink(missing_ok=True)
        temp.replace(ledger_path)
    except OSError as error:
        raise SetupError(f"the ledger {ledger_path} cannot be replaced: {error.strerror}") from error


def dump(ledger_path: Path, leave_out: Collection[str] = ()) -> list[str]:
    """The content as sorted lines of text, one a row; equal for two ledgers of the same spool.

    ``leave_out`` names runs whose rows are not wanted, or ``OWNER`` of the intensities.
    """
    with open_ledger(ledger_path) as connection:
        lines = [
            f"{table.name} {json.dumps(dict(row), sort_keys=True, ensure_ascii=False)}"
            for table in CONTENT_TABLES
            for row in connection.execute(f"SELECT * FROM {table.name}")
            if table is META or (OWNER if table is INTENSITIES else row["run_id"]) not in leave_out
        ]
    return sorted(lines)


def check_ledger(spool_root: Path, ledger_path: Path, *, compare: bool = True) -> CheckResult:
    """Find damage in the file, problems in the spool's files, runs changed since the last sync and, if ``compare``,
    differences to a ledger built from the spool just now.

    Raises ``DataError`` where the ledger cannot be read at all.
    """
    with open_ledger(ledger_path) as connection:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
        problems = tuple(_problems(connection))
        skipped: list[str] = []
        with tempfile.TemporaryDirectory(prefix="hpcfrugal-check-") as folder:
            fresh = Path(folder) / "ledger.db"
            if compare:
                _fill(spool_root, fresh, None)
            # Listed after the spool was read: what came or grew meanwhile counts as not synced, not as a difference.
            runs = list(iter_runs(spool_root, lambda path, reason: skipped.append(f"{path}: {reason}")))
            vanished, files = _vanished(connection, runs), _vanished_files(connection, runs, spool_root)
            not_synced = _not_synced(connection, runs)
            leave_out = {*vanished, *not_synced, *(name.partition("/")[0] for name in files)}
            if intensities_changed(connection, spool_root):
                leave_out.add(OWNER)
            if compare:
                with open_ledger(fresh) as new:
                    lacks = unreadable_in(new, connection)
                skipped += [f"{run_id}/{name}: cannot be read now" for run_id, name in lacks if run_id not in leave_out]
                leave_out.update(run_id for run_id, _ in lacks)
            comparable = compare and _is_derived_now(connection)
            differences = _differences(ledger_path, fresh, leave_out) if comparable else []
    damage = tuple(line for line in found if line != "ok")
    return CheckResult(damage, problems, tuple(skipped), vanished, files, not_synced, tuple(differences))


def _differences(ledger_path: Path, fresh: Path, leave_out: Collection[str]) -> list[str]:
    old, new = set(dump(ledger_path, leave_out)), set(dump(fresh, leave_out))
    return [*(f"- {line}" for line in sorted(old - new)), *(f"+ {line}" for line in sorted(new - old))]


def _problems(connection: sqlite3.Connection) -> Iterator[str]:
    rows = connection.execute("SELECT run_id, name, problems FROM files WHERE problems != '[]' ORDER BY run_id, name")
    for row in rows:
        for problem in json.loads(row["problems"]):
            yield f"{row['run_id']}/{row['name']}: {problem}"
    for skew in skews(connection):
        yield f"{skew.run_id}: {skew}"
