"""One round of the controller: what it asks for, and its notes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hpcfrugal.carbon.forecast import Forecast
from hpcfrugal.queues import controller
from hpcfrugal.queues.controller import forecast_source, plan_round
from hpcfrugal.queues.job_comment import JobComment
from hpcfrugal.queues.settings import Queue
from hpcfrugal.queues.snapshot import QueuedJob
from hpcfrugal.settings.config import load_config

NOW = datetime(2026, 11, 21, 9, 20, tzinfo=UTC)
GREEN = Queue(name="green", capacity=((0, 4),), max_delay=timedelta(hours=24), partition="green", zone="FR")


def no_forecast(queue: Queue, now: datetime) -> Forecast:
    raise AssertionError("no job of the queue waits")


@pytest.mark.parametrize(
    ("count", "named"),
    [(10, "1, 2, 3, 4, 5, 6, 7, 8, 9, 10"), (11, "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...")],
)
def test_ten_jobs_in_other_partitions_are_named(monkeypatch: pytest.MonkeyPatch, count: int, named: str) -> None:
    jobs = [
        QueuedJob(str(number), "PENDING", 1, 1, timedelta(hours=1), JobComment("green", NOW), partition="batch")
        for number in range(count, 0, -1)
    ]
    monkeypatch.setattr(controller, "read_snapshot", lambda: jobs)
    (done,) = plan_round([GREEN], no_forecast)
    assert done.jobs == ()
    assert done.notes == (f"ignored, since they are not in the partition or QOS of the queue: {named}",)


def test_forecasts_of_96_h_from_the_whole_hour_are_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(controller, "get_forecast", lambda config, *what: asked.append(what))
    forecast_source(load_config({"HOME": str(tmp_path)}))(GREEN, NOW)
    hour = NOW.replace(minute=0)
    assert asked == [("FR", "average", hour, hour + timedelta(hours=96))]
