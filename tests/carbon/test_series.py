"""The carbon series: exact sums, gaps that stay unknown, and nothing wrong taken in."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intensities import DAY, MINUTE, at, series_of

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import DataError

levels = st.one_of(st.none(), st.floats(0, 2000), st.integers(0, 2000))
FIELDS: dict[str, Any] = {"zone": "GB", "signal": "average", "kind": "actual"}


@st.composite
def any_series(draw: st.DrawFn) -> CarbonSeries:
    """Slots of any length with gaps between them, to the microsecond."""
    moment, intervals = DAY, []
    for value in draw(st.lists(levels, min_size=1, max_size=8)):
        moment += timedelta(microseconds=draw(st.one_of(st.just(0), st.integers(0, 10**7))))
        end = moment + timedelta(microseconds=draw(st.integers(1, 10**9)))
        intervals.append((moment, end, value))
        moment = end
    issued = draw(st.one_of(st.none(), st.just(at(-5))))
    return CarbonSeries.from_intervals(intervals, **FIELDS, issued_at=issued, provider="p")


@given(series=any_series())
def test_a_series_survives_json_as_it_is(series: CarbonSeries) -> None:
    assert CarbonSeries.from_json(json.loads(json.dumps(series.to_json()))) == series


@given(series=any_series(), data=st.data())
def test_integral_is_exact_and_unknown_where_a_gap_is_touched(series: CarbonSeries, data: st.DataObject) -> None:
    inside = st.integers(series.edges_us[0] - 10, series.edges_us[-1] + 10)
    first, last = sorted((data.draw(inside), data.draw(inside)))
    exact: Fraction | None = Fraction(0)
    for start, end, value in zip(series.edges_us, series.edges_us[1:], series.values, strict=False):
        overlap = min(end, last) - max(start, first)
        if overlap > 0:
            exact = None if value is None or exact is None else exact + Fraction(value) * overlap
    if first < series.edges_us[0] or last > series.edges_us[-1]:
        exact = None
    cost = series.cost_between(first, last)
    assert (cost is None) == (exact is None)
    if cost is not None and exact is not None:
        assert Fraction(cost, 1 << series.sums.shift) == exact
        start, end = (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=us) for us in (first, last))
        if first < last:
            assert series.mean(start, end) == pytest.approx(float(exact / (last - first)))
            assert series.slice(start, end).mean(start, end) == series.mean(start, end)


def test_intervals_are_half_open() -> None:
    series = series_of([100, None, 300])
    assert [series.at(at(minute)) for minute in (-1, 0, 29.9, 30, 60, 89.9, 90)] == [
        None,
        100,
        100,
        None,
        300,
        300,
        None,
    ]
    assert (series.start, series.end, series.step) == (at(0), at(90), 30 * MINUTE)
    assert series.has_gaps
    assert series.mean(at(60), at(60)) == 300


def test_a_mean_is_weighed_by_time() -> None:
    series = CarbonSeries.from_intervals([(at(0), at(10), 100), (at(10), at(40), 200)], **FIELDS)
    assert series.mean(at(5), at(20)) == pytest.approx((5 * 100 + 10 * 200) / 15)
    with pytest.raises(ValueError, match="before the start"):
        series.mean(at(20), at(5))


def test_what_lies_between_intervals_is_a_gap() -> None:
    series = CarbonSeries.from_intervals([(at(0), at(10), 5), (at(20), at(30), 7)], **FIELDS)
    assert series.at(at(15)) is None
    assert series.mean(at(0), at(30)) is None
    assert series.mean(at(20), at(30)) == 7
    assert [slot.g_per_kwh for slot in series.slots()] == [5, None, 7]


def test_a_zero_is_a_value_not_a_gap() -> None:
    series = series_of([0, 0], signal="marginal")
    assert series.mean(at(0), at(60)) == 0
    assert not series.has_gaps


@pytest.mark.parametrize(
    "wrong", [math.nan, math.inf, -math.inf, -1, -0.001, "12", True, 10**400, 2**60, 1e307, 1_000_001]
)
def test_invalid_intensities_are_refused(wrong: Any) -> None:
    with pytest.raises(DataError, match="g/kWh at 2026-03-02T00:30:00Z"):
        series_of([100, wrong, 200])


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"zone": ""}, "zone"),
        ({"zone": 7}, "zone"),
        ({"signal": "mean"}, "signal 'mean'"),
        ({"kind": "guess"}, "kind 'guess'"),
        ({"issued_at": datetime(2026, 3, 1)}, "no time zone"),
        ({"provider": ["x"]}, "provider"),
    ],
)
def test_invalid_fields_of_a_series_are_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        series_of([1], **fields)


def test_all_problems_are_reported_in_one_line_of_bounded_length() -> None:
    with pytest.raises(DataError) as refused:
        series_of([-1] * 500, zone="a'; rm -rf ~ #")
    assert "and 497 more" in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    "intervals",
    [
        [(at(0), at(30), 1), (at(29), at(60), 2)],
        [(at(30), at(60), 1), (at(0), at(30), 2)],
        [(at(0), at(0), 1)],
        [(at(10), at(0), 1)],
        [(datetime(2026, 3, 2), at(30), 1)],
        [(at(0), datetime(2026, 3, 3), 1)],
        [],
    ],
)
def test_intervals_that_overlap_or_are_out_of_order_are_refused(intervals: Any) -> None:
    with pytest.raises(DataError):
        CarbonSeries.from_intervals(intervals, **FIELDS)


@pytest.mark.parametrize("step", [timedelta(), -MINUTE, timedelta(days=10**6)])
def test_steps_that_cannot_be_are_refused(step: timedelta) -> None:
    with pytest.raises(DataError):
        CarbonSeries.from_values(at(0), step, [1, 2, 3, 4, 5], **FIELDS)


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        "x",
        {},
        {**FIELDS, "start": "2026-03-02T00:00Z", "step_s": math.nan, "g_per_kwh": [1]},
        {**FIELDS, "start": "2026-03-02T00:00Z", "step_s": "30", "g_per_kwh": [1]},
        {**FIELDS, "start": "2026-03-02T00:00", "step_s": 30, "g_per_kwh": [1]},
        {**FIELDS, "start": "2026-03-02T00:00Z", "step_s": 30, "g_per_kwh": 5},
        {**FIELDS, "start": 5, "step_s": 30, "g_per_kwh": [1]},
        {**FIELDS, "signal": [], "start": "2026-03-02T00:00Z", "step_s": 30, "g_per_kwh": [1]},
        {**FIELDS, "intervals": [["2026-03-02T00:00Z", 1]]},
        {**FIELDS, "intervals": 5},
        {**FIELDS, "issued_at": 5, "intervals": []},
    ],
)
def test_json_of_something_else_is_refused(told: Any) -> None:
    with pytest.raises(DataError):
        CarbonSeries.from_json(told)


def test_days_on_which_the_clock_changes_are_days_like_others() -> None:
    london = ZoneInfo("Europe/London")
    # 2026-03-29 01:00 does not exist in London; 2026-10-25 01:00 comes twice.
    for day, hours in ((datetime(2026, 3, 29, tzinfo=london), 23), (datetime(2026, 10, 25, tzinfo=london), 25)):
        end = (day + timedelta(days=1)).astimezone(UTC)
        series = CarbonSeries.from_values(day, 30 * MINUTE, range(hours * 2), **FIELDS)
        assert series.end == end
        assert series.end - series.start == timedelta(hours=hours)
        first, second = day.replace(hour=1, minute=30, fold=0), day.replace(hour=1, minute=30, fold=1)
        assert second.astimezone(UTC) - first.astimezone(UTC) == (timedelta(hours=1) if hours == 25 else -MINUTE * 60)
        assert series.at(first) == (first.astimezone(UTC) - series.start) // (30 * MINUTE)
        assert series.at(second) == (second.astimezone(UTC) - series.start) // (30 * MINUTE)


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        series_of([1]).at(datetime(2026, 3, 2))


def test_newer_figures_replace_older_ones_where_there_are_any() -> None:
    old = series_of([1, 2, 3, 4], issued_at=at(-60))
    new = CarbonSeries.from_intervals(
        [(at(45), at(60), None), (at(60), at(150), 9)], **{**FIELDS, "kind": "forecast"}, issued_at=at(0)
    )
    both = old.overlaid(new)
    assert [both.at(at(minute)) for minute in (0, 31, 50, 60, 149)] == [1, 2, 2, 9, 9]
    assert both.issued_at == at(0)
    assert both.end == at(150)


def test_methods_of_estimation_stay_with_their_values() -> None:
    old = series_of([1, 2, 3, 4], kind="actual", estimated_by=(None, "a", "b", None))
    assert CarbonSeries.from_json(json.loads(json.dumps(old.to_json()))) == old
    assert [slot.estimated_by for slot in old.slice(at(40), at(100)).slots()] == ["a", "b", None]
    newer = CarbonSeries.from_values(at(60), 15 * MINUTE, [9, None, 7], **{**FIELDS, "kind": "actual"})
    assert [(slot.g_per_kwh, slot.estimated_by) for slot in old.overlaid(newer).slots()] == [
        (1, None), (2, "a"), (9, None), (3, "b"), (7, None), (4, None),
    ]  # fmt: skip
    assert old.slice(at(0), at(30)).overlaid(newer).estimated_by == ()


@pytest.mark.parametrize("methods", [("a",), (1, None), ("a", None, None)])
def test_methods_of_estimation_that_belong_to_no_value(methods: tuple[Any, ...]) -> None:
    with pytest.raises(DataError, match="of estimation"):
        series_of([1, 2], estimated_by=methods)


@pytest.mark.parametrize("other", [{"zone": "FR"}, {"signal": "marginal"}, {"kind": "actual"}, {"provider": "x"}])
def test_series_of_different_things_are_never_joined(other: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="cannot be joined"):
        series_of([1]).overlaid(series_of([1], **other))


def test_equality_is_of_content() -> None:
    assert series_of([1, 2]) == series_of([1.0, 2.0])
    assert series_of([1, 2]) != series_of([1, 2], zone="FR")
    assert len({series_of([1, 2]), series_of([1, 2])}) == 1


def test_a_cut_series_keeps_its_values() -> None:
    series = series_of([1, None, 3, 4])
    cut = series.slice(at(10), at(70))
    assert (cut.start, cut.end) == (at(10), at(70))
    assert [slot.g_per_kwh for slot in cut.slots()] == [1, None, 3]
    assert series.slice(at(-100), at(1000)) == series
    with pytest.raises(DataError):
        series.slice(at(120), at(130))
