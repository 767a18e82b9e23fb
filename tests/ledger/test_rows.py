"""The tables that follow from the records of the ledger."""

from __future__ import annotations

import hashlib
import sqlite3

from fake_spool import FakeSpool

from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.rows import LEDGER_SCHEMA
from hpcfrugal.ledger.schema import schema
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync
from hpcfrugal.ledger.tables import CHANNELS, JOBS, SESSIONS


def test_a_change_of_the_tables_changes_their_version() -> None:
    digest = hashlib.sha256("\n".join(schema()).encode()).hexdigest()[:8]
    assert (LEDGER_SCHEMA, digest) == (34, "c7f77570"), "raise LEDGER_SCHEMA, then write it here with the new digest"


def test_the_schema_says_what_may_be_unknown() -> None:
    connection = sqlite3.connect(":memory:")
    for statement in CHANNELS.schema():
        connection.execute(statement)
    columns = {row[1]: (row[2], bool(row[3]), row[5]) for row in connection.execute("PRAGMA table_info(channels)")}
    connection.close()
    assert tuple(columns) == CHANNELS.columns
    assert columns["job"] == ("INTEGER", True, 1)
    assert columns["kind"] == ("INTEGER", True, 3)
    assert columns["energy_uj"] == ("INTEGER", False, 0)
    assert columns["max_mw"] == ("INTEGER", False, 0)
    assert columns["note"] == ("INTEGER", True, 0)


def test_rows_come_back_as_the_records_that_they_were_made_of(spool: FakeSpool) -> None:
    run = spool.run()
    lines = run.records([100, 10], 60)
    lines[-1] |= {"io_read_b": 7, "io_partial": True}
    run.samples([run.header(usage={"sources": {"io": "procfs"}}), *lines])
    run.slurm(array_job_id="15", array_task_id="3")
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        (job,) = find_jobs(connection, JobFilter())
        (session,) = job.sessions
        (row,) = connection.execute("SELECT * FROM sidecar_sessions").fetchall()
        (stored,) = connection.execute(f"SELECT {', '.join(SESSIONS.selected)} FROM {SESSIONS.source}").fetchall()
        (attempt,) = connection.execute(f"SELECT {', '.join(JOBS.selected)} FROM {JOBS.source}").fetchall()
    assert tuple(row.keys()) == SESSIONS.columns
    assert list(stored) == SESSIONS.codec.row(session)
    assert (session.use.io_read_b, session.use.io_partial, session.use_sources) == (7, True, {"io": "procfs"})
    as_json = {"nodes": '["n1"]', "own": "{}", "tags": '{"phase":"training","project":"climate"}'}
    assert list(attempt) == [as_json.get(name, getattr(job, name)) for name in JOBS.codec.columns]
    assert job.label == "15_3"
