"""One run directory into the ledger: only files that changed are read, and their rows are derived afresh.

The rows of a run depend on its files alone, never on the order in which they came or on the clock; that is
what makes a rebuilt ledger the same as one that grew. What has vanished from the spool keeps its rows, and
``changes_of`` names it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from hpcfrugal.accounting import tables
from hpcfrugal.core.record import MAX_INT, assemble
from hpcfrugal.core.safe_read import FileState, Unreadable, UnsafeFile, refusal
from hpcfrugal.core.text import clean_text
from hpcfrugal.ledger.channel_totals import NodeTotals
from hpcfrugal.ledger.channels import write_channels
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.derive import derive, derive_meter
from hpcfrugal.ledger.jobs import FactsOfNodes, content_of, delete_job, document_of, job_of, write_jobs
from hpcfrugal.ledger.plans import plan_column
from hpcfrugal.ledger.read_on import ReadOn, place_to_read_on, read_on
from hpcfrugal.ledger.rows import (
    CHANNELS,
    FILES,
    MISSING_SENSORS,
    NODE_TABLES,
    RUNS,
    SESSIONS,
    FileRow,
    MissingSensorRow,
    RunRow,
)
from hpcfrugal.ledger.sealing import sealed_files, unseal
from hpcfrugal.ledger.sessions import session_row
from hpcfrugal.ledger.unreadable_files import note_read_error
from hpcfrugal.spool.documents import (
    EndDocument,
    LabelsDocument,
    NodeFacts,
    NodesDocument,
    RunDocument,
    read_end,
    read_labels,
    read_log,
    read_nodes,
    read_run,
    read_slurm,
    read_submitted,
)
from hpcfrugal.spool.job_state import JobState
from hpcfrugal.spool.layout import METER_DOMAIN, JobKey, ParsedName, RunDir
from hpcfrugal.spool.sample_header import Header, SampledNode
from hpcfrugal.spool.samples import SampleFile, read_samples

_R = TypeVar("_R")

_JobDocument = EndDocument | JobState | NodesDocument
_READERS: Mapping[str, Callable[[Path, int, JobKey], tuple[_JobDocument, FileState, list[str]]]] = {
    "end": read_end,
    "slurm": read_slurm,
    "nodes": read_nodes,
}
_METERED = {
    CHANNELS.name: ("kind", "SELECT kind FROM channel_kinds WHERE domain {} ?"),
    MISSING_SENSORS.name: ("sensor", "SELECT sensor FROM unused_sensors WHERE source {} ?"),
}
"""By which column, and which entries of its dictionary, the rows of a meter differ from the sidecar's."""

_MOST_BUCKETS = 20_000
_BYTES_A_BUCKET = 8
"""A file may have buckets of energy between its readings in proportion to its size, and these beside them. A record
takes at least 20 bytes for each channel and follows within 300 s, so a file of the sidecar has less than half as many;
while the machine sleeps, however long, a node of twenty channels has 6000."""

_READ = frozenset({"run", "labels", "submitted", "samples", "meter", "log", *_READERS})


@dataclass(frozen=True, slots=True)
class _Listed:
    """A file of the directory as listed."""

    name: str
    parsed: ParsedName
    state: FileState
    refused: str | None


def _list(run: RunDir) -> tuple[int, list[_Listed]]:
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
        seen.append(_Listed(name, parsed, FileState.of(status), reason))
    return owner_uid, seen


@dataclass(frozen=True, slots=True)
class RunChanges:
    """Whether files of a run are to be read, and which of the files that count in the ledger are gone."""

    changed: bool
    missing: tuple[str, ...]


def changes_of(connection: sqlite3.Connection, spool: int | None, run: RunDir) -> RunChanges:
    """Compare the files of ``run`` with what the ledger was made of. Raises ``OSError``."""
    seen = _list(run)[1]
    key = key_of_run(connection, spool, run.run_id)
    there = {clean_text(file.name) for file in seen}
    missing = tuple(name for name in accepted_names(connection, key) if name not in there)
    # Nothing can be read of a run that has lost its run.json, so what the ledger has of it stays as it is.
    changed = run.run_json.name not in missing and bool(_changed(connection, key, seen))
    return RunChanges(changed, missing)


def key_of_run(connection: sqlite3.Connection, spool: int | None, run_id: str) -> int | None:
    """The key of a run of a spool; None where the ledger has none."""
    row = connection.execute("SELECT run FROM runs WHERE spool = ? AND run_id = ?", (spool, run_id)).fetchone()
    return None if row is None else int(row[0])


def accepted_names(connection: sqlite3.Connection, run: int | None) -> list[str]:
    """The files of a run that count in the ledger, in order."""
    sealed = None if run is None else sealed_files(connection, run)
    if sealed is not None:
        return sorted(sealed)
    rows = connection.execute("SELECT name FROM files WHERE run = ? AND accepted ORDER BY name", (run,))
    return [name for (name,) in rows]


def _changed(connection: sqlite3.Connection, run: int | None, seen: Sequence[_Listed]) -> list[_Listed]:
    rows = connection.execute("SELECT name, size, mtime_ns, inode FROM files WHERE run = ? AND size NOT NULL", (run,))
    known = {name: FileState(size, mtime_ns, inode) for name, size, mtime_ns, inode in rows}
    return [file for file in seen if known.get(clean_text(file.name)) != file.state]


def ingest(connection: LedgerConnection, spool: int, run_dir: RunDir) -> int:
    """Bring the rows of a run up to date inside the caller's transaction; returns how many files were read.

    Raises ``OSError`` where the directory cannot be listed.
    """
    owner_uid, seen = _list(run_dir)
    run = key_of_run(connection, spool, run_dir.run_id)
    changed = _changed(connection, run, seen)
    if not changed:
        return 0
    if run is not None:
        unseal(connection, run)
    counted = run is not None and connection.execute("SELECT accepted FROM runs WHERE run = ?", (run,)).fetchone()[0]
    run, document = _run_document(connection, spool, run, run_dir, owner_uid, seen)
    if document is None:
        for file in seen:
            if file.parsed.kind not in ("run", "labels"):
                _note(connection, run, file, _Taken([], file.state, accepted=False))
        return 0
    if not counted:
        changed = seen
    files_read = 1
    facts = FactsOfNodes(connection)  # asked from the first sample file on, when the documents are taken
    for file in _in_order(changed, seen):
        if file.parsed.kind in ("run", "labels"):
            continue
        try:
            taken = _take_whole(connection, _RunFile(run, run_dir, owner_uid, file), facts)
        except Unreadable as unreadable:
            note_read_error(connection, run, _file_row(file), str(unreadable))
            continue
        files_read += file.refused is None
        _note(connection, run, file, taken)
    write_jobs(connection, run, document)
    return files_read


def _in_order(changed: Sequence[_Listed], seen: Sequence[_Listed]) -> list[_Listed]:
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
    connection: LedgerConnection,
    spool: int,
    run: int | None,
    run_dir: RunDir,
    owner_uid: int,
    seen: Sequence[_Listed],
) -> tuple[int, RunDocument | None]:
    """The run's key and its ``run.json`` with the labels; None where it does not count or was forgotten, which leaves
    no rows but those of its files."""
    file = next((file for file in seen if file.parsed.kind == "run"), None)
    if file is None:
        run = _forget(connection, spool, run_dir, owner_uid)
        FILES.delete(connection, run)
        missing = FileRow(run_dir.run_json.name, "run", problems=("missing: the run does not count",))
        FILES.insert(connection, missing, run)
        return run, None
    try:
        document, state, problems = _read_of_run(file, run_dir.run_json, owner_uid, read_run)
    except UnsafeFile as refused:
        run = _forget(connection, spool, run_dir, owner_uid)
        FILES.delete(connection, run)
        _note(connection, run, file, _Taken([f"{refused}: the run does not count"], file.state, accepted=False))
        return run, None
    labels, labels_file, labels_taken = _labels(connection, run, run_dir, owner_uid, seen)
    if labels.forgotten:
        run = _forget(connection, spool, run_dir, owner_uid)
    else:
        document = labels.of(document)
        tags = document.tags
        row = assemble(
            RunRow,
            document,
            accepted=True,
            open=True,
            tags=tags,
            project=tags.get("project"),
            phase=tags.get("phase"),
            plan=plan_column(document.plan),
        )
        run = RUNS.insert(connection, row, spool)
    _note(connection, run, file, _Taken(problems, state))
    if labels_file is not None and labels_taken is not None:
        _note(connection, run, labels_file, labels_taken)
    return run, None if labels.forgotten else document


def _read_of_run(file: _Listed, path: Path, owner_uid: int, read: Callable[[Path, int], _R]) -> _R:
    """A document without which nothing of the run can be read.

    Raises ``UnsafeFile``, and ``OSError`` where it cannot be read now: what the ledger has of the run stays then.
    """
    if file.refused is not None:
        raise UnsafeFile(file.refused)
    try:
        return read(path, owner_uid)
    except Unreadable as unreadable:
        raise unreadable.error from unreadable


def _labels(
    connection: sqlite3.Connection, run: int | None, run_dir: RunDir, owner_uid: int, seen: Sequence[_Listed]
) -> tuple[LabelsDocument, _Listed | None, _Taken | None]:
    """What the owner changed of the run, the file that it is in, and what is to be noted of that."""
    file = next((file for file in seen if file.parsed.kind == "labels"), None)
    if file is None:
        kept = None if run is None else document_of(connection, LabelsDocument, "labels", run, None)
        return kept or LabelsDocument(), None, None
    try:
        labels, state, problems = _read_of_run(file, run_dir.labels_json, owner_uid, read_labels)
    except UnsafeFile as refused:
        return LabelsDocument(), file, _Taken([str(refused)], file.state, accepted=False)
    return labels, file, _Taken(problems, state, content_of(labels))


def _forget(connection: LedgerConnection, spool: int, run_dir: RunDir, owner_uid: int) -> int:
    """Remove all that is known of a run but its directory and its files; returns its key."""
    run = RUNS.insert(connection, RunRow.refused(run_dir.run_id, owner_uid), spool)
    for (job,) in connection.execute("SELECT job FROM jobs WHERE run = ?", (run,)).fetchall():
        delete_job(connection, job)
    return run


@dataclass(frozen=True, slots=True)
class _Taken:
    """The outcome of reading a file: its problems, its state as read, whether it counts and its content."""

    problems: Sequence[str]
    state: FileState
    content: str | None = None
    accepted: bool = True


def _note(connection: LedgerConnection, run: int, file: _Listed, taken: _Taken) -> None:
    row = replace(
        assemble(FileRow, taken.state, _file_row(file)),
        accepted=taken.accepted,
        problems=tuple(taken.problems),
        content=taken.content,
    )
    FILES.insert(connection, row, run)


def _file_row(file: _Listed) -> FileRow:
    """What is known of a file by its name."""
    job = file.parsed.job
    return FileRow(
        name=clean_text(file.name),
        kind=file.parsed.kind,
        job_id=job.job_id if job else None,
        restart=job.restart if job else None,
        node=_node(file.parsed),
    )


def _node(parsed: ParsedName) -> str | None:
    return None if parsed.node is None else clean_text(parsed.node)


@dataclass(frozen=True, slots=True)
class _RunFile:
    """A file of the run with the key ``run``."""

    run: int
    run_dir: RunDir
    owner_uid: int
    file: _Listed

    @property
    def node(self) -> str:
        return _node(self.file.parsed) or ""


def _take_whole(connection: LedgerConnection, one: _RunFile, facts: FactsOfNodes) -> _Taken:
    """Read one file, or leave all as it was. Of one that does not count no row stays. Raises ``Unreadable``."""
    parsed = one.file.parsed
    if parsed.job is None or parsed.kind not in ("samples", "meter"):
        try:  # a document has no rows of its own
            return _take(connection, one, facts)
        except Unreadable:
            raise
        except UnsafeFile as error:
            return _Taken([str(error)], one.file.state, accepted=False)
    connection.execute("SAVEPOINT file")
    try:
        _clear_node(connection, job_of(connection, one.run, parsed.job), one.node, parsed.meter)
        connection.execute("SAVEPOINT rows")
        try:
            return _take(connection, one, facts)
        except Unreadable:
            connection.roll_back_to("file")
            raise
        except (UnsafeFile, OverflowError) as error:
            connection.roll_back_to("rows")
            why = str(error) if isinstance(error, UnsafeFile) else "holds a number larger than there can be"
            return _Taken([why], one.file.state, accepted=False)
    finally:
        connection.execute("RELEASE file")


def _take(connection: LedgerConnection, one: _RunFile, facts: FactsOfNodes) -> _Taken:
    """Read one file; a sample file into its tables, whose old rows are gone. Raises ``UnsafeFile``."""
    file, owner_uid = one.file, one.owner_uid
    path, key = one.run_dir.path / file.name, file.parsed.job
    if file.refused is not None:
        raise UnsafeFile(file.refused)
    if file.parsed.kind == "submitted":
        submitted, state, problems = read_submitted(path, owner_uid)
        return _Taken(problems, state, content_of(submitted))
    if key is None:
        raise UnsafeFile("its name is not one of the spool")
    if reader := _READERS.get(file.parsed.kind):
        document, state, problems = reader(path, owner_uid, key)
        return _Taken(problems, state, content_of(document))
    if file.parsed.kind == "log":
        line, state = read_log(path, owner_uid)
        return _Taken([], state, content_of(line))
    sampled = SampledNode(one.run_dir.run_id, key, one.node)
    of_node = facts.of(one.run, key, one.node)
    job = job_of(connection, one.run, key)
    if file.parsed.meter is not None:
        samples = read_samples(path, owner_uid, sampled)
        return _take_meter(connection, job, one.node, file.parsed.meter, samples, of_node)
    place = _place(connection, one) if of_node is None else None
    found = None if place is None else read_on(path, owner_uid, sampled, place)
    if found is None:
        found = ReadOn(read_samples(path, owner_uid, sampled))
    return _take_samples(connection, job, one.node, found, of_node)


def _place(connection: sqlite3.Connection, one: _RunFile) -> str | None:
    """From where on a sample file is to be read; None: from its beginning."""
    query = "SELECT content FROM files WHERE run = ? AND name = ? AND size NOT NULL AND accepted"
    row = connection.execute(query, (one.run, clean_text(one.file.name))).fetchone()
    return None if row is None else row[0]


def _clear_node(connection: sqlite3.Connection, job: int, node: str, meter: str | None) -> None:
    """Remove the rows of the sidecar's file of a node, or of the file of one of its meters."""
    for table in NODE_TABLES:
        where = "job = ? AND node = (SELECT node FROM nodes WHERE name = ?)"
        values: list[int | str] = [job, node]
        if table.name in _METERED:
            column, entries = _METERED[table.name]
            where += f" AND {column} IN ({entries.format('NOT GLOB' if meter is None else '=')})"
            values.append(f"{METER_DOMAIN}{'*' if meter is None else meter}")
        elif meter is not None:
            continue
        connection.execute(f"DELETE FROM {table.name} WHERE {where}", values)


def _problems(samples: SampleFile) -> list[str]:
    return [*samples.problems, *([] if samples.sessions else ["no usable header"])]


def _take_samples(connection: LedgerConnection, job: int, node: str, found: ReadOn, facts: NodeFacts | None) -> _Taken:
    samples = found.samples
    headers = [session.header for session in samples.sessions]
    problems = _problems(samples)
    names = [channel.domain for header in headers for channel in header.channels]
    names += [sensor.source for header in headers for sensor in header.absent]
    # They would be taken for rows of a meter's file.
    if any(name.startswith(METER_DOMAIN) for name in names):
        raise UnsafeFile(f"names a domain or source with {METER_DOMAIN!r}, which only a meter's file may")
    totals = derive(samples.sessions, tables.cpu_tdp(), tables.gpu_tdp(), facts, found.before)
    _check_bounds(totals, samples.state)
    for number, session in enumerate(samples.sessions):
        SESSIONS.insert(connection, session_row(session, node, number, facts), job)
    _write_missing_sensors(connection, job, node, headers)
    write_channels(connection, job, node, totals)
    place = place_to_read_on(samples, totals) if facts is None else None
    return _Taken([*problems, *totals.problems], samples.state, place)


def _take_meter(
    connection: LedgerConnection,
    job: int,
    node: str,
    meter: str,
    samples: SampleFile,
    facts: NodeFacts | None,
) -> _Taken:
    """A meter's file: its channels and missing sensors, beside what the sidecar's file of the node has."""
    problems, domain = _problems(samples), f"{METER_DOMAIN}{meter}"
    headers = [session.header for session in samples.sessions]
    channels = [channel for header in headers for channel in header.channels]
    sources = {sensor.source for header in headers for sensor in header.absent}
    # Another domain would be the sidecar's or another meter's, whose rows are not this file's to write.
    if sources - {domain} or any(
        (channel.component, channel.domain, channel.counted) != ("node", domain, False) for channel in channels
    ):
        raise UnsafeFile("holds something else than what its meter read of the node")
    totals = derive_meter(samples.sessions, facts)
    _check_bounds(totals, samples.state)
    write_channels(connection, job, node, totals)
    _write_missing_sensors(connection, job, node, headers)
    return _Taken([*problems, *totals.problems], samples.state)


def _check_bounds(totals: NodeTotals, state: FileState) -> None:
    """Raise ``UnsafeFile`` where sums are impossible though each record is possible, or where a few records span so
    much time that they would fill the ledger: each row of energy takes a hundred bytes.
    """
    for channel in totals.channels:
        sums = (channel.energy_uj, channel.node_energy_uj, channel.idle_uj, channel.measured_ns, channel.sensor_gap_ns)
        counts = (channel.errors, channel.resets, channel.gaps)
        if any(value is not None and value > MAX_INT for value in (*sums, *counts)):
            raise UnsafeFile(f"has impossible sums of {str(channel.key)[:80]}")
    # What two neighbouring readings add to the rows that each of them has anyway.
    between = sum(channel.job.parted for channel in totals.channels)
    if between > _MOST_BUCKETS + state.size // _BYTES_A_BUCKET:
        raise UnsafeFile("records are too far apart")


def _write_missing_sensors(connection: LedgerConnection, job: int, node: str, headers: Sequence[Header]) -> None:
    rows = {
        MissingSensorRow(node, sensor.component, sensor.source, sensor.reason)
        for header in headers
        for sensor in header.absent
    }
    MISSING_SENSORS.insert_all(connection, rows, job)
