"""The rows of a run's jobs: what was submitted, what Slurm and the batch script said, what was sampled.

They are made from the ledger's own tables (``files.content`` holds what each document said), so a document that
has vanished from the spool goes on to count.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from hpcfrugal.core.json_fields import MAX_WALL_NS, MIN_WALL_NS
from hpcfrugal.spool.documents import (
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


def insert(connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    """Insert ``row`` in place of the one with its key. Names are ours, values are bound."""
    columns, marks = ", ".join(row), ", ".join("?" * len(row))
    connection.execute(f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({marks})", tuple(row.values()))


def content_of(document: SubmittedDocument | EndDocument | SlurmDocument | NodesDocument | str | None) -> str | None:
    """What is kept of a document, or of a log's last line, in ``files.content``."""
    if document is None:
        return None
    return json.dumps(document if isinstance(document, str) else asdict(document), sort_keys=True)


def write_jobs(connection: sqlite3.Connection, document: RunDocument) -> None:
    """Write afresh the rows of all jobs of a run, from its documents and its rows of nodes."""
    run_id = document.run_id
    submitted = _submitted(connection, run_id)
    rows = connection.execute(
        "SELECT DISTINCT job_id, restart FROM files WHERE run_id = ? AND accepted AND job_id IS NOT NULL",
        (run_id,),
    )
    jobs = {JobKey(job_id, restart) for job_id, restart in rows}
    if not jobs and submitted is not None:
        # Submitted and not heard of since: it is there, and nothing is known about its energy.
        jobs.add(JobKey(submitted.job_id, 0))
    connection.execute("DELETE FROM jobs WHERE run_id = ?", (run_id,))
    for job in sorted(jobs):
        insert(connection, "jobs", _row(connection, document, submitted, job))


def _content(connection: sqlite3.Connection, run_id: str, kind: str, job: JobKey | None) -> dict[str, Any] | None:
    """What a document said. None where it is not there yet or was damaged, whose reason then is in ``files``."""
    row = connection.execute(
        "SELECT content FROM files WHERE run_id = ? AND kind = ? AND job_id IS ? AND restart IS ? AND accepted",
        (run_id, kind, job and job.job_id, job and job.restart),
    ).fetchone()
    if row is None or row[0] is None:
        return None
    content: dict[str, Any] = json.loads(row[0])
    return content


def _submitted(connection: sqlite3.Connection, run_id: str) -> SubmittedDocument | None:
    content = _content(connection, run_id, "submitted", None)
    return None if content is None else SubmittedDocument(**content)


def _end(connection: sqlite3.Connection, run_id: str, job: JobKey) -> EndDocument | None:
    content = _content(connection, run_id, "end", job)
    return None if content is None else EndDocument(**content)


def _slurm(connection: sqlite3.Connection, run_id: str, job: JobKey) -> SlurmDocument | None:
    content = _content(connection, run_id, "slurm", job)
    if content is None:
        return None
    nodes = content.pop("nodes")
    return SlurmDocument(**content, nodes=None if nodes is None else tuple(nodes))


class FactsOfNodes:
    """What was kept of the nodes of jobs when they were over. A job's document is parsed once, for all of its nodes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[str, JobKey], dict[str | None, NodeFacts]] = {}

    def of(self, run_id: str, job: JobKey, node: str | None) -> NodeFacts | None:
        """The facts of one node of one job; None where nothing was kept of it."""
        if (run_id, job) not in self._known:
            self._known[run_id, job] = _facts(_content(self._connection, run_id, "nodes", job))
        return self._known[run_id, job].get(node)


def _facts(content: dict[str, Any] | None) -> dict[str | None, NodeFacts]:
    """By node; of two entries for one node the first counts."""
    found: dict[str | None, NodeFacts] = {}
    for item in content["nodes"] if content is not None else ():
        powers = tuple((component, power_uw) for component, power_uw in item.pop("idle_power_uw"))
        found.setdefault(item["node"], NodeFacts(**item, idle_power_uw=powers))
    return found


def _row(
    connection: sqlite3.Connection,
    document: RunDocument,
    submitted: SubmittedDocument | None,
    job: JobKey,
) -> dict[str, Any]:
    run_id = document.run_id
    end, slurm = _end(connection, run_id, job), _slurm(connection, run_id, job)
    sampled = connection.execute(
        "SELECT min(started_wall_ns), max(ended_wall_ns), max(cluster), max(array_job_id), max(array_task_id)"
        " FROM sidecar_sessions WHERE run_id = ? AND job_id = ? AND restart = ?",
        (run_id, job.job_id, job.restart),
    ).fetchone()
    nodes = {
        node
        for (node,) in connection.execute(
            "SELECT DISTINCT node FROM sidecar_sessions WHERE run_id = ? AND job_id = ? AND restart = ?",
            (run_id, job.job_id, job.restart),
        )
    }
    nodes |= set(slurm.nodes or ()) if slurm else set()
    set_ns = _clock_set(connection, run_id, job)
    started_ns, ended_ns, elapsed_ns, elapsed_source = elapsed(end, slurm, sampled[0], sampled[1], set_ns)
    state, exit_code = _outcome(end, slurm)
    return {
        "cluster": (submitted and submitted.cluster) or (slurm and slurm.cluster) or sampled[2] or "",
        "job_id": job.job_id,
        "restart": job.restart,
        "run_id": run_id,
        "array_job_id": _first(slurm and slurm.array_job_id, end and end.array_job_id, sampled[3]),
        "array_task_id": _first(slurm and slurm.array_task_id, end and end.array_task_id, sampled[4]),
        "partition": slurm.partition if slurm else None,
        "account": slurm.account if slurm else None,
        "qos": slurm.qos if slurm else None,
        "state": state,
        "final": _final(end, slurm),
        "exit_code": exit_code,
        "signal": slurm.signal if slurm else None,
        "submitted_wall_ns": _first(
            slurm and slurm.submit_wall_ns,
            submitted and submitted.submitted_wall_ns,
            document.created_wall_ns,
        ),
        "started_wall_ns": started_ns,
        "ended_wall_ns": ended_ns,
        "elapsed_ns": elapsed_ns,
        "elapsed_source": elapsed_source,
        "nodes": json.dumps(sorted(nodes)),
        "alloc_cpus": slurm.alloc_cpus if slurm else None,
    }


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _clock_set(connection: sqlite3.Connection, run_id: str, job: JobKey) -> int:
    """By how many ns the wall clock was set forward between the first header of a job and its last record.

    The time since boot tells. Of several nodes the one of which it was set least.
    """
    rows = connection.execute(
        "SELECT node, boot_id, started_wall_ns - started_boottime_ns AS first_ns,"
        " coalesce(ended_clock_ns - ended_boottime_ns, started_wall_ns - started_boottime_ns) AS last_ns"
        " FROM sidecar_sessions WHERE run_id = ? AND job_id = ? AND restart = ?"
        " AND boot_id IS NOT NULL ORDER BY node, session",
        (run_id, job.job_id, job.restart),
    ).fetchall()
    boots: dict[tuple[str, str], tuple[int, int]] = {}
    for row in rows:
        key = (row["node"], row["boot_id"])
        boots[key] = (boots.get(key, (row["first_ns"], 0))[0], row["last_ns"])
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
    """(start, end, elapsed, source) of a job in ns, by the best witness.

    Slurm's own times come first (whole seconds), then those of the batch script, by the node's wall clock, which was
    set forward by ``clock_set_ns`` meanwhile: its end is taken by the clock as it was at the start. A job whose end
    nobody has told of counts up to its last record (source ``samples``) and has no end.
    """
    slurm_from = slurm.start_wall_ns if slurm else None
    slurm_to = slurm.end_wall_ns if slurm else None
    if slurm_from is not None and slurm_to is not None and slurm_to >= slurm_from:
        return slurm_from, slurm_to, slurm_to - slurm_from, "slurm"
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
    """State and exit code: Slurm's last word, else the batch script's, else what Slurm said on the way."""
    if slurm is not None and slurm.final:
        return slurm.state, _first(slurm.exit_code, end and end.exit_code)
    if end is not None and end.exit_code is not None:
        return ("COMPLETED" if end.exit_code == 0 else "FAILED"), end.exit_code
    return (slurm.state if slurm is not None else None), None


def _final(end: EndDocument | None, slurm: SlurmDocument | None) -> int:
    return int((slurm is not None and slurm.final) or end is not None)
