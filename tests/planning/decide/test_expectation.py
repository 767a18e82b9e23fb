"""Waiting under uncertainty: for a gain and not for noise, and without too good an opinion of the forecast."""

from __future__ import annotations

import math
import random
from datetime import timedelta
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intensities import MINUTE, at, series_of

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import InputError
from hpcfrugal.planning.decide.decision import Decision, Question, decide
from hpcfrugal.planning.optimise.runtimes import Runtimes
from hpcfrugal.planning.optimise.shrinkage import ErrorGrowth
from hpcfrugal.planning.optimise.window import plan_window

HOUR = timedelta(hours=1)


def decided(series: CarbonSeries, last: float, runtimes: Runtimes, **more: Any) -> Decision:
    """The decision for starts from minute 0 to ``last``, without doubt about the forecast unless told."""
    return decide(series, Question(at(0), at(last), runtimes, **{"error": None, **more}))


@given(levels=st.lists(st.integers(1, 400), min_size=4, max_size=12), run=st.integers(1, 60))
def test_without_doubt_it_is_the_best_window(levels: list[int], run: int) -> None:
    series, end = series_of(levels), 30 * len(levels)
    decision = decided(series, end - run, Runtimes.certain(run * MINUTE), min_saving=0)
    best = plan_window(series, at(0), at(end), run * MINUTE)
    now = series.mean(at(0), at(run))
    assert now is not None
    assert decision.best.start_at == decision.then.start_at == best.start_at
    assert decision.saving == pytest.approx(1 - best.mean_g_per_kwh / now)
    assert decision.band == (decision.saving, decision.saving)
    assert decision.waits == (best.start_at > at(0))


@given(
    levels=st.lists(st.integers(1, 400), min_size=6, max_size=10),
    runs=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 3)), min_size=1, max_size=4),
)
def test_the_expectation_is_over_all_runtimes(levels: list[int], runs: list[tuple[int, int]]) -> None:
    """Against every start on whole minutes: the mean of the integrals over the mean of the durations."""
    series, end, limit = series_of(levels), 30 * len(levels), 90
    runtimes = Runtimes.from_samples(
        [run * MINUTE for run, weight in runs for _ in range(weight)], limit * MINUTE, points=12
    )
    whole = sum(weight for _, weight in runs)
    mean = sum(run * weight for run, weight in runs) / whole

    def cost(start: int) -> float:
        parts = [(series.mean(at(start), at(start + run)), run * weight) for run, weight in runs]
        return sum(part * weight for part, weight in parts if part is not None) / whole / mean

    decision = decided(series, end - limit, runtimes, min_saving=0, power_w=500)
    assert decision.best.expected_g_per_kwh == pytest.approx(min(cost(start) for start in range(end - limit + 1)))
    assert decision.now.expected_g_per_kwh == pytest.approx(cost(0))
    assert decision.now.grams == pytest.approx(cost(0) * 0.5 * mean / 60)


def test_nobody_waits_for_less_than_asked_for() -> None:
    series = series_of([100, 96, 96, 100])
    job = Runtimes.certain(30 * MINUTE)
    decisions = [decided(series, 90, job), decided(series, 90, job, min_saving=0.04)]
    assert [(one.waits, one.then.start_at) for one in decisions] == [(False, at(0)), (True, at(30))]
    assert decisions[0].best_saving == pytest.approx(0.04)
    assert decisions[0].best.start_at == at(30)


def simulated(amplitude: float, seed: int, runs: int) -> list[tuple[Decision, Decision, float]]:
    """Decisions on forecasts whose errors are just those of the model: with the model, without; and the real saving."""
    draw, found, model = random.Random(seed), [], ErrorGrowth()
    keep = math.exp(-0.5 * HOUR / model.correlation)
    for _ in range(runs):
        phase = draw.uniform(0, 2 * math.pi)
        truth = [200 + amplitude * math.sin(slot / 48 * 2 * math.pi + phase) for slot in range(96)]
        error, said = draw.gauss(0, 1), []
        for slot, level in enumerate(truth):
            sd = model.start + (model.end - model.start) * (slot + 0.5) / 96
            said.append(max(1.0, level * (1 + sd * error)))
            error = keep * error + math.sqrt(1 - keep * keep) * draw.gauss(0, 1)
        series, job = series_of(said, issued_at=at(0)), Runtimes.certain(2 * HOUR)
        careful = decided(series, 45 * 60, job, error=model)
        believer = decided(series, 45 * 60, job)
        actual = series_of(truth, kind="actual")
        now, then = (actual.mean(one.start_at, one.start_at + 2 * HOUR) for one in (careful.now, careful.best))
        assert now is not None
        assert then is not None
        found.append((careful, believer, 1 - then / now))
    return found


def test_nobody_waits_for_noise() -> None:
    """On a grid that never changes, the forecast alone would have most jobs wait, for nothing."""
    found = simulated(0, 1, 150)
    assert all(saving == pytest.approx(0) for *_, saving in found)
    assert fmean(careful.waits for careful, _, _ in found) < 0.1
    assert fmean(believer.waits for _, believer, _ in found) > 0.8


def test_the_saving_told_is_nearer_to_the_truth_than_the_forecasts() -> None:
    found = simulated(60, 2, 150)
    really = fmean(saving for *_, saving in found)
    told, forecast = (fmean(pair[which].best_saving for pair in found) for which in (0, 1))
    assert really > 0.1
    assert abs(told - really) < 0.5 * abs(forecast - really)
    assert fmean(careful.waits for careful, _, _ in found) > 0.5
    within = fmean(one.band[0] <= saving <= one.band[1] for one, _, saving in found if one.waits)
    assert 0.6 < within < 0.97


def test_the_error_grows_with_the_horizon_and_shrinks_with_the_window() -> None:
    model = ErrorGrowth(0.02, 0.2, 48 * HOUR, 6 * HOUR)
    assert model.relative_sd(48 * HOUR, MINUTE) == pytest.approx(0.2, rel=1e-2)
    assert model.relative_sd(-HOUR, MINUTE) == pytest.approx(0.02, rel=1e-2)
    assert model.relative_sd(24 * HOUR, MINUTE) == pytest.approx(0.11, rel=1e-2)
    assert model.relative_sd(100 * HOUR, 12 * HOUR) == pytest.approx(0.2 * math.sqrt(2 * (2 - 1 + math.exp(-2)) / 4))
    sure = [model.relative_sd(100 * HOUR, hours * HOUR) for hours in (0.001, 0.01, 1, 10, 100)]
    assert sure == sorted(sure, reverse=True)


def test_a_grid_without_carbon_leaves_nothing_to_save() -> None:
    series = series_of([0, 0, 0], signal="marginal")
    decision = decided(series, 89, Runtimes.certain(MINUTE), error=ErrorGrowth())
    assert (decision.waits, decision.saving, decision.band) == (False, 0, (0, 0))


@pytest.mark.parametrize("wrong", [(-0.1,), (0.1, math.inf), (0, 0, timedelta()), (0, 0, HOUR, -HOUR)])
def test_an_error_model_that_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(InputError):
        ErrorGrowth(*wrong)
