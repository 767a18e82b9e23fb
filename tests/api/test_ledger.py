"""``hpcfrugal.Ledger``: synced and queried from Python."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from sandbox import Sandbox

import hpcfrugal
from hpcfrugal import InputError, Ledger, SetupError

NAMED = "FROM jobs JOIN runs USING (run) JOIN texts ON texts.text = jobs.name"


@pytest.fixture
def ledger(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """The ledger of a sandbox with one finished job."""
    for name, value in box.env.items():
        monkeypatch.setenv(name, value)
    job_id, _ = box.submit("true", name="a'; DROP TABLE runs; --", energy="off")
    box.wait_over(job_id)
    return Ledger()


def test_sync_and_sql(ledger: Ledger) -> None:
    with pytest.raises(SetupError, match="there is no ledger"):
        ledger.sql("SELECT 1")
    first = ledger.sync(offline=True)
    assert (first.runs, first.runs_changed) == (1, 1)
    assert ledger.sync(offline=True).runs_changed == 0
    name = "a'; DROP TABLE runs; --"
    found = ledger.sql(f"SELECT texts.name, uid, pue {NAMED} WHERE texts.name = :name", {"name": name})
    assert found.values.tolist() == [[name, os.getuid(), pd.NA]]
    assert str(found.dtypes["uid"]) == "Int64"
    empty = ledger.sql(f"SELECT texts.name, uid {NAMED} WHERE texts.name = 'x'")
    assert (list(empty.columns), len(empty)) == (["name", "uid"], 0)


def test_the_type_of_a_column_follows_from_its_values(ledger: Ledger) -> None:
    ledger.sync(offline=True)
    query = "SELECT 1 AS i, 2.0 AS f, 'x' AS t, NULL AS n, 1 AS i UNION ALL SELECT NULL, 3, NULL, NULL, NULL"
    found = ledger.sql(query)
    assert [str(kind) for kind in found.dtypes] == ["Int64", "Float64", "string", "object", "Int64"]
    assert found.values.tolist() == [[1, 2.0, "x", pd.NA, 1], [pd.NA, 3.0, pd.NA, pd.NA, pd.NA]]
    assert str(ledger.sql(f"SELECT {2**63 - 1} AS big").dtypes["big"]) == "Int64"
    assert int(ledger.sql(f"SELECT {2**63 - 1} AS big")["big"][0]) == 2**63 - 1


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("SELEC 1", ()),
        ("SELECT nothing FROM runs", ()),
        ("SELECT 1; SELECT 2", ()),
        ("SELECT ?", ()),
        ("DELETE FROM runs", ()),
        ("CREATE TABLE mine (x)", ()),
        ("PRAGMA user_version = 99", ()),
    ],
)
def test_a_query_that_is_refused_changes_nothing(ledger: Ledger, query: str, parameters: tuple[str, ...]) -> None:
    ledger.sync(offline=True)
    before = ledger.path.read_bytes()
    with pytest.raises(InputError, match=r"^query: SQLite refuses it: "):
        ledger.sql(query, parameters)
    assert ledger.path.read_bytes() == before
    assert len(ledger.sql("SELECT * FROM runs")) == 1


def test_warnings_go_to_the_log(ledger: Ledger, box: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    box.settings("[meters.broken]\nkind = 'nothing'\n")
    with caplog.at_level(logging.INFO, "hpcfrugal"):
        ledger.sync()
    assert [record.levelname for record in caplog.records if "meter broken is not read" in record.message] == [
        "WARNING"
    ]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"since": timedelta(days=3)}, "since: is of the type timedelta, not a time"),
        ({"until": 2026}, "until: is of the type int, not a time"),
        ({"since": datetime(2026, 11, 1)}, "since: 2026-11-01T00:00:00 has no time zone"),
        ({"user": ["ada"], "tags": "project=x"}, "user: is a list .*\ntags: is no mapping of names to texts"),
        ({"tags": {"project": None}}, "tags: is no mapping"),
    ],
)
def test_what_chooses_nothing_is_refused(ledger: Ledger, given: dict[str, Any], told: str) -> None:
    ledger.sync(offline=True)
    for query in (ledger.jobs, ledger.energy):
        with pytest.raises(InputError, match=told):
            query(**given)


def test_jobs_are_chosen_by_dates_and_by_numbers_in_tags(ledger: Ledger, box: Sandbox) -> None:
    job_id, _ = box.submit("true", name="seeded", tags={"seed": 3}, energy="off")
    box.wait_over(job_id)
    ledger.sync(offline=True)
    today = datetime.now(UTC).date()
    found = ledger.jobs(since=today - timedelta(days=2), until=today + timedelta(days=1), tags={"seed": 3})
    assert found.name.to_list() == ["seeded"]
    assert ledger.jobs(until=today - timedelta(days=2)).empty


def test_another_file(ledger: Ledger, box: Sandbox) -> None:
    assert repr(Ledger("~/other.db")) == f"Ledger('{os.environ['HOME']}/other.db')"
    with pytest.raises(InputError, match="parameters: is a text"):
        ledger.sql("SELECT ?", "x")
    other = Ledger(box.work / "other.db")
    assert other.sync(offline=True).runs == 1
    assert not ledger.path.exists()
    (box.work / "notes.txt").write_text("not a database")
    with pytest.raises(hpcfrugal.DataError, match="is not a ledger"):
        Ledger(box.work / "notes.txt").sql("SELECT 1")
