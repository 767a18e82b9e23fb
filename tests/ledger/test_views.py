"""The views of the ledger: what other programs read is what reports say, and the examples of docs/ledger.md run."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_spool import PACKAGE, SECOND, FakeSpool

from hpcfrugal.accounting.embodied import EmbodiedNodes
from hpcfrugal.ledger.due import Defaults
from hpcfrugal.ledger.queries import JobFilter
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync
from hpcfrugal.report.formats import rendered
from hpcfrugal.report.jobs import JobsReport
from hpcfrugal.report.period import Period

NODES = EmbodiedNodes("n1", 16, 1_000_000, 2_345_678, 10**7, "LCA")
PAGE = Path(__file__).resolve().parents[2] / "docs/ledger.md"
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)

SAME = {
    "job_id": "job_id", "restart": "restart", "user": "user", "account": "account", "partition": "partition",
    "name": "name", "state": "state", "submitted": "submitted_at", "started": "started_at", "ended": "ended_at",
    "elapsed_s": "elapsed_s", "measured_j": "measured_j", "modelled_j": "modelled_j", "coverage": "coverage",
    "complete": "complete", "scope": "scope", "boundary": "boundary", "co2e_g": "co2e_g",
    "intensity_g_per_kwh": "intensity_g_per_kwh",
    **{name: name for name in ("embodied_low_g", "embodied_high_g", "embodied_complete")},
}  # fmt: skip
"""Columns of ``jobs_energy`` by the keys of the report's JSON."""


@pytest.fixture
def ledger(spool: FakeSpool) -> Path:
    """Four jobs: measured, partly modelled and of odd joules, without energy, and pending."""
    spool.whole_run("17")
    run = spool.run("18", user="bob", carbon={"zone": "FR", "pue": 1.37})
    lines = [run.header("18", channels=[PACKAGE], wall_ns=run.header()["wall_ns"] + 7 * SECOND), *run.records([7], 60)]
    lines[-1]["energy_uj"] = [123_456_789]
    run.samples(lines, "18")
    run.slurm(job_id="18", end_s=61)
    spool.run("19").slurm("FAILED", job_id="19")
    spool.run("20")
    sync(spool.root, spool.ledger, defaults=Defaults("DE", None, (NODES,)))
    return spool.ledger


def test_the_view_json_and_csv_agree_to_the_last_digit(ledger: Path) -> None:
    with open_ledger(ledger) as connection:
        report = JobsReport(connection, Period(), JobFilter(), every=True)
        jobs = {job["job_id"]: job for job in json.loads(rendered(report, "json"))["jobs"]}
        lines = {line["job_id"]: line for line in csv.DictReader(io.StringIO(rendered(report, "csv")))}
        rows = [dict(row) for row in connection.execute("SELECT * FROM jobs_energy")]
    assert len(rows) == len(jobs) == len(lines) == 4
    for row in rows:
        job, line = jobs[row["job_id"]], lines[row["job_id"]]
        assert {name: row[name] for name in SAME} == {name: job[key] for name, key in SAME.items()}
        assert row["energy_j"] == job["energy_j"]["total"]
        for name in ("energy_j", "co2e_g", "intensity_g_per_kwh", "coverage", "elapsed_s"):
            value = job["energy_j"]["total"] if name == "energy_j" else job[name]
            assert line[name] == ("" if value is None else str(value))
    assert sum(row["energy_j"] is None for row in rows) == 2


def test_days_and_buckets_add_up_to_the_jobs(ledger: Path) -> None:
    with open_ledger(ledger) as connection:
        jobs, days = (
            connection.execute(f"SELECT sum(energy_j), sum(co2e_g) FROM {view}").fetchone()
            for view in ("jobs_energy", "energy_by_day")
        )
        buckets = connection.execute("SELECT sum(energy_j) FROM energy_buckets WHERE counted").fetchone()
        lacking = connection.execute("SELECT count(*) FROM energy_by_day WHERE NOT complete").fetchone()
    assert tuple(days) == pytest.approx(tuple(jobs), rel=1e-12)
    assert buckets[0] == pytest.approx(jobs[0], rel=1e-12)
    assert lacking[0] == 2


def by_sqlite3(ledger: Path, query: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(ledger)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


def by_sqlite_utils(ledger: Path, query: str) -> list[dict[str, Any]]:
    return _printed([sys.executable, "-m", "sqlite_utils", str(ledger), query])


def by_datasette(ledger: Path, query: str) -> list[dict[str, Any]]:
    from urllib.parse import urlencode

    path = f"/{ledger.stem}.json?{urlencode({'sql': query, '_shape': 'array'})}"
    return _printed([sys.executable, "-W", "ignore", "-m", "datasette", str(ledger), "--get", path])


def by_pandas(ledger: Path, query: str) -> list[dict[str, Any]]:
    import pandas as pd

    with closing(sqlite3.connect(ledger)) as connection:
        found: list[dict[str, Any]] = json.loads(
            pd.read_sql(query, connection).to_json(orient="records", double_precision=15)
        )
    return found


def by_duckdb(ledger: Path, query: str) -> list[dict[str, Any]]:
    import duckdb
    import duckdb_extension_sqlite_scanner as scanner

    # DuckDB itself would fetch this file from its own site.
    (extension,) = Path(scanner.__file__).parent.rglob("*.duckdb_extension")
    with duckdb.connect() as connection:
        connection.execute(f"LOAD '{extension}'")
        connection.execute(f"ATTACH '{ledger}' AS ledger (TYPE sqlite, READ_ONLY)")
        connection.execute("USE ledger")
        cursor = connection.execute(query)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _printed(argv: list[str]) -> list[dict[str, Any]]:
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def same(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers as numbers: DuckDB has those that no ``CAST`` is about as text, pandas whole ones as decimals."""
    return {name: _number(value) for name, value in row.items()}


def _number(value: Any) -> Any:
    try:
        return value if value is None else pytest.approx(float(value), rel=1e-12)
    except ValueError:
        return value


@pytest.mark.slow
@pytest.mark.parametrize("program", [by_sqlite_utils, by_datasette, by_pandas, by_duckdb])
def test_the_examples_of_the_page_give_the_same_in_other_programs(ledger: Path, program: Any) -> None:
    assert len(QUERIES) == 5
    for query in QUERIES:
        expected = by_sqlite3(ledger, query)
        assert expected
        found = program(ledger, query)
        assert len(found) == len(expected)
        for row, like in zip(found, expected, strict=True):
            assert {name: _plain(value) for name, value in row.items()} == same(like)


def _plain(value: Any) -> Any:
    try:
        return value if value is None else float(value)
    except ValueError:
        return value
