"""Runs of which the ledger has nothing yet, most of what a large sync reads. Their rows follow from their files alone.

So processes beside the one that writes make them, without the ledger. Keys of rows and of entries of dictionaries are
given when the rows of many runs are written together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpcfrugal.core.quick import dataclass
from hpcfrugal.ledger.clocks import skews_of
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.due import Defaults
from hpcfrugal.ledger.footprints import Intensities
from hpcfrugal.ledger.ingest import ReadRun, named_jobs, read_files, run_row
from hpcfrugal.ledger.jobs import attempt_keys, attempt_row, job_row
from hpcfrugal.ledger.refresh import totals_of
from hpcfrugal.ledger.rows import RunRow
from hpcfrugal.ledger.run_files import RunFiles
from hpcfrugal.ledger.run_listing import list_run
from hpcfrugal.ledger.run_state import RunState
from hpcfrugal.ledger.sealing import AttemptEnd, is_complete, is_settled
from hpcfrugal.ledger.table import RowBatch, TableRow
from hpcfrugal.ledger.tables import CLOCK_SKEWS, JOBS, RUNS
from hpcfrugal.spool import RunDir
from hpcfrugal.spool.documents import RunDocument, SubmittedDocument
from hpcfrugal.spool.layout import JobKey

_RUN, _OPEN = JOBS.codec.columns.index("run"), RUNS.codec.columns.index("open")


@dataclass(frozen=True, slots=True)
class NewRunTerms:
    """What the rows of a new run depend on beside its files: the settings, and ``at_ns``, when the sync began.
    ``seals``: runs that are over are sealed."""

    at_ns: int
    seals: bool
    defaults: Defaults


@dataclass(slots=True)
class NewJob:
    """The rows of a job: its own, those of its nodes, and its totals. ``zone`` is the grid zone in which these were
    computed without what the ledger has of its intensities; None where there is none."""

    values: list[Any]
    rows: list[TableRow]
    totals: list[TableRow]
    zone: str | None


@dataclass(slots=True)
class NewRun:
    """The rows of a run that counts: its own, those of its files, and those of its jobs. ``job_ids`` are those that its
    files name."""

    run_id: str
    owner_uid: int
    job_ids: set[str]
    values: list[Any]
    files: list[TableRow]
    jobs: list[NewJob]
    files_read: int


def read_new(run: RunDir, terms: NewRunTerms, intensity: Intensities | None) -> NewRun | ReadRun | None:
    """Read a run of which the ledger has nothing; a ``ReadRun`` where it does not count, None where it has no files.

    ``intensity`` None: totals are computed without what the ledger has of intensities.

    Raises ``OSError`` where what it needs cannot be read now, ``OverflowError`` for a number that no row can have.
    """
    listing = list_run(run)
    if not listing.files:
        return None
    read = read_files(RunState(listing, None, RunFiles()))
    if read.document is None:
        return read
    own, files = run_row(read.document), read.state.files
    submitted = files.document(SubmittedDocument, "submitted")
    attempts: list[AttemptEnd] = []
    jobs: list[NewJob] = []
    for key in sorted(attempt_keys(files, submitted)):
        attempt, job = _new_job(key, own, read, read.document, submitted, terms.defaults, intensity)
        attempts.append(attempt)
        jobs.append(job)
    over = terms.seals and is_settled(listing.mtime_ns, terms.at_ns)
    over = over and is_complete(files, own.backend, attempts, terms.at_ns)
    values = RUNS.values_of(own)
    values[_OPEN] = not over
    return NewRun(
        run.run_id,
        listing.owner_uid,
        named_jobs(files),
        values,
        files.new_rows(listing.mtime_ns if over else None),
        jobs,
        read.files_read,
    )


def _new_job(
    key: JobKey,
    run: RunRow,
    read: ReadRun,
    document: RunDocument,
    submitted: SubmittedDocument | None,
    defaults: Defaults,
    intensity: Intensities | None,
) -> tuple[AttemptEnd, NewJob]:
    nodes = [rows for rows in read.nodes if rows.job == key]
    sessions = [session for rows in nodes for session in rows.sessions]
    sessions.sort(key=lambda session: (session.node, session.session))
    attempt = attempt_row(0, document, submitted, read.state.files, key, sessions)
    place, totals = totals_of(job_row(attempt, run, sessions, nodes), intensity, defaults)
    rows = [row for of_node in nodes for row in of_node.rows]
    rows += [(CLOCK_SKEWS, CLOCK_SKEWS.values_of(skew)) for skew in skews_of(attempt, sessions)]
    zone = place.zone if intensity is None else None
    what = AttemptEnd(key.job_id, key.restart, attempt.ended_wall_ns, attempt.array_job_id is not None)
    return what, NewJob(JOBS.values_of(attempt), rows, totals, zone)


def write_new(
    connection: LedgerConnection, spool: int, found: Sequence[NewRun], batch: RowBatch, intensity: Intensities
) -> Sequence[int]:
    """Write new runs inside the caller's transaction, other rows than their own by ``batch``; returns their keys.

    A job whose totals were computed without intensities that the ledger has stays due.
    """
    runs = RUNS.insert_new(connection, ((spool, run.values) for run in found))
    jobs: list[NewJob] = []
    for run, one in zip(runs, found, strict=True):
        batch.add_all(one.files, run)
        for job in one.jobs:
            job.values[_RUN] = run
            jobs.append(job)
    done: list[tuple[int]] = []
    for key, job in zip(JOBS.insert_new(connection, ((None, job.values) for job in jobs)), jobs, strict=True):
        batch.add_all(job.rows, key)
        if job.zone is None or not intensity.providers(job.zone):
            batch.add_all(job.totals, key)
            done.append((key,))
    connection.executemany("DELETE FROM totals_due WHERE job = ?", done)
    return runs
