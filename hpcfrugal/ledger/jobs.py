"""The rows of a run's jobs: what was submitted, what Slurm and the batch script said, what was sampled.

They are made from the ledger's own tables (``files.content`` holds each document), so a document that
has vanished from the spool goes on to count.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, TypeVar

from hpcfrugal.core.record import MAX_WALL_NS, MIN_WALL_NS, assemble, codec
from hpcfrugal.ledger.clocks import skews_of
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.rows import CLOCK_SKEWS, FILES, JOBS, SESSIONS, TABLES_OF_JOBS, AttemptRow, SessionRow
from hpcfrugal.ledger.sealing import sealed_files
from hpcfrugal.spool.documents import (
    Document,
    EndDocument,
    NodeFacts,
    NodesDocument,
    RunDocument,
    SubmittedDocument,
)
from hpcfrugal.spool.job_state import JobState
from hpcfrugal.spool.layout import JobKey

_LEAST_SET_NS = 10**9
"""A clock that is kept right moves by less."""

_D = TypeVar("_D", bound=Document)


def content_of(document: Document | str | None) -> str | None:
    """What ``files.content`` keeps of a document, or of a log's last line."""
    if document is None:
        return None
    content = document if isinstance(document, str) else codec(type(document)).write(document)
    return json.dumps(content, sort_keys=True)


def document_in(content: str, kind: type[_D]) -> _D:
    """The document that ``content_of`` was made of."""
    return codec(kind).read(json.loads(content), [])


def job_of(connection: LedgerConnection, run: int, job: JobKey) -> int:
    """The key of an attempt, whose row is made where it is missing; ``write_jobs`` fills it."""
    row = connection.execute(
        "SELECT job FROM jobs WHERE run = ? AND job_id = ? AND restart = ?", (run, job.job_id, job.restart)
    ).fetchone()
    if row is not None:
        return int(row[0])
    return JOBS.insert(connection, AttemptRow("spool", run, "", job.job_id, job.restart))


def write_jobs(connection: LedgerConnection, run: int, document: RunDocument) -> None:
    """Write afresh the rows of all jobs of a run, from its documents and its rows of nodes."""
    submitted = _submitted(connection, run)
    rows = connection.execute(
        "SELECT DISTINCT job_id, restart FROM files WHERE run = ? AND accepted AND job_id IS NOT NULL", (run,)
    )
    jobs = {JobKey(job_id, restart) for job_id, restart in rows}
    if not jobs and submitted is not None:
        # Nothing but its submission is known yet: it is listed, with unknown energy.
        jobs.add(JobKey(submitted.job_id, 0))
    for job, job_id, restart in connection.execute("SELECT job, job_id, restart FROM jobs WHERE run = ?", (run,)):
        if JobKey(job_id, restart) not in jobs:
            delete_job(connection, job)
    kept = _kept(connection, run)
    for key in sorted(jobs - kept):
        row, sessions = _row(connection, run, document, submitted, key)
        job = JOBS.insert(connection, row)
        CLOCK_SKEWS.delete(connection, job)
        CLOCK_SKEWS.insert_all(connection, skews_of(row, sessions), job)


_GONE = f"""
SELECT job_id, restart FROM {FILES.source}
WHERE run = ? AND accepted AND content IS NULL AND files_kind.name IN ('slurm', 'end')
"""


def _kept(connection: sqlite3.Connection, run: int) -> set[JobKey]:
    """The attempts whose rows stay as they are: a document of theirs is gone, and its content went when the run was
    sealed."""
    return {JobKey(job_id, restart) for job_id, restart in connection.execute(_GONE, (run,))}


def _submitted(connection: sqlite3.Connection, run: int) -> SubmittedDocument | None:
    """What the run became. Where the document is gone, and its content with it, it is what its jobs have of it."""
    found = document_of(connection, SubmittedDocument, "submitted", run, None)
    if found is None and connection.execute(
        f"SELECT 1 FROM {FILES.source} WHERE run = ? AND accepted AND files_kind.name = 'submitted'", (run,)
    ):
        row = connection.execute(
            "SELECT job_id, texts.name, submitted_wall_ns FROM jobs JOIN texts ON texts.text = jobs.cluster"
            " WHERE run = ? AND texts.name != '' ORDER BY job_id, restart LIMIT 1",
            (run,),
        ).fetchone()
        return None if row is None else SubmittedDocument(*row)
    return found


def delete_job(connection: sqlite3.Connection, job: int) -> None:
    """Delete the row of an attempt and all that belongs to it."""
    for table in TABLES_OF_JOBS:
        table.delete(connection, job)
    connection.execute("DELETE FROM jobs WHERE job = ?", (job,))


def _content(connection: sqlite3.Connection, name: str, run: int, job: JobKey | None) -> str | None:
    """What was kept of a file of this kind. None where it is not there yet or was damaged, whose reason then is in
    ``files``."""
    row = connection.execute(
        f"SELECT content FROM {FILES.source} WHERE run = ? AND files_kind.name = ? AND job_id IS ? AND restart IS ?"
        " AND accepted ORDER BY files.name",
        (run, name, job and job.job_id, job and job.restart),
    ).fetchone()
    if row is not None:
        return None if row[0] is None else str(row[0])
    kept = sealed_files(connection, run) or {}
    return kept.get(f"{job.job_id}.{job.restart}.{name}.json" if job else f"{name}.json")


def document_of(connection: sqlite3.Connection, kind: type[_D], name: str, run: int, job: JobKey | None) -> _D | None:
    """The document that counts of this kind, of the run or of one of its jobs; None where there is none."""
    content = _content(connection, name, run, job)
    return None if content is None else document_in(content, kind)


class FactsOfNodes:
    """What was kept of the nodes of jobs when they were over. A job's document is parsed once, for all of its nodes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[int, JobKey], dict[str, NodeFacts]] = {}

    def of(self, run: int, job: JobKey, node: str | None) -> NodeFacts | None:
        """The facts of one node of one job; None where nothing was kept of it. Of two entries the first counts."""
        known = self._known.get((run, job))
        if known is None:
            document = document_of(self._connection, NodesDocument, "nodes", run, job)
            nodes = document.nodes if document is not None else ()
            known = self._known[run, job] = {facts.node: facts for facts in reversed(nodes)}
        return None if node is None else known.get(node)


def _row(
    connection: sqlite3.Connection,
    run: int,
    document: RunDocument,
    submitted: SubmittedDocument | None,
    key: JobKey,
) -> tuple[AttemptRow, list[SessionRow]]:
    """The row of an attempt, and the sessions of its sidecars."""
    end = document_of(connection, EndDocument, "end", run, key)
    slurm = document_of(connection, JobState, "slurm", run, key)
    log = _content(connection, "log", run, key)
    sessions = [
        session
        for _, session in SESSIONS.rows_of(
            connection, "SELECT job FROM jobs WHERE run = ? AND job_id = ? AND restart = ?", (run, *_of(key))
        )
    ]
    nodes = {session.node for session in sessions} | set(slurm.nodes or () if slurm else ())
    started_ns, ended_ns, elapsed_ns, elapsed_source = elapsed(
        end,
        slurm,
        min((session.started_wall_ns for session in sessions), default=None),
        max((session.ended_wall_ns for session in sessions), default=None),
        _clock_set(sessions),
    )
    state, exit_code = _outcome(end, slurm)
    row = assemble(
        AttemptRow,
        slurm or JobState(key.job_id, restart=key.restart),
        origin="spool",
        run=run,
        cluster=(submitted and submitted.cluster) or (slurm and slurm.cluster) or _most(sessions, "cluster") or "",
        user=document.user,
        name=document.name,
        array_job_id=_first(slurm and slurm.array_job_id, end and end.array_job_id, _most(sessions, "array_job_id")),
        array_task_id=_first(
            slurm and slurm.array_task_id, end and end.array_task_id, _most(sessions, "array_task_id")
        ),
        state=state,
        final=(slurm is not None and slurm.final) or end is not None,
        exit_code=exit_code,
        submitted_wall_ns=_first(
            slurm and slurm.submit_wall_ns,
            submitted and submitted.submitted_wall_ns,
            document.created_wall_ns,
        ),
        started_wall_ns=started_ns,
        ended_wall_ns=ended_ns,
        elapsed_ns=elapsed_ns,
        elapsed_source=elapsed_source,
        nodes=tuple(sorted(nodes)),
        sidecar_log=None if log is None else str(json.loads(log)),
    )
    return row, sessions


def _of(key: JobKey) -> tuple[str, int]:
    return key.job_id, key.restart


def _most(sessions: Sequence[SessionRow], name: str) -> str | None:
    """The last of the texts in order, so that it does not depend on the order of the files."""
    return max((text for session in sessions if (text := getattr(session, name)) is not None), default=None)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _clock_set(sessions: Sequence[SessionRow]) -> int:
    """By how many ns the wall clock was set forward between the first header of a job and its last record.

    That is by how much more it advanced than the time since boot; of several nodes, on the one where that is least.
    """
    boots: dict[tuple[str, str], tuple[int, int]] = {}
    for session in sessions:
        if session.boot_id is None:
            continue
        boot = (session.node, session.boot_id)
        first_ns = session.started_wall_ns - session.started_boottime_ns
        boots[boot] = (boots.get(boot, (first_ns, 0))[0], session.ended_clock_ns - session.ended_boottime_ns)
    nodes: dict[str, int] = {}
    for (node, _), (first_ns, last_ns) in boots.items():
        nodes[node] = nodes.get(node, 0) + last_ns - first_ns
    set_ns = min(nodes.values(), key=abs, default=0)
    return set_ns if abs(set_ns) >= _LEAST_SET_NS else 0


def elapsed(
    end: EndDocument | None,
    slurm: JobState | None,
    sampled_from_ns: int | None,
    sampled_to_ns: int | None,
    clock_set_ns: int = 0,
) -> tuple[int | None, int | None, int | None, str | None]:
    """(start, end, elapsed, source) of a job in ns, from the best source.

    Slurm's own times come first (whole seconds; the time in which it had suspended the job does not count), then those
    of the batch script, by the node's wall clock, which was set forward by ``clock_set_ns`` meanwhile: its end is taken
    by the clock as it was at the start. A job whose end is not known counts up to its last record (source ``samples``)
    and has no end.
    """
    slurm_from = slurm.start_wall_ns if slurm else None
    slurm_to = slurm.end_wall_ns if slurm else None
    if slurm_from is not None and slurm_to is not None and slurm_to >= slurm_from:
        span_ns = slurm_to - slurm_from
        counted_s = slurm.elapsed_s if slurm and slurm.elapsed_s is not None else None
        return slurm_from, slurm_to, span_ns if counted_s is None else min(span_ns, counted_s * 10**9), "slurm"
    end_from = end.started_wall_ns if end else None
    end_to = end.ended_wall_ns if end else None
    if end_to is not None and MIN_WALL_NS <= end_to - clock_set_ns <= MAX_WALL_NS:
        end_to -= clock_set_ns
    if end_from is not None and end_to is not None and end_to >= end_from:
        return end_from, end_to, end_to - end_from, "end"
    started = _first(slurm_from, end_from, sampled_from_ns)
    if started is not None and end_to is not None and end_to >= started:
        return started, end_to, end_to - started, "end"
    if started is not None and sampled_to_ns is not None and sampled_to_ns >= started:
        return started, None, sampled_to_ns - started, "samples"
    return started, None, None, None


def _outcome(end: EndDocument | None, slurm: JobState | None) -> tuple[str | None, int | None]:
    """State and exit code: Slurm's if final, else the batch script's, else Slurm's of the running job."""
    if slurm is not None and slurm.final:
        if slurm.signal and end is not None and end.exit_code:
            return slurm.state, end.exit_code
        return slurm.state, _first(slurm.shell_code, end and end.exit_code)
    if end is not None and end.exit_code is not None:
        return ("COMPLETED" if end.exit_code == 0 else "FAILED"), end.exit_code
    return (slurm.state if slurm is not None else None), None
