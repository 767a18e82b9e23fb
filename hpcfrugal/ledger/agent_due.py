"""Which jobs are to be given anew what agents measured: those of which a line of an agent, or their own row, was
written. All attempts with the same job id are made together.

Of a job whose processes showed no id, control groups of Slurm 26.05 have the SLUID, which Slurm's accounting has too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

AGENT_DUE = "agent_jobs_due"


def _seen(job_id: str) -> str:
    """SQL for whether an agent saw a job with this id: by it, or by the SLUID that Slurm has of it."""
    by_sluid = f"SELECT sluid FROM accounted_jobs WHERE job_id = {job_id} AND sluid NOT NULL"
    return (
        f"(EXISTS (SELECT 1 FROM agent_jobs WHERE job_id = {job_id})"
        f" OR EXISTS (SELECT 1 FROM agent_jobs WHERE job_id IS NULL AND sluid IN ({by_sluid})))"
    )


def _mark(row: str) -> str:
    """SQL of a trigger, as in ``due``."""
    same = f"SELECT 1 FROM {AGENT_DUE} WHERE job_id = {row}.job_id"
    return (
        f"BEGIN INSERT INTO {AGENT_DUE} SELECT {row}.job_id WHERE {_seen(f'{row}.job_id')} AND NOT EXISTS ({same}); END"
    )


AGENT_DUE_SCHEMA = (
    f"CREATE TABLE {AGENT_DUE} (job_id TEXT PRIMARY KEY) WITHOUT ROWID",
    f"CREATE TRIGGER measured_job_was_made AFTER INSERT ON jobs {_mark('NEW')}",
    f"CREATE TRIGGER measured_job_was_written AFTER UPDATE ON jobs {_mark('NEW')}",
    f"CREATE TRIGGER measured_job_was_deleted AFTER DELETE ON jobs {_mark('OLD')}",
    f"CREATE TRIGGER measured_job_has_a_sluid AFTER INSERT ON accounted_jobs WHEN NEW.sluid NOT NULL {_mark('NEW')}",
)

SLURMS_ID = "SELECT job_id FROM accounted_jobs WHERE sluid = {} ORDER BY accounting DESC, job_id LIMIT 1"
"""SQL for the id of the job with a SLUID."""


def mark_if_measured(connection: sqlite3.Connection, job_id: str) -> None:
    """Make the jobs with this id due where an agent saw one."""
    connection.execute(f"INSERT OR IGNORE INTO {AGENT_DUE} SELECT ?1 WHERE {_seen('?1')}", (job_id,))


def mark_measured(connection: sqlite3.Connection, jobs: Iterable[tuple[str | None, str | None]]) -> None:
    """Make jobs due, by id or, where that is not known, by SLUID."""
    for job_id, sluid in jobs:
        connection.execute(
            f"INSERT OR IGNORE INTO {AGENT_DUE} SELECT id FROM (SELECT coalesce(?, ({SLURMS_ID.format('?')})) AS id)"
            " WHERE id NOT NULL",
            (job_id, sluid),
        )
