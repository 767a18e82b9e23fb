"""One run directory into the ledger: only files that changed are read, and their rows are derived afresh.

The rows of a run depend on its files alone, never on the order in which they came or on the clock; that is
what makes a rebuilt ledger the same as one that grew. What has vanished from the spool keeps its rows.

All files of a run are read before anything of it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import assemble
from hpcfrugal.core.safe_read import FileState, Unreadable, UnsafeFile
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.jobs import attempts_of, delete_job, write_jobs
from hpcfrugal.ledger.node_rows import NodeRows
from hpcfrugal.ledger.plans import plan_column
from hpcfrugal.ledger.read_on import ReadOn, read_on
from hpcfrugal.ledger.rows import AttemptRow, ForgottenJobRow, RunRow
from hpcfrugal.ledger.run_files import RunFiles
from hpcfrugal.ledger.run_listing import ListedFile, RunListing
from hpcfrugal.ledger.run_state import RunState
from hpcfrugal.ledger.table import RowBatch
from hpcfrugal.ledger.tables import FORGOTTEN_JOBS, RUNS
from hpcfrugal.ledger.users_runs import SpoolUser, mark_users
from hpcfrugal.spool.documents import (
    EndDocument,
    LabelsDocument,
    NodesDocument,
    RunDocument,
    SubmittedDocument,
    read_end,
    read_labels,
    read_log,
    read_nodes,
    read_run,
    read_slurm,
    read_submitted,
)
from hpcfrugal.spool.job_state import JobState
from hpcfrugal.spool.layout import JobKey
from hpcfrugal.spool.sample_header import SampledNode
from hpcfrugal.spool.samples import read_samples

_R = TypeVar("_R")

_JobDocument = EndDocument | JobState | NodesDocument
_READERS: Mapping[str, Callable[[str, int, JobKey], tuple[_JobDocument, FileState, list[str]]]] = {
    "end": read_end,
    "slurm": read_slurm,
    "nodes": read_nodes,
}


@dataclass(frozen=True, slots=True)
class ReadRun:
    """What was read of a run: its document, None where it does not count, and the rows of its nodes. ``state`` has what
    is known of its files now; ``forgotten`` are the attempts of a run that was forgotten."""

    state: RunState
    document: RunDocument | None
    nodes: Sequence[NodeRows] = ()
    files_read: int = 0
    forgotten: Sequence[AttemptRow] = ()


def read_files(state: RunState) -> ReadRun:
    """Read the files of a run that have changed; all where it did not count yet.

    Raises ``OSError`` where what it needs cannot be read now.
    """
    files, listing = state.files, state.listing
    changed = state.changed if state.known is not None and state.known.accepted else listing.files
    document, is_forgotten = _read_run(files, listing)
    if document is None or is_forgotten:
        for file in listing.files:
            if file.parsed.kind not in ("run", "labels"):
                files.note(file, accepted=False)
        return ReadRun(state, None, forgotten=() if document is None else _attempts(document, listing))
    reader = _RunReader(files, listing)
    for file in _in_order(changed, listing.files):
        reader.read(file)
    return ReadRun(state, document, reader.nodes, 1 + reader.files_read)


def write_rows(
    connection: LedgerConnection, spool: int, read: ReadRun, batch: RowBatch, user: SpoolUser | None = None
) -> int:
    """Bring the rows of a run up to date inside the caller's transaction, those of its nodes by ``batch``; returns the
    key of the run. Its files are to be written by the caller. ``user`` is the one whose spool it is in, where it counts
    for that user's jobs alone.

    Raises ``OverflowError`` for a number that no row can have.
    """
    known, listing = read.state.known, read.state.listing
    if read.document is None:
        run = _forget(connection, spool, listing.run_dir.run_id, listing.owner_uid)
        if user is None:  # all jobs of a site count, whatever its users leave out
            jobs = (assemble(ForgottenJobRow, attempt) for attempt in read.forgotten)
            FORGOTTEN_JOBS.insert_all(connection, jobs, run)
        return run
    if user is not None:
        reason = user.refusal(connection, listing.owner_uid, named_jobs(read.state.files))
        if reason is not None:
            return refuse_run(connection, spool, listing.run_dir.run_id, listing.owner_uid, read.state.files, reason)
    run = RUNS.insert(connection, run_row(read.document), spool)
    if known is not None and not known.accepted:
        FORGOTTEN_JOBS.delete(connection, run)
    write_jobs(connection, run, read.document, read.state.files, read.nodes, batch)
    if user is not None:
        mark_users(connection, run)
    return run


def refuse_run(
    connection: LedgerConnection, spool: int, run_id: str, owner_uid: int, files: RunFiles, reason: str
) -> int:
    """Leave out a run of a user that does not count (yet); returns its key. Its files are to be written by the caller:
    none of them counts as read, so that it is looked at again."""
    files.clear()
    files.note_missing("run.json", "run", reason)
    return _forget(connection, spool, run_id, owner_uid)


def named_jobs(files: RunFiles) -> set[str]:
    """The ids of all jobs that the files of a run name."""
    submitted = files.document(SubmittedDocument, "submitted")
    return {job.job_id for job in files.jobs} | ({submitted.job_id} if submitted is not None else set())


def _in_order(changed: Sequence[ListedFile], seen: Sequence[ListedFile]) -> list[ListedFile]:
    """What is to be read, facts of nodes first: samples are read with them, and again where they changed."""
    facts = [file for file in changed if file.parsed.kind == "nodes"]
    jobs = {file.parsed.job for file in facts}
    names = {file.name for file in changed}
    again = [file for file in seen if file.parsed.kind in ("samples", "meter") and file.parsed.job in jobs]
    return [
        *facts,
        *(file for file in changed if file.parsed.kind not in ("nodes", "run", "labels")),
        *(file for file in again if file.name not in names),
    ]


def _attempts(document: RunDocument, listing: RunListing) -> list[AttemptRow]:
    """The attempts of a run that does not count."""
    files = RunFiles()
    reader = _RunReader(files, listing)
    for file in _in_order(listing.files, ()):
        reader.read(file)
    return attempts_of(document, files, reader.nodes)


def _read_run(files: RunFiles, listing: RunListing) -> tuple[RunDocument | None, bool]:
    """The run's ``run.json`` with the labels, None where it does not count, and whether the run was forgotten."""
    file = next((file for file in listing.files if file.parsed.kind == "run"), None)
    if file is None:
        files.clear()
        files.note_missing(listing.run_dir.run_json.name, "run", "missing: the run does not count")
        return None, False
    try:
        document, state, problems = _read_now(file, listing, read_run)
    except UnsafeFile as refused:
        files.clear()
        files.note(file, [f"{refused}: the run does not count"], accepted=False)
        return None, False
    files.note(file, problems, state)
    labels = _read_labels(files, listing)
    return labels.of(document), labels.forgotten


def _read_now(file: ListedFile, listing: RunListing, read: Callable[[str, int], _R]) -> _R:
    """A document without which nothing of the run can be read.

    Raises ``UnsafeFile``, and ``OSError`` where it cannot be read now: what the ledger has of the run stays then.
    """
    if file.refused is not None:
        raise UnsafeFile(file.refused)
    try:
        return read(listing.path_of(file), listing.owner_uid)
    except Unreadable as unreadable:
        raise unreadable.error from unreadable


def _read_labels(files: RunFiles, listing: RunListing) -> LabelsDocument:
    """What the owner changed of the run. What was known of a file that is gone goes on to count."""
    file = next((file for file in listing.files if file.parsed.kind == "labels"), None)
    if file is None:
        return files.document(LabelsDocument, "labels") or LabelsDocument()
    try:
        labels, state, problems = _read_now(file, listing, read_labels)
    except UnsafeFile as refused:
        files.note(file, [str(refused)], accepted=False)
        return LabelsDocument()
    files.note(file, problems, state, document=labels)
    return labels


def run_row(document: RunDocument) -> RunRow:
    """The row of a run that counts and is not sealed."""
    tags = document.tags
    return assemble(
        RunRow,
        document,
        accepted=True,
        open=True,
        project=tags.get("project"),
        phase=tags.get("phase"),
        plan=plan_column(document.plan),
    )


def _forget(connection: LedgerConnection, spool: int, run_id: str, owner_uid: int) -> int:
    """Remove all that is known of a run but its directory and its files; returns its key."""
    run = RUNS.insert(connection, RunRow.refused(run_id, owner_uid), spool)
    FORGOTTEN_JOBS.delete(connection, run)
    for (job,) in connection.execute("SELECT job FROM jobs WHERE run = ?", (run,)).fetchall():
        delete_job(connection, job)
    return run


class _RunReader:
    """Reads the files of a run. ``nodes`` are the rows of those of its nodes, ``files_read`` is how many were read."""

    def __init__(self, files: RunFiles, listing: RunListing) -> None:
        self._files, self._listing = files, listing
        self.nodes: list[NodeRows] = []
        self.files_read = 0

    def read(self, file: ListedFile) -> None:
        """Read one file, or leave all as it was where it cannot be read now."""
        rows = _rows_of(file)
        try:
            if file.refused is not None:
                raise UnsafeFile(file.refused)
            self._read(file, rows)
        except Unreadable as unreadable:
            self._files.note_unreadable(file, str(unreadable))
            return
        except (UnsafeFile, OverflowError) as error:
            why = str(error) if isinstance(error, UnsafeFile) else "holds a number larger than there can be"
            self._files.note(file, [why], accepted=False)
            rows = _rows_of(file)
        self.files_read += file.refused is None
        if rows is not None:
            self.nodes.append(rows)

    def _read(self, file: ListedFile, rows: NodeRows | None) -> None:
        path, owner_uid, job = self._listing.path_of(file), self._listing.owner_uid, file.parsed.job
        if file.parsed.kind == "submitted":
            submitted, state, problems = read_submitted(path, owner_uid)
            self._files.note(file, problems, state, document=submitted)
        elif job is None:
            raise UnsafeFile("its name is not one of the spool")
        elif reader := _READERS.get(file.parsed.kind):
            document, state, problems = reader(path, owner_uid, job)
            self._files.note(file, problems, state, document=document)
        elif rows is None:
            # Most logs are empty.
            line, state = read_log(path, owner_uid) if file.state.size else (None, file.state)
            self._files.note(file, (), state, document=line)
        else:
            state = self._read_node(file, path, rows)
            self._files.note(file, rows.problems, state, content=rows.place)

    def _read_node(self, file: ListedFile, path: str, rows: NodeRows) -> FileState:
        sampled = SampledNode(self._listing.run_dir.run_id, rows.job, rows.node)
        facts, owner_uid = self._files.facts_of(rows.job).get(rows.node), self._listing.owner_uid
        if rows.meter is not None:
            samples = read_samples(path, owner_uid, sampled)
            rows.take_meter(samples, facts)
            return samples.state
        place = self._files.place(file) if facts is None else None
        found = None if place is None else read_on(path, owner_uid, sampled, place)
        if found is None:
            found = ReadOn(read_samples(path, owner_uid, sampled))
        rows.take_samples(found, facts)
        return found.samples.state


def _rows_of(file: ListedFile) -> NodeRows | None:
    """No rows yet of a file that has some."""
    job, kind = file.parsed.job, file.parsed.kind
    if job is None or kind not in ("samples", "meter"):
        return None
    return NodeRows(job, file.node or "", file.parsed.meter)
