"""One run directory into the ledger: only files that changed are read, and what they say is derived afresh.

The rows of a run depend on its files alone, never on the order in which they came or on the clock; that is
what makes a rebuilt ledger the same as one that grew. What has vanished from the spool keeps its rows, and
``look`` names it.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hpcfrugal.accounting import tables
from hpcfrugal.accounting.buckets import Interval, parts
from hpcfrugal.core.json_fields import MAX_INT, clean_text
from hpcfrugal.core.safe_read import FileState, Unreadable, UnsafeFile, refusal
from hpcfrugal.ledger.channel_totals import NodeTotals
from hpcfrugal.ledger.channels import write_channels
from hpcfrugal.ledger.derive import derive, derive_meter
from hpcfrugal.ledger.jobs import FactsOfNodes, content_of, insert, write_jobs
from hpcfrugal.ledger.plans import plan_column
from hpcfrugal.ledger.sessions import session_row
from hpcfrugal.ledger.unreadable_files import note_unread
from hpcfrugal.spool.documents import (
    NodeFacts,
    RunDocument,
    read_end,
    read_log,
    read_nodes,
    read_run,
    read_slurm,
    read_submitted,
)
from hpcfrugal.spool.layout import METER_DOMAIN, JobKey, ParsedName, RunDir
from hpcfrugal.spool.samples import SampleFile, SidecarSession, read_samples

_NODE_TABLES = ("sidecar_sessions", "channels", "energy", "absent")
_METERED = {
    "channels": ("channel", f"node/{METER_DOMAIN}{{}}/*"),
    "energy": ("channel", f"node/{METER_DOMAIN}{{}}/*"),
    "absent": ("source", f"{METER_DOMAIN}{{}}"),
}
"""By which column, and which form of it, the rows of a meter are told from the sidecar's."""

_MOST_ROWS = 20_000
_BYTES_A_ROW = 8
"""A file may have rows of energy between its readings in proportion to its size, and these beside them. What a record
says of a channel takes 20 bytes and more and comes each 300 s or sooner, so a file of the sidecar has less than half as
many; in a sleep of any length a node of twenty channels has 6000."""

_READ = frozenset({"run", "submitted", "end", "slurm", "nodes", "samples", "meter", "log"})


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file of the directory as listed."""

    name: str
    parsed: ParsedName
    state: FileState
    refused: str | None


def _look(run: RunDir) -> tuple[int, list[_Seen]]:
    """Owner and files of a run directory. Raises ``OSError``."""
    owner_uid = os.lstat(run.path).st_uid
    seen = []
    for name, parsed in run.names():
        if parsed is None or parsed.kind not in _READ:
            if parsed is not None or not name.endswith((".json", ".jsonl", ".meter")):
                continue
            parsed = ParsedName("log")
        try:
            status = os.lstat(run.path / name)
        except FileNotFoundError:
            continue
        reason = refusal(status, owner_uid)
        if reason is None and parsed.kind == "log" and parsed.job is None:
            reason = "its name is not one of the spool"
        if parsed.node is not None and parsed.node != _node(parsed):
            # Two of them would be one in the ledger.
            reason = "the name of its node is not UTF-8"
        seen.append(_Seen(name, parsed, FileState.of(status), reason))
    return owner_uid, seen


@dataclass(frozen=True, slots=True)
class Look:
    """Whether files of a run are to be read, and which that the ledger counts are there no more."""

    changed: bool
    missing: tuple[str, ...]


def look(connection: sqlite3.Connection, run: RunDir) -> Look:
    """Compare the files of ``run`` with what the ledger was made of. Raises ``OSError``."""
    seen = _look(run)[1]
    there = {clean_text(file.name) for file in seen}
    missing = tuple(name for name in accepted_names(connection, run.run_id) if name not in there)
    # Nothing can be told of a run that has lost its run.json, so what the ledger has of it stays as it is.
    changed = run.run_json.name not in missing and bool(_changed(connection, run.run_id, seen))
    return Look(changed, missing)


def accepted_names(connection: sqlite3.Connection, run_id: str) -> list[str]:
    """The files of a run that count in the ledger, in order."""
    rows = connection.execute("SELECT name FROM files WHERE run_id = ? AND accepted ORDER BY name", (run_id,))
    return [name for (name,) in rows]


def _changed(connection: sqlite3.Connection, run_id: str, seen: Sequence[_Seen]) -> list[_Seen]:
    rows = connection.execute("SELECT name, size, mtime_ns, inode FROM file_states WHERE run_id = ?", (run_id,))
    known = {name: FileState(size, mtime_ns, inode) for name, size, mtime_ns, inode in rows}
    return [file for file in seen if known.get(clean_text(file.name)) != file.state]


def ingest(connection: sqlite3.Connection, run: RunDir) -> int:
    """Bring the rows of ``run`` up to date inside the caller's transaction; returns how many files were read.

    Raises ``OSError`` where the directory cannot be listed.
    """
    owner_uid, seen = _look(run)
    changed = _changed(connection, run.run_id, seen)
    if not changed:
        return 0
    counted = connection.execute("SELECT 1 FROM runs WHERE run_id = ?", (run.run_id,)).fetchone() is not None
    document = _run_document(connection, run, owner_uid, seen)
    if document is None:
        for file in seen:
            _note_state(connection, run.run_id, file.name, file.state)
        return 0
    if not counted:
        changed = seen
    files_read = 1
    facts = FactsOfNodes(connection)  # asked from the first sample file on, when the documents are taken
    for file in _in_order(changed, seen):
        if file.parsed.kind == "run":
            continue
        try:
            taken = _take_whole(connection, run, owner_uid, file, facts)
        except Unreadable as unreadable:
            note_unread(connection, _known_of(run.run_id, file), str(unreadable))
            continue
        files_read += file.refused is None
        _note(connection, run.run_id, file, taken)
    write_jobs(connection, document)
    return files_read


def _in_order(changed: Sequence[_Seen], seen: Sequence[_Seen]) -> list[_Seen]:
    """What is to be read, facts of nodes first: samples are read with them, and again where they changed."""
    facts = [file for file in changed if file.parsed.kind == "nodes"]
    jobs = {file.parsed.job for file in facts}
    names = {file.name for file in changed}
    again = [file for file in seen if file.parsed.kind in ("samples", "meter") and file.parsed.job in jobs]
    return [
        *facts,
        *(file for file in changed if file.parsed.kind != "nodes"),
        *(file for file in again if file.name not in names),
    ]


def _run_document(
    connection: sqlite3.Connection, run: RunDir, owner_uid: int, seen: Sequence[_Seen]
) -> RunDocument | None:
    """``run.json``; without a sound one the run does not count and leaves no rows but the reason."""
    file = next((file for file in seen if file.parsed.kind == "run"), None)
    if file is None:
        _forget(connection, run.run_id)
        row = {"run_id": run.run_id, "name": run.run_json.name, "kind": "run", "accepted": 0}
        insert(connection, "files", {**row, "problems": json.dumps(["missing: the run does not count"])})
        return None
    try:
        if file.refused is not None:
            raise UnsafeFile(file.refused)
        document, state, problems = read_run(run.run_json, owner_uid)
    except Unreadable as unreadable:
        # Nothing can be told of the run now, so what the ledger has of it stays as it is.
        raise unreadable.error from unreadable
    except UnsafeFile as refused:
        _forget(connection, run.run_id)
        _note(connection, run.run_id, file, _Taken([f"{refused}: the run does not count"], file.state, accepted=False))
        return None
    _note(connection, run.run_id, file, _Taken(problems, state))
    insert(
        connection,
        "runs",
        {
            "run_id": document.run_id,
            "user": document.user,
            "uid": document.uid,
            "created_wall_ns": document.created_wall_ns,
            "version": document.version,
            "backend": document.backend,
            "host": document.host,
            "name": document.name,
            "project": document.tags.get("project"),
            "phase": document.tags.get("phase"),
            "tags": json.dumps(document.tags, sort_keys=True),
            "zone": document.zone,
            "pue": document.pue,
            "sampled": document.sampled,
            "plan": plan_column(document.plan),
        },
    )
    return document


def _forget(connection: sqlite3.Connection, run_id: str) -> None:
    for table in ("runs", "jobs", *_NODE_TABLES, "files", "file_states"):
        connection.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))


@dataclass(frozen=True, slots=True)
class _Taken:
    """What came of reading a file: its problems, its state as read, whether it counts and what it said."""

    problems: Sequence[str]
    state: FileState
    content: str | None = None
    accepted: bool = True


def _note(connection: sqlite3.Connection, run_id: str, file: _Seen, taken: _Taken) -> None:
    said = {"accepted": int(taken.accepted), "problems": json.dumps(list(taken.problems)), "content": taken.content}
    insert(connection, "files", {**_known_of(run_id, file), **said})
    _note_state(connection, run_id, file.name, taken.state)


def _known_of(run_id: str, file: _Seen) -> dict[str, Any]:
    """What the name of a file tells of it."""
    job = file.parsed.job
    return {
        "run_id": run_id,
        "name": clean_text(file.name),
        "kind": file.parsed.kind,
        "job_id": job.job_id if job else None,
        "restart": job.restart if job else None,
        "node": _node(file.parsed),
    }


def _note_state(connection: sqlite3.Connection, run_id: str, name: str, state: FileState) -> None:
    row = {"run_id": run_id, "name": clean_text(name)}
    values = {"size": state.size, "mtime_ns": state.mtime_ns, "inode": state.inode}
    insert(connection, "file_states", {**row, **values})


def _node(parsed: ParsedName) -> str | None:
    return None if parsed.node is None else clean_text(parsed.node)


def _take_whole(
    connection: sqlite3.Connection, run: RunDir, owner_uid: int, file: _Seen, facts: FactsOfNodes
) -> _Taken:
    """Read one file, or leave all as it was. Of one that does not count no row stays. Raises ``Unreadable``."""
    job = file.parsed.job
    connection.execute("SAVEPOINT file")
    try:
        if file.parsed.kind in ("samples", "meter") and job is not None:
            _clear_node(connection, run.run_id, job, _node(file.parsed), file.parsed.meter)
        connection.execute("SAVEPOINT rows")
        try:
            return _take(connection, run, owner_uid, file, facts)
        except Unreadable:
            connection.execute("ROLLBACK TO file")
            raise
        except (UnsafeFile, OverflowError) as error:
            connection.execute("ROLLBACK TO rows")
            why = str(error) if isinstance(error, UnsafeFile) else "holds a number larger than there can be"
            return _Taken([why], file.state, accepted=False)
    finally:
        connection.execute("RELEASE file")


def _take(connection: sqlite3.Connection, run: RunDir, owner_uid: int, file: _Seen, facts: FactsOfNodes) -> _Taken:
    """Read one file; a sample file into its tables, whose old rows are gone. Raises ``UnsafeFile``."""
    path, job = run.path / file.name, file.parsed.job
    if file.refused is not None:
        raise UnsafeFile(file.refused)
    if file.parsed.kind == "submitted":
        submitted, state, problems = read_submitted(path, owner_uid)
        return _Taken(problems, state, content_of(submitted))
    if job is None:
        raise UnsafeFile("its name is not one of the spool")
    if file.parsed.kind == "end":
        end, state, problems = read_end(path, owner_uid, job)
        return _Taken(problems, state, content_of(end))
    if file.parsed.kind == "slurm":
        slurm, state, problems = read_slurm(path, owner_uid, job)
        return _Taken(problems, state, content_of(slurm))
    if file.parsed.kind == "nodes":
        nodes, state, problems = read_nodes(path, owner_uid, job)
        return _Taken(problems, state, content_of(nodes))
    if file.parsed.kind == "log":
        line, state = read_log(path, owner_uid)
        return _Taken([], state, content_of(line))
    samples, node = read_samples(path, owner_uid, job), _node(file.parsed)
    key: dict[str, Any] = {"run_id": run.run_id, "job_id": job.job_id, "restart": job.restart, "node": node}
    of_node = facts.of(run.run_id, job, node)
    if file.parsed.meter is not None:
        return _take_meter(connection, key, file.parsed.meter, samples, of_node)
    return _take_samples(connection, key, samples, of_node)


def _clear_node(connection: sqlite3.Connection, run_id: str, job: JobKey, node: str | None, meter: str | None) -> None:
    """Remove what the sidecar's file of a node said, or the file of one of its meters."""
    for table in _NODE_TABLES:
        where = "run_id = ? AND job_id = ? AND restart = ? AND node = ?"
        values: list[Any] = [run_id, job.job_id, job.restart, node]
        if table in _METERED:
            column, form = _METERED[table]
            where += f" AND {column} {'NOT GLOB' if meter is None else 'GLOB'} ?"
            values.append(form.format("*" if meter is None else meter))
        elif meter is not None:
            continue
        connection.execute(f"DELETE FROM {table} WHERE {where}", values)


def _problems(samples: SampleFile) -> list[str]:
    return [*samples.problems, *([] if samples.sessions else ["no usable header"])]


def _take_samples(
    connection: sqlite3.Connection, key: dict[str, Any], samples: SampleFile, facts: NodeFacts | None
) -> _Taken:
    headers = [session.header for session in samples.sessions]
    others = sorted({header.node for header in headers} - {key["node"]})
    problems = [*_problems(samples), *(f"header says node {other[:80]!r}" for other in others)]
    said = [channel.domain for header in headers for channel in header.channels]
    said += [item.source for header in headers for item in header.absent]
    # They would be taken for rows of a meter's file.
    if any(name.startswith(METER_DOMAIN) for name in said):
        raise UnsafeFile(f"says something that only a meter's file may, beginning with {METER_DOMAIN!r}")
    account = derive(samples.sessions, tables.cpu_tdp(), tables.gpu_tdp(), facts)
    _bound(account, samples.state)
    _write_sessions(connection, key, samples.sessions, facts)
    write_channels(connection, key, account)
    return _Taken([*problems, *account.problems], samples.state)


def _take_meter(
    connection: sqlite3.Connection, key: dict[str, Any], meter: str, samples: SampleFile, facts: NodeFacts | None
) -> _Taken:
    """A meter's file: its channels and absences, beside what the sidecar's file of the node says."""
    problems, domain = _problems(samples), f"{METER_DOMAIN}{meter}"
    headers = [session.header for session in samples.sessions]
    channels = [channel for header in headers for channel in header.channels]
    absent = {(item.component, item.source, item.reason) for header in headers for item in header.absent}
    # Another domain would be the sidecar's or another meter's, whose rows are not this file's to write.
    if any((channel.component, channel.domain, channel.counted) != ("node", domain, False) for channel in channels) or (
        any(source != domain for _, source, _ in absent)
    ):
        raise UnsafeFile("says something else than what its meter read of the node")
    account = derive_meter(samples.sessions, facts)
    _bound(account, samples.state)
    # Without a sidecar beside it a meter's file counts time from the job's start, not from the node's boot.
    write_channels(connection, key, account, since_boot=all(header.boot_id is not None for header in headers))
    _write_absent(connection, key, absent)
    return _Taken([*problems, *account.problems], samples.state)


def _bound(account: NodeTotals, state: FileState) -> None:
    """Raise ``UnsafeFile`` for what each record may say and all of them together may not, or for too little told of
    too much time: every row of energy costs the ledger a hundred bytes.
    """
    for channel in account.channels:
        sums = (channel.energy_uj, channel.node_energy_uj, channel.idle_uj, channel.measured_ns, channel.unread_ns)
        counts = (channel.errors, channel.resets, channel.gaps)
        if any(value is not None and value > MAX_INT for value in (*sums, *counts)):
            raise UnsafeFile(f"says more of {str(channel.key)[:80]} than there can be")
    # What two neighbouring readings add to the rows that each of them has anyway.
    between = sum(max(_crossed(channel.job), _crossed(channel.node)) for channel in account.channels)
    if between > _MOST_ROWS + state.size // _BYTES_A_ROW:
        raise UnsafeFile("says too little of too much time: its records are too far apart")


def _crossed(intervals: Iterable[Interval]) -> int:
    return sum(parts(interval.start_ns, interval.end_ns) - 1 for interval in intervals)


def _write_sessions(
    connection: sqlite3.Connection, key: dict[str, Any], sessions: Sequence[SidecarSession], facts: NodeFacts | None
) -> None:
    absent: set[tuple[str, str, str]] = set()
    for number, session in enumerate(sessions):
        absent.update((item.component, item.source, item.reason) for item in session.header.absent)
        insert(connection, "sidecar_sessions", {**key, "session": number, **session_row(session, facts)})
    _write_absent(connection, key, absent)


def _write_absent(connection: sqlite3.Connection, key: dict[str, Any], absent: set[tuple[str, str, str]]) -> None:
    for component, source, reason in sorted(absent):
        insert(connection, "absent", {**key, "component": component, "source": source, "reason": reason})
