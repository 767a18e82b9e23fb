"""Texts of sacct in a spool, and the jobs that the ledger makes of them."""

from __future__ import annotations

from pathlib import Path

from fake_spool import SECOND, START_NS, FakeSpool
from sacct_rows import ORDINARY

from hpcfrugal.ledger.check import check_ledger
from hpcfrugal.ledger.export import dump
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.rows import JobRow
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import rebuild, sync
from hpcfrugal.spool.accounting_text import AccountingQuery, store_answer, store_text

START_S = START_NS // SECOND
DAY_S = 86_400
FIRST_S = START_S // DAY_S * DAY_S
"""The UTC day of START."""


def row(job_id: str = "900", start: int | None = 0, end: int | None = 3600, **cells: str) -> dict[str, str]:
    """A row of sacct with times in seconds after START, submitted 100 s before its start."""
    began = "Unknown" if start is None else str(START_S + start)
    over = "Unknown" if end is None else str(START_S + end)
    elapsed = 0 if start is None else (7200 if end is None else end) - start
    times = {"Submit": str(START_S + (start or 0) - 100), "Start": began, "End": over, "ElapsedRaw": str(elapsed)}
    state = "PENDING" if start is None else "RUNNING" if end is None else "COMPLETED"
    return ORDINARY | {"JobIDRaw": job_id, "JobID": job_id, "Cluster": "lab", "State": state} | times | cells


def text(*rows: dict[str, str], without: str = "") -> str:
    columns = dict.fromkeys(name for one in (ORDINARY, *rows) for name in one)
    names = ["JobID", "Submit", *(name for name in columns if name not in ("JobID", "Submit", without))]
    cells = (names, *([one.get(name, "") for name in names] for one in rows))
    return "".join("\x01\x02".join(line) + "\n" for line in cells)


def answer(spool: FakeSpool, *rows: dict[str, str], day: int = 0, asked_s: int | None = None) -> Path:
    """Keep what sacct answered for a day."""
    since_s = FIRST_S + day * DAY_S
    asked_ns = (since_s + DAY_S if asked_s is None else FIRST_S + asked_s) * SECOND
    query = AccountingQuery("lab", asked_ns, "alice", since_s * SECOND, (since_s + DAY_S) * SECOND)
    return store_answer(spool.root, query, text(*rows))


def saved(spool: FakeSpool, content: str, asked_s: int = 0) -> Path:
    """Keep a text that somebody saved."""
    return store_text(spool.root, AccountingQuery("lab", START_NS + asked_s * SECOND, "*"), content.encode())


def jobs(spool: FakeSpool) -> list[JobRow]:
    with open_ledger(spool.ledger) as connection:
        return find_jobs(connection, JobFilter())


def synced(spool: FakeSpool) -> list[JobRow]:
    """The jobs after a sync, which are those of a ledger that is made at once."""
    result = sync(spool.root, spool.ledger)
    assert not result.skipped
    found, content = jobs(spool), dump(spool.ledger)
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == content
    assert not check_ledger(spool.root, spool.ledger).differences
    return found
