"""How far back `status` looks, how long it waits for Slurm, how often `watch` asks, and how long a job has run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpcfrugal.cli import report, status
from hpcfrugal.ledger.queries import JobFilter
from hpcfrugal.settings.config import Config
from hpcfrugal.spool import RunDir
from hpcfrugal.spool.job_state import JobState
from hpcfrugal.submission.tracked_jobs import TrackedJob


@pytest.mark.parametrize(
    ("wanted", "everything", "since"),
    [((), False, timedelta(days=7)), ((), True, None), (("17",), False, None)],
)
def test_jobs_of_the_last_week_are_listed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wanted: tuple[str, ...], everything: bool, since: timedelta | None
) -> None:
    asked: list[timedelta | None] = []
    monkeypatch.setattr(status, "own_jobs", lambda _config, since: asked.append(since) or [])
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


NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def execution(state: str, start: int | None, end: int | None, *, restart: int = 0, job_id: str = "17") -> JobState:
    """Start and end in minutes before ``NOW``."""
    start_at, end_at = (None if at is None else NOW - timedelta(minutes=at) for at in (start, end))
    return JobState(job_id, state, restart, start_at=start_at, end_at=end_at)


@pytest.mark.parametrize(
    ("states", "minutes"),
    [
        ([execution("PENDING", None, None)], None),
        ([execution("RUNNING", 9, None)], 9),
        ([execution("REQUEUED", 60, 50), execution("PENDING", None, None, restart=1)], 10),
        ([execution("REQUEUED", 60, 50), execution("RUNNING", 5, None, restart=1)], 15),
        ([execution("REQUEUED", 60, 50), execution("COMPLETED", 30, 10, restart=1)], 30),
        ([execution("RUNNING", 60, None), execution("PENDING", None, None, restart=1)], None),  # its end is not known
        ([execution("NODE_FAIL", 60, None)], None),
        # Of tasks that run at the same time the time counts once, and while all wait none.
        (
            [execution(*one, job_id=f"{at}") for at, one in enumerate([("COMPLETED", 60, 40), ("COMPLETED", 50, 30)])],
            30,
        ),
        ([execution("COMPLETED", 60, 10, job_id="18"), execution("RUNNING", 20, None, job_id="19")], 60),
        ([execution("COMPLETED", 60, 40, job_id="18"), execution("PENDING", None, None)], 20),
        ([execution("RUNNING", -1, None)], 0),  # a node's clock is ahead
    ],
)
def test_a_job_has_run_while_a_part_of_it_ran(states: list[JobState], minutes: int | None, tmp_path: Path) -> None:
    job = TrackedJob(RunDir(str(tmp_path)), "17", "c", "slurm_cli", "x", NOW, states)
    assert job.ran(NOW) == (None if minutes is None else timedelta(minutes=minutes))
