"""A ledger of an older schema is brought up to date, and filled from the spool."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from fake_spool import FakeSpool

from hpcfrugal.core.errors import DataError
from hpcfrugal.ledger import schema, store
from hpcfrugal.ledger.check import check_ledger
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.export import dump
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync


@pytest.fixture
def older(spool: FakeSpool, monkeypatch: pytest.MonkeyPatch) -> FakeSpool:
    """A spool whose ledger lacks a table, columns of a table and of a dictionary, and an index of the next schema."""
    spool.whole_run()
    sync(spool.root, spool.ledger)
    with closing(sqlite3.connect(spool.ledger)) as connection:
        connection.execute("DROP TABLE missing_sensors")
        connection.execute("DROP INDEX jobs_by_name")
        connection.execute("ALTER TABLE runs DROP COLUMN pue")
        connection.execute("DROP INDEX sidecar_setups_by_value")
        connection.execute("ALTER TABLE sidecar_setups DROP COLUMN cpu_model")
    monkeypatch.setattr(schema, "LEDGER_SCHEMA", store.LEDGER_SCHEMA + 1)
    monkeypatch.setattr(store, "LEDGER_SCHEMA", store.LEDGER_SCHEMA + 1)
    return spool


def test_what_the_next_schema_adds_needs_no_step_of_its_own(older: FakeSpool) -> None:
    assert sync(older.root, older.ledger).runs_changed == 1
    grown = dump(older.ledger)
    assert any("Gold 6248" in line for line in grown)
    found = check_ledger(older.root, older.ledger)
    assert (found.damage, found.differences) == ((), ())
    with open_ledger(older.ledger) as connection:
        assert connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'jobs_by_name'").fetchone()
        assert connection.execute("PRAGMA user_version").fetchone()[0] == store.LEDGER_SCHEMA
    assert sync(older.root, older.ledger).runs_changed == 0


def test_a_reader_leaves_an_older_ledger_as_it_is(older: FakeSpool) -> None:
    with (
        pytest.raises(DataError, match="of an older hpcfrugal") as error,
        open_ledger(older.ledger),
    ):
        pass
    assert "ledger sync" in str(error.value.hint)


def test_steps_come_first_and_in_order(older: FakeSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []

    def step(connection: LedgerConnection) -> None:
        assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'missing_sensors'").fetchone()
        ran.append(connection.execute("SELECT count(*) FROM runs").fetchone()[0])

    monkeypatch.setattr(schema, "STEPS", {store.LEDGER_SCHEMA: step, store.LEDGER_SCHEMA - 1: step})
    sync(older.root, older.ledger)
    assert ran == [1]


def test_a_step_that_fails_leaves_the_ledger_as_it_was(older: FakeSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(connection: LedgerConnection) -> None:
        connection.execute("DELETE FROM jobs")
        raise DataError("a step failed")

    monkeypatch.setattr(schema, "STEPS", {store.LEDGER_SCHEMA: fail})
    with pytest.raises(DataError, match="a step failed"):
        sync(older.root, older.ledger)
    with closing(sqlite3.connect(older.ledger)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == store.LEDGER_SCHEMA - 1
        assert connection.execute("SELECT count(*) FROM jobs").fetchone()[0] == 1
