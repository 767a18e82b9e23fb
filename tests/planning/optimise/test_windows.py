"""Many windows at once: the same as one by one."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intensities import MINUTE, at, series_of

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import InputError
from hpcfrugal.planning.optimise.errors import NotCovered, TooLate
from hpcfrugal.planning.optimise.window import Window, plan_window
from hpcfrugal.planning.optimise.windows import MAX_SLOTS, plan_windows

slots = st.lists(st.tuples(st.integers(1, 7), st.one_of(st.integers(0, 5), st.none())), min_size=1, max_size=7)
jobs = st.lists(st.tuples(st.integers(-3, 30), st.integers(-2, 30), st.integers(-1, 25)), max_size=12)


@settings(deadline=None)
@given(slots=slots, jobs=jobs, measure=st.integers(1, 9))
def test_the_same_as_one_by_one(
    slots: list[tuple[int, int | None]], jobs: list[tuple[int, int, int]], measure: int
) -> None:
    """Slots are multiples of ``measure`` minutes, so that windows lie between two edges too."""
    moment, intervals = 0, []
    for length, value in ((length * measure, value) for length, value in slots):
        intervals.append((at(moment), at(moment + length), value))
        moment += length
    series = CarbonSeries.from_intervals(intervals, zone="GB", signal="average", kind="forecast")
    found = plan_windows(
        series,
        [at(earliest) for earliest, _, _ in jobs],
        [at(earliest + run + slack) for earliest, slack, run in jobs],
        [run * MINUTE for _, _, run in jobs],
    )
    for index, (earliest, slack, run) in enumerate(jobs):
        one: Window | None = None
        try:
            one = plan_window(series, at(earliest), at(earliest + run + slack), run * MINUTE)
        except (TooLate, NotCovered, InputError):
            assert np.isnat(found.start_at[index])
            assert np.isnat(found.end_at[index])
            assert np.isnan(found.mean_g_per_kwh[index])
            continue
        assert found.start_at[index] == np.datetime64(one.start_at.replace(tzinfo=None))
        assert found.end_at[index] == np.datetime64(one.end_at.replace(tzinfo=None))
        assert found.mean_g_per_kwh[index] == pytest.approx(one.mean_g_per_kwh)


def test_arrays_are_taken_as_utc() -> None:
    start = np.array(["2026-03-02T00:00"], dtype="datetime64[m]")
    found = plan_windows(
        series_of([5, 1, 5]), start, start + np.timedelta64(90, "m"), np.array([30], dtype="timedelta64[m]")
    )
    assert found.start_at[0] == np.datetime64("2026-03-02T00:30")


def test_wrong_arguments_are_told() -> None:
    series = series_of([1, 2])
    with pytest.raises(InputError, match="2 earliest, 1 deadlines"):
        plan_windows(series, [at(0), at(1)], [at(30)], [MINUTE])
    with pytest.raises(InputError, match="int64"):
        plan_windows(series, np.array([1]), np.array([2]), np.array([3]))
    with pytest.raises(InputError, match="not given"):
        plan_windows(series, np.array(["NaT"], dtype="datetime64[us]"), [at(30)], [MINUTE])


def test_slots_without_a_common_measure_are_refused() -> None:
    odd = [(at(0), at(0) + timedelta(microseconds=7), 1), (at(0) + timedelta(microseconds=7), at(2 * MAX_SLOTS), 2)]
    series = CarbonSeries.from_intervals(odd, zone="GB", signal="average", kind="forecast")
    with pytest.raises(InputError, match="common measure"):
        plan_windows(series, [at(0)], [at(30)], [MINUTE])
