"""Jobs of the ledger from the rows of sacct.

A row belongs to an execution of a job: each restart has a row of its own, with its own time of submission, and one that
was resized several. Of two texts with the same row, the one that was asked for later counts. An execution that has a
run directory stays the job of that run, and Slurm's figures fill what is not known there; one of a run that was
forgotten is no job; any other is a job of its own with modelled energy. So the jobs are the same whichever was read
first, and after a rebuild.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from hpcfrugal.ledger.accounted_due import own_or_array
from hpcfrugal.ledger.accounted_energy import channels_of
from hpcfrugal.ledger.accounted_executions import (
    Execution,
    attempt_of,
    executions,
    is_same_attempt,
    is_same_execution,
    parts_of_execution,
    rows_by_number,
)
from hpcfrugal.ledger.accounted_fill import by_its_run, filled_by
from hpcfrugal.ledger.clusters import NO_FIGURES, ClusterFigures, figures_of_clusters
from hpcfrugal.ledger.connection import LedgerConnection, transaction
from hpcfrugal.ledger.job_time import shorten
from hpcfrugal.ledger.jobs import delete_job
from hpcfrugal.ledger.rows import AttemptRow
from hpcfrugal.ledger.table import RowBatch
from hpcfrugal.ledger.tables import ACCOUNTED_JOBS, CHANNELS, FORGOTTEN_JOBS, JOBS
from hpcfrugal.ledger.users_runs import set_aside
from hpcfrugal.slurm.sacct_jobs import SacctJob

_S = 10**9

_PER_TRANSACTION = 1000


def refresh_accounted(connection: LedgerConnection) -> None:
    """Make the jobs that are due, in transactions of its own."""
    figures = figures_of_clusters(connection)
    while True:
        with transaction(connection):
            if not _refresh_some(connection, figures):
                return


def _refresh_some(connection: LedgerConnection, figures: Mapping[str, ClusterFigures]) -> bool:
    due = connection.execute(
        "SELECT cluster, job_id FROM accounted_due ORDER BY cluster, job_id LIMIT ?", (_PER_TRANSACTION,)
    ).fetchall()
    if not due:
        return False
    last = tuple(due[-1])
    rows = {key: list(some) for key, some in groupby(_accounted(connection, last), key=lambda one: one[0])}
    jobs = {key: list(some) for key, some in groupby(_jobs(connection, last), key=lambda one: one[0])}
    forgotten = {key: list(some) for key, some in groupby(_forgotten(connection, last), key=lambda one: one[0])}
    batch = RowBatch()
    for key in map(tuple, due):
        of_jobs = [known for _, known in jobs.get(key, [])]
        left_out = [attempt for _, attempt in forgotten.get(key, [])]
        attempts = [*(known.attempt for known in of_jobs), *left_out]
        numbered = rows_by_number([row for _, row in rows.get(key, [])], attempts)
        for job_id in sorted(numbered.keys() | {known.attempt.job_id for known in of_jobs}):
            same = [known for known in of_jobs if known.attempt.job_id == job_id]
            found = _counting(executions(numbered.get(job_id, [])), [one for one in left_out if one.job_id == job_id])
            _write(connection, batch, found, same, figures)
    batch.write(connection)
    # Last, since what was written above marks jobs of runs again.
    connection.execute("DELETE FROM accounted_due WHERE (cluster, job_id) <= (?, ?)", last)
    return True


def _of_due(columns: str, table: str, joins: str, order: str, where: str) -> str:
    return (
        f"SELECT d.cluster, d.job_id, {columns} FROM accounted_due AS d JOIN {table}"
        f" ON {where} AND {table}.cluster = d.cluster {joins}"
        f" WHERE (d.cluster, d.job_id) <= (?, ?) ORDER BY d.cluster, d.job_id, {order}"
    )


_USERS_RUN = """
(SELECT run_id FROM runs JOIN spools USING (spool) WHERE runs.run = jobs.run AND spools.user NOT NULL)
"""
"""SQL for the run of a job, where it is in the spool of a site's user."""

_ACCOUNTED = _of_due(
    ", ".join(ACCOUNTED_JOBS.selected),
    "accounted_jobs",
    f"JOIN accounting_files ON accounting_files.accounting = accounted_jobs.accounting {ACCOUNTED_JOBS.joins}",
    "accounting_files.asked_wall_ns, accounting_files.name, accounted_jobs.submit_s, accounted_jobs.start_s",
    # The sign takes the column's affinity away, which would keep the index from being used.
    f"{own_or_array('accounted_jobs')} = +d.job_id",
)
_OF_JOBS = f"""
SELECT {", ".join(ACCOUNTED_JOBS.selected)} FROM accounted_jobs
JOIN accounting_files ON accounting_files.accounting = accounted_jobs.accounting {ACCOUNTED_JOBS.joins}
WHERE {own_or_array("accounted_jobs")} IN ({{}})
ORDER BY accounting_files.asked_wall_ns, accounting_files.name, accounted_jobs.submit_s, accounted_jobs.start_s
"""
_JOBS = _of_due(
    f"jobs.job, {_USERS_RUN}, {', '.join(JOBS.selected)}",
    "jobs",
    JOBS.joins,
    "jobs.run, jobs.restart, jobs.job",
    # Not by own_or_array, so that the indexes of both are used.
    "(jobs.array_job_id = d.job_id OR (jobs.job_id = d.job_id AND jobs.array_job_id IS NULL))",
)

_FORGOTTEN = _of_due(
    f"forgotten_jobs.run, {', '.join(FORGOTTEN_JOBS.selected)}",
    "forgotten_jobs",
    FORGOTTEN_JOBS.joins,
    "forgotten_jobs.run, forgotten_jobs.restart",
    f"{own_or_array('forgotten_jobs')} = +d.job_id",
)


def _accounted(connection: sqlite3.Connection, last: tuple[Any, ...]) -> Iterator[tuple[Any, SacctJob]]:
    cursor = connection.cursor()
    cursor.row_factory = None
    for row in cursor.execute(_ACCOUNTED, last):
        yield row[:2], ACCOUNTED_JOBS.record_of(row[2:])


class _KnownJob(NamedTuple):
    """A job of the ledger as it is ``written``, and the ``attempt`` by the files of its run alone. ``users_run``: the
    id of its run, where that is in the spool of a site's user."""

    job: int
    written: AttemptRow
    attempt: AttemptRow
    users_run: str | None


def _jobs(connection: sqlite3.Connection, last: tuple[Any, ...]) -> Iterator[tuple[Any, _KnownJob]]:
    cursor = connection.cursor()
    cursor.row_factory = None
    for row in cursor.execute(_JOBS, last).fetchall():
        written = JOBS.record_of(row[4:])
        yield row[:2], _KnownJob(row[2], written, by_its_run(written), row[3])


def _forgotten(connection: sqlite3.Connection, last: tuple[Any, ...]) -> Iterator[tuple[Any, AttemptRow]]:
    cursor = connection.cursor()
    cursor.row_factory = None
    for row in cursor.execute(_FORGOTTEN, last):
        yield row[:2], FORGOTTEN_JOBS.record_of(row[3:]).attempt(row[2])


def executions_of(connection: sqlite3.Connection, jobs: Sequence[AttemptRow]) -> dict[tuple[str, str], list[Execution]]:
    """The restarts of jobs that Slurm's accounting in the ledger has, by cluster and job id."""
    cursor = connection.cursor()
    cursor.row_factory = None
    ids = sorted({job.array_job_id or job.job_id for job in jobs})
    query = _OF_JOBS.format(", ".join("?" * len(ids)))
    rows: dict[str, list[SacctJob]] = {}
    for values in cursor.execute(query, ids):
        row = ACCOUNTED_JOBS.record_of(values)
        rows.setdefault(row.cluster, []).append(row)
    return {
        (cluster, job_id): executions(some)
        for cluster, of_cluster in rows.items()
        for job_id, some in rows_by_number(of_cluster, [job for job in jobs if job.cluster == cluster]).items()
    }


def _counting(found: Sequence[Execution], forgotten: Sequence[AttemptRow]) -> list[Execution]:
    """Those of jobs that were not ``forgotten``: a job is it with all of its restarts."""
    jobs: list[list[Execution]] = []
    for execution in found:
        if execution.restart == 0 or not jobs:
            jobs.append([])
        jobs[-1].append(execution)
    return [
        execution
        for job in jobs
        if not any(is_same_execution(attempt, execution) for execution in job for attempt in forgotten)
        for execution in job
    ]


def _write(
    connection: LedgerConnection,
    batch: RowBatch,
    found: Sequence[Execution],
    jobs: Sequence[_KnownJob],
    figures: Mapping[str, ClusterFigures],
) -> None:
    """Fill the jobs of runs, and write those that have none; what is no job any more goes. Of the runs of users the
    first that has an execution counts for it."""
    of_runs = [known for known in jobs if known.attempt.run is not None]
    for known in jobs:
        if known.attempt.run is None:
            delete_job(connection, known.job)
    counting, life_ns = set[int](), None
    for execution in found:
        wanted = attempt_of(execution)
        life_ns = wanted.submitted_wall_ns if wanted.restart == 0 else life_ns
        same = [
            known for known in of_runs if known.users_run is None and is_same_attempt(known.attempt, wanted, life_ns)
        ]
        same += sorted(
            (
                known
                for known in of_runs
                if known.users_run is not None
                and known.job not in counting
                and known.attempt.user == wanted.user
                and (not wanted.nodes or {*known.attempt.nodes} <= {*wanted.nodes})
                and is_same_attempt(known.attempt, wanted, life_ns)
            ),
            key=lambda known: (known.attempt.restart != wanted.restart, known.users_run, known.attempt.restart),
        )[:1]
        for known in same:
            counting.add(known.job)
            filled = filled_by(wanted, known.attempt, replacing=known.users_run is not None)
            if filled != known.written:
                JOBS.insert(connection, filled)
            if known.users_run is not None and (length_ns := _longest_ns(wanted)) is not None:
                shorten(connection, batch, known.job, wanted.job_id, length_ns)
        if not same:
            job = JOBS.insert(connection, wanted)
            of_cluster = figures.get(wanted.cluster, NO_FIGURES)
            for channel in channels_of(parts_of_execution(execution), of_cluster, final=wanted.final):
                batch.add(CHANNELS, CHANNELS.values_of(channel), job)
    for known in of_runs:
        if known.job in counting:
            continue
        if known.users_run is not None:
            set_aside(connection, known.job, known.attempt)
        elif known.written != known.attempt:
            JOBS.insert(connection, known.attempt)  # Slurm's accounting had it once


def _longest_ns(wanted: AttemptRow) -> int | None:
    """From a job's start to its end, as Slurm has them; None where it is not over."""
    if not wanted.final or wanted.started_wall_ns is None or wanted.ended_wall_ns is None:
        return None
    return wanted.ended_wall_ns - wanted.started_wall_ns
