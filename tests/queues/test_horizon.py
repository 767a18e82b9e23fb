"""A grid that is small enough, whatever a forecast's slots and the time limits of jobs are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.queues.horizon import resampled, within_grid
from hpcfrugal.queues.job_comment import JobComment
from hpcfrugal.queues.replan import replan
from hpcfrugal.queues.settings import Queue
from hpcfrugal.queues.snapshot import QueuedJob
from hpcfrugal.queues.start_constraints import latest_start

NOW = datetime(2026, 11, 21, 9, 0, 0, tzinfo=UTC)
GREEN = Queue(name="green", capacity=((0, 4),), max_delay=timedelta(hours=24), step=timedelta(minutes=5))


def series(step: timedelta, *values: float | None, start: datetime = NOW) -> CarbonSeries:
    return CarbonSeries.from_values(start, step, values, zone="FR", signal="average", kind="forecast")


@pytest.mark.parametrize("step", [timedelta(minutes=30), timedelta(minutes=7), timedelta(seconds=90)])
def test_slots_that_fit_stay(step: timedelta) -> None:
    told = series(step, *[100.0, 200.0] * 40, start=NOW + timedelta(seconds=13))
    assert resampled(told, GREEN) is told


def test_odd_slots_become_steps_of_the_same_sum() -> None:
    odd = series(timedelta(seconds=1799.333), 100, 300, 50, start=NOW + timedelta(seconds=0.5))
    told = resampled(odd, GREEN)
    assert (told.step, told.start, told.end) == (GREEN.step, NOW, NOW + timedelta(minutes=90))
    # Steps in which nothing changes have that value; the one in which it does lies between.
    assert told.values[:5] == (100,) * 5
    assert told.values[5] == pytest.approx(100 + 200 * 0.167 / 300)
    assert told.values[6:11] == (300,) * 5
    full = slice(1, -1)
    inner = [value for value in told.values[full] if value is not None]
    assert sum(inner) / len(inner) == pytest.approx(odd.mean(NOW + GREEN.step, told.end - GREEN.step))


@pytest.mark.parametrize("step", [timedelta(minutes=30), GREEN.step])
def test_a_forecast_from_a_fraction_of_a_second_moves_each_job_once(step: timedelta) -> None:
    told = series(step, *[300.0, 300, 100] * 20, start=NOW + timedelta(seconds=0.4))
    job = QueuedJob("1", "PENDING", 1, 1, timedelta(minutes=20), JobComment("green", NOW + timedelta(hours=20)))
    for later, moved in ((0, True), (1, False), (2, False)):
        now = NOW + later * GREEN.step / 5
        (plan,) = replan(GREEN, [job], resampled(told, GREEN), now)
        assert (plan.moved, plan.start_at.microsecond) == (moved, 0)
        job = replace(job, begin_at=plan.start_at.replace(microsecond=0))


def test_a_gap_stays_a_gap() -> None:
    told = resampled(series(timedelta(seconds=1799.333), 100, None, 50), GREEN)
    assert told.values[5] is None
    assert told.values[6:11] == (None,) * 5
    assert told.values[4] == 100
    assert told.values[12] == 50


def test_limits_of_years() -> None:
    job = QueuedJob("1", "PENDING", 1, 1, timedelta(hours=5), JobComment("green", NOW))
    hourly = series(timedelta(hours=1), *[100.0] * 96)
    assert within_grid(job, GREEN, hourly) is job
    assert within_grid(replace(job, limit=None), GREEN, hourly).limit is None
    cut = within_grid(replace(job, limit=timedelta(days=3000)), GREEN, hourly).limit
    assert cut is not None
    assert timedelta(days=100) < cut < timedelta(days=300)
    # Its latest start before a deadline is that of its whole limit.
    by = JobComment("green", NOW, by=NOW + timedelta(days=3001))
    late = within_grid(replace(job, limit=timedelta(days=3000), comment=by), GREEN, hourly)
    assert latest_start(late) == NOW + timedelta(days=1)
    seconds = GREEN.changed(step=timedelta(seconds=1))
    cut = within_grid(replace(job, limit=None), seconds, series(timedelta(seconds=10), *[100.0] * 96)).limit
    assert cut is not None
    assert timedelta(hours=5) < cut < timedelta(hours=24)
