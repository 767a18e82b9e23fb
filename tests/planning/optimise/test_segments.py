"""Interruptible plans against every set of segments there is, on small series."""

from __future__ import annotations

import math
from datetime import timedelta
from functools import lru_cache
from itertools import pairwise

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from intensities import MINUTE, at, minutes, series_of

from hpcfrugal.core.errors import InputError
from hpcfrugal.planning.optimise import segment_grid
from hpcfrugal.planning.optimise.errors import NotCovered, TooLate
from hpcfrugal.planning.optimise.segments import plan_segments
from hpcfrugal.planning.optimise.window import Window, plan_window

Levels = list[int | None]


def least_cost(
    levels: list[int | None],
    earliest: int,
    deadline: int,
    work: int,
    checkpoint: int,
    restart: int,
    least: int,
    most: int,
) -> float:
    """The least cost over all sets of segments on whole minutes; ``levels`` is one a minute."""

    def cost(start: int, end: int) -> float:
        part = levels[start:end] if start >= 0 and end <= len(levels) else [None]
        return math.inf if None in part else sum(value for value in part if value is not None)

    @lru_cache(None)
    def rest(now: int, left: int, done: int) -> float:
        best = math.inf
        for start in range(now, deadline):
            before = restart if done else 0
            length = left + before
            if start + length <= deadline and (length >= least or not done):
                best = min(best, cost(start, start + length))
            if done + 2 > most:
                continue
            for end in range(start + max(least, before + checkpoint + 1), deadline + 1):
                gain = end - start - before - checkpoint
                if gain >= left:
                    break
                best = min(best, cost(start, end) + rest(end, left - gain, done + 1))
        return best

    return rest(earliest, work, 0)


def total(windows: tuple[Window, ...]) -> float:
    return sum(one.mean_g_per_kwh * ((one.end_at - one.start_at) / MINUTE) for one in windows)


def check_form(
    windows: tuple[Window, ...], earliest: int, deadline: int, work: int, checkpoint: int, restart: int, least: int
) -> None:
    assert all(one.end_at < after.start_at for one, after in pairwise(windows))
    assert at(earliest) <= windows[0].start_at
    assert windows[-1].end_at <= at(deadline)
    lengths = [(one.end_at - one.start_at) / MINUTE for one in windows]
    assert sum(lengths) == pytest.approx(work + (len(windows) - 1) * (checkpoint + restart))
    assert len(windows) == 1 or min(lengths) >= least


@settings(max_examples=300)
@given(
    levels=st.lists(st.one_of(st.integers(0, 9), st.none()), min_size=2, max_size=6),
    step=st.integers(1, 3),
    earliest=st.integers(0, 8),
    room=st.integers(1, 18),
    work=st.integers(1, 10),
    checkpoint=st.integers(0, 2),
    restart=st.integers(0, 2),
    least=st.integers(0, 4),
    most=st.one_of(st.none(), st.integers(1, 4)),
)
@example([1, 9, 1, 9, 1], 2, 0, 10, 5, 0, 0, 0, None)
@example([1, 9, 1, 9, 1, 9], 3, 0, 18, 6, 1, 0, 0, None)
@example([1, 9, 1, 9, 1, 9], 3, 0, 18, 9, 0, 0, 0, 2)
@example([0, 9, 0, 9, 0, 9], 3, 0, 18, 8, 1, 1, 4, 3)
def test_no_other_segments_are_better(
    levels: Levels,
    step: int,
    earliest: int,
    room: int,
    work: int,
    checkpoint: int,
    restart: int,
    least: int,
    most: int | None,
) -> None:
    assume(room >= work)
    minute = [value for value in levels for _ in range(step)]
    deadline = earliest + room
    wanted = least_cost(minute, earliest, deadline, work, checkpoint, restart, least, most or 99)

    def plan() -> tuple[Window, ...]:
        return plan_segments(
            series_of(levels, step), at(earliest), at(deadline), work * MINUTE, checkpoint=checkpoint * MINUTE,
            restart=restart * MINUTE, min_segment=least * MINUTE, max_segments=most,
        )  # fmt: skip

    if wanted == math.inf:
        with pytest.raises(NotCovered):
            plan()
        return
    windows = plan()
    assert total(windows) == pytest.approx(wanted)
    check_form(windows, earliest, deadline, work, checkpoint, restart, least)
    assert most is None or len(windows) <= most


@given(levels=st.lists(st.integers(0, 99), min_size=1, max_size=12), seconds=st.integers(1, 12 * 1800))
def test_without_costs_the_cheapest_slots_are_filled(levels: list[int], seconds: int) -> None:
    assume(seconds <= len(levels) * 1800)
    windows = plan_segments(series_of(levels), at(0), at(30 * len(levels)), timedelta(seconds=seconds))
    left, cheapest = seconds, 0.0
    for level in sorted(levels):
        taken = min(1800, left)
        cheapest, left = cheapest + level * taken, left - taken
    assert total(windows) * 60 == pytest.approx(cheapest)
    check_form(windows, 0, 30 * len(levels), seconds / 60, 0, 0, 0)  # type: ignore[arg-type]


def test_a_slot_taken_in_part_joins_its_neighbour() -> None:
    windows = plan_segments(series_of([9, 5, 1, 9]), at(0), at(120), 40 * MINUTE)
    assert [(minutes(one.start_at), minutes(one.end_at)) for one in windows] == [(50, 90)]


@given(
    levels=st.lists(st.integers(0, 400), min_size=20, max_size=48),
    seconds=st.integers(600, 20_000),
    costs=st.tuples(*[st.integers(1, 400)] * 2),
    least=st.integers(0, 3000),
    most=st.one_of(st.none(), st.integers(2, 5)),
    late=st.integers(0, 1799),
)
def test_times_too_fine_for_the_grid_are_rounded_and_cut_back(
    levels: list[int], seconds: int, costs: tuple[int, int], least: int, most: int | None, late: int
) -> None:
    """With a small grid: within bounds, just as long as needed, not dearer than one window, close to the finer grid."""
    series, span = series_of(levels), timedelta(seconds=seconds)
    earliest, deadline = at(late / 60), at(30 * len(levels) - 1)
    how = {
        "checkpoint": timedelta(seconds=costs[0]),
        "restart": timedelta(seconds=costs[1]),
        "min_segment": timedelta(seconds=least),
        "max_segments": most,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment_grid, "MAX_STATES", 4_000)
        windows = plan_segments(series, earliest, deadline, span, **how)  # type: ignore[arg-type]
    check_form(windows, late / 60, 30 * len(levels) - 1, seconds / 60, costs[0] / 60, costs[1] / 60, least / 60)  # type: ignore[arg-type]
    assert most is None or len(windows) <= most
    assert total(windows) <= total((plan_window(series, earliest, deadline, span),)) + 1e-6
    for index, one in enumerate(windows):
        assert (one.end_at - one.start_at).total_seconds() > (costs[1] if index else 0) + (
            costs[0] if index < len(windows) - 1 else 0
        )


def test_costs_are_paid_where_they_pay() -> None:
    series = series_of([1, 100, 1, 100])
    three = {"checkpoint": 2 * MINUTE, "restart": 3 * MINUTE}
    windows = plan_segments(series, at(0), at(120), 50 * MINUTE, **three)  # type: ignore[arg-type]
    assert sorted(one.end_at - one.start_at for one in windows) == [25 * MINUTE, 30 * MINUTE]
    dear = {"checkpoint": 29 * MINUTE, "restart": 29 * MINUTE}
    assert len(plan_segments(series, at(0), at(120), 50 * MINUTE, **dear)) == 1  # type: ignore[arg-type]


def test_one_segment_at_most_is_the_best_window() -> None:
    series = series_of([3, 1, 2, 1, 3])
    one = plan_segments(series, at(0), at(150), 40 * MINUTE, max_segments=1)
    assert one == (plan_window(series, at(0), at(150), 40 * MINUTE),)


def test_a_plan_in_segments_pauses_during_a_gap() -> None:
    windows = plan_segments(series_of([1, None, 1]), at(0), at(90), 60 * MINUTE)
    assert [minutes(one.start_at) for one in windows] == [0, 60]
    with pytest.raises(NotCovered):
        plan_segments(series_of([1, None, 1]), at(0), at(90), 60 * MINUTE, max_segments=1)
    with pytest.raises(NotCovered):
        plan_segments(series_of([1, None, 1]), at(0), at(90), 60 * MINUTE, restart=MINUTE)


def test_what_cannot_be_is_refused() -> None:
    series = series_of([1, 1])
    with pytest.raises(TooLate):
        plan_segments(series, at(0), at(59), 60 * MINUTE)
    with pytest.raises(InputError) as refused:
        plan_segments(series, at(0), at(60), MINUTE, checkpoint=-MINUTE, restart=-MINUTE, max_segments=0)
    assert len(refused.value.problems) == 3


def test_a_plan_that_cannot_be_cut_to_length_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a grid of half-hours 31 minutes count as 60, and two segments of 29 minutes seem to fit."""
    monkeypatch.setattr(segment_grid, "MAX_STATES", 9)
    series = series_of([1, 50, 1, 50])
    windows = plan_segments(series, at(0), at(120), 31 * MINUTE, min_segment=29 * MINUTE)
    assert windows == (plan_window(series, at(0), at(120), 31 * MINUTE),)
