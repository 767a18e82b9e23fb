"""The decision on a forecast: never late, never dearer as forecast than at once, and the budget's first start."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcfrugal.carbon.forecast import Forecast
from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.record import codec
from hpcfrugal.core.time import instant_us
from hpcfrugal.job import job_from_mapping
from hpcfrugal.ledger.plans import PlanRow, plan_column, plan_of
from hpcfrugal.planning.decide.bounds import bounds_of
from hpcfrugal.planning.decide.decision import Interruptions, Question, decide
from hpcfrugal.planning.decide.job_facts import JobFacts, plan_on_forecast
from hpcfrugal.planning.decide.plan import Plan, QueueWait
from hpcfrugal.planning.decide.power import Power
from hpcfrugal.planning.decide.slurm_estimate import SlurmEstimate
from hpcfrugal.planning.optimise.errors import NotCovered
from hpcfrugal.planning.optimise.runtimes import Runtimes

NOW = datetime(2026, 11, 21, 8, 30, 12, 345678, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def series_of(values: list[float | None], step: timedelta = HOUR, start: datetime = NOW) -> CarbonSeries:
    return CarbonSeries.from_values(
        start, step, values, zone="XX", signal="average", kind="forecast", issued_at=NOW, provider="file"
    )


def question(hours: float, last: float, **more: object) -> Question:
    return Question(NOW, NOW + last * HOUR, Runtimes.certain(hours * HOUR), **more)  # type: ignore[arg-type]


spans = st.one_of(st.integers(1, 40 * 60), st.integers(30, 6 * 60)).map(lambda minutes: minutes * MINUTE)
waits = st.one_of(st.just(0), st.integers(0, 300)).map(lambda minutes: minutes * MINUTE)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A plan for some job on some forecast."""
    limit = draw(spans)
    known = [draw(st.integers(1, 100)) for _ in range(draw(st.integers(0, 12)))]
    runtimes = (
        Runtimes.from_samples([max(MINUTE, limit * share / 100) for share in known], limit, points=8)
        if known
        else Runtimes.certain(limit)
    )
    schedule: dict[str, object] = {"min_saving": draw(st.sampled_from([0, 0.05, 0.5]))}
    if draw(st.booleans()):
        schedule["deadline"] = (NOW + draw(spans)).isoformat()
    else:
        schedule["max_delay"] = f"{draw(spans) // MINUTE}m"
    if draw(st.booleans()):
        schedule["interruptible"] = {
            "min_segment": f"{draw(st.integers(1, 60))}m",
            "checkpoint_cost": f"{draw(st.integers(0, 5))}m",
            "restart_cost": f"{draw(st.integers(0, 5))}m",
        }
    if draw(st.booleans()):
        schedule["earliest"] = (NOW + draw(st.integers(-600, 600)) * MINUTE).isoformat()
        if "deadline" in schedule:
            del schedule["earliest"]
    if draw(st.integers(0, 3)) == 0:
        schedule |= {"budget_g": draw(st.floats(1, 1000)), "policy": "budget"}
    spec = job_from_mapping({"command": "true", "schedule": schedule})
    usual = draw(waits)
    estimate = SlurmEstimate(limit, "time limit", draw(waits), QueueWait(usual, usual + draw(waits), "sacct"))
    bounds = bounds_of(spec.schedule, limit, NOW, where="job.yaml")
    values: list[float | None] = draw(
        st.one_of(
            st.lists(st.one_of(st.none(), st.floats(0, 900)), min_size=1, max_size=60),
            st.lists(st.sampled_from([10.0, 20.0, 400.0, 500.0]), min_size=40, max_size=60),
        )
    )
    series = series_of(values, draw(st.sampled_from([30 * MINUTE, HOUR])), NOW - draw(waits))
    forecast = Forecast(series, "site", NOW, NOW, NOW, False, ())
    power = Power(draw(st.sampled_from([None, 100.0])), "test")
    facts = JobFacts(spec, NOW, bounds, estimate, power, runtimes, "assumption", "test")
    return plan_on_forecast(facts, forecast)


@settings(max_examples=400)
@given(plans())
@pytest.mark.slow
def test_no_plan_finishes_after_its_deadline(plan: Plan) -> None:
    limit, latest = plan.limit, plan.latest_start_at
    assert limit is not None
    assert latest is not None
    assert plan.begin_at is None or plan.begin_at > plan.decided_at
    if plan.action == "start-now":
        assert plan.begin_at is None
        assert plan.start_at == plan.counterfactual.start_at
        return
    assert plan.deadline_at == latest + limit
    # The longest wait that is to be expected and the whole time limit still fit in behind the begin.
    begin = plan.begin_at or plan.decided_at
    assert plan.wait.most is not None
    if plan.begin_at is not None:
        assert begin + plan.wait.most + limit <= plan.deadline_at
    assert all(run.start_at < run.end_at for run in plan.runs)
    assert all(before.end_at < after.start_at for before, after in zip(plan.runs, plan.runs[1:], strict=False))
    assert plan.runs[-1].end_at <= plan.deadline_at
    # What a job needs beyond the expected run time comes behind the last segment; its whole limit is in time as well.
    assert plan.duration is not None
    assert plan.runs[-1].end_at + limit - plan.duration <= plan.deadline_at


@pytest.mark.slow
@settings(max_examples=200)
@given(plans())
def test_a_wait_is_expected_to_save(plan: Plan) -> None:
    if plan.action == "start-now":
        assert plan.expected is None or plan.expected.saving == 0
    elif plan.policy == "low-carbon":
        assert plan.expected is not None
        assert plan.expected.saving >= 0
        assert plan.expected.then_g_per_kwh <= plan.expected.now_g_per_kwh
    problems: list[str] = []
    read = codec(Plan).read(json.loads(json.dumps(plan.to_json(), allow_nan=False)), problems)
    assert (read, problems) == (replace(plan, segments=plan.runs), [])
    assert set(codec(PlanRow).keys) <= set(codec(Plan).keys)  # what the ledger reads of it is in it
    row = plan_of(plan_column(plan.to_json()))
    assert row is not None
    assert (row.action, row.policy, row.zone) == (plan.action, plan.policy, plan.zone)
    assert row.counterfactual_ns == instant_us(plan.counterfactual.start_at) * 1000
    assert row.wait_ns == (plan.counterfactual.wait or timedelta()) // timedelta(microseconds=1) * 1000
    assert row.expected_saving == (None if plan.expected is None else plan.expected.saving)
    assert row.forecast == (None if plan.grid is None else plan.grid.series)
    if plan.expected is not None:
        low, high = plan.expected.band
        assert low <= plan.expected.saving <= high


@pytest.mark.parametrize("low", [40.0, 200.0, 250.0])
@pytest.mark.parametrize(("hours", "last"), [(1, 12), (1, 24), (4, 12), (4, 24)])
def test_the_first_of_equal_times_is_taken(low: float, hours: float, last: float) -> None:
    # 300 g/kWh for five hours, then the same low value to the end.
    decision = decide(series_of([300.0] * 10 + [low] * 86, HOUR / 2), question(hours, last))
    assert decision.waits
    assert decision.then.start_at == NOW + 5 * HOUR
    assert decision.saving == decision.best_saving > 0.04


def test_nearly_as_good_is_earlier() -> None:
    values = [300.0] * 10 + [101.0] * 10 + [150.0] * 4 + [100.0] * 10 + [300.0] * 30
    decision = decide(series_of(values, HOUR / 2), question(2, 20))
    assert decision.then.start_at < NOW + 9 * HOUR
    exact = decide(series_of(values, HOUR / 2), question(2, 20, error=None))
    assert exact.then.start_at == NOW + 12 * HOUR


def test_a_start_that_saves_enough_does_not_give_way_to_one_that_does_not() -> None:
    values = [300.0] * 10 + [101.0] * 10 + [150.0] * 4 + [100.0] * 10 + [300.0] * 30
    early = decide(series_of(values, HOUR / 2), question(2, 20))
    late = decide(series_of(values, HOUR / 2), question(2, 20, min_saving=early.best_saving + 1e-6))
    assert late.waits
    assert late.saving > early.saving
    assert late.then.start_at > early.then.start_at


def test_no_job_is_planned_into_a_gap() -> None:
    series = series_of([300, 300, None, 10, 10, 300] + [300] * 10)
    decision = decide(series, question(1, 8))
    assert decision.then.start_at == NOW + 3 * HOUR


def test_a_budget_is_not_met_across_a_gap() -> None:
    series = series_of([300, 300, None, 10, 10, 300] + [300] * 10)
    decision = decide(series, question(1, 8, budget_g=150, power_w=1000))
    assert decision.then.start_at == NOW + 3 * HOUR
    decision = decide(series_of([300, 300, 10, 10] + [300] * 10), question(1, 8, budget_g=155, power_w=1000))
    assert decision.then.forecast_g_per_kwh == pytest.approx(155)
    assert decision.then.start_at == NOW + 1.5 * HOUR


@pytest.mark.parametrize("first", [1, 2, 6])
def test_a_gap_at_the_soonest_start_is_estimated_from_the_values_around(first: int) -> None:
    """As in a forecast that begins late, or with one value that is missing."""
    late = series_of([300.0] * 3 + [10, 10] + [300] * 10, start=NOW + first * HOUR)
    decision = decide(late, question(1, first + 8, error=None))
    assert decision.waits
    assert (decision.now_estimated, decision.now.forecast_g_per_kwh) == (True, 300)
    assert decision.then.start_at == NOW + (first + 3) * HOUR
    assert any("a start now is estimated from the values around" in note for note in decision.notes)
    assert decision.series == late
    missing = series_of([300, None, 100, 10, 10, *[300.0] * 10], start=NOW - HOUR / 2)
    decision = decide(missing, question(1, 8, error=None))
    assert (decision.now_estimated, decision.now.forecast_g_per_kwh) == (True, pytest.approx(250))
    assert decision.then.start_at == NOW + 2.5 * HOUR


def test_with_no_value_near_the_soonest_start_there_is_no_plan() -> None:
    for first in (7, 20):
        with pytest.raises(NotCovered, match="without a gap between 2026-11-21T08:30:12"):
            decide(series_of([300] * 9, start=NOW + first * HOUR), question(1, first + 5))
    with pytest.raises(NotCovered):
        decide(series_of([None] * 9), question(1, 5))
    # What comes after the forecast is not a gap in it.
    with pytest.raises(NotCovered):
        decide(series_of([300.0] * 5), question(7, 12))


def test_no_segment_runs_in_a_gap_that_was_estimated() -> None:
    costs = Interruptions(timedelta(), timedelta(), 10 * MINUTE)
    values = [900, 300, 10, None, 10, 900, 300, *[900.0] * 7]
    decision = decide(series_of(values), question(4, 9, interruptions=costs, error=None))
    assert decision.now_estimated
    assert decision.now.forecast_g_per_kwh == pytest.approx((900 + 300 + 10 + 10) / 4)
    spans = [((one.start_at - NOW) / HOUR, (one.end_at - NOW) / HOUR) for one in decision.segments]
    assert spans == [(1, 3), (4, 5), (6, 7)]


def test_segments_only_where_they_are_cleaner_than_one_run() -> None:
    costs = Interruptions(timedelta(), 5 * MINUTE, 10 * MINUTE)
    split = decide(series_of([300, 10, 300, 10, 300, 300] * 3), question(2, 12, interruptions=costs))
    assert len(split.segments) > 1
    assert split.then.expected_g_per_kwh < split.now.expected_g_per_kwh
    # Restarts are run time as well: 10 g/kWh for 2 h, and 5 minutes more for each.
    assert split.then.forecast_g_per_kwh == pytest.approx(10 * (2 + (len(split.segments) - 1) / 12) / 2)
    together = decide(series_of([300, 300, 10, 10, 300, 300] * 3), question(2, 12, interruptions=costs))
    assert together.segments == ()
    assert together.then.start_at == NOW + 2 * HOUR
