"""Plans for a whole queue: never late, never above capacity, no move for nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.queues import replan as replan_module
from hpcfrugal.queues.job_comment import JobComment
from hpcfrugal.queues.replan import PlannedStart, place, replan
from hpcfrugal.queues.settings import Queue
from hpcfrugal.queues.snapshot import QueuedJob

NOW = datetime(2026, 11, 21, 9, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
GREEN = Queue(name="green", capacity=((0, 4),), max_delay=timedelta(hours=24), step=timedelta(minutes=15))


def series(*hourly: float) -> CarbonSeries:
    return CarbonSeries.from_values(
        NOW - HOUR, HOUR, [hourly[0], *hourly], zone="FR", signal="average", kind="forecast"
    )


def job(number: int, *, nodes: int = 1, hours: float = 1, latest_h: float = 20, begin_h: float | None = None,
        earliest_h: float | None = None, state: str = "PENDING", **more: Any) -> QueuedJob:  # fmt: skip
    limit = hours * HOUR

    def at(key: str) -> datetime | None:
        return None if more.get(key) is None else NOW + float(str(more[key])) * HOUR

    wait_h, min_saving = more.get("wait_h"), more.get("min_saving")
    return QueuedJob(
        job_id=str(number), user="alice", name="j", state=state, nodes=nodes, cpus=nodes, limit=limit,
        submit_at=NOW - HOUR, begin_at=None if begin_h is None else NOW + begin_h * HOUR,
        end_at=None if state == "PENDING" else NOW + limit, held=bool(more.get("held")),
        comment=JobComment(str(more.get("queue", "green")), NOW + latest_h * HOUR,
                      None if earliest_h is None else NOW + earliest_h * HOUR, run=more.get("run"), by=at("by_h"),
                      wait=None if wait_h is None else float(str(wait_h)) * HOUR,
                      min_saving=None if min_saving is None else float(str(min_saving)),
                      released=bool(more.get("released"))),
        array_id=str(more.get("array_id", number)), at_once=int(str(more.get("at_once", 1))),
        throttled=bool(more.get("throttled")), blocked=bool(more.get("blocked")),
        partition=more.get("partition"), qos=more.get("qos"),
    )  # fmt: skip


def starts(plans: list[PlannedStart]) -> dict[str, float]:
    return {plan.job.job_id: (plan.start_at - NOW) / HOUR for plan in plans}


CLEAN_AT_5 = series(300, 300, 300, 300, 300, 100, 200, *[300] * 40)


def test_all_jobs_at_the_clean_hour_up_to_the_capacity() -> None:
    plans = replan(GREEN, [job(1), job(2, nodes=2), job(3), job(4), job(5, nodes=9)], CLEAN_AT_5, NOW, None)
    found = starts(plans)
    assert sorted(found[one] for one in "134") == [5, 5, 6] or sorted(found[one] for one in "134") == [5, 5, 5]
    # Wider than the capacity ever is: at the last moment, where Slurm itself decides.
    assert found["5"] == 20
    assert {plan.why for plan in plans} == {"least carbon", "too large"}
    assert {plan.job.job_id: plan.saving for plan in plans}["1"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("low", [40, 200, 250])
def test_of_a_long_clean_time_the_first_hour_is_taken(low: float) -> None:
    falls_at_5 = series(*[300] * 5, *[low] * 43)
    assert starts(replan(GREEN, [job(1)], falls_at_5, NOW)) == {"1": 5}
    assert (place(GREEN, [], job(2), falls_at_5, NOW).start_at - NOW) / HOUR == 5


def test_running_and_released_jobs_use_capacity() -> None:
    queued = [job(1, nodes=3, hours=5.5, state="RUNNING"), job(2, nodes=1, hours=8, released=True), job(3, nodes=2)]
    plans = replan(GREEN, queued, CLEAN_AT_5, NOW)
    assert starts(plans) == {"2": 0, "3": 5.5}
    assert [plan.why for plan in plans] == ["released", "least carbon"]


def test_no_job_waits_for_a_negligible_saving() -> None:
    flat = series(200, *[198, 199, 200] * 12)
    plans = replan(GREEN, [job(n) for n in range(1, 7)], flat, NOW)
    now = [plan for plan in plans if plan.start_at == NOW]
    assert len(now) == 4
    assert {plan.why for plan in now} <= {"waiting saves too little", "least carbon"}


def test_no_job_is_moved_for_a_small_gain() -> None:
    queued = [job(1, begin_h=3)]
    little = series(300, 300, 300, 101, 300, 100, *[300] * 40)
    assert [(plan.why, plan.moved) for plan in replan(GREEN, queued, little, NOW)] == [("as before", False)]
    much = series(300, 300, 300, 150, 300, 100, *[300] * 40)
    assert [(plan.why, plan.moved) for plan in replan(GREEN, queued, much, NOW)] == [("least carbon", True)]


def test_a_job_waits_until_its_window_has_come() -> None:
    """The intensity comes down to it step by step, and each step is less than ``min_saving`` above the next."""
    down = series(101.6, 100.8, 100, *[300] * 40)
    assert starts(replan(GREEN, [job(1, begin_h=2)], down, NOW)) == {"1": 2}
    # One that could start now does not begin to wait for that little.
    assert starts(replan(GREEN, [job(1)], down, NOW)) == {"1": 0}
    # And one that waits for what turned out to be no valley starts.
    assert starts(replan(GREEN, [job(1, begin_h=2)], series(100, 100, 104, *[300] * 40), NOW)) == {"1": 0}


def test_carbon_over_the_expected_run_and_capacity_over_the_limit() -> None:
    narrow_then_wide = series(300, 300, 50, 300, 300, 100, 100, 100, 100, *[300] * 40)
    assert starts(replan(GREEN, [job(1, hours=4)], narrow_then_wide, NOW, None)) == {"1": 5}
    (plan,) = replan(GREEN, [job(1, hours=4, run=HOUR)], narrow_then_wide, NOW, None)
    assert ((plan.start_at - NOW) / HOUR, plan.planned_g_per_kwh) == (2, 50)
    assert place(GREEN, [], job(1, hours=4, run=HOUR), narrow_then_wide, NOW, None).start_at == NOW + 2 * HOUR
    # It may run for four hours all the same: whoever has all nodes within them keeps it away.
    wide = job(2, nodes=4, hours=2, begin_h=4, latest_h=4, earliest_h=4)
    assert starts(replan(GREEN, [job(1, hours=4, run=HOUR), wide], narrow_then_wide, NOW, None)) == {"2": 4, "1": 6}
    # No run is longer than its limit, and one of no length is none that is known.
    for odd in (timedelta(0), timedelta(hours=90)):
        assert starts(replan(GREEN, [job(1, hours=4, run=odd)], narrow_then_wide, NOW, None)) == {"1": 5}


def test_a_start_that_no_longer_fits_is_moved_even_for_nothing() -> None:
    queued = [job(1, nodes=4, hours=4, state="RUNNING"), job(2, begin_h=3)]
    little = series(300, 300, 300, 99, 300, 100, *[300] * 40)
    assert starts(replan(GREEN, queued, little, NOW)) == {"2": 5}


def test_the_jobs_own_delay_holds_and_not_the_queues() -> None:
    later = series(*[300] * 30, 50, *[300] * 20)
    (plan,) = replan(GREEN.changed(max_delay=3 * HOUR), [job(1, latest_h=40)], later, NOW)
    assert (plan.latest_at, plan.start_at) == (NOW + 40 * HOUR, NOW + 30 * HOUR)


@pytest.mark.parametrize("submitted_h", [-1, -25])
@pytest.mark.parametrize("more", [{}, {"released": True}, {"blocked": True}])
@pytest.mark.parametrize("told", [series(*[300.0] * 60), None])
def test_never_before_its_own_earliest(submitted_h: int, more: dict[str, bool], told: CarbonSeries | None) -> None:
    """Even where that is after the longest delay of the queue, or the latest start of its own."""
    for latest_h in (5, 48, 100):
        one = job(1, earliest_h=48, latest_h=latest_h, begin_h=48, **more)
        queued = [replace(one, submit_at=NOW + submitted_h * HOUR)]
        (plan,) = replan(GREEN, queued, told, NOW)
        assert (plan.start_at, plan.moved) == (NOW + 48 * HOUR, False)
        assert plan.latest_at >= plan.start_at
    assert place(GREEN, [], job(1, earliest_h=48, latest_h=48), CLEAN_AT_5, NOW).start_at == NOW + 48 * HOUR


def test_a_released_job_is_not_delayed() -> None:
    # Its user let it go before its earliest start, with a version that kept that in the comment.
    assert starts(replan(GREEN, [job(1, released=True, earliest_h=5)], CLEAN_AT_5, NOW)) == {"1": 0}
    assert starts(replan(GREEN, [job(1, released=True, earliest_h=5, begin_h=9)], CLEAN_AT_5, NOW)) == {"1": 5}


def test_a_job_that_may_wait_for_years_does_not_affect_others() -> None:
    queued = [job(1, latest_h=24 * 365 * 50), job(2), job(3, earliest_h=24 * 365 * 40, latest_h=24 * 365 * 50)]
    assert starts(replan(GREEN, queued, CLEAN_AT_5, NOW)) == {"1": 5, "2": 5, "3": 24 * 365 * 40}


def test_a_deadline_holds_whatever_the_limit_is_by_now() -> None:
    clean_at_8 = series(*[300] * 8, *[50] * 8, *[300] * 20)
    assert starts(replan(GREEN, [job(1, hours=1, latest_h=9, by_h=10)], clean_at_8, NOW)) == {"1": 8}
    (plan,) = replan(GREEN, [job(1, hours=5, latest_h=9, by_h=10)], clean_at_8, NOW)
    assert (plan.start_at, plan.latest_at) == (NOW + 5 * HOUR, NOW + 5 * HOUR)
    (plan,) = replan(GREEN, [job(1, hours=12, latest_h=9, by_h=10, begin_h=3)], clean_at_8, NOW)
    assert (plan.start_at, plan.why) == (NOW, "due")


def test_starttime_is_early_by_the_usual_wait() -> None:
    (plan,) = replan(GREEN, [job(1, wait_h=1)], CLEAN_AT_5, NOW, None)
    assert (plan.start_at, plan.runs_at, plan.planned_g_per_kwh) == (NOW + 4 * HOUR, NOW + 5 * HOUR, 100)
    # One that could start at once would run after its wait; of that, part may be over.
    assert plan.now_g_per_kwh == 300
    assert place(GREEN, [], job(1, wait_h=5), CLEAN_AT_5, NOW, None).start_at == NOW
    assert replan(GREEN, [job(1, wait_h=5, begin_h=-5)], CLEAN_AT_5, NOW, None)[0].now_g_per_kwh == 300
    # It may start at once all the same: nodes are kept from its StartTime on.
    full = [job(2, nodes=4, hours=3, begin_h=2, earliest_h=2, latest_h=2), job(1, wait_h=1)]
    assert starts(replan(GREEN, full, CLEAN_AT_5, NOW, None)) == {"1": 5, "2": 2}
    # Its latest StartTime is that of its comment.
    late = series(*[400 - 20 * hour for hour in range(12)], *[400] * 30)
    assert starts(replan(GREEN, [job(1, wait_h=1, latest_h=8)], late, NOW, None)) == {"1": 8}


def test_the_rest_of_an_array_uses_capacity_as_tasks_end() -> None:
    running = [job(number, nodes=2, state="RUNNING", array_id=10) for number in (11, 12)]
    rest = job(10, nodes=4, hours=40, at_once=2, throttled=True, array_id=10, latest_h=0)
    plans = replan(GREEN, [*running, rest, job(20, nodes=4), job(21, nodes=4, latest_h=72)], CLEAN_AT_5, NOW)
    assert starts(plans) == {"20": 20, "21": 41}
    wider = GREEN.changed(capacity=((0, 5),))
    assert starts(replan(wider, [*running, rest, job(20)], CLEAN_AT_5, NOW)) == {"20": 5}
    assert place(wider, [*running, rest], job(20, nodes=2), CLEAN_AT_5, NOW).why == "no capacity"
    # Where its running tasks are not seen, it takes its room at once.
    assert place(GREEN, [rest], job(20), CLEAN_AT_5, NOW).why == "no capacity"


@pytest.mark.parametrize("more", [{"released": True}, {"latest_h": -1}])
def test_a_job_that_cannot_start_reserves_no_capacity(more: dict[str, float]) -> None:
    wide = job(1, nodes=4, hours=168, **more)
    queued = [wide, job(2, begin_h=5), job(3)]
    assert starts(replan(GREEN, [replace(wide, blocked=True), *queued[1:]], CLEAN_AT_5, NOW)) == {
        "1": 0,
        "2": 5,
        "3": 5,
    }
    assert place(GREEN, [replace(wide, blocked=True)], job(3), CLEAN_AT_5, NOW).start_at == NOW + 5 * HOUR
    # One that can start has its room. Others keep the start to come that they have.
    plans = replan(GREEN, queued, CLEAN_AT_5, NOW)
    assert starts(plans) == {"1": 0, "2": 5, "3": 20}
    assert {plan.job.job_id: plan.moved for plan in plans} == {"1": False, "2": False, "3": True}


def test_an_absurd_usual_wait() -> None:
    queued = [job(1, wait_h=24 * 365 * 30), job(2)]
    assert starts(replan(GREEN, queued, CLEAN_AT_5, NOW))["2"] == 5


def test_a_comment_in_another_partition_or_qos_does_not_count() -> None:
    eco = GREEN.changed(partition="eco,big", qos="low")
    wide = {"nodes": 4, "hours": 168.0, "latest_h": -1.0}
    queued = [
        job(1, partition="debug", qos="low", **wide), job(2, partition="big", qos="high", **wide),
        job(3, partition="debug", qos="low", state="RUNNING", **wide), job(4, partition="debug,eco", qos="low"),
        job(5, partition="big", qos=None),
    ]  # fmt: skip
    assert starts(replan(eco, queued, CLEAN_AT_5, NOW)) == {"4": 5, "5": 5}
    assert place(eco, queued, job(6), CLEAN_AT_5, NOW).start_at == NOW + 5 * HOUR


def test_the_jobs_own_least_saving() -> None:
    third = series(300, 300, 300, 300, 210, *[300] * 40)
    queued = [job(1, min_saving=0.5), job(2, min_saving=0.2), job(3, min_saving=0)]
    assert starts(replan(GREEN, queued, third, NOW)) == {"1": 0, "2": 4, "3": 4}
    assert place(GREEN, [], job(1, min_saving=0.5), third, NOW).start_at == NOW


def test_a_job_that_can_save_nothing_more_starts() -> None:
    """In proportion to the wait that is left: of min_saving, 2 %, a fifth over the longest delay of 24 h."""
    flat = [300.0] * 40
    for far in (0, 0.4):
        assert starts(replan(GREEN, [job(1, begin_h=10)], series(300, *[300 - far] * 40), NOW, None)) == {"1": 0}
    for gain, waits in ((0.0015, False), (0.0025, True)):
        told = series(*flat[:10], 300 * (1 - gain), *flat)
        assert starts(replan(GREEN, [job(1, begin_h=10)], told, NOW, None)) == {"1": 10 if waits else 0}
    near = series(300, 299.5, *flat)
    assert starts(replan(GREEN, [job(1, begin_h=1)], near, NOW, None)) == {"1": 1}


def test_a_job_without_a_limit_reserves_24_h() -> None:
    running = replace(job(1, nodes=4, state="RUNNING"), limit=None, end_at=None)
    waiting = job(2, nodes=4, hours=1, latest_h=40)
    assert starts(replan(GREEN, [running, waiting], series(*[300] * 30, 100, *[300] * 20), NOW)) == {"2": 30}
    assert starts(replan(GREEN, [running, waiting], series(*[300] * 23, 100, *[300] * 30), NOW)) == {"2": 24}


@pytest.mark.parametrize(("g_per_kwh", "starts_h"), [(0.001, 0), (0.002, 5)])
def test_below_a_milligram_per_kwh_there_is_nothing_to_save(g_per_kwh: float, starts_h: float) -> None:
    levels = series(*[g_per_kwh] * 5, 0, *[g_per_kwh] * 40)
    assert starts(replan(GREEN, [job(1)], levels, NOW)) == {"1": starts_h}


def test_nothing_to_save() -> None:
    plans = replan(GREEN, [job(1), job(2, begin_h=3)], series(*[0.0] * 40), NOW)
    assert [(plan.start_at, plan.saving) for plan in plans] == [(NOW, 0.0), (NOW, 0.0)]
    (plan,) = replan(GREEN, [job(1, nodes=9, begin_h=3)], series(0, 0, 0, *[100] * 40), NOW)
    assert (plan.start_at, plan.saving) == (NOW + 3 * HOUR, None)


def test_jobs_that_cannot_be_moved() -> None:
    queued = [job(1, held=True), job(2, queue="other"), job(3, latest_h=-1, begin_h=2)]
    (plan,) = replan(GREEN, queued, CLEAN_AT_5, NOW)
    # Past its latest start: at once, whatever Slurm was told before.
    assert (plan.job.job_id, plan.start_at, plan.moved, plan.why) == ("3", NOW, True, "due")


def test_not_before_its_own_earliest() -> None:
    assert starts(replan(GREEN, [job(1, earliest_h=7)], series(300, *[300] * 4, 100, 200, 150, *[300] * 30), NOW)) == {
        "1": 7
    }


def test_without_a_forecast_starts_stay_and_stay_safe() -> None:
    queued = [job(1, begin_h=5), job(2, begin_h=50, latest_h=2), job(3)]
    plans = replan(GREEN, queued, None, NOW)
    assert starts(plans) == {"3": 0, "2": 2, "1": 5}
    assert [plan.moved for plan in plans] == [False, True, False]


def test_beyond_the_forecast() -> None:
    short = series(300, 200)
    plans = replan(GREEN, [job(n, hours=3) for n in range(1, 4)], short, NOW)
    assert all(plan.start_at <= NOW + 20 * HOUR for plan in plans)
    assert {plan.saving for plan in plans} == {None}


JOBS = st.lists(
    st.builds(
        lambda number, nodes, hours, latest, begin, state: (nodes, hours, latest, begin, state),
        st.integers(), st.integers(1, 5), st.sampled_from([0.25, 0.5, 1, 1.7, 4]), st.integers(-1, 30),
        st.one_of(st.none(), st.integers(0, 25)), st.sampled_from(["PENDING", "PENDING", "PENDING", "RUNNING"]),
    ),
    max_size=12,
)  # fmt: skip


@given(
    jobs=JOBS,
    values=st.lists(st.integers(0, 900), min_size=1, max_size=40),
    second=st.integers(0, 899),
    share=st.sampled_from([0.0, 0.3, 0.6, 1.0]),
)
@settings(max_examples=60)
@pytest.mark.slow
def test_never_late_never_above_capacity_and_settled(
    jobs: list[tuple[int, float, int, int | None, str]], values: list[int], second: int, share: float
) -> None:
    now = NOW + timedelta(seconds=second)
    queued = [
        job(number, nodes=nodes, hours=hours, latest_h=latest, begin_h=begin, state=state)
        for number, (nodes, hours, latest, begin, state) in enumerate(jobs, 1)
    ]
    told = series(*map(float, values))
    queued = [
        replace(one, comment=replace(one.comment, run=share * (one.limit or HOUR))) if int(one.job_id) % 3 else one
        for one in queued
    ]
    plans = replan(GREEN, queued, told, now)
    assert {plan.job.job_id for plan in plans} == {one.job_id for one in queued if one.waits}
    for plan in plans:
        assert now <= plan.start_at <= max(now, plan.job.comment.latest)
    # Those that could be placed and what runs never use more than there is.
    within = [plan for plan in plans if plan.why not in ("no capacity", "too large", "due")]
    if all(one.nodes <= 4 for one in queued) and not [plan for plan in plans if plan not in within]:
        running = [one for one in queued if not one.waits]
        if sum(one.nodes for one in running) <= 4:
            spans = [(plan.start_at, plan.start_at + (plan.job.limit or HOUR), plan.job.nodes) for plan in within]
            spans += [(now, one.end_at or now, one.nodes) for one in running]
            for begin, _, _ in spans:
                assert sum(nodes for start, end, nodes in spans if start <= begin < end) <= 4
    # Planned again with the same forecast, nothing moves any more.
    settled = [replace(plan.job, begin_at=plan.start_at if plan.start_at > now else None) for plan in plans] + [
        one for one in queued if not one.waits
    ]
    again = replan(GREEN, settled, told, now)
    assert [plan.job.job_id for plan in again if plan.moved] == []


WORDS = st.fixed_dictionaries(
    {
        "nodes": st.integers(1, 5),
        "hours": st.sampled_from([0.25, 1, 1.7, 4]),
        "latest_h": st.integers(-1, 60),
        "begin_h": st.one_of(st.none(), st.integers(-2, 50)),
        "earliest_h": st.one_of(st.none(), st.integers(-3, 50)),
        "by_h": st.one_of(st.none(), st.integers(-1, 60)),
        "wait_h": st.sampled_from([None, None, 0.1, 1, 30]),
        "min_saving": st.sampled_from([None, 0.0, 0.5]),
        "released": st.sampled_from([False, False, False, True]),
        "blocked": st.booleans(),
        "throttled": st.sampled_from([False, False, False, True]),
        "held": st.sampled_from([False, False, False, True]),
        "state": st.sampled_from(["PENDING", "PENDING", "PENDING", "RUNNING"]),
    }
)


@given(
    words=st.lists(WORDS, max_size=8),
    values=st.lists(st.integers(0, 900), min_size=1, max_size=60),
    known=st.booleans(),
)
@settings(max_examples=60)
@pytest.mark.slow
def test_constraints_hold_for_any_job_comment(words: list[dict[str, Any]], values: list[int], known: bool) -> None:
    queued = [job(number, **one) for number, one in enumerate(words, 1)]
    # Slurm says that a job is blocked once it could start, and before that it waits for its StartTime.
    queued = [replace(one, blocked=one.blocked and (one.begin_at or NOW) <= NOW) for one in queued]
    told = series(*map(float, values)) if known else None
    plans = replan(GREEN, queued, told, NOW)
    assert sorted(plan.job.job_id for plan in plans) == sorted(one.job_id for one in queued if one.movable)
    for plan in plans:
        comment, limit = plan.job.comment, plan.job.limit or HOUR
        earliest = max(NOW, comment.earliest or NOW)
        latest = max(earliest, comment.latest if comment.by is None else comment.by - limit)
        if not comment.released:
            assert earliest <= plan.start_at <= latest == plan.latest_at
        else:
            assert NOW <= plan.start_at <= max(NOW, plan.job.begin_at or NOW)
    starts_at = {plan.job.job_id: plan.start_at for plan in plans if plan.start_at > NOW}
    again = [
        replace(one, begin_at=starts_at.get(one.job_id), blocked=one.blocked and one.job_id not in starts_at)
        if one.movable
        else one
        for one in queued
    ]
    assert [plan.job.job_id for plan in replan(GREEN, again, told, NOW) if plan.moved] == []
    for plan in plans:
        others = [one for one in queued if one is not plan.job]
        if told is not None and not plan.job.comment.released:
            found = place(GREEN, others, replace(plan.job, begin_at=None), told, NOW)
            assert max(NOW, plan.job.comment.earliest or NOW) <= found.start_at <= found.latest_at


def test_one_more_job_is_placed_beside_the_others() -> None:
    queued = [job(1, nodes=3, begin_h=5), job(2, nodes=1, hours=6, state="RUNNING"), job(3, nodes=9, held=True)]
    found = place(GREEN, queued, job(4, nodes=2), CLEAN_AT_5, NOW)
    assert (found.start_at, found.why) == (NOW + 6 * HOUR, "least carbon")
    assert place(GREEN, queued, job(4, nodes=1), CLEAN_AT_5, NOW).start_at == NOW + 6 * HOUR
    assert place(GREEN, queued[1:], job(4, nodes=3), CLEAN_AT_5, NOW).start_at == NOW + 5 * HOUR
    # No room before its latest start: Slurm itself has to make it wait then.
    crowded = [*queued, *(job(number, nodes=4, hours=24, begin_h=0) for number in (5, 6))]
    late = place(GREEN, crowded, job(4, latest_h=3), CLEAN_AT_5, NOW)
    assert (late.start_at, late.why) == (NOW + 3 * HOUR, "no capacity")
    flat = series(*[200.0] * 30)
    assert place(GREEN, queued, job(4), flat, NOW).start_at == NOW
    assert place(GREEN, crowded, job(4, latest_h=-1), flat, NOW).start_at == NOW


def test_twice_by_expected_run_times_then_by_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each job takes all of the capacity and may run for longer than expected, so that only some keep their start."""
    planned: list[tuple[int, bool]] = []
    real = replan_module._capacity_plan

    def noted(*args: Any, by_limit: bool) -> Any:
        planned.append((len(args[1]), by_limit))
        return real(*args, by_limit=by_limit)

    monkeypatch.setattr(replan_module, "_capacity_plan", noted)
    jobs = [job(number, nodes=4, hours=3, run=HOUR) for number in range(1, 6)]
    found = replan(GREEN, jobs, series(*[300.0 - 5 * hour for hour in range(48)]), NOW)
    assert planned[:3] == [(5, False), (3, False), (2, True)]
    assert len(found) == 5
