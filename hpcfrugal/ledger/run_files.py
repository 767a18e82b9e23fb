"""The files of a run as the ledger has them: whether each counts, its problems, and what the documents among them hold.

They are read from the ledger at once, changed in memory while a run is ingested, and written at once. Those of a run
that is not sealed are rows of ``files``. Of a sealed one they are folded into one text, which many runs share: names
and the content that goes on to be needed. A file with a problem keeps its row.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from hpcfrugal.core.record import codec, json_text
from hpcfrugal.core.safe_read import FileState
from hpcfrugal.core.text import clean_text
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.file_rows import NOT_READ, FileRow, ReadState, SealedRunRow
from hpcfrugal.ledger.run_listing import ListedFile
from hpcfrugal.ledger.table import TableRow
from hpcfrugal.ledger.tables import FILES, SEALED_RUNS
from hpcfrugal.spool.documents import Document, NodeFacts, NodesDocument
from hpcfrugal.spool.layout import JobKey, parse_name

_KEPT = frozenset({"nodes", "labels"})
"""The documents whose content is needed for as long as the run is in the ledger."""

_OF_NODES = frozenset({"samples", "meter"})
"""The kinds of which a job has several files. Of the others it has one."""

_D = TypeVar("_D", bound=Document)


class RunFiles:
    """The files of one run; ``of`` reads them, ``write`` or ``seal`` keeps what has changed."""

    def __init__(self, rows: Iterable[FileRow] = (), sealed: bool = False) -> None:
        self._rows = {row.name: row for row in rows}
        self._sealed = sealed
        self._documents: dict[str, Document | str | None] = {}
        self._facts: dict[JobKey, dict[str, NodeFacts]] = {}
        self._unwritten: set[str] = set(self._rows) if sealed else set()
        self._cleared = False
        self._jobs = {name: _job(row) for name, row in self._rows.items()}
        self._names = {_place(row, self._jobs[name]): name for name, row in self._rows.items()}

    @classmethod
    def of(cls, connection: sqlite3.Connection, run: int | None) -> RunFiles:
        """Those of the run with this key; none where the ledger does not have it."""
        if run is None:
            return cls()
        rows = [row for _, row in FILES.rows_of(connection, "SELECT ?", (run,))]
        sealed = sealed_files(connection, run)
        return cls([*rows, *(sealed or ())], sealed is not None)

    @property
    def is_sealed(self) -> bool:
        return self._sealed

    @property
    def accepted(self) -> list[str]:
        """The names of those that count, in order."""
        return sorted(row.name for row in self._rows.values() if row.read.accepted)

    @property
    def unread(self) -> bool:
        """Whether one of them is still to be read."""
        return any(row.read.size is None for row in self._rows.values())

    def is_sampled(self, job: JobKey) -> bool:
        """Whether a sample file of a job counts."""
        return any(
            row.kind == "samples" and row.read.accepted and self._jobs[name] == job for name, row in self._rows.items()
        )

    @property
    def jobs(self) -> set[JobKey]:
        """The attempts of which any file counts."""
        return {job for name, job in self._jobs.items() if job is not None and self._rows[name].read.accepted}

    @property
    def jobs_without_content(self) -> set[JobKey]:
        """The attempts of which a document counts that is gone, and whose content went when the run was sealed."""
        lost = (row for row in self._rows.values() if row.kind in ("slurm", "end") and self._lost(row))
        return {job for row in lost if (job := self._jobs[row.name]) is not None}

    def _lost(self, row: FileRow) -> bool:
        return row.read.accepted and row.content is None and row.name not in self._documents

    def is_as_read(self, file: ListedFile) -> bool:
        """Whether a file is what it was when it was read."""
        row, state = self._rows.get(file.clean_name), file.state
        return row is not None and row.read.file == state

    def counts(self, kind: str, job: JobKey | None = None) -> bool:
        """Whether a document counts, whose content may be gone."""
        name = self._names.get((kind, job))
        return name is not None and self._rows[name].read.accepted

    def document(self, of: type[_D], kind: str, job: JobKey | None = None) -> _D | None:
        """The document that counts of this kind, of the run or of one of its jobs; None where there is none."""
        name = self._names.get((kind, job))
        if name is None or not self._rows[name].read.accepted:
            return None
        found = self._documents.get(name)
        if found is None and (content := self._rows[name].content) is not None:
            found = self._documents[name] = codec(of).read(json.loads(content), [])
        return found if isinstance(found, of) else None

    def facts_of(self, job: JobKey) -> Mapping[str, NodeFacts]:
        """What was kept of the nodes of a job when it was over, by their names. Of two entries the first counts."""
        found = self._facts.get(job)
        if found is None:
            document = self.document(NodesDocument, "nodes", job)
            nodes = document.nodes if document is not None else ()
            found = self._facts[job] = {facts.node: facts for facts in reversed(nodes)}
        return found

    def last_line(self, job: JobKey) -> str | None:
        """The last line of the sidecar's log of a job."""
        name = self._names.get(("log", job))
        if name is None or not self._rows[name].read.accepted:
            return None
        found, content = self._documents.get(name), self._rows[name].content
        return found if isinstance(found, str) else None if content is None else str(json.loads(content))

    def place(self, file: ListedFile) -> str | None:
        """From where on a sample file is to be read; None: from its beginning."""
        row = self._rows.get(file.clean_name)
        return row.content if row is not None and row.read.accepted and row.read.size is not None else None

    def note(
        self,
        file: ListedFile,
        problems: Sequence[str] = (),
        state: FileState | None = None,
        *,
        document: Document | str | None = None,
        content: str | None = None,
        accepted: bool = True,
    ) -> None:
        """Note a file that was read: its problems, its state then (None: as listed), whether it counts and what it
        holds. ``content`` is what is kept of a file that is no document."""
        read = ReadState.of(state or file.state, problems, accepted=accepted)
        self._note(_file_row(file, read, content), file.parsed.job, document)

    def note_missing(self, name: str, kind: str, problem: str) -> None:
        """Note a file that should be there."""
        self._note(FileRow(name, kind, read=ReadState(problems=(problem,))), None, None)

    def note_unreadable(self, file: ListedFile, problem: str) -> None:
        """Note that a file could not be read now. What is known of it by an earlier sync stays."""
        known = self._rows.get(file.clean_name)
        if known is None:
            self._note(_file_row(file, NOT_READ.unreadable(problem)), file.parsed.job, None)
            return
        self._rows[known.name] = replace(known, read=known.read.unreadable(problem))
        self._unwritten.add(known.name)

    def _note(self, row: FileRow, job: JobKey | None, document: Document | str | None) -> None:
        self._rows[row.name] = row
        self._jobs[row.name] = job
        self._names[_place(row, job)] = row.name
        self._documents.pop(row.name, None)
        self._facts.clear()
        if document is not None:
            self._documents[row.name] = document
        self._unwritten.add(row.name)

    def clear(self) -> None:
        """Drop all that is known of the files."""
        for known in (self._rows, self._jobs, self._documents, self._facts, self._names, self._unwritten):
            known.clear()
        self._cleared = True

    def write(self, connection: LedgerConnection, run: int) -> None:
        """Write what has changed. The run is not sealed then."""
        if self._sealed or self._cleared:
            FILES.delete(connection, run)
        if self._sealed:
            SEALED_RUNS.delete(connection, run)
            connection.execute("UPDATE runs SET open = 1 WHERE run = ?", (run,))
        if self._unwritten:
            FILES.insert_all(connection, [self._with_content(name) for name in sorted(self._unwritten)], run)
        self._sealed = self._cleared = False
        self._unwritten.clear()

    def _with_content(self, name: str) -> FileRow:
        row, document = self._rows[name], self._documents.get(name)
        return row if document is None or row.content is not None else replace(row, content=_content_of(document))

    def seal(self, connection: LedgerConnection, run: int, mtime_ns: int) -> None:
        """Seal the run, with the modification time of its directory."""
        FILES.delete(connection, run)
        for table, values in self.new_rows(mtime_ns):
            table.insert_values(connection, [(run, values)])
        connection.execute("UPDATE runs SET open = 0 WHERE run = ?", (run,))

    def new_rows(self, mtime_ns: int | None) -> list[TableRow]:
        """The rows of the files of a run of which there are none yet: of one that is sealed, with the modification time
        of its directory, or of one that is not (None)."""
        folded, left = list[str](), list[str]()
        for name in sorted(self._rows):
            read = self._rows[name].read
            (folded if mtime_ns is not None and read.accepted and not read.problems else left).append(name)
        rows: list[TableRow] = [(FILES, FILES.values_of(self._with_content(name))) for name in left]
        if mtime_ns is not None:
            rows.append((SEALED_RUNS, SEALED_RUNS.values_of(SealedRunRow(mtime_ns, self._fold(folded)))))
        return rows

    def _fold(self, names: Sequence[str]) -> str:
        """These files as one JSON object, by name."""
        attempts = {job for name in names if (job := self._jobs[name]) is not None}
        prefix = _prefix(attempts.pop()) if len(attempts) == 1 else None
        folded: dict[str, Any] = {}
        for name in names:
            document = self._kept(name)
            if prefix is not None and name.startswith(prefix):
                name = _ANY + name.removeprefix(prefix)
                if document is not None:
                    document = {key: value for key, value in document.items() if key not in ("job_id", "restart")}
            folded[name] = document
        return json_text(folded)

    def _kept(self, name: str) -> dict[str, Any] | None:
        """What is kept of a document of a sealed run."""
        row = self._rows[name]
        if row.kind not in _KEPT:
            return None
        document = self._documents.get(name)
        if document is None or isinstance(document, str):
            return None if row.content is None else dict(json.loads(row.content))
        return codec(type(document)).write(document)


def _place(row: FileRow, job: JobKey | None) -> tuple[str, JobKey | str | None]:
    """The kind of a file, and the job that it is for or else its name: no other file of the run has the same."""
    return row.kind, row.name if row.kind in _OF_NODES else job


def _job(row: FileRow) -> JobKey | None:
    return None if row.job_id is None or row.restart is None else JobKey(row.job_id, row.restart)


def _file_row(file: ListedFile, read: ReadState, content: str | None = None) -> FileRow:
    job = file.parsed.job
    job_id, restart = (job.job_id, job.restart) if job else (None, None)
    return FileRow(file.clean_name, file.parsed.kind, job_id, restart, file.node, read, content)


def _content_of(document: Document | str) -> str:
    """What ``files.content`` keeps of a document, or of a log's last line."""
    content = document if isinstance(document, str) else codec(type(document)).write(document)
    return json.dumps(content, sort_keys=True)


def unseal(connection: LedgerConnection, run: int) -> None:
    """Open a run where it is sealed, all of whose files are then to be read."""
    files = RunFiles.of(connection, run)
    if files.is_sealed:
        files.write(connection, run)


def sealed_files(connection: sqlite3.Connection, run: int) -> list[FileRow] | None:
    """The files of a sealed run that count, without their state; None of another run."""
    row = connection.execute(
        "SELECT texts.name FROM sealed_runs JOIN texts ON texts.text = sealed_runs.files WHERE run = ?", (run,)
    ).fetchone()
    if row is None:
        return None
    attempts = connection.execute("SELECT job_id, restart FROM jobs WHERE run = ? LIMIT 2", (run,)).fetchall()
    files = _unfold(row[0], JobKey(*attempts[0]) if len(attempts) == 1 else None)
    return [_sealed_row(name, content) for name, content in files.items()]


def _sealed_row(name: str, content: str | None) -> FileRow:
    parsed = parse_name(name)
    assert parsed is not None
    job, node = parsed.job, None if parsed.node is None else clean_text(parsed.node)
    key = (job.job_id if job else None, job.restart if job else None)
    return FileRow(name, parsed.kind, key[0], key[1], node, ReadState(accepted=True), content)


class RunFile(NamedTuple):
    """A file of a run; ``sealed``: its run is, so that it has no row of its own."""

    run_id: str
    row: FileRow
    sealed: bool


def every_run_file(connection: sqlite3.Connection) -> Iterator[RunFile]:
    """The files of all runs, of sealed ones too."""
    rows = connection.execute("SELECT run, run_id FROM runs ORDER BY run").fetchall()
    for run, run_id in rows:
        for row in sealed_files(connection, run) or ():
            yield RunFile(run_id, row, sealed=True)
        for _, row in FILES.rows_of(connection, "SELECT ?", (run,)):
            yield RunFile(run_id, row, sealed=False)


_ANY = "*"
"""In place of the id and restart of a run's only attempt, so that many runs have the same text."""


def _unfold(text: str, attempt: JobKey | None) -> dict[str, str | None]:
    """The names and contents of a text that ``RunFiles`` folded; ``attempt`` is the run's only one."""
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
