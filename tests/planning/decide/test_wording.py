"""A plan in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.job import job_from_mapping
from hpcfrugal.planning.decide.job_plan import start_now_plan
from hpcfrugal.planning.decide.plan import Expectation, GridForecast, PlannedRun
from hpcfrugal.planning.decide.wording import line, saving

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
EXPECTED = Expectation(300, 207, 310, 200, 0.31, (0.12, 0.44), 100, "history", 174, 120.06)
SERIES = CarbonSeries.from_values(NOW, HOUR, [300.0], zone="XX", signal="average", kind="forecast")
GRID = GridForecast(SERIES, "site", NOW - timedelta(minutes=30), timedelta(minutes=30), False)
PLAN = start_now_plan(job_from_mapping({"command": "true"}), NOW, "its policy is asap")


def test_a_wait() -> None:
    plan = replace(PLAN, action="wait", start_at=NOW + 18 * HOUR, expected=EXPECTED, grid=GRID)
    assert line(plan) == (
        "Starts about Sun 2026-11-22 02:30 UTC: 31 % less carbon expected (band 12 % to 44 %), 120 g instead of 174 g; "
        "forecast site issued 08:00 UTC"
    )
    stale = replace(plan, grid=replace(GRID, stale=True))
    assert line(stale).endswith("issued 08:00 UTC (00:30:00 old)")
    budget = replace(plan, policy="budget", reason="the first start within the budget of 130 g")
    assert ", the first start within the budget of 130 g; forecast" in line(budget)


def test_a_start_at_once() -> None:
    assert line(PLAN) == "Starts as soon as possible: its policy is asap"


def test_texts_of_other_users_are_harmless() -> None:
    assert "\x1b" not in line(replace(PLAN, reason="no forecast: \x1b[2J"))


def test_segments() -> None:
    spans = (PlannedRun(NOW + HOUR, NOW + 2 * HOUR), PlannedRun(NOW + 5 * HOUR, NOW + 6 * HOUR))
    plan = replace(PLAN, action="segments", start_at=NOW + HOUR, segments=spans, expected=EXPECTED)
    assert line(plan).startswith("Runs in 2 segments from about 09:30 UTC: 31 % less carbon")


def test_a_budget_may_cost_more() -> None:
    assert saving(replace(EXPECTED, saving=-0.1, now_g=None)) == "10 % more carbon expected (band 12 % to 44 %)"
