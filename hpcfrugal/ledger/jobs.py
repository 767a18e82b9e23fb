"""The rows of a run's jobs: what was submitted, what Slurm and the batch script said, what was sampled.

They are made from the ledger's own tables (``files.content`` holds each document), so a document that
has vanished from the spool goes on to count.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any, TypeVar

from hpcfrugal.core.record import MAX_WALL_NS, MIN_WALL_NS, assemble, codec
from hpcfrugal.job.backend import shell_code
from hpcfrugal.ledger.rows import JOBS, AttemptRow
from hpcfrugal.ledger.table import AttemptKey
from hpcfrugal.spool.documents import (
    Document,
    EndDocument,
    NodeFacts,
    NodesDocument,
    RunDocument,
    SlurmDocument,
    SubmittedDocument,
)
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


def write_jobs(connection: sqlite3.Connection, document: RunDocument) -> None:
    """Write afresh the rows of all jobs of a run, from its documents and its rows of nodes."""
    run_id = document.run_id
    submitted = _document(connection, SubmittedDocument, "submitted", run_id, None)
    rows = connection.execute(
        "SELECT DISTINCT job_id, restart FROM files WHERE run_id = ? AND accepted AND job_id IS NOT NULL",
        (run_id,),
    )
    jobs = {JobKey(job_id, restart) for job_id, restart in rows}
    if not jobs and submitted is not None:
        # Nothing but its submission is known yet: it is listed, with unknown energy.
        jobs.add(JobKey(submitted.job_id, 0))
    JOBS.delete(connection, run_id)
    for job in sorted(jobs):
        JOBS.insert(connection, _row(connection, document, submitted, job))


def _document(connection: sqlite3.Connection, kind: type[_D], name: str, run_id: str, job: JobKey | None) -> _D | None:
    """A document's content. None where it is not there yet or was damaged, whose reason then is in ``files``."""
    row = connection.execute(
        "SELECT content FROM files WHERE run_id = ? AND kind = ? AND job_id IS ? AND restart IS ? AND accepted",
        (run_id, name, job and job.job_id, job and job.restart),
    ).fetchone()
    return None if row is None or row[0] is None else document_in(row[0], kind)


class FactsOfNodes:
    """What was kept of the nodes of jobs when they were over. A job's document is parsed once, for all of its nodes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[AttemptKey, dict[str, NodeFacts]] = {}

    def of(self, attempt: AttemptKey, node: str | None) -> NodeFacts | None:
        """The facts of one node of one job; None where nothing was kept of it. Of two entries the first counts."""
        if attempt not in self._known:
            job = JobKey(attempt.job_id, attempt.restart)
            document = _document(self._connection, NodesDocument, "nodes", attempt.run_id, job)
            nodes = document.nodes if document is not None else ()
            self._known[attempt] = {facts.node: facts for facts in reversed(nodes)}
        return None if node is None else self._known[attempt].get(node)


def _row(
    connection: sqlite3.Connection,
    document: RunDocument,
    submitted: SubmittedDocument | None,
    job: JobKey,
) -> AttemptRow:
    run_id, key = document.run_id, (document.run_id, job.job_id, job.restart)
    end = _document(connection, EndDocument, "end", run_id, job)
    slurm = _document(connection, SlurmDocument, "slurm", run_id, job)
    sampled = connection.execute(
        "SELECT min(started_wall_ns), max(ended_wall_ns), max(cluster), max(array_job_id), max(array_task_id)"
        " FROM sidecar_sessions WHERE run_id = ? AND job_id = ? AND restart = ?",
        key,
    ).fetchone()
    nodes = {
        node
        for (node,) in connection.execute(
            "SELECT DISTINCT node FROM sidecar_sessions WHERE run_id = ? AND job_id = ? AND restart = ?", key
        )
    }
    nodes |= set(slurm.nodes or ()) if slurm else set()
    set_ns = _clock_set(connection, key)
    started_ns, ended_ns, elapsed_ns, elapsed_source = elapsed(end, slurm, sampled[0], sampled[1], set_ns)
    state, exit_code = _outcome(end, slurm)
    return assemble(
        AttemptRow,
        slurm or SlurmDocument(job.job_id, job.restart),
        cluster=(submitted and submitted.cluster) or (slurm and slurm.cluster) or sampled[2] or "",
        run_id=run_id,
        array_job_id=_first(slurm and slurm.array_job_id, end and end.array_job_id, sampled[3]),
        array_task_id=_first(slurm and slurm.array_task_id, end and end.array_task_id, sampled[4]),
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
    )


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _clock_set(connection: sqlite3.Connection, key: tuple[str, str, int]) -> int:
    """By how many ns the wall clock was set forward between the first header of a job and its last record.

    That is by how much more it advanced than the time since boot; of several nodes, on the one where that is least.
    """
    rows = connection.execute(
        "SELECT node, boot_id, started_wall_ns - started_boottime_ns AS first_ns,"
        " ended_clock_ns - ended_boottime_ns AS last_ns"
        " FROM sidecar_sessions WHERE run_id = ? AND job_id = ? AND restart = ?"
        " AND boot_id IS NOT NULL ORDER BY node, session",
        key,
    ).fetchall()
    boots: dict[tuple[str, str], tuple[int, int]] = {}
    for row in rows:
        boot = (row["node"], row["boot_id"])
        boots[boot] = (boots.get(boot, (row["first_ns"], 0))[0], row["last_ns"])
    nodes: dict[str, int] = {}
    for (node, _), (first_ns, last_ns) in boots.items():
        nodes[node] = nodes.get(node, 0) + last_ns - first_ns
    set_ns = min(nodes.values(), key=abs, default=0)
    return set_ns if abs(set_ns) >= _LEAST_SET_NS else 0


def elapsed(
    end: EndDocument | None,
    slurm: SlurmDocument | None,
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


def _outcome(end: EndDocument | None, slurm: SlurmDocument | None) -> tuple[str | None, int | None]:
    """State and exit code: Slurm's if final, else the batch script's, else Slurm's of the running job."""
    if slurm is not None and slurm.final:
        if slurm.signal and end is not None and end.exit_code:
            return slurm.state, end.exit_code
        return slurm.state, _first(shell_code(slurm.exit_code, slurm.signal), end and end.exit_code)
    if end is not None and end.exit_code is not None:
        return ("COMPLETED" if end.exit_code == 0 else "FAILED"), end.exit_code
    return (slurm.state if slurm is not None else None), None
