"""The rows of a run's jobs: what was submitted, what Slurm and the batch script said, what was sampled.

A document that has vanished from the spool goes on to count: the ledger has its content.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from hpcfrugal.core.record import MAX_WALL_NS, MIN_WALL_NS, assemble
from hpcfrugal.ledger.agent_due import mark_if_measured
from hpcfrugal.ledger.clocks import skews_of
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.node_rows import NodeRows
from hpcfrugal.ledger.rows import AttemptRow, JobRow, RunRow, SessionRow
from hpcfrugal.ledger.run_files import RunFiles
from hpcfrugal.ledger.table import RowBatch
from hpcfrugal.ledger.tables import CLOCK_SKEWS, JOBS, SESSIONS, TABLES_OF_JOBS
from hpcfrugal.spool.documents import EndDocument, RunDocument, SubmittedDocument
from hpcfrugal.spool.job_state import UNKNOWN_STATE, JobState
from hpcfrugal.spool.layout import JobKey

_LEAST_SET_NS = 10**9
"""A clock that is kept right moves by less."""


def write_jobs(
    connection: LedgerConnection,
    run: int,
    document: RunDocument,
    files: RunFiles,
    nodes: Sequence[NodeRows],
    batch: RowBatch,
) -> None:
    """Write afresh the rows of all jobs of a run, from its documents and its nodes.

    ``nodes`` are the rows of the files that were read now, which ``batch`` gets.
    """
    submitted = _submitted(connection, run, files)
    jobs = attempt_keys(files, submitted)
    known = _known_jobs(connection, run)
    for key in known.keys() - jobs:
        delete_job(connection, known[key])
    read: dict[JobKey, list[NodeRows]] = {}
    for rows in nodes:
        read.setdefault(rows.job, []).append(rows)
    for key in jobs & known.keys():
        for rows in read.get(key, ()):
            rows.clear_old(connection, known[key])
    kept = files.jobs_without_content
    for key in sorted(jobs):
        job = known.get(key)
        sessions = [session for rows in read.get(key, ()) for session in rows.sessions]
        if job is None or key not in kept:
            if job is not None:
                sessions += [session for _, session in SESSIONS.rows_of(connection, "SELECT ?", (job,))]
            sessions.sort(key=lambda session: (session.node, session.session))
            row = attempt_row(run, document, submitted, files, key, sessions)
            job = JOBS.insert(connection, row)
            if key in known:
                CLOCK_SKEWS.delete(connection, job)
            CLOCK_SKEWS.insert_all(connection, skews_of(row, sessions), job)
        elif key in read:
            connection.execute("INSERT OR IGNORE INTO totals_due VALUES (?)", (job,))
            mark_if_measured(connection, key.job_id)
        for rows in read.get(key, ()):
            batch.add_all(rows.rows, job)


def attempts_of(document: RunDocument, files: RunFiles, nodes: Sequence[NodeRows]) -> list[AttemptRow]:
    """The attempts of a run all of whose files were read now, without its key."""
    submitted = files.document(SubmittedDocument, "submitted")
    sessions = {
        key: [session for rows in nodes if rows.job == key for session in rows.sessions]
        for key in sorted(attempt_keys(files, submitted))
    }
    return [attempt_row(0, document, submitted, files, key, of_job) for key, of_job in sessions.items()]


def attempt_keys(files: RunFiles, submitted: SubmittedDocument | None) -> set[JobKey]:
    """The attempts of a run. One of which nothing but its submission is known is listed, with unknown energy."""
    return files.jobs or ({JobKey(submitted.job_id, 0)} if submitted is not None else set())


def job_row(attempt: AttemptRow, run: RunRow, sessions: Sequence[SessionRow], nodes: Sequence[NodeRows]) -> JobRow:
    """The job as it would be read from the ledger, but for its keys, as far as its totals need it."""
    channels = [channel for rows in nodes for channel in rows.channels]
    channels.sort(key=lambda channel: (channel.node, channel.channel))
    return JobRow(**vars(run) | vars(attempt), job=0, channels=tuple(channels), sessions=tuple(sessions))


def _known_jobs(connection: sqlite3.Connection, run: int) -> dict[JobKey, int]:
    """The keys of the run's jobs that the ledger has."""
    rows = connection.execute("SELECT job_id, restart, job FROM jobs WHERE run = ?", (run,))
    return {JobKey(job_id, restart): job for job_id, restart, job in rows}


def _submitted(connection: sqlite3.Connection, run: int, files: RunFiles) -> SubmittedDocument | None:
    """What the run became. Where the document is gone, and its content with it, it is what its jobs have of it."""
    found = files.document(SubmittedDocument, "submitted")
    if found is None and files.counts("submitted"):
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


def attempt_row(
    run: int,
    document: RunDocument,
    submitted: SubmittedDocument | None,
    files: RunFiles,
    key: JobKey,
    sessions: Sequence[SessionRow],
) -> AttemptRow:
    """The row of an attempt, of which these are the sessions of its sidecars."""
    end = files.document(EndDocument, "end", key)
    slurm = files.document(JobState, "slurm", key)
    nodes = {session.node for session in sessions} | set(slurm.nodes or () if slurm else ())
    started_ns, ended_ns, elapsed_ns, elapsed_source = elapsed(
        end,
        slurm,
        min((session.started_wall_ns for session in sessions), default=None),
        max((session.ended_wall_ns for session in sessions), default=None),
        _clock_set(sessions),
    )
    state, exit_code = _outcome(end, slurm)
    task = _first(slurm and slurm.array_task_id, end and end.array_task_id, _most(sessions, "array_task_id"))
    return assemble(
        AttemptRow,
        slurm or JobState(key.job_id, restart=key.restart),
        origin="spool",
        run=run,
        cluster=(submitted and submitted.cluster) or (slurm and slurm.cluster) or _most(sessions, "cluster") or "",
        user=document.user,
        name=document.name,
        array_job_id=_first(slurm and slurm.array_job_id, end and end.array_job_id, _most(sessions, "array_job_id")),
        array_task_id=task,
        tags=document.tags_of_task(task),
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
        alloc_gpus=None,  # Slurm's accounting may fill it
        own={},
        sidecar_log=files.last_line(key),
    )


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
        if end is not None and ((slurm.signal and end.exit_code) or slurm.is_cut(end.exit_code)):
            return slurm.state, end.exit_code
        return slurm.state, _first(slurm.shell_code, end and end.exit_code)
    if end is not None and end.exit_code is not None:
        return ("COMPLETED" if end.exit_code == 0 else "FAILED"), end.exit_code
    return (None if slurm is None or slurm.state == UNKNOWN_STATE else slurm.state), None
