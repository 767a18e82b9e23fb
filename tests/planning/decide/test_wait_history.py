"""Waits of the past as sacct tells them, and what is kept of them."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm

from hpcfrugal.planning.decide.time_budget import TimeBudget
from hpcfrugal.planning.decide.wait_history import PastWaits, past_waits
from hpcfrugal.planning.optimise.waiting import PastWait

KEPT = timedelta(seconds=3600)

FAILURE_KEPT = timedelta(seconds=600)

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
ROW = "batch|2|2026-11-21T06:00:00|2026-11-21T06:10:00|2026-11-21T06:10:30"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{fake.bin}{os.pathsep}{os.environ['PATH']}")
    return fake


def ask(folder: Path, now: datetime = NOW, partition: str | None = "batch") -> PastWaits:
    return past_waits(partition, now, folder / "waits", TimeBudget())


def test_a_wait_begins_when_the_job_could_start(slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.sacct(
        ROW,
        "gpu|1|2026-11-21T06:00:00|2026-11-21T06:00:00|2026-11-21T07:00:00",
        # Waits still; was cancelled before it started; has no nodes; a clock that went back; nonsense.
        "batch|1|2026-11-21T06:00:00|2026-11-21T06:00:00|Unknown",
        "batch|1|2026-11-21T06:00:00|Unknown|None",
        "batch|0|2026-11-21T06:00:00|2026-11-21T06:00:00|2026-11-21T06:00:00",
        "batch|1|2026-11-21T06:00:05|2026-11-21T06:00:05|2026-11-21T06:00:00",
        "a|b",
        "",
    )
    found = ask(tmp_path)
    assert found.problem is None
    assert sorted(found.jobs, key=lambda job: job.wait) == [
        PastWait("batch", 1, timedelta()),
        PastWait("batch", 2, timedelta(seconds=30)),
        PastWait("gpu", 1, timedelta(hours=1)),
    ]
    (call,) = slurm.calls("sacct")
    assert "--allusers" in call
    assert "--starttime=2026-11-19T08:30:00" in call
    assert "--endtime=2026-11-21T08:30:00" in call
    assert "--partition=batch" in call


def test_the_newest_5000_jobs_count(slurm: FakeSlurm, tmp_path: Path) -> None:
    oldest = "batch|2|2026-11-21T05:00:00|2026-11-21T05:00:00|2026-11-21T05:00:30"
    slurm.sacct(oldest, *["batch|1|2026-11-21T06:00:00|2026-11-21T06:00:00|2026-11-21T06:00:05"] * 5000)
    assert ask(tmp_path).jobs == (PastWait("batch", 1, timedelta(seconds=5)),) * 5000


def test_an_answer_is_kept_for_an_hour(slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.sacct(ROW)
    first = ask(tmp_path)
    assert ask(tmp_path, NOW + KEPT - timedelta(seconds=1)) == first
    assert len(slurm.calls("sacct")) == 1
    assert ask(tmp_path, partition=None) == first
    assert len(slurm.calls("sacct")) == 2, "another question"
    ask(tmp_path, NOW + KEPT)
    ask(tmp_path, NOW - timedelta(seconds=1))
    assert len(slurm.calls("sacct")) == 4, "too old, and from a clock that went wrong"
    (path, *_) = (tmp_path / "waits").glob("*.json")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_failure_is_kept_for_less(slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.answer("sacct", err="sacct: error: Problem talking to the database\n", code=1)
    found = ask(tmp_path)
    assert found.problem is not None
    assert "Problem talking to the database" in found.problem
    assert ask(tmp_path, NOW + timedelta(minutes=9)) == found
    assert len(slurm.calls("sacct")) == 1
    slurm.sacct(ROW)
    assert len(ask(tmp_path, NOW + FAILURE_KEPT).jobs) == 1


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        '{"schema": 2}',
        json.dumps({"schema": 2, "asked_at": "yesterday", "problem": None, "jobs": []}),
        json.dumps({"schema": 2, "asked_at": "2026-11-21T08:30:00Z", "problem": None, "jobs": [["batch", 0, 1]]}),
        json.dumps({"schema": 2, "asked_at": "2026-11-21T08:30:00Z", "problem": None, "jobs": [["batch", 1, -1]]}),
        json.dumps({"schema": 2, "asked_at": "2026-11-21T08:30:00Z", "problem": None, "jobs": [["batch", 1, 1e300]]}),
        json.dumps({"schema": 2, "asked_at": "2026-11-21T08:30:00Z", "problem": 7, "jobs": []}),
    ],
)
def test_a_damaged_file_is_treated_as_missing(slurm: FakeSlurm, tmp_path: Path, damage: str) -> None:
    slurm.sacct(ROW)
    ask(tmp_path)
    (path,) = (tmp_path / "waits").glob("*.json")
    path.write_text(damage)
    assert len(ask(tmp_path).jobs) == 1
    assert len(slurm.calls("sacct")) == 2


def test_without_a_place_to_keep_it_it_is_asked_for_again(slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.sacct(ROW)
    (tmp_path / "waits").write_text("a file")
    assert len(ask(tmp_path).jobs) == 1
    assert len(ask(tmp_path).jobs) == 1


def test_a_slow_sacct_is_given_up(slurm: FakeSlurm, tmp_path: Path) -> None:
    slurm.answer("sacct", then="sleep 20")
    found = past_waits("batch", NOW, tmp_path / "waits", TimeBudget(0.2))
    assert found == PastWaits(NOW, (), "sacct did not answer within 0.2 s")
