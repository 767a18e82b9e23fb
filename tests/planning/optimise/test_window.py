"""One window: the exact optimum between slot edges too, within the time allowed, over known figures only."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intensities import DAY, MINUTE, at, minutes, series_of

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import ForecastError, InputError
from hpcfrugal.planning.optimise.errors import NotCovered, TooLate
from hpcfrugal.planning.optimise.window import Window, plan_window

values = st.lists(st.one_of(st.integers(0, 9), st.none()), min_size=1, max_size=8)


@given(
    levels=values,
    step=st.integers(1, 5),
    earliest=st.integers(-3, 30),
    slack=st.integers(0, 40),
    run=st.integers(1, 20),
)
def test_no_other_start_is_better(levels: list[int | None], step: int, earliest: int, slack: int, run: int) -> None:
    """Every start on a grid of a quarter minute is tried; all that is given lies on whole minutes."""
    series = series_of(levels, step)
    best: tuple[float, float] | None = None
    for quarter in range(earliest * 4, (earliest + slack) * 4 + 1):
        cost = series.mean(at(quarter / 4), at(quarter / 4 + run))
        if cost is not None and (best is None or cost < best[0]):
            best = (cost, quarter / 4)
    deadline = at(earliest + slack + run)
    if best is None:
        with pytest.raises(NotCovered):
            plan_window(series, at(earliest), deadline, run * MINUTE)
        return
    window = plan_window(series, at(earliest), deadline, run * MINUTE)
    assert window.mean_g_per_kwh == pytest.approx(best[0])
    assert minutes(window.start_at) == best[1]
    assert window.end_at - window.start_at == run * MINUTE
    assert at(earliest) <= window.start_at
    assert window.end_at <= deadline


def test_a_start_between_edges_is_found() -> None:
    # 50 minutes over slots of 30: the dip of 60 minutes holds it, and of the equal starts the earliest counts.
    assert plan_window(series_of([9, 1, 1, 9]), at(0), at(120), 50 * MINUTE) == Window(at(30), at(80), 1.0)
    # 70 minutes don't fit the dip; beginning in the cheaper slot before it is better than ending in the one after it.
    assert plan_window(series_of([5, 1, 1, 9]), at(0), at(120), 70 * MINUTE).start_at == at(20)


def test_bounds_within_a_slot_are_kept_to_the_microsecond() -> None:
    edge = timedelta(microseconds=1)
    series = series_of([9, 1, 9])
    assert plan_window(series, at(30) + edge, at(90), 30 * MINUTE).start_at == at(30) + edge
    assert plan_window(series, at(0), at(60) - edge, 30 * MINUTE).end_at == at(60) - edge


def test_equal_costs_are_equal_although_floats() -> None:
    # 0.1 + 0.2 is not 0.3 in floating point, but these two windows hold the same slots.
    series = series_of([0.1, 0.2, 0.3, 7, 0.3, 0.2, 0.1])
    assert plan_window(series, at(0), at(210), 90 * MINUTE).start_at == at(0)


def test_what_is_not_known_is_not_chosen() -> None:
    series = series_of([5, None, 1, 1, None, 0])
    assert plan_window(series, at(0), at(600), 40 * MINUTE).start_at == at(60)
    with pytest.raises(NotCovered, match="no 01:30:00 without a gap") as refused:
        plan_window(series, at(0), at(600), 90 * MINUTE)
    assert isinstance(refused.value, ForecastError)


def test_a_deadline_before_the_end_is_refused() -> None:
    with pytest.raises(TooLate, match="2026-03-02T01:00:00Z is the earliest end") as refused:
        plan_window(series_of([1, 1]), at(0), at(59), 60 * MINUTE)
    assert isinstance(refused.value, InputError)
    assert plan_window(series_of([1, 1]), at(0), at(60), 60 * MINUTE).end_at == at(60)
    with pytest.raises(TooLate):
        plan_window(series_of([1, 1]), at(0), at(59), timedelta.max)


def test_wrong_arguments_are_reported() -> None:
    with pytest.raises(InputError, match="duration"):
        plan_window(series_of([1]), at(0), at(30), timedelta())
    with pytest.raises(ValueError, match="no time zone"):
        plan_window(series_of([1]), datetime(2026, 3, 2), at(30), MINUTE)


@pytest.mark.parametrize(("day", "hours"), [(datetime(2026, 3, 29), 23), (datetime(2026, 10, 25), 25)])
def test_a_change_of_the_wall_clock_changes_no_figures(day: datetime, hours: int) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    day = day.replace(tzinfo=berlin)
    levels = [5.0] * hours
    levels[3] = 1.0
    series = CarbonSeries.from_values(day, timedelta(hours=1), levels, zone="DE", signal="average", kind="forecast")
    evening = day + timedelta(days=1)  # midnight to midnight by the wall clock
    window = plan_window(series, day, evening, timedelta(hours=1))
    assert window.start_at - series.start == timedelta(hours=3)
    assert plan_window(series, day, evening, timedelta(hours=hours)).end_at == evening
    with pytest.raises(TooLate):
        plan_window(series, day, evening, timedelta(hours=hours, seconds=1))


def test_a_year_is_planned_in_a_moment() -> None:
    series = series_of([(index * 7919) % 400 for index in range(17520)])
    began = time.process_time()
    plan_window(series, DAY, series.end, timedelta(hours=10))
    assert time.process_time() - began < 1
