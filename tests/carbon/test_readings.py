"""Foreign figures: what becomes a series, what a gap, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hpcfrugal.carbon import CarbonSeries
from hpcfrugal.carbon.readings import (
    Point,
    as_object,
    as_rows,
    check_zone,
    figure_step,
    ordered,
    parse_intensity,
    parse_time,
    series_of,
)
from hpcfrugal.core.errors import ForecastError

T = datetime(2026, 3, 29, 0, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def made(points: list[Point], step: timedelta | None = None) -> CarbonSeries:
    return series_of(points, zone="X", signal="average", kind="actual", provider="p", step=step)


def test_figures_hold_until_the_next() -> None:
    series = made([(T, 1.0), (T + QUARTER, 2.0), (T + 2 * QUARTER, 3.0)])
    assert (series.start, series.end, series.values) == (T, T + 3 * QUARTER, (1.0, 2.0, 3.0))


def test_what_is_missing_is_a_gap() -> None:
    points = [(T, 1.0), (T + QUARTER, 2.0), (T + 2 * QUARTER, None), (T + 4 * QUARTER, 5.0), (T + 5 * QUARTER, 6.0)]
    series = made(points)
    assert series.values == (1.0, 2.0, None, 5.0, 6.0)
    assert series.at(T + 3 * QUARTER) is None
    assert made(points, step=2 * QUARTER).at(T + 3 * QUARTER) is None, "not beyond its step"


def test_a_figure_in_every_other_row_holds_for_both() -> None:
    points = [(T + index * QUARTER, float(index) if index % 2 == 0 else None) for index in range(8)]
    series = made(points, step=figure_step(points))
    assert series.values == (0.0, 2.0, 4.0, 6.0)
    assert not series.has_gaps
    assert figure_step(points[:2]) is None, "of a single figure nobody knows"


@pytest.mark.parametrize("rows_apart", [1, 3])
def test_a_row_without_a_figure_is_a_gap(rows_apart: int) -> None:
    points = [
        (T + index * rows_apart * QUARTER, value) for index, value in enumerate([300.0, None, 60.0, None, 300.0, None])
    ]
    series = made(points)
    assert (series.start, series.end) == (T, T + 5 * rows_apart * QUARTER)
    assert series.values == (300.0, None, 60.0, None, 300.0)


def test_a_row_without_a_figure_ends_the_one_before_it() -> None:
    hour = 4 * QUARTER
    points = [(T, 1.0), (T + QUARTER, None), (T + hour, 2.0), (T + 2 * hour, 3.0), (T + 3 * hour, 4.0)]
    series = made(points)
    assert series.at(T) == 1.0
    assert series.at(T + QUARTER) is None
    assert series.at(T + 2 * hour - QUARTER) == 2.0


def test_unknown_ends_are_left_out() -> None:
    series = made([(T, None), (T + QUARTER, 1.0), (T + 2 * QUARTER, 2.0), (T + 3 * QUARTER, None)])
    assert (series.start, series.end) == (T + QUARTER, T + 3 * QUARTER)


@pytest.mark.parametrize("points", [[], [(T, None)], [(T, None), (T + QUARTER, None)]])
def test_no_figures(points: list[Point]) -> None:
    with pytest.raises(ForecastError, match="no intensities"):
        made(points)


def test_a_single_figure_needs_a_step() -> None:
    with pytest.raises(ForecastError, match="single value without its duration"):
        made([(T, 1.0)])
    assert made([(T, 1.0)], QUARTER).end == T + QUARTER


def test_time_does_not_run_back() -> None:
    with pytest.raises(ForecastError, match="times out of order: 2026-03-29T00:15:00Z before 2026-03-29T00:00:00Z"):
        made([(T + QUARTER, 1.0), (T, 2.0)])
    with pytest.raises(ForecastError, match="two intensities for 2026-03-29T00:00:00Z"):
        made([(T, 1.0), (T, 2.0)])
    assert ordered([(T, 1.0), (T, 1.0)]) == [(T, 1.0)]


@pytest.mark.parametrize("told", [-1, -1e-9, 5001, 1e400, float("nan"), True, "12", [1], {"a": 1}, 10**400])
def test_impossible_intensities_are_refused(told: object) -> None:
    with pytest.raises(ForecastError, match=r"impossible intensity|invalid intensity") as caught:
        parse_intensity(told, T)
    assert len(caught.value.message) < 120


def test_intensities() -> None:
    assert parse_intensity(None, T) is None
    assert parse_intensity(0, T) == 0.0
    assert parse_intensity(1000, T, factor=0.45359237) == pytest.approx(453.59237)


@pytest.mark.parametrize("told", ["2026-03-29T02:00:00+02:00", "2026-03-29T00:00Z", T.timestamp()])
def test_moments(told: object) -> None:
    assert parse_time(told) == T


@pytest.mark.parametrize(
    "told",
    [
        "2026-03-29T00:00:00",
        "yesterday",
        "",
        None,
        True,
        20261129.0,
        2026,
        1e300,
        float("nan"),
        [],
        "2026-13-01T00:00Z",
    ],
)
def test_invalid_moments(told: object) -> None:
    with pytest.raises(ForecastError, match="invalid time"):
        parse_time(told)


def test_forms() -> None:
    for told in (None, [], "x", 3):
        with pytest.raises(ForecastError, match="unknown form"):
            as_object(told, "it")
    for told in (None, {}, "x", [1], [[]]):
        with pytest.raises(ForecastError, match="unknown form"):
            as_rows(told, "it")
    with pytest.raises(ForecastError, match="answered for zone 'DE' instead of 'FR'"):
        check_zone("DE", "FR")
    check_zone("fr", "FR")


def test_absurd_times_are_refused() -> None:
    with pytest.raises(ForecastError, match="invalid intensities"):
        made([(datetime(9999, 12, 31, 23, 59, tzinfo=UTC), 1.0)], timedelta(days=1))
