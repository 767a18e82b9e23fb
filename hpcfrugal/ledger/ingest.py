"""One run directory into the ledger: only files that changed are read, and their rows are derived afresh.

The rows of a run depend on its files alone, never on the order in which they came or on the clock; that is
what makes a rebuilt ledger the same as one that grew. What has vanished from the spool keeps its rows, and
``changes_of`` names it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpcfrugal.accounting import tables
from hpcfrugal.accounting.buckets import Interval, parts
from hpcfrugal.core.record import MAX_INT, assemble
from hpcfrugal.core.safe_read import FileState, Unreadable, UnsafeFile, refusal
from hpcfrugal.core.text import clean_text
from hpcfrugal.ledger.channel_totals import NodeTotals
from hpcfrugal.ledger.channels import write_channels
from hpcfrugal.ledger.derive import derive, derive_meter
from hpcfrugal.ledger.jobs import FactsOfNodes, content_of, write_jobs
from hpcfrugal.ledger.plans import plan_column
from hpcfrugal.ledger.rows import (
    FILE_STATES,
    FILES,
    MISSING_SENSORS,
    NODE_TABLES,
    RUNS,
    SESSIONS,
    TABLES_OF_RUNS,
    FileRow,
    FileStateRow,
    MissingSensorRow,
    RunRow,
)
from hpcfrugal.ledger.sessions import session_row
from hpcfrugal.ledger.table import AttemptKey
from hpcfrugal.ledger.unreadable_files import note_read_error
from hpcfrugal.spool.documents import (
    EndDocument,
    LabelsDocument,
    NodeFacts,
    NodesDocument,
    RunDocument,
    SlurmDocument,
    read_end,
    read_labels,
    read_log,
    read_nodes,
    read_run,
    read_slurm,
    read_submitted,
)
from hpcfrugal.spool.layout import METER_DOMAIN, JobKey, ParsedName, RunDir
from hpcfrugal.spool.samples import Header, SampledNode, SampleFile, read_samples

_JobDocument = EndDocument | SlurmDocument | NodesDocument
_READERS: Mapping[str, Callable[[Path, int, JobKey], tuple[_JobDocument, FileState, list[str]]]] = {
    "end": read_end,
    "slurm": read_slurm,
    "nodes": read_nodes,
}
_METERED = {
    "channels": ("channel", f"node/{METER_DOMAIN}{{}}/*"),
    "energy": ("channel", f"node/{METER_DOMAIN}{{}}/*"),
    MISSING_SENSORS.name: ("source", f"{METER_DOMAIN}{{}}"),
}
"""By which column, and which form of it, the rows of a meter differ from the sidecar's."""

_MOST_ROWS = 20_000
_BYTES_A_ROW = 8
"""A file may have rows of energy between its readings in proportion to its size, and these beside them. A record takes
at least 20 bytes for each channel and follows within 300 s, so a file of the sidecar has less than half as many; while
the machine sleeps, however long, a node of twenty channels has 6000."""

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


def changes_of(connection: sqlite3.Connection, run: RunDir) -> RunChanges:
    """Compare the files of ``run`` with what the ledger was made of. Raises ``OSError``."""
    seen = _list(run)[1]
    there = {clean_text(file.name) for file in seen}
    missing = tuple(name for name in accepted_names(connection, run.run_id) if name not in there)
    # Nothing can be read of a run that has lost its run.json, so what the ledger has of it stays as it is.
    changed = run.run_json.name not in missing and bool(_changed(connection, run.run_id, seen))
    return RunChanges(changed, missing)


def accepted_names(connection: sqlite3.Connection, run_id: str) -> list[str]:
    """The files of a run that count in the ledger, in order."""
    rows = connection.execute("SELECT name FROM files WHERE run_id = ? AND accepted ORDER BY name", (run_id,))
    return [name for (name,) in rows]


def _changed(connection: sqlite3.Connection, run_id: str, seen: Sequence[_Listed]) -> list[_Listed]:
    rows = connection.execute("SELECT name, size, mtime_ns, inode FROM file_states WHERE run_id = ?", (run_id,))
    known = {name: FileState(size, mtime_ns, inode) for name, size, mtime_ns, inode in rows}
    return [file for file in seen if known.get(clean_text(file.name)) != file.state]


def ingest(connection: sqlite3.Connection, run: RunDir) -> int:
    """Bring the rows of ``run`` up to date inside the caller's transaction; returns how many files were read.

    Raises ``OSError`` where the directory cannot be listed.
    """
    owner_uid, seen = _list(run)
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
        if file.parsed.kind in ("run", "labels"):
            continue
        try:
            taken = _take_whole(connection, run, owner_uid, file, facts)
        except Unreadable as unreadable:
            note_read_error(connection, _file_row(run.run_id, file), str(unreadable))
            continue
        files_read += file.refused is None
        _note(connection, run.run_id, file, taken)
    write_jobs(connection, document)
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
    connection: sqlite3.Connection, run: RunDir, owner_uid: int, seen: Sequence[_Listed]
) -> RunDocument | None:
    """``run.json``; without a sound one the run does not count and leaves no rows but the reason."""
    file = next((file for file in seen if file.parsed.kind == "run"), None)
    if file is None:
        _forget(connection, run.run_id)
        missing = FileRow(run.run_id, run.run_json.name, "run", problems=("missing: the run does not count",))
        FILES.insert(connection, missing)
        return None
    try:
        if file.refused is not None:
            raise UnsafeFile(file.refused)
        document, state, problems = read_run(run.run_json, owner_uid)
    except Unreadable as unreadable:
        # The run cannot be read now, so what the ledger has of it stays as it is.
        raise unreadable.error from unreadable
    except UnsafeFile as refused:
        _forget(connection, run.run_id)
        _note(connection, run.run_id, file, _Taken([f"{refused}: the run does not count"], file.state, accepted=False))
        return None
    labels = _labels(connection, run, owner_uid, seen)
    _note(connection, run.run_id, file, _Taken(problems, state))
    if labels.forgotten:
        return None
    tags = labels.tags_of(document)
    row = assemble(
        RunRow,
        document,
        name=labels.name or document.name,
        tags=tags,
        project=tags.get("project"),
        phase=tags.get("phase"),
        plan=plan_column(document.plan),
    )
    RUNS.insert(connection, row)
    return document


def _labels(connection: sqlite3.Connection, run: RunDir, owner_uid: int, seen: Sequence[_Listed]) -> LabelsDocument:
    """What the owner changed of the run. Of a run that was forgotten only the files stay in the ledger."""
    file = next((file for file in seen if file.parsed.kind == "labels"), None)
    if file is None:
        return LabelsDocument()
    try:
        if file.refused is not None:
            raise UnsafeFile(file.refused)
        labels, state, problems = read_labels(run.labels_json, owner_uid)
    except Unreadable as unreadable:
        raise unreadable.error from unreadable
    except UnsafeFile as refused:
        _note(connection, run.run_id, file, _Taken([str(refused)], file.state, accepted=False))
        return LabelsDocument()
    if labels.forgotten:
        _forget(connection, run.run_id)
    _note(connection, run.run_id, file, _Taken(problems, state))
    return labels


def _forget(connection: sqlite3.Connection, run_id: str) -> None:
    for table in TABLES_OF_RUNS:
        table.delete(connection, run_id)


@dataclass(frozen=True, slots=True)
class _Taken:
    """The outcome of reading a file: its problems, its state as read, whether it counts and its content."""

    problems: Sequence[str]
    state: FileState
    content: str | None = None
    accepted: bool = True


def _note(connection: sqlite3.Connection, run_id: str, file: _Listed, taken: _Taken) -> None:
    row = _file_row(run_id, file)
    problems = tuple(taken.problems)
    FILES.insert(connection, replace(row, accepted=taken.accepted, problems=problems, content=taken.content))
    _note_state(connection, run_id, file.name, taken.state)


def _file_row(run_id: str, file: _Listed) -> FileRow:
    """What is known of a file by its name."""
    job = file.parsed.job
    return FileRow(
        run_id=run_id,
        name=clean_text(file.name),
        kind=file.parsed.kind,
        job_id=job.job_id if job else None,
        restart=job.restart if job else None,
        node=_node(file.parsed),
    )


def _note_state(connection: sqlite3.Connection, run_id: str, name: str, state: FileState) -> None:
    FILE_STATES.insert(connection, assemble(FileStateRow, state, run_id=run_id, name=clean_text(name)))


def _node(parsed: ParsedName) -> str | None:
    return None if parsed.node is None else clean_text(parsed.node)


def _take_whole(
    connection: sqlite3.Connection, run: RunDir, owner_uid: int, file: _Listed, facts: FactsOfNodes
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


def _take(connection: sqlite3.Connection, run: RunDir, owner_uid: int, file: _Listed, facts: FactsOfNodes) -> _Taken:
    """Read one file; a sample file into its tables, whose old rows are gone. Raises ``UnsafeFile``."""
    path, job = run.path / file.name, file.parsed.job
    if file.refused is not None:
        raise UnsafeFile(file.refused)
    if file.parsed.kind == "submitted":
        submitted, state, problems = read_submitted(path, owner_uid)
        return _Taken(problems, state, content_of(submitted))
    if job is None:
        raise UnsafeFile("its name is not one of the spool")
    if reader := _READERS.get(file.parsed.kind):
        document, state, problems = reader(path, owner_uid, job)
        return _Taken(problems, state, content_of(document))
    if file.parsed.kind == "log":
        line, state = read_log(path, owner_uid)
        return _Taken([], state, content_of(line))
    attempt, node = AttemptKey(run.run_id, job.job_id, job.restart), _node(file.parsed) or ""
    samples = read_samples(path, owner_uid, SampledNode(run.run_id, job, node))
    of_node = facts.of(attempt, node)
    if file.parsed.meter is not None:
        return _take_meter(connection, attempt, node, file.parsed.meter, samples, of_node)
    return _take_samples(connection, attempt, node, samples, of_node)


def _clear_node(connection: sqlite3.Connection, run_id: str, job: JobKey, node: str | None, meter: str | None) -> None:
    """Remove the rows of the sidecar's file of a node, or of the file of one of its meters."""
    for table in NODE_TABLES:
        where = "run_id = ? AND job_id = ? AND restart = ? AND node = ?"
        values = [run_id, job.job_id, job.restart, node]
        if table.name in _METERED:
            column, form = _METERED[table.name]
            where += f" AND {column} {'NOT GLOB' if meter is None else 'GLOB'} ?"
            values.append(form.format("*" if meter is None else meter))
        elif meter is not None:
            continue
        connection.execute(f"DELETE FROM {table.name} WHERE {where}", values)


def _problems(samples: SampleFile) -> list[str]:
    return [*samples.problems, *([] if samples.sessions else ["no usable header"])]


def _take_samples(
    connection: sqlite3.Connection, attempt: AttemptKey, node: str, samples: SampleFile, facts: NodeFacts | None
) -> _Taken:
    headers = [session.header for session in samples.sessions]
    problems = _problems(samples)
    names = [channel.domain for header in headers for channel in header.channels]
    names += [sensor.source for header in headers for sensor in header.absent]
    # They would be taken for rows of a meter's file.
    if any(name.startswith(METER_DOMAIN) for name in names):
        raise UnsafeFile(f"names a domain or source with {METER_DOMAIN!r}, which only a meter's file may")
    totals = derive(samples.sessions, tables.cpu_tdp(), tables.gpu_tdp(), facts)
    _check_bounds(totals, samples.state)
    for number, session in enumerate(samples.sessions):
        SESSIONS.insert(connection, session_row(session, node, number, facts), attempt)
    _write_missing_sensors(connection, attempt, node, headers)
    write_channels(connection, attempt, node, totals)
    return _Taken([*problems, *totals.problems], samples.state)


def _take_meter(
    connection: sqlite3.Connection,
    attempt: AttemptKey,
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
    # Without a sidecar beside it a meter's file counts time from the job's start, not from the node's boot.
    since_boot = all(header.boot_id is not None for header in headers)
    write_channels(connection, attempt, node, totals, since_boot=since_boot)
    _write_missing_sensors(connection, attempt, node, headers)
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
    between = sum(max(_crossed(channel.job), _crossed(channel.node)) for channel in totals.channels)
    if between > _MOST_ROWS + state.size // _BYTES_A_ROW:
        raise UnsafeFile("records are too far apart")


def _crossed(intervals: Iterable[Interval]) -> int:
    return sum(parts(interval.start_ns, interval.end_ns) - 1 for interval in intervals)


def _write_missing_sensors(
    connection: sqlite3.Connection, attempt: AttemptKey, node: str, headers: Sequence[Header]
) -> None:
    rows = {
        MissingSensorRow(node, sensor.component, sensor.source, sensor.reason)
        for header in headers
        for sensor in header.absent
    }
    MISSING_SENSORS.insert_all(connection, rows, attempt)
