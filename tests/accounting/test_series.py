"""Cumulative counters between their points: exact differences, however time is cut."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.accounting.series import CumulativeSeries, rises


@st.composite
def many(draw: st.DrawFn) -> CumulativeSeries:
    steps = draw(st.lists(st.tuples(st.integers(1, 2**60), st.integers(0, 2**60)), min_size=1, max_size=6))
    times = accumulate((step for step, _ in steps), initial=draw(st.integers(0, 2**62)))
    values = accumulate((rise for _, rise in steps), initial=0)
    return CumulativeSeries(tuple(times), tuple(values))


@given(series=many(), cuts=st.lists(st.integers(0, 2**60), max_size=20))
def test_differences_add_up_exactly_and_never_fall(series: CumulativeSeries, cuts: list[int]) -> None:
    inside = {series.start_ns + cut % (series.end_ns - series.start_ns) for cut in cuts}
    edges = sorted({series.start_ns, series.end_ns, *inside})
    parts = [series.between(old, new) for old, new in pairwise(edges)]
    assert sum(parts) == series.values[-1] - series.values[0]
    assert min(parts) >= 0


@given(series=many(), low=st.integers(0, 2**62), high=st.integers(0, 2**62))
def test_a_part_reads_as_the_whole_does(series: CumulativeSeries, low: int, high: int) -> None:
    span = series.end_ns - series.start_ns
    start, end = sorted((series.start_ns + low % span, series.start_ns + high % span))
    part = series.clip(start, end)
    if start == end:
        assert part is None
    else:
        assert part is not None
        assert (part.start_ns, part.end_ns) == (start, end)
        assert part.between(start, end) == series.between(start, end)


@given(series=many(), cuts=st.lists(st.integers(0, 2**62), max_size=20), own=st.booleans())
def test_reading_in_order_equals_reading_one_by_one(series: CumulativeSeries, cuts: list[int], own: bool) -> None:
    inside = [series.start_ns + cut % (series.end_ns - series.start_ns + 1) for cut in cuts]
    instants = sorted([*inside, *(series.times_ns if own else ())])
    assert series.rises(instants) == [series.between(old, new) for old, new in pairwise(instants)]
    first, *_, last = series.times_ns
    for outside in ((first - 1, last), (first, last + 1)):
        with pytest.raises(ValueError, match="outside"):
            series.rises(outside)


def test_a_part_of_its_own_points_is_read_as_it_stands() -> None:
    series = CumulativeSeries((10, 20, 40, 50), (0, 100, 100, 130))
    assert series.rises((20, 40, 50)) == [0, 30]
    assert series.rises((20, 40, 45)) == [0, 15]
    assert series.rises((20,)) == series.rises(()) == []
    assert series.clip(10, 50) is series


def test_between_points_it_is_a_straight_line() -> None:
    series = CumulativeSeries((10, 20, 40), (0, 100, 100))
    assert [series.at(instant) for instant in (10, 15, 20, 30, 40)] == [0, 50, 100, 100, 100]
    assert series.clip(0, 100) == series
    assert series.clip(50, 60) is None
    for instant in (9, 41):
        with pytest.raises(ValueError, match="outside"):
            series.at(instant)


@pytest.mark.parametrize("points", [((1, 1), (0, 0)), ((2, 1), (0, 0)), ((1, 2), (5, 4)), ((), ()), ((1, 2), (1,))])
def test_invalid_counters_are_refused(points: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"order|decreases|needs"):
        CumulativeSeries(*points)


def test_of_two_values_at_one_instant_the_last_counts() -> None:
    assert CumulativeSeries.of([1, 2, 2], [0, 3, 4]) == CumulativeSeries((1, 2), (0, 4))
    assert CumulativeSeries.of([], []) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 1, 4], [0, 3]), ([7], []), ([], []), ([1, None, 4], None), ([None], None), ([1, 4, 3], None)],
)
def test_rises_are_known_where_each_value_is_and_none_falls(
    values: list[int | None], expected: list[int] | None
) -> None:
    assert rises(values) == expected
