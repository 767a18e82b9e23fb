"""Forecasts made longer: by a named model, marked, and only where there is enough to repeat."""

from __future__ import annotations

import pytest
from intensities import at, series_of

from hpcfrugal.carbon.extension import extended
from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import DataError

HOUR = 60


def test_yesterday_is_repeated_and_marked() -> None:
    series = series_of([*range(30)], step=HOUR)
    longer = extended(series, at(80 * HOUR + 30))
    assert longer.end == at(80 * HOUR + 30)
    for hour in range(30, 81):
        assert longer.at(at(hour * HOUR)) == longer.at(at((hour - 24) * HOUR))
    assert (longer.assumed_from, longer.assumed_by) == (at(30 * HOUR), "same-time-yesterday")
    assert longer.slice(series.start, series.end).values == series.values
    assert CarbonSeries.from_json(longer.to_json()) == longer


def test_a_gap_is_repeated_as_a_gap() -> None:
    longer = extended(series_of([1] * 12 + [None] + [2] * 11, step=HOUR), at(48 * HOUR))
    assert longer.at(at(36 * HOUR)) is None


def test_a_series_that_is_long_enough_stays_as_it_is() -> None:
    series = series_of([1, 2], step=HOUR)
    assert extended(series, at(2 * HOUR)) is series


def test_too_short_a_series_is_not_made_up() -> None:
    with pytest.raises(DataError, match="same-time-yesterday needs"):
        extended(series_of([1] * 23, step=HOUR), at(48 * HOUR))
