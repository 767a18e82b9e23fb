"""The files of node agents in the ledger. One that has grown is read on from where the last sync stopped.

For that, ``place`` has the header and the last record of its last session, and what jobs had that ended since; the rest
is in the rows. It is kept of the newest file of each node. Every other file is read whole when it has changed.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import field
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

from hpcfrugal.accounting.buckets import BUCKET_NS
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.safe_read import FileState, Unreadable, UnsafeFile, check_usable
from hpcfrugal.core.text import clean_text
from hpcfrugal.ledger.agent_due import mark_measured
from hpcfrugal.ledger.agent_rows import AgentFileRow, AgentFileRows, SessionRows
from hpcfrugal.ledger.agent_sessions import ReadSession, restored, session_rows
from hpcfrugal.ledger.connection import LedgerConnection, transaction
from hpcfrugal.ledger.file_rows import ReadState
from hpcfrugal.ledger.garbage import paused_collection
from hpcfrugal.ledger.session_accounts import SessionAccounts
from hpcfrugal.ledger.spool_files import changed_files, missing_files, name_in_spool
from hpcfrugal.ledger.tables import AGENT_FILES, AGENT_JOBS, AGENT_SESSIONS, NODE_CHANNELS, TABLES_OF_AGENTS
from hpcfrugal.spool.agent_files import AgentParser, agent_lines
from hpcfrugal.spool.agent_layout import agent_files
from hpcfrugal.spool.agent_records import AgentHeader, AgentRecord
from hpcfrugal.spool.layout import AGENTS_DIR
from hpcfrugal.spool.samples import MAX_LINE_BYTES, open_samples

FILES_AT_ONCE = 8
"""So many files are read in one transaction."""

Progress = Callable[[int, int], None]
"""Called with (files done, files in all)."""


@dataclass(slots=True)
class _Read:
    """What was read of a file now. ``goes_on``: the first session is one of which the ledger has rows."""

    state: FileState
    goes_on: bool
    bad: dict[str, int]
    size: int
    last_line: bytes
    sessions: list[ReadSession] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ChangedAgentFile:
    """A file that is to be read. ``keeps_place``: it is the newest of its node."""

    name: str
    node: str
    day: date
    path: Path
    status: os.stat_result
    keeps_place: bool


def _changed(
    connection: sqlite3.Connection, spool: int | None, spool_root: Path, skipped: list[str] | None = None
) -> Iterator[ChangedAgentFile]:
    skip = None if skipped is None else lambda path, reason: skipped.append(f"{path}: {reason}")
    found = {path: (node, day) for node, day, path in agent_files(spool_root, skip or (lambda path, reason: None))}
    newest = dict(found.values())
    for path, status in changed_files(connection, AGENT_FILES, spool, found):
        node, day = found[path]
        yield ChangedAgentFile(name_in_spool(path), node, day, path, status, newest[node] == day)


def agents_changed(connection: sqlite3.Connection, spool: int | None, spool_root: Path) -> bool:
    """Whether a sync would read any file of an agent."""
    return next(_changed(connection, spool, spool_root), None) is not None


def missing_agents(connection: sqlite3.Connection, spool: int | None, spool_root: Path) -> list[str]:
    """The files that count in the ledger and are not in the spool."""
    paths = (path for _, _, path in agent_files(spool_root, lambda path, reason: None))
    return missing_files(connection, AGENT_FILES, spool, paths, AGENTS_DIR)


def files_to_read_whole(connection: sqlite3.Connection, spool: int | None, spool_root: Path) -> list[ChangedAgentFile]:
    """The files that a sync would read from their beginning."""
    rows = connection.execute("SELECT name FROM agent_files WHERE spool = ? AND place NOT NULL", (spool,))
    goes_on = {name for (name,) in rows}
    return [one for one in _changed(connection, spool, spool_root) if one.name not in goes_on]


@paused_collection()
def take_agents(
    connection: LedgerConnection, spool: int, spool_root: Path, skipped: list[str], progress: Progress | None = None
) -> int:
    """Read the files that changed, some in a transaction; returns how many. A file belongs to the owner of the folder
    of agents, or to root."""
    changed = list(_changed(connection, spool, spool_root, skipped))
    if not changed:
        return 0
    owner_uid = os.lstat(spool_root / AGENTS_DIR).st_uid
    for start in range(0, len(changed), FILES_AT_ONCE):
        with transaction(connection):
            for one in changed[start : start + FILES_AT_ONCE]:
                _take(connection, spool, one, owner_uid)
        if progress is not None:
            progress(min(start + FILES_AT_ONCE, len(changed)), len(changed))
    return len(changed)


def _take(connection: LedgerConnection, spool: int, one: ChangedAgentFile, owner_uid: int) -> None:
    row = connection.execute(
        "SELECT agent_file, accepted, place FROM agent_files WHERE spool = ? AND name = ?", (spool, one.name)
    ).fetchone()
    try:
        uid = _checked(one, owner_uid)
        place = None if row is None or row["place"] is None else json.loads(row["place"])
        read = None if place is None else _read_on(connection, int(row["agent_file"]), one, uid, place)
        read = read or _read_whole(one, uid)
    except Unreadable as unreadable:
        known = ReadState(row is not None and bool(row["accepted"]))
        AGENT_FILES.insert(connection, AgentFileRow(one.name, one.node, known.unreadable(str(unreadable))), spool)
        return
    except UnsafeFile as refused:
        refused_state = ReadState.of(FileState.of(one.status), [str(refused)], accepted=False)
        refusal_row = AgentFileRow(one.name, clean_text(one.node), refused_state)
        _forget(connection, AGENT_FILES.insert(connection, refusal_row, spool))
        return
    put_rows(connection, spool, _rows_of(one, read), goes_on=read.goes_on)


def _checked(one: ChangedAgentFile, owner_uid: int) -> int:
    """The owner that a file must have. Raises ``UnsafeFile`` where it is not to be read."""
    uid = one.status.st_uid if one.status.st_uid == 0 else owner_uid
    check_usable(one.status, uid)
    if clean_text(one.node) != one.node:
        raise UnsafeFile("the name of its node is not UTF-8")
    return uid


@paused_collection()
def rows_of_file(one: ChangedAgentFile, owner_uid: int) -> AgentFileRows:
    """The rows of a whole file. Raises ``UnsafeFile``, also where it cannot be read."""
    return _rows_of(one, _read_whole(one, _checked(one, owner_uid)))


def _rows_of(one: ChangedAgentFile, read: _Read) -> AgentFileRows:
    problems = [f"{number} line{'s' * (number > 1)}: {reason}" for reason, number in sorted(read.bad.items())]
    if not read.sessions:
        problems.append("no usable header")
    place = _place(read) if one.keeps_place else None
    file = AgentFileRow(one.name, one.node, ReadState.of(read.state, problems), place)
    return AgentFileRows(file, [session_rows(session) for session in read.sessions])


def put_rows(connection: LedgerConnection, spool: int, rows: AgentFileRows, *, goes_on: bool = False) -> None:
    """Put the rows of a file in the place of those that the ledger has; with ``goes_on`` those of its last sessions."""
    agent_file = AGENT_FILES.insert(connection, rows.file, spool)
    if not goes_on:
        _forget(connection, agent_file)
    for session in rows.sessions:
        _write(connection, agent_file, session)


def _read_whole(one: ChangedAgentFile, uid: int) -> _Read:
    with open_samples(one.path, uid) as (file, state):
        read = _Read(state, False, {}, 0, b"")
        _read_lines(AgentParser(one.node, one.day), file, read)
    return read


def _read_on(
    connection: sqlite3.Connection, agent_file: int, one: ChangedAgentFile, uid: int, place: dict[str, Any]
) -> _Read | None:
    """What has come to a file since ``place``; None where it is to be read whole."""
    last_line, header_line, record_line = (
        place[name].encode("latin-1") for name in ("last_line", "header_line", "record_line")
    )
    with open_samples(one.path, uid) as (file, state):
        file.seek(max(0, place["size"] - len(last_line) - 1))
        if state.inode != place["inode"] or file.read(len(last_line) + 1) != last_line + b"\n":
            return None
        parser = AgentParser(one.node, one.day)
        header, latest = parser.take(header_line), parser.take(record_line)
        if not isinstance(header, AgentHeader) or not isinstance(latest, AgentRecord):
            return None
        parser.bad.clear()
        parser.bad.update(place["bad"])
        accounts = restored(connection, agent_file, place["session"], header, latest, place["gone_uj"])
        session = ReadSession(place["session"], header_line, accounts, record_line)
        read = _Read(state, True, {}, place["size"], last_line, [session])
        _read_lines(parser, file, read)
    return read


def _read_lines(parser: AgentParser, file: BinaryIO, read: _Read) -> None:
    """Take the lines from where ``file`` is, up to the size that it had."""
    size = read.size
    for line, upto in agent_lines(file, read.state.size - size):
        read.size, read.last_line = size + upto, line
        one = parser.take(line)
        if isinstance(one, AgentHeader):
            number = read.sessions[-1].number + 1 if read.sessions else 0
            read.sessions.append(ReadSession(number, line, SessionAccounts(one)))
        elif isinstance(one, AgentRecord):
            read.sessions[-1].accounts.take(one)
            read.sessions[-1].record_line = line
        elif one is not None:
            read.sessions[-1].accounts.take_ended(one)
    for session in read.sessions:
        session.accounts.settle()
    read.bad = dict(parser.bad)


def _place(read: _Read) -> str | None:
    """What ``_read_on`` needs, as JSON; None where there is no record to go on from."""
    last = read.sessions[-1] if read.sessions else None
    if last is None or not last.record_line or len(read.last_line) >= MAX_LINE_BYTES:
        return None
    lines = {"last_line": read.last_line, "header_line": last.header_line, "record_line": last.record_line}
    return json.dumps(
        {
            "inode": read.state.inode,
            "size": read.size,
            "bad": read.bad,
            "session": last.number,
            "gone_uj": last.accounts.sums.gone_uj,
            **{name: line.decode("latin-1") for name, line in lines.items()},
        }
    )


def _forget(connection: LedgerConnection, agent_file: int) -> None:
    """Delete what the ledger has of a file; the jobs of it are due."""
    mark_measured(connection, _names(connection, agent_file, 0, 0))
    for table in TABLES_OF_AGENTS:
        table.delete(connection, agent_file)


def _write(connection: LedgerConnection, agent_file: int, rows: SessionRows) -> None:
    """Write the rows of a session. Due are the jobs of which more was read, and those that ended in the bucket up to
    which the session had been read: how long channels had no readings in it may have changed."""
    number = rows.session.session
    before = connection.execute(
        "SELECT started_wall_ns + lasted_ns FROM agent_sessions WHERE agent_file = ? AND session = ?",
        (agent_file, number),
    ).fetchone()
    AGENT_SESSIONS.insert(connection, rows.session, agent_file)
    NODE_CHANNELS.insert_all(connection, rows.channels, agent_file)
    AGENT_JOBS.insert_all(connection, rows.jobs, agent_file)
    mark_measured(connection, {(job.job_id, job.sluid) for job in rows.jobs})
    if before is not None:
        since_ns = int(before[0]) - int(before[0]) % BUCKET_NS
        mark_measured(connection, _names(connection, agent_file, number, since_ns))


def _names(
    connection: sqlite3.Connection, agent_file: int, session: int, since_ns: int
) -> list[tuple[str | None, str | None]]:
    """Ids and SLUIDs of the jobs in a file from a session on that were seen at ``since_ns`` or later."""
    rows = connection.execute(
        "SELECT DISTINCT job_id, sluid FROM agent_jobs WHERE agent_file = ? AND session >= ? AND last_wall_ns >= ?",
        (agent_file, session, since_ns),
    )
    return [(job_id, sluid) for job_id, sluid in rows]
