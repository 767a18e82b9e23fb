"""The front of carbon, money and delay: nothing on it is beaten, and every weighing finds its best there."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intensities import DAY, MINUTE, at, series_of

from hpcfrugal.core.errors import DataError
from hpcfrugal.planning.optimise.errors import NotCovered, TooLate
from hpcfrugal.planning.optimise.pareto import Option, Prices, choose, pareto_front
from hpcfrugal.planning.optimise.window import plan_window

HOUR = timedelta(hours=1)


def prices_of(values: list[float], step: float = 30) -> Prices:
    return Prices.from_values(DAY, step * MINUTE, values, currency="EUR")


@given(
    levels=st.lists(st.integers(0, 9), min_size=4, max_size=8),
    money=st.lists(st.integers(-5, 9), min_size=12, max_size=12),
    run=st.integers(1, 50),
    weights=st.tuples(st.floats(0, 5), st.floats(0, 5)),
)
def test_every_weighing_finds_its_best_on_the_front(
    levels: list[int], money: list[int], run: int, weights: tuple[float, float]
) -> None:
    series, prices = series_of(levels), prices_of([float(one) for one in money], 20)
    end = 30 * len(levels)
    front = pareto_front(series, at(0), at(end), run * MINUTE, prices)
    for one in front:
        for other in front:
            assert one is other or not (
                other.mean_g_per_kwh <= one.mean_g_per_kwh
                and (other.mean_price_per_kwh or 0) <= (one.mean_price_per_kwh or 0)
                and other.delay <= one.delay
            )
    per_hour, per_price = weights

    def rating(start: float) -> float:
        level, price = series.mean(at(start), at(start + run)), prices.mean(*us(start, run))
        if level is None or price is None:
            return math.inf
        return level + per_price * price + per_hour * start / 60

    best = choose(front, g_per_kwh_per_hour=per_hour, g_per_kwh_per_price=per_price)
    least = min(rating(start) for start in range(end - run + 1))
    assert rating((best.start_at - DAY) / MINUTE) == pytest.approx(least, abs=1e-6)


def us(start: float, run: float) -> tuple[int, int]:
    zero = prices_of([0.0]).edges_us[0]
    return zero + round(start * 60e6), zero + round((start + run) * 60e6)


def test_without_prices_it_is_carbon_against_delay() -> None:
    front = pareto_front(series_of([5, 7, 3, 3, 1]), at(0), at(150), 30 * MINUTE)
    assert [(one.delay / MINUTE, one.mean_g_per_kwh) for one in front] == [(0, 5), (60, 3), (120, 1)]
    assert all(one.mean_price_per_kwh is None for one in front)
    assert choose(front).start_at == plan_window(series_of([5, 7, 3, 3, 1]), at(0), at(150), 30 * MINUTE).start_at
    assert choose(front, g_per_kwh_per_hour=2.5).delay == timedelta()
    with pytest.raises(ValueError, match="price is unknown"):
        choose(front, g_per_kwh_per_price=1)
    with pytest.raises(ValueError, match="weights"):
        choose(front, g_per_kwh_per_hour=-1)


def test_money_may_want_another_time_than_carbon() -> None:
    front = pareto_front(series_of([5, 5, 1, 5]), at(0), at(120), 30 * MINUTE, prices_of([9, -2, 9, 9]))
    assert front == (
        Option(at(0), at(30), 5, 9, timedelta()),
        Option(at(30), at(60), 5, -2, 30 * MINUTE),
        *[one for one in front if at(30) < one.start_at < at(60)],
        Option(at(60), at(90), 1, 9, HOUR),
    )
    assert choose(front, g_per_kwh_per_price=100).start_at == at(30)


def test_what_is_not_known_is_not_offered() -> None:
    front = pareto_front(series_of([5, 4, 3, 2]), at(0), at(120), 30 * MINUTE, prices_of([1, 1]))
    assert max(one.end_at for one in front) == at(60)
    with pytest.raises(NotCovered):
        pareto_front(series_of([5, 4]), at(60), at(120), 30 * MINUTE)
    with pytest.raises(TooLate):
        pareto_front(series_of([5, 4]), at(0), at(20), 30 * MINUTE)


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.inf]])
def test_invalid_prices_are_refused(values: list[float]) -> None:
    with pytest.raises(DataError, match="EUR"):
        prices_of(values)
