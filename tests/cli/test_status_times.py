"""How far back `status` looks, how long it waits for Slurm, and how often `watch` asks."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpcfrugal.cli import report, status
from hpcfrugal.ledger.queries import JobFilter
from hpcfrugal.settings.config import Config


@pytest.mark.parametrize(
    ("wanted", "everything", "since"),
    [((), False, timedelta(days=7)), ((), True, None), (("17",), False, None)],
)
def test_jobs_of_the_last_week_are_listed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wanted: tuple[str, ...], everything: bool, since: timedelta | None
) -> None:
    asked: list[timedelta | None] = []
    monkeypatch.setattr(status, "tracked_jobs", lambda _spool, *, since, now: asked.append(since) or [])
    monkeypatch.setattr(status, "pick", lambda jobs, _: jobs)
    config = Config(spool=tmp_path, ledger=tmp_path / "ledger.db")
    assert status._jobs(config, wanted, everything=everything) == []
    assert asked == [since]


def test_each_query_of_slurm_has_5_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(status, "select_backend", lambda _name, _config, *, timeout_s: timeout_s)
    found: Any = status._backends(Config(spool=tmp_path, ledger=tmp_path / "ledger.db"))("slurm_cli")
    assert found == 5.0


@pytest.mark.parametrize(("interval", "pause_s"), [(2.0, 5.0), (60.0, 60.0)])
def test_without_a_terminal_watch_asks_slurm_every_5_s_at_most(
    monkeypatch: pytest.MonkeyPatch, interval: float, pause_s: float
) -> None:
    job = SimpleNamespace(job_id="17", over=False)
    pauses_s: list[float] = []

    def sleep(span_s: float) -> None:
        pauses_s.append(span_s)
        job.over = len(pauses_s) == 3

    monkeypatch.setattr(status, "load_config", lambda: None)
    monkeypatch.setattr(status, "_backends", lambda _: None)
    monkeypatch.setattr(status, "_jobs", lambda *_, **__: [job])
    monkeypatch.setattr(status, "refresh", lambda *_: [])
    monkeypatch.setattr(status, "_shown", lambda *_: [])
    monkeypatch.setattr(status, "_renderable", lambda *_: "")
    monkeypatch.setattr(status, "time", SimpleNamespace(sleep=sleep))
    watch = status.watch_command.callback
    assert watch is not None
    watch((), interval)
    assert pauses_s == [pause_s] * 3


@pytest.mark.parametrize(("count", "notes"), [(1, 1), (3, 3), (4, 4), (40, 4)])
def test_three_clocks_that_are_off_are_named(monkeypatch: pytest.MonkeyPatch, count: int, notes: int) -> None:
    printed: list[str] = []
    monkeypatch.setattr(report, "skews", lambda *_: [f"clock {number}" for number in range(count)])
    monkeypatch.setattr(report, "echo_note", printed.append)
    connection: Any = None
    report._note_clocks(connection, JobFilter())
    assert len(printed) == notes
    assert (f"the same for {count - 3} more" in printed[-1]) is (count > 3)
