"""Reading some runs of a spool: what changed is read, written in one transaction, and sealed where it is over."""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from hpcfrugal.ledger.connection import LedgerConnection, transaction
from hpcfrugal.ledger.garbage import paused_collection
from hpcfrugal.ledger.ingest import ReadRun, write_rows
from hpcfrugal.ledger.refresh import refresh_totals
from hpcfrugal.ledger.rows import JobRow
from hpcfrugal.ledger.run_files import RunFiles
from hpcfrugal.ledger.run_listing import list_run
from hpcfrugal.ledger.run_readers import RunReaders
from hpcfrugal.ledger.run_state import RunState, with_known
from hpcfrugal.ledger.sealing import is_complete, is_settled
from hpcfrugal.ledger.table import RowBatch
from hpcfrugal.ledger.users_runs import SpoolUser
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
    due: Sequence[RunState]
    sealable: Sequence[RunState]
    read: Callable[[], list[ReadRun | str]]


def read_runs(
    connection: LedgerConnection,
    spool: int,
    runs: Sequence[RunDir],
    found: Found,
    at_ns: int,
    readers: RunReaders,
    user: SpoolUser | None = None,
) -> Iterator[int]:
    """Read these runs as far as they changed, some in a transaction, and seal those that are over; gives after each
    transaction how many it was about. ``user`` is as in ``write_rows``."""
    waiting: deque[_Chunk] = deque()
    for start in range(0, len(runs), RUNS_AT_ONCE):
        waiting.append(_look(connection, spool, runs[start : start + RUNS_AT_ONCE], found, at_ns, readers))
        while len(waiting) > readers.ahead:
            yield _take(connection, spool, waiting.popleft(), found, at_ns, user)
    while waiting:
        yield _take(connection, spool, waiting.popleft(), found, at_ns, user)


def _look(
    connection: LedgerConnection,
    spool: int,
    runs: Sequence[RunDir],
    found: Found,
    at_ns: int,
    readers: RunReaders,
) -> _Chunk:
    with paused_collection():
        states = list(look_at(connection, spool, runs, found))
        due = [state for state in states if state.changed]
        sealable = [
            state
            for state in states
            if not state.changed and state.known and _is_over(connection, state, state.known.run, at_ns)
        ]
        return _Chunk(len(runs), due, sealable, readers.read(due))


@paused_collection()
def _take(
    connection: LedgerConnection, spool: int, chunk: _Chunk, found: Found, at_ns: int, user: SpoolUser | None
) -> int:
    """Write what was read of some runs; returns how many runs they are."""
    if not chunk.due and not chunk.sealable:
        return chunk.runs
    read = chunk.read()
    batch, new = RowBatch(), list[JobRow]()
    with transaction(connection):
        for one in read:
            if isinstance(one, str):
                found.skipped.append(one)
            elif _write(connection, spool, one, batch, new, found.skipped, at_ns, user):
                found.files_read += one.files_read
        batch.write(connection)
        refresh_totals(connection, new=new)
        for state in chunk.sealable:
            if state.known:
                state.files.seal(connection, state.known.run, state.listing.mtime_ns)
    found.changed += len(chunk.due)
    return chunk.runs


def _is_over(connection: sqlite3.Connection, state: RunState, run: int, at_ns: int) -> bool:
    """Whether a run is to be sealed. One whose directory changed just now may change again without another time."""
    return (
        not state.missing
        and is_settled(state.listing.mtime_ns, at_ns)
        and is_complete(connection, run, state.files, at_ns)
    )


def look_at(
    connection: sqlite3.Connection, spool: int | None, runs: Sequence[RunDir], found: Found
) -> Iterator[RunState]:
    """What these runs have on disk and in the ledger, but for those that are sealed and as they were."""
    for run, known in with_known(connection, spool, runs):
        try:
            if known is not None and known.sealed_mtime_ns == os.lstat(run.path).st_mtime_ns:
                continue
            listing = list_run(run)
        except OSError as error:
            found.skipped.append(f"{run.path}: cannot be read: {error.strerror}")
            continue
        state = RunState(listing, known, RunFiles.of(connection, known and known.run))
        found.vanished_files += [f"{run.run_id}/{name}" for name in state.missing]
        yield state


def _write(
    connection: LedgerConnection,
    spool: int,
    read: ReadRun,
    batch: RowBatch,
    new: list[JobRow],
    skipped: list[str],
    at_ns: int,
    user: SpoolUser | None,
) -> bool:
    """Write one run in a savepoint of its own, so that one that fails leaves nothing half done; whether it did not."""
    own, state = RowBatch(), read.state
    connection.execute("SAVEPOINT run")
    try:
        run, jobs = write_rows(connection, spool, read, own, user)
        # A user's run not before Slurm's accounting has been compared with it: at the next sync.
        if user is None and _is_over(connection, state, run, at_ns):
            state.files.seal(connection, run, state.listing.mtime_ns, is_new=state.known is None)
        else:
            state.files.write(connection, run)
    except OverflowError:
        connection.roll_back_to("run")
        skipped.append(f"{state.listing.run_dir.path}: holds a number too large")
        return False
    finally:
        connection.execute("RELEASE run")
    batch.extend(own)
    new += jobs
    return True
