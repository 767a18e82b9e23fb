"""Runs that are over are sealed: a sync does not look into their directories again until something changes there.

A run is sealed when each of its jobs has a final state, its end record is read or it ended a day ago, and the facts of
its nodes are read or it ended a week ago; tasks of an array when the last of them ended a month ago, since others may
still wait. Its rows of ``files`` are then folded into one of ``sealed_runs``, with the modification time of its
directory; what was read of the documents is in the rows of its jobs. All of its files are read again when it is opened.

What writes a file into a run directory after its submission marks the folder of the month (``RunDir.mark_changed``):
its modification time says that runs in it may have changed. A folder that has not changed is not listed, only the runs
in it that are not sealed are looked at. In one that has, a sealed run whose directory has its old modification time
stays sealed. Neither shows a file that is written in place, as by an editor; ``unseal_all`` has all files read again.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from hpcfrugal.core.errors import DataError, SetupError
from hpcfrugal.core.record import codec
from hpcfrugal.core.text import clean_text
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.rows import FILES, MONTHS, SEALED_RUNS, FileRow, MonthRow, SealedRunRow
from hpcfrugal.ledger.spools import key_of
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.spool.job_state import JobState
from hpcfrugal.spool.layout import JobKey, RunDir, iter_months, parse_name, runs_of_month

_SETTLED_NS = 10 * 10**9
"""A folder that changed within this time may change again without another modification time."""

_END_RECORD_NS = 86_400 * 10**9
"""So long an end record may take to arrive."""

_NODES_NS = 7 * 86_400 * 10**9
"""So long Slurm may not answer what is known of its nodes."""

_ARRAY_NS = 30 * 86_400 * 10**9
"""Tasks of an array may still wait so long after others have ended."""

_KEPT = frozenset({"nodes", "labels"})
"""The documents whose content is needed for as long as the run is in the ledger."""


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
        settled = mtime_ns is not None and not own_skipped and mtime_ns < at_ns - _SETTLED_NS
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


def _mtime_ns(path: Path) -> int | None:
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
        yield RunDir(month / run_id)


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
        if mtime_ns is None or mtime_ns != _mtime_ns(run.path):
            yield run


def is_sealed_as_it_is(connection: sqlite3.Connection, spool: int | None, run: RunDir) -> bool:
    """Whether a run is sealed and its directory has not changed since. Raises ``OSError``."""
    row = connection.execute(
        "SELECT mtime_ns FROM runs JOIN sealed_runs USING (run) WHERE spool = ? AND run_id = ?", (spool, run.run_id)
    ).fetchone()
    return row is not None and bool(row[0] == os.lstat(run.path).st_mtime_ns)


_ATTEMPTS = """
SELECT jobs.job, slurm.content, ended.accepted, nodes.accepted, jobs.ended_wall_ns,
    jobs.array_job_id NOT NULL
FROM jobs
LEFT JOIN files AS slurm ON slurm.run = jobs.run AND slurm.accepted
    AND slurm.name = jobs.job_id || '.' || jobs.restart || '.slurm.json'
LEFT JOIN files AS ended ON ended.run = jobs.run AND ended.accepted
    AND ended.name = jobs.job_id || '.' || jobs.restart || '.end.json'
LEFT JOIN files AS nodes ON nodes.run = jobs.run AND nodes.accepted
    AND nodes.name = jobs.job_id || '.' || jobs.restart || '.nodes.json'
WHERE jobs.run = ?
"""


def _is_over(connection: sqlite3.Connection, run: int, at_ns: int) -> bool:
    """Whether nothing more is expected of the jobs of a run. One of `hpcfrugal run` has no state but its end record,
    and one without samples needs no facts of its nodes."""
    has_states = connection.execute(
        "SELECT coalesce(backend != (SELECT text FROM texts WHERE name = 'run'), 1) FROM runs WHERE run = ?", (run,)
    ).fetchone()[0]
    attempts = connection.execute(_ATTEMPTS, (run,)).fetchall()
    for job, slurm, has_end, has_nodes, ended_ns, in_array in attempts:
        final = slurm is not None and codec(JobState).read(json.loads(slurm), []).final
        if not (final or (has_end and not has_states)):
            return False
        waits_ns = [_ARRAY_NS] if in_array else []
        waits_ns += [] if has_end else [_END_RECORD_NS]
        if has_states and not has_nodes and _has_samples(connection, job):
            waits_ns.append(_NODES_NS)
        if waits_ns and (ended_ns is None or at_ns - ended_ns < max(waits_ns)):
            return False
    return bool(attempts)


def _has_samples(connection: sqlite3.Connection, job: int) -> bool:
    return connection.execute("SELECT 1 FROM sidecar_sessions WHERE job = ?", (job,)).fetchone() is not None


def sealable_since(connection: sqlite3.Connection, run: int, run_dir: RunDir, at_ns: int) -> int | None:
    """The modification time of the directory of a run that is to be sealed, all of whose files have been read; None of
    one that is not over, is sealed already, or whose directory changed just now."""
    mtime_ns = _mtime_ns(run_dir.path)
    if mtime_ns is None or mtime_ns >= at_ns - _SETTLED_NS or not _is_over(connection, run, at_ns):
        return None
    unread = connection.execute("SELECT 1 FROM files WHERE run = ? AND size IS NULL", (run,)).fetchone()
    return None if unread is not None else mtime_ns


_FOLDED = "run = ? AND accepted AND problems = '[]'"


def seal(connection: LedgerConnection, run: int, mtime_ns: int) -> None:
    """Seal a run, with the modification time of its directory."""
    rows = connection.execute(
        f"SELECT files.name, files_kind.name, content FROM {FILES.source} WHERE {_FOLDED}", (run,)
    ).fetchall()
    folded = {name: content if kind in _KEPT else None for name, kind, content in rows}
    SEALED_RUNS.insert(connection, SealedRunRow(mtime_ns, _fold(folded)), run)
    connection.execute(f"DELETE FROM files WHERE {_FOLDED}", (run,))
    connection.execute("UPDATE runs SET open = 0 WHERE run = ?", (run,))


def unseal(connection: LedgerConnection, run: int) -> None:
    """Open a sealed run, all of whose files are then to be read."""
    files = sealed_files(connection, run)
    if files is None:
        return
    for name, content in files.items():
        FILES.insert(connection, file_row(name, content), run)
    SEALED_RUNS.delete(connection, run)
    connection.execute("UPDATE runs SET open = 1 WHERE run = ?", (run,))


def unseal_all(connection: LedgerConnection) -> None:
    """Open every run, and have all files read again."""
    for (run,) in connection.execute("SELECT run FROM sealed_runs").fetchall():
        unseal(connection, run)
    connection.execute("UPDATE months SET mtime_ns = NULL")
    connection.execute("UPDATE files SET size = NULL")


def file_row(name: str, content: str | None) -> FileRow:
    """The row of a file that counts, without its state."""
    parsed = parse_name(name)
    assert parsed is not None
    job = parsed.job
    return FileRow(
        name=name,
        kind=parsed.kind,
        job_id=job.job_id if job else None,
        restart=job.restart if job else None,
        node=None if parsed.node is None else clean_text(parsed.node),
        accepted=True,
        content=content,
    )


def sealed_files(connection: sqlite3.Connection, run: int) -> dict[str, str | None] | None:
    """The files of a sealed run that count, with the content of those that goes on to be needed; None of another."""
    row = connection.execute(
        "SELECT texts.name FROM sealed_runs JOIN texts ON texts.text = sealed_runs.files WHERE run = ?", (run,)
    ).fetchone()
    if row is None:
        return None
    attempts = connection.execute("SELECT job_id, restart FROM jobs WHERE run = ? LIMIT 2", (run,)).fetchall()
    return _unfold(row[0], JobKey(*attempts[0]) if len(attempts) == 1 else None)


class RunFile(NamedTuple):
    """A file of a run; ``sealed``: its run is, so that it has no row of its own."""

    run_id: str
    row: FileRow
    sealed: bool


def every_run_file(connection: sqlite3.Connection) -> Iterator[RunFile]:
    """The files of all runs, of sealed ones too."""
    rows = connection.execute("SELECT run, run_id FROM runs ORDER BY run").fetchall()
    for run, run_id in rows:
        for name, content in (sealed_files(connection, run) or {}).items():
            yield RunFile(run_id, file_row(name, content), sealed=True)
        for _, row in FILES.rows_of(connection, "SELECT ?", (run,)):
            yield RunFile(run_id, row, sealed=False)


_ANY = "*"
"""In place of the id and restart of a run's only attempt, so that many runs have the same text."""


def _fold(files: Mapping[str, str | None]) -> str:
    """The files as one JSON object, by name."""
    attempts = {parsed.job for name in files if (parsed := parse_name(name)) and parsed.job}
    prefix = _prefix(attempts.pop()) if len(attempts) == 1 else None
    folded: dict[str, Any] = {}
    for name, content in files.items():
        document = None if content is None else json.loads(content)
        if prefix is not None and name.startswith(prefix):
            name = _ANY + name.removeprefix(prefix)
            if document is not None:
                document = {key: value for key, value in document.items() if key not in ("job_id", "restart")}
        folded[name] = document
    return json.dumps(folded, separators=(",", ":"), sort_keys=True)


def _unfold(text: str, attempt: JobKey | None) -> dict[str, str | None]:
    """The inverse of ``_fold``; ``attempt`` is the run's only one."""
    files: dict[str, str | None] = {}
    for name, document in json.loads(text).items():
        if attempt is not None and name.startswith(_ANY):
            name = _prefix(attempt) + name.removeprefix(_ANY)
            if document is not None:
                document = {**document, "job_id": attempt.job_id, "restart": attempt.restart}
        files[name] = None if document is None else json.dumps(document, sort_keys=True)
    return files


def _prefix(job: JobKey) -> str:
    return f"{job.job_id}.{job.restart}."
