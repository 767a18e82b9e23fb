"""Runs that are over are sealed: a sync does not look into their directories again until something changes there.

A run is sealed when each of its jobs has a final state, its end record is read or it ended a day ago, and the facts of
its nodes are read or it ended a week ago; tasks of an array when the last of them ended a month ago, since others may
still wait. ``sealed_runs`` has then the modification time of its directory, and its files; what was read of the
documents is in the rows of its jobs. All of its files are read again when it is opened.

What writes a file into a run directory after its submission marks the folder of the month (``mark_changed``):
its modification time says that runs in it may have changed. A folder that has not changed is not listed, only the runs
in it that are not sealed are looked at. In one that has, a sealed run whose directory has its old modification time
stays sealed. Neither shows a file that is written in place, as by an editor; ``unseal_all`` has all files read again.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hpcfrugal.core.errors import DataError, SetupError
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.safe_read import StrPath
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.file_rows import MonthRow
from hpcfrugal.ledger.run_files import RunFiles, unseal
from hpcfrugal.ledger.spools import key_of
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.tables import MONTHS
from hpcfrugal.spool.job_state import JobState
from hpcfrugal.spool.layout import JobKey, RunDir, iter_months, runs_of_month

_SETTLED_NS = 10 * 10**9
"""A folder that changed within this time may change again without another modification time."""

_END_RECORD_NS = 86_400 * 10**9
"""So long an end record may take to arrive."""

_NODES_NS = 7 * 86_400 * 10**9
"""So long Slurm may not answer what is known of its nodes."""

_ARRAY_NS = 30 * 86_400 * 10**9
"""Tasks of an array may still wait so long after others have ended."""


@dataclass(frozen=True, slots=True)
class Month:
    """A folder of the spool: how many runs it has, and which of them are to be looked at.

    ``mtime_ns`` is its modification time before it was listed, None where it has to be listed again.
    ``present``: the ids of all of its runs; None where it was not listed, so that none of them is missing.
    """

    name: str
    mtime_ns: int | None
    count: int
    runs: tuple[RunDir, ...]
    present: frozenset[str] | None


def now_ns() -> int:
    """The time as nanoseconds since 1970."""
    return time.time_ns()


def months_of(
    connection: sqlite3.Connection, spool: int | None, spool_root: Path, skipped: list[str], at_ns: int
) -> Iterator[Month]:
    """The months of a spool in order, those among them that the ledger has and the spool does not."""
    rows = connection.execute("SELECT month, mtime_ns, runs FROM months WHERE spool = ?", (spool,))
    known = {month: (mtime_ns, runs) for month, mtime_ns, runs in rows}
    root_skipped: list[str] = []
    paths = {path.name: path for path in iter_months(spool_root, _noting(root_skipped))}
    skipped += root_skipped
    for name in sorted({*paths, *known}):
        path = paths.get(name)
        if path is None:
            yield Month(name, None, 0, (), frozenset())
            continue
        mtime_ns = _mtime_ns(path)
        listed_ns, count = known.get(name, (None, 0))
        if mtime_ns is not None and mtime_ns == listed_ns:
            yield Month(name, mtime_ns, count, tuple(_open_runs(connection, spool, path)), None)
            continue
        own_skipped: list[str] = []
        runs = list(runs_of_month(path, _noting(own_skipped)))
        skipped += own_skipped
        settled = mtime_ns is not None and not own_skipped and is_settled(mtime_ns, at_ns)
        due = tuple(_unsealed(connection, spool, name, runs))
        yield Month(name, mtime_ns if settled else None, len(runs), due, frozenset(run.run_id for run in runs))


def unsealed_runs(ledger_path: Path, spool_root: Path) -> list[RunDir] | None:
    """The runs of a spool that a sync would look at; None where the ledger cannot be read, or is none yet."""
    try:
        with open_ledger(ledger_path) as connection:
            spool = key_of(connection, spool_root)
            months = months_of(connection, spool, spool_root, [], now_ns())
            return [run for month in months for run in month.runs]
    except (DataError, SetupError):
        return None


def note_month(connection: LedgerConnection, spool: int, month: Month, *, complete: bool) -> None:
    """Note what a month was when it was listed; unless ``complete`` it is listed again at the next sync."""
    MONTHS.insert(connection, MonthRow(month.name, month.mtime_ns if complete else None, month.count), spool)


def _noting(skipped: list[str]) -> Any:
    return lambda path, reason: skipped.append(f"{path}: {reason}")


def _mtime_ns(path: StrPath) -> int | None:
    try:
        return os.lstat(path).st_mtime_ns
    except OSError:
        return None


def month_range(month: str) -> tuple[str, str]:
    """The bounds of the run ids of a month: the first is within, the second is not."""
    prefix = month.replace("-", "")
    return prefix, f"{prefix}~"


def _open_runs(connection: sqlite3.Connection, spool: int | None, month: Path) -> Iterator[RunDir]:
    rows = connection.execute(
        "SELECT run_id FROM runs WHERE spool = ? AND open AND run_id >= ? AND run_id < ? ORDER BY run_id",
        (spool, *month_range(month.name)),
    ).fetchall()
    for (run_id,) in rows:
        yield RunDir(f"{month}/{run_id}")


def _unsealed(
    connection: sqlite3.Connection, spool: int | None, month: str, runs: Sequence[RunDir]
) -> Iterator[RunDir]:
    cursor = connection.cursor()
    cursor.row_factory = None
    sealed = dict(
        cursor.execute(
            "SELECT run_id, mtime_ns FROM runs JOIN sealed_runs USING (run)"
            " WHERE spool = ? AND run_id >= ? AND run_id < ?",
            (spool, *month_range(month)),
        )
    )
    for run in runs:
        mtime_ns = sealed.get(run.run_id)
        if mtime_ns is None or mtime_ns != _mtime_ns(run.folder):
            yield run


class AttemptEnd(NamedTuple):
    """What is known of an attempt of a job: when it ended, and whether it is a task of an array."""

    job_id: str
    restart: int
    ended_ns: int | None
    in_array: bool


def is_complete_in(connection: sqlite3.Connection, run: int, files: RunFiles, at_ns: int) -> bool:
    """``is_complete`` of a run that the ledger has."""
    (backend,) = connection.execute(_BACKEND, (run,)).fetchone()
    attempts = connection.execute(_ATTEMPTS, (run,)).fetchall()
    return is_complete(files, backend, [AttemptEnd(*attempt) for attempt in attempts], at_ns)


def is_complete(files: RunFiles, backend: str | None, attempts: Sequence[AttemptEnd], at_ns: int) -> bool:
    """Whether nothing more is expected of the jobs of a run, all of whose files have been read. Without Slurm an end
    record is enough, and one without samples needs no facts of its nodes."""
    if files.unread:
        return False
    has_states = backend not in _WITHOUT_STATES
    for job_id, restart, ended_ns, in_array in attempts:
        key = JobKey(job_id, restart)
        slurm, has_end = files.document(JobState, "slurm", key), files.counts("end", key)
        if not ((slurm is not None and slurm.final) or (has_end and not has_states)):
            return False
        if ended_ns is None and slurm is not None:
            ended_ns = slurm.end_wall_ns  # of a job that never started the ledger has no end
        waits_ns = [_ARRAY_NS] if in_array else []
        waits_ns += [] if has_end else [_END_RECORD_NS]
        if has_states and not files.counts("nodes", key) and files.is_sampled(key):
            waits_ns.append(_NODES_NS)
        if waits_ns and (ended_ns is None or at_ns - ended_ns < max(waits_ns)):
            return False
    return bool(attempts)


_WITHOUT_STATES = frozenset({"run", "local"})
"""The backends of whose jobs Slurm has no state."""

_BACKEND = "SELECT texts.name FROM runs LEFT JOIN texts ON texts.text = runs.backend WHERE run = ?"
_ATTEMPTS = "SELECT job_id, restart, ended_wall_ns, array_job_id NOT NULL FROM jobs WHERE run = ?"


def is_settled(mtime_ns: int, at_ns: int) -> bool:
    """Whether a folder with this modification time has not changed just now."""
    return mtime_ns < at_ns - _SETTLED_NS


def unseal_all(connection: LedgerConnection) -> None:
    """Open every run, and have all files read again."""
    for (run,) in connection.execute("SELECT run FROM sealed_runs").fetchall():
        unseal(connection, run)
    connection.execute("UPDATE months SET mtime_ns = NULL")
    connection.execute("UPDATE files SET size = NULL")
