"""Many jobs under a capacity: never above it, none late, none lost, and a bound that holds."""

from __future__ import annotations

import random
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intensities import MINUTE, at, minutes, series_of
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_matrix

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import InputError
from hpcfrugal.core.time import instant_us
from hpcfrugal.planning.optimise import capacity as capacity_module
from hpcfrugal.planning.optimise import packing
from hpcfrugal.planning.optimise.capacity import Capacity, CapacityJob, CapacityPlan, plan_capacity
from hpcfrugal.planning.optimise.window import plan_window

BENCH = Path(__file__).resolve().parents[3] / "scripts" / "bench"
if str(BENCH) not in sys.path:
    sys.path.insert(0, str(BENCH))

import small_capacity  # noqa: E402  (only now can it be found)

WITHIN = (None, "not covered")


def job(
    name: str, width: int, run: float, earliest: float, deadline: float, weight: float | None = None
) -> CapacityJob:
    return CapacityJob(name, width, run * MINUTE, at(earliest), at(deadline), weight)


def constant(units: int) -> Capacity:
    return Capacity.from_steps([(datetime(1, 1, 1, tzinfo=UTC), units)])


def check(plan: CapacityPlan, jobs: list[CapacityJob], capacity: Capacity) -> None:
    """What holds for every plan."""
    assert [one.job_id for one in plan.placements] == [one.id for one in jobs]
    events = set(capacity.since_us)
    for one, placed in zip(jobs, plan.placements, strict=True):
        assert placed.end_at - placed.start_at == one.duration
        if placed.mark in ("too late", "too far"):
            assert (placed.mark == "too late") == (one.deadline - one.earliest < one.duration)
            assert placed.start_at == one.earliest
            continue
        assert one.earliest <= placed.start_at
        assert placed.end_at <= one.deadline
        if placed.mark in WITHIN:
            events.add(instant_us(placed.start_at))
        else:
            assert placed.end_at == one.deadline
    for event in events:
        used = sum(
            one.width
            for one, placed in zip(jobs, plan.placements, strict=True)
            if placed.mark in WITHIN and instant_us(placed.start_at) <= event < instant_us(placed.end_at)
        )
        assert used <= capacity.least(event, event + 1)
    assert 0 <= plan.lower_bound <= plan.cost
    known = [
        (one.width if one.weight is None else one.weight) * placed.mean_g_per_kwh * one.duration.total_seconds()
        for one, placed in zip(jobs, plan.placements, strict=True)
        if placed.mark is None and placed.mean_g_per_kwh is not None
    ]
    assert plan.cost == pytest.approx(sum(known))
    assert sum(placed.mark is None for placed in plan.placements) == len(known)


times = st.integers(0, 2000).map(lambda tenth: tenth / 10)
any_job = st.builds(
    lambda width, run, earliest, slack: (width, run / 10, earliest, slack / 10),
    st.integers(1, 4), st.integers(1, 600), times, st.integers(-50, 1200),
)  # fmt: skip


@settings(max_examples=150)
@given(
    levels=st.lists(st.one_of(st.integers(0, 400), st.none()), min_size=1, max_size=10),
    drawn=st.lists(any_job, max_size=14),
    curve=st.lists(st.tuples(st.integers(1, 100), st.integers(0, 5)), max_size=4),
    first=st.integers(0, 5),
)
def test_never_above_capacity_never_late_never_lost(
    levels: list[int | None], drawn: list[tuple[int, float, float, float]], curve: list[tuple[int, int]], first: int
) -> None:
    steps, moment = [(at(-1000), first)], 0
    for length, units in curve:
        moment += length
        steps.append((at(moment), units))
    capacity = Capacity.from_steps(steps)
    jobs = [
        job(str(index), width, run, earliest, earliest + run + slack)
        for index, (width, run, earliest, slack) in enumerate(drawn)
    ]
    check(plan_capacity(series_of(levels), jobs, capacity, rounds=15), jobs, capacity)


def linear_optimum(levels: list[int], jobs: list[CapacityJob], capacity: int, whole: bool) -> float | None:
    """By HiGHS: the least cost with a variable for each start on a grid of 5 minutes; None where there is none."""
    series = series_of(levels)
    steps = len(levels) * 6
    starts = []
    for index, one in enumerate(jobs):
        length = round(one.duration / (5 * MINUTE))
        first, last = round(minutes(one.earliest) / 5), round(minutes(one.deadline) / 5) - length
        for start in range(first, last + 1):
            mean = series.mean(at(start * 5), at((start + length) * 5))
            assert mean is not None
            starts.append((index, start, length, mean * one.duration.total_seconds() * (one.weight or one.width)))
    uses, chosen = lil_matrix((steps, len(starts))), lil_matrix((len(jobs), len(starts)))
    for column, (index, start, length, _) in enumerate(starts):
        uses[start : start + length, column] = jobs[index].width
        chosen[index, column] = 1
    found = milp(
        np.array([cost for *_, cost in starts]),
        constraints=[LinearConstraint(uses.tocsr(), ub=capacity), LinearConstraint(chosen.tocsr(), 1, 1)],
        integrality=np.full(len(starts), int(whole)),
        bounds=Bounds(0, 1),
    )
    return None if found.fun is None else float(found.fun)


@pytest.mark.parametrize("seed", range(12))
def test_the_bound_holds_against_linear_and_whole_programmes(seed: int) -> None:
    draw = random.Random(seed)
    levels = [draw.randint(20, 400) for _ in range(12)]
    jobs = []
    for index in range(draw.randint(3, 14)):
        run = draw.randint(1, 12)
        earliest = draw.randint(0, 72 - run)
        deadline = draw.randint(earliest + run, 72)
        weight = draw.choice([100.0, 250.0, 400.0])
        jobs.append(job(str(index), draw.randint(1, 3), run * 5, earliest * 5, deadline * 5, weight))
    units = draw.randint(3, 6)
    plan = plan_capacity(series_of(levels), jobs, constant(units), rounds=200)
    check(plan, jobs, constant(units))
    linear = linear_optimum(levels, jobs, units, whole=False)
    best = linear_optimum(levels, jobs, units, whole=True)
    if any(one.mark for one in plan.placements):
        assert best is None  # what was not placed could not be
        return
    assert linear is not None
    assert best is not None
    assert plan.lower_bound <= (best if len(jobs) <= 8 else linear) * (1 + 1e-9)
    assert plan.lower_bound >= linear * 0.98  # and is worth something
    assert best <= plan.cost * (1 + 1e-9)
    assert plan.cost <= best * (1 + 1e-9 if len(jobs) <= 8 else 1.05)


def test_a_job_moves_if_another_has_no_other_place() -> None:
    """Each alone would start at 30 min, and the other then would not fit."""
    jobs = [job("A", 1, 60, 0, 120), job("B", 2, 60, 30, 120)]
    plan = plan_capacity(series_of([493, 188, 175, 286]), jobs, constant(2), step=30 * MINUTE)
    assert [(one.start_at, one.mark) for one in plan.placements] == [(at(0), None), (at(60), None)]


@pytest.mark.parametrize("count", [100, pytest.param(2500, marks=pytest.mark.slow)])
def test_small_sets_have_the_optimum_and_lose_no_job(count: int) -> None:
    found = small_capacity.measured(count)
    assert found["fit"] > count / 4
    assert (found["lose_a_job"], found["gaps"]["above 0.0%"]) == (0, 0)
    assert found["largest_gap"] < 1e-6


def test_with_enough_capacity_each_job_has_its_best_window() -> None:
    draw = random.Random(5)
    series = series_of([draw.randint(10, 400) for _ in range(48)])
    jobs = [job(str(n), 1, 30 * draw.randint(1, 6), 30 * draw.randint(0, 10), 1440 - 30 * n) for n in range(20)]
    plan = plan_capacity(series, jobs, constant(20))
    assert plan.cost == pytest.approx(plan.lower_bound)
    for one, placed in zip(jobs, plan.placements, strict=True):
        alone = plan_window(series, one.earliest, one.deadline, one.duration)
        assert placed.mean_g_per_kwh == pytest.approx(alone.mean_g_per_kwh)


def test_the_job_with_more_power_has_the_better_start() -> None:
    series = series_of([100, 10, 90])
    jobs = [job("light", 1, 30, 0, 90, 50.0), job("heavy", 1, 30, 0, 90, 500.0)]
    light, heavy = plan_capacity(series, jobs, constant(1)).placements
    assert (light.start_at, heavy.start_at) == (at(60), at(30))


def test_jobs_without_capacity_are_marked_and_start_at_their_latest() -> None:
    series = series_of([100] * 4)
    jobs = [job(str(n), 2, 60, 0, 90) for n in range(3)] + [job("wide", 9, 10, 0, 60), job("late", 1, 60, 30, 80)]
    plan = plan_capacity(series, jobs, constant(4))
    check(plan, jobs, constant(4))
    assert sorted(str(one.mark) for one in plan.placements) == ["None", "None", "no capacity", "too large", "too late"]
    assert [one.start_at for one in plan.placements if one.mark == "no capacity"] == [at(30)]
    assert plan.placements[3].start_at == at(50)


def test_beyond_the_forecast_a_job_starts_as_soon_as_there_is_room() -> None:
    jobs = [job("a", 1, 30, 100, 2000), job("b", 1, 30, 100, 2000)]
    plan = plan_capacity(series_of([1, 2]), jobs, constant(1))
    check(plan, jobs, constant(1))
    assert [one.mark for one in plan.placements] == ["not covered"] * 2
    assert sorted(minutes(one.start_at) for one in plan.placements) == [100, 130]
    assert plan.cost == 0


def test_a_job_without_an_instant_of_the_grid_starts_at_its_earliest() -> None:
    plan = plan_capacity(series_of([10, 20]), [job("a", 1, 28, 1, 30)], constant(1))
    assert (plan.placements[0].start_at, plan.placements[0].mark) == (at(1), None)
    assert plan.cost == pytest.approx(plan.lower_bound)
    two = [job("a", 1, 28, 1, 30), job("b", 1, 28, 1, 30)]
    assert sorted(str(one.mark) for one in plan_capacity(series_of([10, 20]), two, constant(1)).placements) == [
        "None",
        "no capacity",
    ]


def test_slots_of_seconds_make_the_grid_finer() -> None:
    series = CarbonSeries.from_values(
        at(0), timedelta(seconds=20), [5, 1, 5, 5], zone="x", signal="average", kind="forecast"
    )
    one = CapacityJob("a", 1, timedelta(seconds=20), at(0), at(2))
    assert plan_capacity(series, [one], constant(1)).placements[0].start_at == at(0) + timedelta(seconds=20)


def test_the_same_jobs_have_the_same_plan() -> None:
    draw = random.Random(1)
    series = series_of([draw.randint(50, 400) for _ in range(48)])
    jobs = [job(str(n), draw.randint(1, 4), draw.randint(5, 200), draw.randint(0, 300), 1440) for n in range(60)]
    assert plan_capacity(series, jobs, constant(12)) == plan_capacity(series, jobs, constant(12))


@pytest.mark.slow
def test_a_crowded_week_is_planned_in_seconds_and_near_its_bound() -> None:
    draw = random.Random(2)
    series = series_of([round(200 + 100 * np.sin(slot / 48 * 2 * np.pi)) + draw.randint(0, 30) for slot in range(336)])
    jobs = []
    for number in range(1000):
        run = min(1440.0, draw.lognormvariate(4.5, 1.2) + 1)
        earliest = draw.uniform(0, 6 * 1440)
        deadline = min(7 * 1440, earliest + run + draw.uniform(0, 2880))
        if deadline - earliest > run + 5:
            jobs.append(job(str(number), 2 ** draw.randint(0, 4), run, earliest, deadline, draw.uniform(200, 700)))
    work = sum(one.width * one.duration.total_seconds() for one in jobs)
    capacity = constant(int(work / (0.6 * 7 * 86400)))
    began = time.perf_counter()
    plan = plan_capacity(series, jobs, capacity)
    assert time.perf_counter() - began < 30
    check(plan, jobs, capacity)
    assert all(one.mark is None for one in plan.placements)
    assert plan.cost < 1.05 * plan.lower_bound


@pytest.mark.parametrize(
    ("jobs", "how", "told"),
    [
        ([job("a'; rm -rf ~ #", 0, 5, 0, 10)], {}, "a width of 0"),
        ([job("a", 1, 0, 0, 10)], {}, "a duration of 0:00:00"),
        ([job("a", 1, 5, 0, 10, -1.0)], {}, "a weight of -1"),
        ([job("a", 1, 5, 0, 10, float("nan"))], {}, "a weight of nan"),
        ([job("a", 1, 5, 0, 10, 1.0), job("b", 1, 5, 0, 10)], {}, "set it for all or for none"),
        ([job("a", 1, 5, 0, 10)], {"step": timedelta()}, "step"),
        ([job("a", 1, 5, 0, 10)], {"rounds": -1}, "rounds"),
    ],
)
def test_invalid_jobs_are_refused(jobs: list[CapacityJob], how: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        plan_capacity(series_of([1]), jobs, constant(1), **how)


@pytest.mark.slow
def test_a_job_far_in_the_future_affects_no_other() -> None:
    series = series_of([5, 1, 5, 5])
    jobs = [job("near", 1, 30, 0, 120), job("far", 1, 30, 10**8, 2 * 10**8), job("patient", 1, 30, 0, 10**9)]
    plan = plan_capacity(series, jobs, constant(1))
    check(plan, jobs, constant(1))
    assert [one.mark for one in plan.placements] == [None, "too far", None]
    assert plan.placements[1].start_at == at(10**8)


def test_a_plan_has_200000_steps_at_most() -> None:
    """Of 5 minutes each, 694 days and 10 hours."""
    plan = plan_capacity(series_of([1]), [job("near", 1, 5, 0, 60), job("far", 1, 5, 999_990, 10**7)], constant(1))
    assert [one.mark for one in plan.placements][1] == "not covered"
    plan = plan_capacity(series_of([1]), [job("near", 1, 5, 0, 60), job("far", 1, 5, 1_000_000, 10**7)], constant(1))
    assert [one.mark for one in plan.placements][1] == "too far"


def test_far_deadlines_need_no_long_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity_module, "MAX_STEPS", 30)
    jobs = [job(str(number), 1, 30, 0, 10**9) for number in range(4)]
    plan = plan_capacity(series_of([5, 1, 5, 5]), jobs, constant(1))
    assert sorted(minutes(one.start_at) for one in plan.placements) == [0, 30, 60, 90]


@pytest.mark.parametrize("steps", [[], [(at(0), -1)], [(at(10), 1), (at(0), 1)], [(at(0), 1), (at(0), 2)]])
def test_a_capacity_that_cannot_be_is_refused(steps: Any) -> None:
    with pytest.raises(InputError, match="capacity"):
        Capacity.from_steps(steps)


def test_a_capacity_is_the_least_over_the_time_asked_for() -> None:
    capacity = Capacity.from_steps([(at(0), 5), (at(10), 2), (at(20), 7)])
    asked = [((-5, 5), 0), ((0, 10), 5), ((5, 11), 2), ((10, 20), 2), ((19, 30), 2), ((20, 30), 7)]
    for (start, end), units in asked:
        assert capacity.least(instant_us(at(start)), instant_us(at(end))) == units


def test_no_jobs_no_plan() -> None:
    assert plan_capacity(series_of([1]), [], constant(0)).placements == ()


def test_a_capacity_far_too_small_does_not_take_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = 0
    rearranged = packing._rearranged

    def counted(*arguments: Any) -> bool:
        nonlocal tried
        tried += 1
        return rearranged(*arguments)

    monkeypatch.setattr(packing, "_rearranged", counted)
    monkeypatch.setattr(packing, "MOST_FIT_TRIES", 100)
    start = datetime(2026, 11, 21, tzinfo=UTC)
    series = CarbonSeries.from_values(
        start, timedelta(hours=1), [100.0, 50.0] * 6, zone="FR", signal="average", kind="forecast"
    )
    hour = timedelta(hours=1)
    jobs = [CapacityJob(str(number), 1, hour, start, start + 6 * hour) for number in range(60)]
    plan = plan_capacity(series, jobs, constant(1), step=hour)
    assert sorted(one.mark or "" for one in plan.placements) == [""] * 6 + ["no capacity"] * 54
    assert 54 <= tried <= 100 + packing.TRIES
