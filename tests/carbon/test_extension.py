"""Forecasts made longer: by a named model, marked, and only where there is enough to repeat."""

from __future__ import annotations

import pytest
from intensities import MINUTE, at, series_of

from hpcfrugal.carbon.extension import extended, with_estimates
from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import DataError

HOUR = 60


def test_a_forecast_that_repeats_yesterday_is_marked() -> None:
    series = series_of([*range(30)], step=HOUR)
    longer = extended(series, at(80 * HOUR + 30))
    assert longer.end == at(80 * HOUR + 30)
    for hour in range(30, 81):
        assert longer.at(at(hour * HOUR)) == longer.at(at((hour - 24) * HOUR))
    assert (longer.assumed_from, longer.assumed_by) == (at(30 * HOUR), "same-time-yesterday")
    assert longer.slice(series.start, series.end).values == series.values
    assert CarbonSeries.from_json(longer.to_json()) == longer


def test_after_a_month_of_it_the_mean_of_the_day_counts() -> None:
    decades = at(20_000 * 24 * HOUR)
    longer = extended(series_of([*range(24)], step=HOUR), decades)
    assert (longer.end, len(longer.values)) == (decades, 32 * 24 + 1)
    assert longer.at(at(31 * 24 * HOUR + 7 * HOUR)) == 7
    assert longer.at(at(9_000 * 24 * HOUR)) == 11.5


def test_a_gap_is_repeated_as_a_gap() -> None:
    day = series_of([1] * 12 + [None] + [2] * 11, step=HOUR)
    longer = extended(day, at(90 * 24 * HOUR))
    assert longer.at(at(36 * HOUR)) is None
    assert longer.at(at(80 * 24 * HOUR)) is None


def test_a_series_that_is_long_enough_stays_as_it_is() -> None:
    series = series_of([1, 2], step=HOUR)
    assert extended(series, at(2 * HOUR)) is series


def test_too_short_a_series_is_not_made_up() -> None:
    with pytest.raises(DataError, match="same-time-yesterday needs"):
        extended(series_of([1] * 23, step=HOUR), at(48 * HOUR))


def test_gaps_are_estimated_from_the_values_around_within_reach() -> None:
    series = series_of([None, 100, None, None, 300, 300, None, 300], step=HOUR)
    found = with_estimates(series, at(0), at(3 * HOUR), 2 * HOUR * MINUTE)
    assert found is not None
    levels = [found.at(at(hour * HOUR)) for hour in range(8)]
    assert levels == [100, 100, 200, None, 300, 300, None, 300]
    assert with_estimates(series, at(-3 * HOUR), at(0), 2 * HOUR * MINUTE) is None
    back = with_estimates(series.slice(at(HOUR), at(8 * HOUR)), at(-HOUR), at(0), 2 * HOUR * MINUTE)
    assert back is not None
    assert (back.at(at(-HOUR)), back.at(at(0))) == (100, None)
    beyond = with_estimates(series, at(8 * HOUR), at(9 * HOUR), HOUR * MINUTE)
    assert beyond is not None
    assert beyond.at(at(8 * HOUR)) == 300
    assert with_estimates(series_of([None, None], step=HOUR), at(0), at(HOUR), 99 * HOUR * MINUTE) is None
    known = series_of([1, 2], step=HOUR)
    assert with_estimates(known, at(0), at(HOUR), HOUR * MINUTE) == known
