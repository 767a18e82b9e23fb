"""Waiting under uncertainty: for a gain and not for noise, and without too good an opinion of the forecast."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from datetime import timedelta
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from intensities import MINUTE, at, series_of

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import InputError
from hpcfrugal.planning.decide.decision import Decision, Question, decide
from hpcfrugal.planning.optimise.runtimes import Runtimes
from hpcfrugal.planning.optimise.shrinkage import ErrorGrowth, Shrinkage
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


def test_a_job_waits_for_4_percent_or_for_what_its_file_requires() -> None:
    job = Runtimes.certain(30 * MINUTE)
    for level, required, waits in ((97, {}, False), (96, {}, True), (97, {"min_saving": 0.03}, True)):
        decision = decided(series_of([100, level, level, 100]), 90, job, **required)
        assert (decision.waits, decision.then.start_at) == (waits, at(30 if waits else 0))
        assert decision.best_saving == pytest.approx(1 - level / 100)
        assert decision.best.start_at == at(30)


def with_memory(draw: random.Random, slots: int, memory: timedelta) -> list[float]:
    """A process of variance 1 whose correlation falls by e in that time, every half-hour."""
    keep, values = math.exp(-0.5 * HOUR / memory), [draw.gauss(0, 1)]
    while len(values) < slots:
        values.append(keep * values[-1] + math.sqrt(1 - keep * keep) * draw.gauss(0, 1))
    return values


def simulated(sd: float, seed: int, runs: int) -> list[tuple[Decision, Decision, float]]:
    """Decisions on forecasts whose errors are just those of the model: with the model, without; and the real saving."""
    draw, found, model = random.Random(seed), [], ErrorGrowth()
    for _ in range(runs):
        truth = [200 * math.exp(sd * value) for value in with_memory(draw, 96, 30 * HOUR)]
        errors = with_memory(draw, 96, model.correlation)
        said = [
            max(1.0, level * (1 + (model.start + (model.end - model.start) * (slot + 0.5) / 96) * error))
            for slot, (level, error) in enumerate(zip(truth, errors, strict=True))
        ]
        series, job = series_of(said, issued_at=at(0)), Runtimes.certain(2 * HOUR)
        careful = decided(series, 45 * 60, job, error=model)
        believer = decided(series, 45 * 60, job)
        actual = series_of(truth, kind="actual")
        now, then = (actual.mean(one.start_at, one.start_at + 2 * HOUR) for one in (careful.now, careful.best))
        assert now is not None
        assert then is not None
        found.append((careful, believer, 1 - then / now))
    return found


def test_few_jobs_wait_for_noise() -> None:
    """On a grid that never changes, the forecast alone would have most jobs wait, for nothing."""
    found = simulated(0, 1, 150)
    assert all(saving == pytest.approx(0) for *_, saving in found)
    assert fmean(one.waits for one, _, _ in found) < 0.15
    assert fmean(exact.waits for _, exact, _ in found) > 0.8
    assert fmean(one.best_saving for one, _, _ in found) < 0.03
    assert fmean(exact.best_saving for _, exact, _ in found) > 0.15


def test_what_is_promised_is_what_comes() -> None:
    found = simulated(0.25, 2, 300)
    real = fmean(saving for *_, saving in found)
    promised, forecast = (fmean(pair[which].best_saving for pair in found) for which in (0, 1))
    assert real > 0.1
    assert abs(promised - real) < 0.02
    assert forecast - real > 0.04
    assert fmean(one.waits for one, _, _ in found) > 0.7
    within = fmean(one.band[0] <= saving <= one.band[1] for one, _, saving in found if one.waits)
    assert 0.7 < within < 0.97


def dense(series: CarbonSeries, error: ErrorGrowth, sd: float) -> tuple[Any, float]:
    """The posterior mean of the logarithms by whole matrices, and the logarithm of the likelihood."""
    hours = np.array([(slot.start + (slot.end - slot.start) / 2 - at(0)) / HOUR for slot in series.slots()])
    apart = np.abs(hours[:, None] - hours)
    sds = np.array([error.relative_sd(hour * HOUR) for hour in hours])
    noise = np.outer(sds, sds) * np.exp(-apart / (error.correlation / HOUR))
    prior = sd * sd * np.exp(-apart / 24)
    logs = np.log(np.array(series.values, dtype=float))
    apart_from_mean = logs - logs.mean()
    both = np.linalg.inv(prior + noise)
    after = prior - prior @ both @ prior
    likelihood = -0.5 * (apart_from_mean @ both @ apart_from_mean + np.linalg.slogdet(prior + noise)[1])
    return np.exp(logs.mean() + prior @ both @ apart_from_mean + np.diag(after) / 2), float(likelihood)


@pytest.mark.parametrize("swing", [0.001, 0.1, 0.4])
def test_shrinkage_is_the_posterior_mean_under_the_most_likely_prior(swing: float) -> None:
    draw, error = random.Random(3), ErrorGrowth()
    levels = [200 * math.exp(swing * math.sin(slot / 7) + draw.gauss(0, swing / 5)) for slot in range(60)]
    series = series_of(levels, issued_at=at(0))
    means, likelihoods = zip(*(dense(series, error, 0.025 * 2**power) for power in range(8)), strict=True)
    best = 0
    for power in range(8):
        # A larger deviation has to be likelier by what one parameter more would be.
        best = power if likelihoods[power] > likelihoods[best] + 1 else best
    found = Shrinkage.of(series, error, at(0)).expected
    assert found.values == pytest.approx(means[best], abs=1e-3)
    assert (min(levels), max(levels)) != pytest.approx((min(found.values), max(found.values)), rel=1e-3)


def test_the_expected_values_keep_the_gaps_and_the_nearest_hours() -> None:
    levels: list[float | None] = [300, 200, None, 100, 300, 500, 0, 250]
    series = series_of(levels, issued_at=at(0))
    found = Shrinkage.of(series, ErrorGrowth(), at(0)).expected
    assert [value is None for value in found.values] == [value is None for value in levels]
    assert found.values[0] == pytest.approx(300, rel=0.05)
    assert Shrinkage.of(series, None, at(0)).expected == series
    old = Shrinkage.of(replace(series, issued_at=at(0) - 40 * HOUR), ErrorGrowth(), at(0)).expected
    assert old.values[0] is not None
    assert found.values[0] is not None
    assert abs(old.values[0] - 300) > abs(found.values[0] - 300)


def test_slots_of_one_forecast_value_have_one_expected_value() -> None:
    series = series_of([300, 200, 200, 200, None, 200, 300, 300], issued_at=at(0))
    found = Shrinkage.of(series, ErrorGrowth(), at(0)).expected.values
    assert len(set(found[1:4])) == 1
    assert found[4] is None
    assert found[5] != found[1]
    assert found[6] == found[7]
    # The mean of the values that they would have one by one.
    single = Shrinkage.of(
        series_of([300, 200, 200.0001, 200, None, 200, 300, 300], issued_at=at(0)), ErrorGrowth(), at(0)
    ).expected.values
    assert len(set(single[1:4])) == 3
    assert found[1] == pytest.approx(fmean(value or 0 for value in single[1:4]), abs=0.01)


def test_the_error_grows_with_the_time_ahead() -> None:
    model = ErrorGrowth(0.02, 0.2, 48 * HOUR, 6 * HOUR)
    sds = [model.relative_sd(hours * HOUR) for hours in (-1, 0, 24, 48, 100)]
    assert sds == pytest.approx([0.02, 0.02, 0.11, 0.2, 0.2])
    assert [ErrorGrowth().relative_sd(hours * HOUR) for hours in (0, 48)] == pytest.approx([0.03, 0.2])


def test_a_grid_without_carbon_leaves_nothing_to_save() -> None:
    series = series_of([0, 0, 0], signal="marginal")
    decision = decided(series, 89, Runtimes.certain(MINUTE), error=ErrorGrowth())
    assert (decision.waits, decision.saving, decision.band) == (False, 0, (0, 0))


@pytest.mark.parametrize("wrong", [(-0.1,), (0.1, math.inf), (0, 0, timedelta()), (0, 0, HOUR, -HOUR)])
def test_an_error_model_that_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(InputError):
        ErrorGrowth(*wrong)
