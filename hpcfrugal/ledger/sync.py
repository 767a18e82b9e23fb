"""Bringing the ledger up to date with spools, and building it anew."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from hpcfrugal.core.errors import DataError, SetupError
from hpcfrugal.core.quick import dataclass
from hpcfrugal.ledger.accounted import refresh_accounted
from hpcfrugal.ledger.accounting import missing_accounting, take_accounting
from hpcfrugal.ledger.agent_files import missing_agents, take_agents
from hpcfrugal.ledger.agent_jobs import refresh_measured
from hpcfrugal.ledger.clusters import missing_clusters, take_clusters
from hpcfrugal.ledger.connection import LedgerConnection, transaction
from hpcfrugal.ledger.due import Defaults, known_defaults, use_defaults
from hpcfrugal.ledger.footprints import Intensities
from hpcfrugal.ledger.intensity_files import missing_intensities, take_intensities
from hpcfrugal.ledger.new_runs import NewRunTerms
from hpcfrugal.ledger.refresh import refresh_ledger
from hpcfrugal.ledger.rows import MetaRow
from hpcfrugal.ledger.run_files import RunFiles
from hpcfrugal.ledger.run_listing import list_run
from hpcfrugal.ledger.run_readers import RunReaders
from hpcfrugal.ledger.run_reading import Found, read_runs
from hpcfrugal.ledger.run_state import RunState, with_known
from hpcfrugal.ledger.sealing import (
    Month,
    month_range,
    months_of,
    note_month,
    now_ns,
    unseal_all,
)
from hpcfrugal.ledger.spools import LedgerSpool, key_for, key_of, spools_to_rebuild_from
from hpcfrugal.ledger.store import BUSY_TIMEOUT_S, lock, open_ledger, refuse_foreign, sqlite_errors
from hpcfrugal.ledger.tables import FILES, FORGOTTEN_JOBS, META
from hpcfrugal.ledger.unreadable_files import unreadable_in
from hpcfrugal.ledger.users_runs import SpoolUser
from hpcfrugal.spool import RunDir, iter_runs

Progress = Callable[[int, int], None]
"""Called with (runs done, runs in all)."""

DERIVATION = "16"
"""Version of what is derived from a file. A ledger with another one is read again from the spool at the next sync."""


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a sync found and did.

    ``vanished``: runs in the ledger that the spool no longer holds; their rows stay. ``vanished_files``: files
    of other runs (``run_id/name``) of which the same is true. ``skipped``: entries of the spool that could not
    be read, with the reason. ``problem_files``: files in the ledger with a problem, ``new_problem_files`` those of
    which this sync found it. ``skewed``, and ``newly_skewed`` likewise: nodes of jobs
    whose clock disagrees with Slurm's.
    """

    runs: int
    runs_changed: int
    files_read: int
    vanished: tuple[str, ...]
    vanished_files: tuple[str, ...]
    skipped: tuple[str, ...]
    problem_files: int
    new_problem_files: int
    skewed: int = 0
    newly_skewed: int = 0


def sync(
    spool_root: Path,
    ledger_path: Path,
    progress: Progress | None = None,
    on_wait: Callable[[], None] | None = None,
    wait_s: float = BUSY_TIMEOUT_S,
    *,
    everything: bool = False,
    defaults: Defaults | None = None,
    of_users: Sequence[LedgerSpool] = (),
) -> SyncResult:
    """Read what is new in a spool, and in those ``of_users`` of a site. A second sync waits for the first, up to
    ``wait_s``; ``on_wait`` is called then.

    ``everything``: all of its files are read again, those of sealed runs too. ``defaults`` are the settings by which
    CO2e is computed; None: those of the last sync.

    What the ledger has of other spools stays as it is. Raises ``DataError`` where the ledger is damaged, ``SetupError``
    where it cannot be opened or written.
    """
    with lock(ledger_path, on_wait, wait_s):
        spools = [LedgerSpool(spool_root), *of_users]
        return fill(spools, ledger_path, progress, wait_s, everything=everything, defaults=defaults)


def sync_intensities(
    spool_root: Path,
    ledger_path: Path,
    on_wait: Callable[[], None] | None = None,
    wait_s: float = BUSY_TIMEOUT_S,
) -> int:
    """Read what is new of the grid's intensities alone; returns how many files were read. Raises as ``sync``."""
    with lock(ledger_path, on_wait, wait_s), open_ledger(ledger_path, write=True, timeout_s=wait_s) as connection:
        with transaction(connection):
            files_read = take_intensities(connection, key_for(connection, LedgerSpool(spool_root)), spool_root, [])
        refresh_ledger(connection)
        return files_read


def fill(
    spools: Sequence[LedgerSpool],
    ledger_path: Path,
    progress: Progress | None,
    wait_s: float = BUSY_TIMEOUT_S,
    *,
    everything: bool = False,
    defaults: Defaults | None = None,
) -> SyncResult:
    """Read what is new in these spools, into a ledger on which the caller holds the lock; ``everything``: all files."""
    found = Found()
    with open_ledger(ledger_path, write=True, timeout_s=wait_s) as connection:
        problems, skews = _rows(connection, _PROBLEMS), _rows(connection, _SKEWS)
        same_derivation(connection, anew=everything)
        if defaults is not None:
            with transaction(connection):
                use_defaults(connection, defaults)
        for spool in spools:
            _fill(connection, spool, found, progress)
        refresh_accounted(connection)
        refresh_measured(connection)
        refresh_ledger(connection)
        problems_now, skews_now = _rows(connection, _PROBLEMS), _rows(connection, _SKEWS)
        return SyncResult(
            runs=found.runs,
            runs_changed=found.changed,
            files_read=found.files_read,
            vanished=tuple(found.vanished),
            vanished_files=tuple(found.vanished_files),
            skipped=tuple(found.skipped),
            problem_files=len(problems_now),
            new_problem_files=len(problems_now - problems),
            skewed=len(skews_now),
            newly_skewed=len(skews_now - skews),
        )


_PROBLEMS = """
SELECT 'run', run, name, problems FROM files WHERE problems != '[]'
UNION ALL SELECT 'intensity', file, name, problems FROM intensity_files WHERE problems != '[]'
UNION ALL SELECT 'accounting', accounting, name, problems FROM accounting_files WHERE problems != '[]'
UNION ALL SELECT 'agent', agent_file, name, problems FROM agent_files WHERE problems != '[]'
UNION ALL SELECT 'cluster', spool, name, problems FROM cluster_files WHERE problems != '[]'
"""
_SKEWS = "SELECT job, node FROM clock_skews"


def _rows(connection: sqlite3.Connection, query: str) -> set[tuple[int | str, ...]]:
    return {tuple(row) for row in connection.execute(query)}


def _fill(connection: LedgerConnection, of: LedgerSpool, found: Found, progress: Progress | None) -> None:
    spool_root = of.path
    try:
        user = None if of.user is None else SpoolUser.of(spool_root, of.user)
    except OSError as error:
        found.skipped.append(f"{spool_root}: cannot be read: {error.strerror}")
        return
    with transaction(connection):
        spool = key_for(connection, of)
    at_ns = now_ns()
    months = list(months_of(connection, spool, spool_root, found.skipped, at_ns))
    total, done = sum(len(month.runs) for month in months), 0
    (known,) = connection.execute("SELECT count(*) FROM runs WHERE spool = ? AND open", (spool,)).fetchone()
    intensity = Intensities(connection)
    # A user's run is not sealed before Slurm's accounting has been compared with it: at the next sync.
    terms = NewRunTerms(at_ns, user is None, known_defaults(connection))
    with RunReaders(total, total - known, terms, intensity) as readers:
        for month in months:
            before = len(found.skipped) + len(found.vanished_files)
            for runs in read_runs(connection, spool, month.runs, found, at_ns, readers, intensity, user):
                done += runs
                if progress is not None:
                    progress(done, total)
            with transaction(connection):
                vanished = [] if month.present is None else _vanished(connection, spool, month)
                now = len(found.skipped) + len(found.vanished_files)
                # What is missing is named at each sync.
                note_month(connection, spool, month, complete=not vanished and now == before)
            found.vanished += vanished
            found.runs += month.count
    if user is not None:
        return  # what else is in it is the user's own: it could say anything about the jobs of others
    with transaction(connection):
        found.files_read += take_intensities(connection, spool, spool_root, found.skipped)
        found.files_read += take_accounting(connection, spool, spool_root, found.skipped)
        found.files_read += take_clusters(connection, spool, spool_root, found.skipped)
    found.files_read += take_agents(connection, spool, spool_root, found.skipped, progress)
    found.vanished_files += missing_intensities(connection, spool, spool_root)
    found.vanished_files += missing_accounting(connection, spool, spool_root)
    found.vanished_files += missing_clusters(connection, spool, spool_root)
    found.vanished_files += missing_agents(connection, spool, spool_root)


def _vanished(connection: LedgerConnection, spool: int, month: Month) -> list[str]:
    """The runs of a month that count in the ledger and are gone. Rows of those that did not count are removed."""
    there, gone = month.present or frozenset(), []
    rows = connection.execute(
        "SELECT run, run_id, accepted FROM runs WHERE spool = ? AND run_id >= ? AND run_id < ? ORDER BY run_id",
        (spool, *month_range(month.name)),
    ).fetchall()
    for run, run_id, accepted in rows:
        if run_id in there:
            continue
        if accepted:
            gone.append(run_id)
        else:
            FILES.delete(connection, run)
            FORGOTTEN_JOBS.delete(connection, run)
            connection.execute("DELETE FROM runs WHERE run = ?", (run,))
    return gone


def same_derivation(connection: LedgerConnection, *, anew: bool) -> None:
    if is_derived_now(connection) and not anew:
        return
    with transaction(connection):
        unseal_all(connection)
        connection.execute("UPDATE intensity_files SET size = NULL")
        connection.execute("UPDATE accounting_files SET size = NULL")
        connection.execute("UPDATE cluster_files SET size = NULL")
        connection.execute("UPDATE agent_files SET size = NULL, place = NULL")
        connection.execute("INSERT OR IGNORE INTO totals_due SELECT job FROM jobs")
        META.insert(connection, MetaRow("derivation", DERIVATION))


def is_derived_now(connection: sqlite3.Connection) -> bool:
    """Whether this version of the program would make the same rows of the same files."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'derivation'").fetchone()
    return row is not None and bool(row["value"] == DERIVATION)


def vanished_runs(connection: sqlite3.Connection, spool: int | None, runs: Sequence[RunDir]) -> list[str]:
    """The runs that count in the ledger and are not in their spool."""
    there = {run.run_id for run in runs}
    rows = connection.execute("SELECT run_id FROM runs WHERE spool = ? AND accepted ORDER BY run_id", (spool,))
    return [run_id for (run_id,) in rows if run_id not in there]


def vanished_files(
    connection: sqlite3.Connection, spool: int | None, runs: Sequence[RunDir], spool_root: Path
) -> list[str]:
    """Files that count in the ledger and are not in the spool; all of a run whose directory cannot be listed."""
    missing: list[str] = []
    for run, known in with_known(connection, spool, runs):
        if known is None:
            continue
        files = RunFiles.of(connection, known.run)
        try:
            names: Sequence[str] = RunState(list_run(run), known, files).missing
        except OSError:
            names = files.accepted
        missing += [f"{run.run_id}/{name}" for name in names]
    missing += missing_accounting(connection, spool, spool_root)
    missing += missing_clusters(connection, spool, spool_root)
    missing += missing_agents(connection, spool, spool_root)
    return [*missing, *missing_intensities(connection, spool, spool_root)]


def rebuild(
    spool_root: Path,
    ledger_path: Path,
    progress: Progress | None = None,
    on_wait: Callable[[], None] | None = None,
    *,
    drop_vanished: bool = False,
    defaults: Defaults | None = None,
) -> SyncResult:
    """Build the ledger from nothing, from ``spool_root`` and all other spools that the old one was filled from, beside
    the old one and put it in its place in one step.

    Raises ``DataError`` where the old ledger holds runs or files that the spool no longer has, or of which a file
    cannot be read now, unless ``drop_vanished``; the old ledger then stays as it is. A damaged old ledger is replaced
    without this check: it cannot be read.
    """
    refuse_foreign(ledger_path)
    ledger_path = Path(os.path.realpath(ledger_path))  # a link stays one, and leads to the new ledger
    with lock(ledger_path, on_wait):
        spools = spools_to_rebuild_from(ledger_path, spool_root)
        if not drop_vanished:
            _refuse_loss(spools, ledger_path)
        pattern = f".{ledger_path.name}.*.rebuild*"
        for stale in ledger_path.parent.glob(pattern):
            stale.unlink(missing_ok=True)
        temp = ledger_path.with_name(f".{ledger_path.name}.{os.getpid()}.rebuild")
        try:
            result = fill(spools, temp, progress, defaults=defaults or _defaults_of(ledger_path))
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


def _defaults_of(ledger_path: Path) -> Defaults | None:
    """The settings by which a ledger was filled; None where it cannot be read, or there is none."""
    try:
        with open_ledger(ledger_path) as connection:
            return known_defaults(connection)
    except (DataError, SetupError):
        return None


def _refuse_loss(spools: Sequence[LedgerSpool], ledger_path: Path) -> None:
    """Raise ``DataError`` where the ledger holds what the spools no longer do."""
    runs = files = 0
    try:
        with open_ledger(ledger_path, older=True) as connection:
            for spool in spools:
                key, there = key_of(connection, spool.path, spool.user), list(iter_runs(spool.path))
                runs += len(vanished_runs(connection, key, there))
                files += len(vanished_files(connection, key, there, spool.path))
    except (DataError, SetupError):
        return
    lost = [f"{what}: {number}" for number, what in ((runs, "runs"), (files, "files of runs that are there")) if number]
    if lost:
        paths = ", ".join(str(spool.path) for spool in spools)
        raise DataError(
            f"what the ledger holds and the spool {paths} no longer does would be lost: {', '.join(lost)}",
            hint="bring them back, or drop them with `hpcfrugal ledger rebuild --drop-vanished`",
        )


def _refuse_lack(ledger_path: Path, temp: Path) -> None:
    """Raise ``DataError`` where the new ledger lacks what the old one has of files that could not be read."""
    try:
        with open_ledger(ledger_path, older=True) as old, open_ledger(temp) as new:
            lost = [str(file) for file in unreadable_in(new, old)]
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
