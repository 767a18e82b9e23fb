"""Which jobs are to be made anew from the rows of sacct: those of which a row, or the job of a run, was written, and
those of forgotten runs.

The tasks of an array are made together: a text may call a task by its own number, or as Slurm shows it.
"""

from __future__ import annotations

import sqlite3


def own_or_array(table: str) -> str:
    """SQL for the id of a job, or of the array of a task."""
    return f"coalesce({table}.array_job_id, {table}.job_id)"


def _mark(row: str, also: str) -> str:
    """SQL of a trigger, as in ``due``."""
    job = own_or_array(row)
    same = f"SELECT 1 FROM accounted_due WHERE cluster = {row}.cluster AND job_id = {job}"
    new = f"SELECT {row}.cluster, {job} WHERE NOT EXISTS ({same}){also}"
    return f"BEGIN INSERT INTO accounted_due {new}; END"


def _known(row: str) -> str:
    job = f"{own_or_array('accounted_jobs')} = {own_or_array(row)}"
    same = f"SELECT 1 FROM accounted_jobs WHERE {job} AND accounted_jobs.cluster = {row}.cluster"
    return f" AND {row}.run NOT NULL AND EXISTS ({same})"


ACCOUNTED_SCHEMA = (
    "CREATE TABLE accounted_due (cluster INTEGER, job_id TEXT, PRIMARY KEY (cluster, job_id)) WITHOUT ROWID",
    f"CREATE TRIGGER accounted_job_was_made AFTER INSERT ON jobs {_mark('NEW', _known('NEW'))}",
    f"CREATE TRIGGER accounted_job_was_written AFTER UPDATE ON jobs {_mark('NEW', _known('NEW'))}",
    f"CREATE TRIGGER accounted_job_was_deleted AFTER DELETE ON jobs {_mark('OLD', _known('OLD'))}",
    f"CREATE TRIGGER accounted_job_was_forgotten AFTER INSERT ON forgotten_jobs {_mark('NEW', _known('NEW'))}",
    f"CREATE TRIGGER accounted_job_counts_again AFTER DELETE ON forgotten_jobs {_mark('OLD', _known('OLD'))}",
)
"""``accounted_due`` has the jobs and arrays that are to be made anew: a row of sacct or a job of a run was written, or
a run was forgotten."""


def mark_cluster(connection: sqlite3.Connection, cluster: str) -> None:
    """Make all jobs due of which a text has rows, of a cluster."""
    connection.execute(
        f"INSERT OR IGNORE INTO accounted_due SELECT DISTINCT cluster, {own_or_array('accounted_jobs')}"
        " FROM accounted_jobs WHERE cluster = (SELECT text FROM texts WHERE name = ?)",
        (cluster,),
    )


def mark_accounted(connection: sqlite3.Connection, accounting: int) -> None:
    """Make the jobs due of which a text has rows, before these go and after new ones came."""
    connection.execute(
        f"INSERT OR IGNORE INTO accounted_due SELECT DISTINCT cluster, {own_or_array('accounted_jobs')}"
        " FROM accounted_jobs WHERE accounting = ?",
        (accounting,),
    )
