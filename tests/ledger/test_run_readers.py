"""Runs that are read by processes of their own, where a sync has many: the ledger is as without them."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from fake_spool import FakeSpool
from planned_runs import tell

from hpcfrugal.core.user import user_name
from hpcfrugal.ledger import run_readers, run_reading
from hpcfrugal.ledger.due import Defaults
from hpcfrugal.ledger.export import dump
from hpcfrugal.ledger.footprints import Intensities
from hpcfrugal.ledger.new_runs import NewRunTerms
from hpcfrugal.ledger.sync import SyncResult, rebuild, sync
from hpcfrugal.spool.documents import LabelsDocument, write_document


def fill(spool: FakeSpool) -> None:
    """Eight runs: whole ones, one with lines that do not count, one that was forgotten, one that cannot be used."""
    spool.user = user_name()  # other processes know no other
    for number in range(8):
        run = spool.whole_run(str(17 + number))
        if number == 2:
            run.samples([run.header("19"), {"kind": "record"}, *run.records([50.0, 5.0], 600)], "19")
        elif number == 3:
            write_document(run.run_dir.labels_json, LabelsDocument(forgotten=True))
        elif number == 4:
            run.run_dir.run_json.write_text("{")


def synced(spool: FakeSpool, ledger: Path) -> tuple[SyncResult, list[str]]:
    return sync(spool.root, ledger), dump(ledger)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs in a transaction, and processes from the third run on."""
    monkeypatch.setattr(run_reading, "RUNS_AT_ONCE", 2)
    monkeypatch.setattr(run_readers, "_READ_ALONE", 2)
    monkeypatch.setattr(run_readers, "_WORTH_IT", 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


@pytest.mark.usefixtures("few")
def test_the_ledger_is_the_same(spool: FakeSpool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(spool)
    here: list[int] = []
    read_here = run_readers.read_here
    monkeypatch.setattr(run_readers, "read_here", lambda due, *more: here.append(len(due)) or read_here(due, *more))
    by_processes = synced(spool, tmp_path / "by_processes.db")
    assert here == []
    monkeypatch.setattr(run_readers, "_WORTH_IT", 1024)
    assert synced(spool, tmp_path / "alone.db") == by_processes
    assert by_processes[0].problem_files == 2


@pytest.mark.usefixtures("few")
def test_runs_that_may_not_have_changed_are_read_by_processes_only_where_the_first_of_them_have(
    spool: FakeSpool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(spool)
    sync(spool.root, tmp_path / "ledger.db")
    before = dump(tmp_path / "ledger.db")
    here: list[int] = []
    read_here = run_readers.read_here
    monkeypatch.setattr(run_readers, "read_here", lambda due, *more: here.append(len(due)) or read_here(due, *more))
    sync(spool.root, tmp_path / "ledger.db", everything=True)
    assert here == [2]
    assert dump(tmp_path / "ledger.db") == before


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("program", ["/bin/false", "/no/such/program"])
def test_what_a_process_does_not_read_is_read_without_it(
    spool: FakeSpool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    fill(spool)
    monkeypatch.setattr(sys, "executable", program)
    by_processes = synced(spool, tmp_path / "by_processes.db")
    monkeypatch.setattr(run_readers, "_WORTH_IT", 1024)
    assert synced(spool, tmp_path / "alone.db") == by_processes


@pytest.mark.usefixtures("few")
def test_intensities_that_the_ledger_has_count_for_runs_that_processes_read(
    spool: FakeSpool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(spool, 50.0, -100, 100)
    ledgers = tmp_path / "by_processes.db", tmp_path / "alone.db"
    for ledger in ledgers:
        sync(spool.root, ledger)
    spool.user = user_name()
    for number in range(8):
        spool.whole_run(str(17 + number), carbon={"zone": "FR" if number % 2 else "DE", "pue": 1.2})
    by_processes = synced(spool, ledgers[0])
    monkeypatch.setattr(run_readers, "_WORTH_IT", 1024)
    assert synced(spool, ledgers[1]) == by_processes
    rows = [line for line in by_processes[1] if line.startswith("job_totals ")]
    assert sum("energy-charts" in row for row in rows) == 4
    rebuild(spool.root, ledgers[0])
    assert dump(ledgers[0]) == by_processes[1]


def test_a_small_sync_starts_no_process(spool: FakeSpool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", None)
    terms = NewRunTerms(0, seals=True, defaults=Defaults())
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        run_readers.RunReaders(1023, 1023, terms, Intensities(connection)) as readers,
    ):
        for _ in range(5):
            assert readers.read([])() == []
        assert readers.ahead == 0
