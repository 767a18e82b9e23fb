"""Reading some runs of a spool: what changed is read, written in one transaction, and sealed where it is over."""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from hpcfrugal.ledger.connection import LedgerConnection, transaction
from hpcfrugal.ledger.footprints import Intensities
from hpcfrugal.ledger.garbage import paused_collection
from hpcfrugal.ledger.ingest import ReadRun, refuse_run, write_rows
from hpcfrugal.ledger.new_runs import NewRun, write_new
from hpcfrugal.ledger.refresh import refresh_totals
from hpcfrugal.ledger.run_files import RunFiles
from hpcfrugal.ledger.run_listing import list_run
from hpcfrugal.ledger.run_readers import DueRun, ReadRuns, RunReaders, too_large
from hpcfrugal.ledger.run_state import RunState, with_known, written_runs
from hpcfrugal.ledger.sealing import is_complete_in, is_settled
from hpcfrugal.ledger.table import RowBatch
from hpcfrugal.ledger.users_runs import SpoolUser, mark_users
from hpcfrugal.spool import RunDir

RUNS_AT_ONCE = 64
"""So many runs are read in one transaction."""


@dataclass(slots=True)
class Found:
    """What was found so far; the fields are those of ``SyncResult``."""

    runs: int = 0
    changed: int = 0
    files_read: int = 0
    vanished: list[str] = field(default_factory=list)
    vanished_files: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Chunk:
    """Some runs that were looked at, and what gives what was read of those that are ``due``."""

    runs: int
    due: Sequence[DueRun]
    sealable: Sequence[RunState]
    read: Callable[[], ReadRuns]


def read_runs(
    connection: LedgerConnection,
    spool: int,
    runs: Sequence[RunDir],
    found: Found,
    at_ns: int,
    readers: RunReaders,
    intensity: Intensities,
    user: SpoolUser | None = None,
) -> Iterator[int]:
    """Read these runs as far as they changed, some in a transaction, and seal those that are over; gives after each
    transaction how many it was about. ``user`` is as in ``write_rows``."""
    waiting: deque[_Chunk] = deque()
    for start in range(0, len(runs), RUNS_AT_ONCE):
        waiting.append(_look(connection, spool, runs[start : start + RUNS_AT_ONCE], found, at_ns, readers))
        while len(waiting) > readers.ahead:
            yield _take(connection, spool, waiting.popleft(), found, at_ns, intensity, user)
    while waiting:
        yield _take(connection, spool, waiting.popleft(), found, at_ns, intensity, user)


def _look(
    connection: LedgerConnection,
    spool: int,
    runs: Sequence[RunDir],
    found: Found,
    at_ns: int,
    readers: RunReaders,
) -> _Chunk:
    with paused_collection():
        due, sealable = list[DueRun](), list[RunState]()
        for one in look_at(connection, spool, runs, found):
            if isinstance(one, RunDir) or one.changed:
                due.append(one)
            elif one.known and _is_over(connection, one, one.known.run, at_ns):
                sealable.append(one)
        return _Chunk(len(runs), due, sealable, readers.read(due))


@paused_collection()
def _take(
    connection: LedgerConnection,
    spool: int,
    chunk: _Chunk,
    found: Found,
    at_ns: int,
    intensity: Intensities,
    user: SpoolUser | None,
) -> int:
    """Write what was read of some runs; returns how many runs they are."""
    if not chunk.due and not chunk.sealable:
        return chunk.runs
    read = chunk.read()
    batch = RowBatch()
    with transaction(connection):
        _write_new(connection, spool, [one for one in read if isinstance(one, NewRun)], batch, intensity, user)
        for one in read:
            if isinstance(one, str):
                found.skipped.append(one)
            elif isinstance(one, NewRun) or (
                one is not None and _write(connection, spool, one, batch, found.skipped, at_ns, user)
            ):
                found.files_read += one.files_read
        batch.write(connection)
        refresh_totals(connection)
        for state in chunk.sealable:
            if state.known:
                state.files.seal(connection, state.known.run, state.listing.mtime_ns)
    found.changed += sum(one is not None for one in read)
    return chunk.runs


def _write_new(
    connection: LedgerConnection,
    spool: int,
    found: Sequence[NewRun],
    batch: RowBatch,
    intensity: Intensities,
    user: SpoolUser | None,
) -> None:
    """Write runs of which the ledger had nothing. One of a user that does not count is noted as such. One that another
    sync has written meanwhile, where files cannot be locked, stays as that one read it."""
    counted = list[NewRun]()
    refused = list[tuple[NewRun, str]]()
    written = written_runs(connection, spool, [one.run_id for one in found])
    for one in found:
        if one.run_id in written:
            continue
        reason = None if user is None else user.refusal(connection, one.owner_uid, one.job_ids)
        if reason is None:
            counted.append(one)
        else:
            refused.append((one, reason))
    for run in write_new(connection, spool, counted, batch, intensity):
        if user is not None:
            mark_users(connection, run)
    for one, reason in refused:
        files = RunFiles()
        files.write(connection, refuse_run(connection, spool, one.run_id, one.owner_uid, files, reason))


def _is_over(connection: sqlite3.Connection, state: RunState, run: int, at_ns: int) -> bool:
    """Whether a run is to be sealed. One whose directory changed just now may change again without another time."""
    return (
        not state.missing
        and is_settled(state.listing.mtime_ns, at_ns)
        and is_complete_in(connection, run, state.files, at_ns)
    )


def look_at(
    connection: sqlite3.Connection, spool: int | None, runs: Sequence[RunDir], found: Found
) -> Iterator[DueRun]:
    """What these runs have on disk and in the ledger, but for those that are sealed and as they were. One of which the
    ledger has nothing is not looked at here."""
    for run, known in with_known(connection, spool, runs):
        if known is None:
            yield run
            continue
        try:
            if known.sealed_mtime_ns == os.lstat(run.folder).st_mtime_ns:
                continue
            listing = list_run(run)
        except OSError as error:
            found.skipped.append(f"{run.folder}: cannot be read: {error.strerror}")
            continue
        state = RunState(listing, known, RunFiles.of(connection, known.run))
        found.vanished_files += [f"{run.run_id}/{name}" for name in state.missing]
        yield state


def _write(
    connection: LedgerConnection,
    spool: int,
    read: ReadRun,
    batch: RowBatch,
    skipped: list[str],
    at_ns: int,
    user: SpoolUser | None,
) -> bool:
    """Write one run in a savepoint of its own, so that one that fails leaves nothing half done; whether it did not."""
    own, state = RowBatch(), read.state
    connection.execute("SAVEPOINT run")
    try:
        run = write_rows(connection, spool, read, own, user)
        # A user's run not before Slurm's accounting has been compared with it: at the next sync.
        if user is None and _is_over(connection, state, run, at_ns):
            state.files.seal(connection, run, state.listing.mtime_ns)
        else:
            state.files.write(connection, run)
    except OverflowError:
        connection.roll_back_to("run")
        skipped.append(too_large(state.listing.run_dir.folder))
        return False
    finally:
        connection.execute("RELEASE run")
    batch.extend(own)
    return True
