"""Which jobs are to be given anew what agents measured: those of which a line of an agent, or their own row, was
written. All attempts with the same job id are made together."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

AGENT_DUE = "agent_jobs_due"


def _mark(row: str) -> str:
    """SQL of a trigger, as in ``due``."""
    same = f"SELECT 1 FROM {AGENT_DUE} WHERE job_id = {row}.job_id"
    known = f"SELECT 1 FROM agent_jobs WHERE job_id = {row}.job_id"
    return f"BEGIN INSERT INTO {AGENT_DUE} SELECT {row}.job_id WHERE EXISTS ({known}) AND NOT EXISTS ({same}); END"


AGENT_DUE_SCHEMA = (
    f"CREATE TABLE {AGENT_DUE} (job_id TEXT PRIMARY KEY) WITHOUT ROWID",
    f"CREATE TRIGGER measured_job_was_made AFTER INSERT ON jobs {_mark('NEW')}",
    f"CREATE TRIGGER measured_job_was_written AFTER UPDATE ON jobs {_mark('NEW')}",
    f"CREATE TRIGGER measured_job_was_deleted AFTER DELETE ON jobs {_mark('OLD')}",
)


def mark_if_measured(connection: sqlite3.Connection, job_id: str) -> None:
    """Make the jobs with this id due where an agent saw one."""
    connection.execute(
        f"INSERT OR IGNORE INTO {AGENT_DUE} SELECT ?1 WHERE EXISTS (SELECT 1 FROM agent_jobs WHERE job_id = ?1)",
        (job_id,),
    )


def mark_measured(connection: sqlite3.Connection, job_ids: Iterable[str]) -> None:
    """Make the jobs with these ids due."""
    connection.executemany(f"INSERT OR IGNORE INTO {AGENT_DUE} VALUES (?)", [(job_id,) for job_id in job_ids])
