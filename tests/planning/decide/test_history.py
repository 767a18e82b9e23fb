"""Run times and power of like jobs, from a ledger made of a spool."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fake_spool import DRAM, PACKAGE, FakeSpool

from hpcfrugal.ledger import store
from hpcfrugal.ledger.sync import sync
from hpcfrugal.planning.decide.history import History, job_history

MINUTE = timedelta(minutes=1)


@pytest.fixture
def spool(tmp_path: Path) -> FakeSpool:
    return FakeSpool(tmp_path)


def history(spool: FakeSpool, name: str = "train", user: str = "alice") -> History:
    sync(spool.root, spool.ledger)
    return job_history(spool.ledger, user, name)


def test_a_missing_ledger_is_not_a_problem(tmp_path: Path) -> None:
    assert job_history(tmp_path / "none.db", "alice", "train") == History()


def test_job_history_are_of_the_same_user_and_name_and_came_to_their_end(spool: FakeSpool) -> None:
    spool.whole_run("1")
    spool.whole_run("2", (200.0, 10.0))
    spool.whole_run("3", user="bob")
    spool.whole_run("4", spec={"name": "a'; rm -rf ~ #"})
    failed = spool.whole_run("5")
    failed.slurm("FAILED", job_id="5", end_s=10)
    found = history(spool)
    assert found.runtimes == (MINUTE, MINUTE)
    assert found.power_w == pytest.approx(160)
    assert (found.power_jobs, found.measured, found.problem) == (2, True, None)
    assert history(spool, "a'; rm -rf ~ #").runtimes == (MINUTE,)
    assert history(spool, "nothing") == History()


def test_the_attempts_of_a_job_that_was_requeued_count_together(spool: FakeSpool) -> None:
    run = spool.run("1")
    for restart, (start_s, watts) in enumerate([(0, 100.0), (600, 400.0)]):
        lines = [run.header("1", restart), *run.records([watts, 0.0], 60 if restart == 0 else 120)]
        run.samples(lines, "1", restart)
        state = "COMPLETED" if restart else "REQUEUED"
        run.slurm(state, start_s, start_s + (120 if restart else 60), job_id="1", restart=restart)
    found = history(spool)
    assert found.runtimes == (3 * MINUTE,)
    assert found.power_w == pytest.approx((100 * 60 + 400 * 120) / 180)
    assert found.power_jobs == 1


def test_a_job_with_an_unknown_part_gives_no_mean_power(spool: FakeSpool) -> None:
    run = spool.run("1")
    unknown = {"memory_alloc_b": None, "memory_node_b": None, "exclusive": False}
    lines = [run.header("1", **unknown), *run.records([100.0, 0.0], 60)]
    for line in lines[1:]:
        line["energy_uj"][1], line["measured_ns"][1], line["memory_b"] = None, 0, None
    run.samples(lines, "1")
    run.end(job_id="1")
    run.slurm(job_id="1")
    found = history(spool)
    assert found.runtimes == (MINUTE,)
    assert (found.power_w, found.power_jobs) == (None, 0)


def test_power_from_a_model_is_not_called_measured(spool: FakeSpool) -> None:
    run = spool.run("1")
    lines = [run.header("1", channels=[PACKAGE, DRAM | {"quality": "modelled", "source": "model-memory"}])]
    run.samples([*lines, *run.records([100.0, 10.0], 60)], "1")
    run.end(job_id="1")
    run.slurm(job_id="1")
    found = history(spool)
    assert found.power_w is not None
    assert not found.measured


def test_only_the_newest_jobs_count(spool: FakeSpool) -> None:
    for number in range(53):
        run = spool.run(str(number + 1))
        run.slurm(job_id=str(number + 1), start_s=number * 1000, end_s=number * 1000 + number + 1)
    found = history(spool)
    assert len(found.runtimes) == 50
    assert found.runtimes[0] == timedelta(seconds=4)


def test_a_ledger_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"no database at all, but long enough to look at" * 100)
    found = job_history(path, "alice", "train")
    assert found.runtimes == ()
    assert found.problem is not None
    assert found.problem.startswith("earlier runs unknown: the ledger ")


def test_a_locked_ledger_is_not_waited_for_long(spool: FakeSpool) -> None:
    spool.whole_run("1")
    sync(spool.root, spool.ledger)
    connection = sqlite3.connect(spool.ledger, isolation_level=None)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("BEGIN EXCLUSIVE")
    try:
        found = job_history(spool.ledger, "alice", "train")
    finally:
        connection.close()
    assert found.problem is not None
    assert "locked" in found.problem


def test_a_locked_ledger_is_waited_for_half_a_second(spool: FakeSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    spool.whole_run("1")
    sync(spool.root, spool.ledger)
    waits: list[float] = []
    real = store.open_ledger

    def opened(path: Path, *, timeout_s: float) -> Any:
        waits.append(timeout_s)
        return real(path, timeout_s=timeout_s)

    monkeypatch.setattr(store, "open_ledger", opened)
    assert job_history(spool.ledger, "alice", "train").runtimes == (MINUTE,)
    assert waits == [0.5]
