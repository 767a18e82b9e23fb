"""Plans for a whole queue: never late, never above capacity, no move for nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.queues.board import QueuedJob
from hpcfrugal.queues.replan import Planned, place, replan
from hpcfrugal.queues.settings import Queue
from hpcfrugal.queues.ticket import Ticket

NOW = datetime(2026, 11, 21, 9, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
GREEN = Queue("green", ((0, 4),), timedelta(hours=24), step=timedelta(minutes=15))


def series(*hourly: float) -> CarbonSeries:
    return CarbonSeries.from_values(
        NOW - HOUR, HOUR, [hourly[0], *hourly], zone="FR", signal="average", kind="forecast"
    )


def job(number: int, *, nodes: int = 1, hours: float = 1, latest_h: float = 20, begin_h: float | None = None,
        earliest_h: float | None = None, state: str = "PENDING", **more: object) -> QueuedJob:  # fmt: skip
    limit = hours * HOUR
    return QueuedJob(
        job_id=str(number), user="alice", name="j", state=state, nodes=nodes, cpus=nodes, limit=limit,
        submit_at=NOW - HOUR, begin_at=None if begin_h is None else NOW + begin_h * HOUR,
        end_at=None if state == "PENDING" else NOW + limit, held=bool(more.get("held")), comment="",
        ticket=Ticket(str(more.get("queue", "green")), NOW + latest_h * HOUR,
                      None if earliest_h is None else NOW + earliest_h * HOUR, released=bool(more.get("released"))),
    )  # fmt: skip


def starts(plans: list[Planned]) -> dict[str, float]:
    return {plan.job.job_id: (plan.start_at - NOW) / HOUR for plan in plans}


CLEAN_AT_5 = series(300, 300, 300, 300, 300, 100, 200, *[300] * 40)


def test_everybody_at_the_clean_hour_as_far_as_there_is_room() -> None:
    plans = replan(GREEN, [job(1), job(2, nodes=2), job(3), job(4), job(5, nodes=9)], CLEAN_AT_5, NOW)
    found = starts(plans)
    assert sorted(found[one] for one in "134") == [5, 5, 6] or sorted(found[one] for one in "134") == [5, 5, 5]
    # Wider than the capacity ever is: at the last moment, where Slurm itself decides.
    assert found["5"] == 20
    assert {plan.why for plan in plans} == {"least carbon", "too wide"}
    assert {plan.job.job_id: plan.saving for plan in plans}["1"] == pytest.approx(2 / 3)


def test_running_jobs_and_released_ones_take_room() -> None:
    board = [job(1, nodes=3, hours=5.5, state="RUNNING"), job(2, nodes=1, hours=8, released=True), job(3, nodes=2)]
    plans = replan(GREEN, board, CLEAN_AT_5, NOW)
    assert starts(plans) == {"2": 0, "3": 5.5}
    assert [plan.why for plan in plans] == ["released", "least carbon"]


def test_nobody_waits_for_noise() -> None:
    flat = series(200, *[198, 199, 200] * 12)
    plans = replan(GREEN, [job(n) for n in range(1, 7)], flat, NOW)
    now = [plan for plan in plans if plan.start_at == NOW]
    assert len(now) == 4
    assert {plan.why for plan in now} <= {"waiting saves too little", "least carbon"}


def test_a_small_gain_moves_nobody() -> None:
    board = [job(1, begin_h=3)]
    little = series(300, 300, 300, 101, 300, 100, *[300] * 40)
    assert [(plan.why, plan.moved) for plan in replan(GREEN, board, little, NOW)] == [("as before", False)]
    much = series(300, 300, 300, 150, 300, 100, *[300] * 40)
    assert [(plan.why, plan.moved) for plan in replan(GREEN, board, much, NOW)] == [("least carbon", True)]


def test_who_waits_for_a_valley_waits_until_it_is_there() -> None:
    """The intensity comes down to it step by step, and each step is less than ``min_saving`` above the next."""
    down = series(104, 102, 100, *[300] * 40)
    assert starts(replan(GREEN, [job(1, begin_h=2)], down, NOW)) == {"1": 2}
    # One that could start now does not begin to wait for that little.
    assert starts(replan(GREEN, [job(1)], down, NOW)) == {"1": 0}
    # And one that waits for what turned out to be no valley starts.
    assert starts(replan(GREEN, [job(1, begin_h=2)], series(100, 100, 104, *[300] * 40), NOW)) == {"1": 0}


def test_carbon_is_of_the_expected_run_and_room_of_the_limit() -> None:
    narrow_then_wide = series(300, 300, 50, 300, 300, 100, 100, 100, 100, *[300] * 40)
    assert starts(replan(GREEN, [job(1, hours=4)], narrow_then_wide, NOW)) == {"1": 5}
    (plan,) = replan(GREEN, [job(1, hours=4)], narrow_then_wide, NOW, {"1": HOUR})
    assert ((plan.start_at - NOW) / HOUR, plan.planned_g_per_kwh) == (2, 50)
    assert place(GREEN, [], job(1, hours=4), narrow_then_wide, NOW, {"1": HOUR}).start_at == NOW + 2 * HOUR
    # It may run for four hours all the same: whoever has all nodes within them keeps it away.
    wide = job(2, nodes=4, hours=2, begin_h=4, latest_h=4, earliest_h=4)
    assert starts(replan(GREEN, [job(1, hours=4), wide], narrow_then_wide, NOW, {"1": HOUR})) == {"2": 4, "1": 6}
    # No run is longer than its limit, and one of no length is none that is known.
    for odd in (timedelta(0), timedelta(hours=90)):
        assert starts(replan(GREEN, [job(1, hours=4)], narrow_then_wide, NOW, {"1": odd})) == {"1": 5}


def test_a_start_that_no_longer_fits_is_moved_even_for_nothing() -> None:
    board = [job(1, nodes=4, hours=4, state="RUNNING"), job(2, begin_h=3)]
    little = series(300, 300, 300, 99, 300, 100, *[300] * 40)
    assert starts(replan(GREEN, board, little, NOW)) == {"2": 5}


def test_the_queues_own_delay_holds_besides_the_ticket() -> None:
    (plan,) = replan(replace(GREEN, max_delay=3 * HOUR), [job(1, latest_h=100)], CLEAN_AT_5, NOW)
    assert plan.latest_at == NOW + 2 * HOUR
    assert plan.start_at <= plan.latest_at


def test_who_is_left_alone() -> None:
    board = [job(1, held=True), job(2, queue="other"), job(3, latest_h=-1, begin_h=2)]
    (plan,) = replan(GREEN, board, CLEAN_AT_5, NOW)
    # Past its latest start: at once, whatever Slurm was told before.
    assert (plan.job.job_id, plan.start_at, plan.moved, plan.why) == ("3", NOW, True, "due")


def test_not_before_its_own_earliest() -> None:
    assert starts(replan(GREEN, [job(1, earliest_h=7)], series(300, *[300] * 4, 100, 200, 150, *[300] * 30), NOW)) == {
        "1": 7
    }


def test_without_a_forecast_starts_stay_and_stay_safe() -> None:
    board = [job(1, begin_h=5), job(2, begin_h=50, latest_h=2), job(3)]
    plans = replan(GREEN, board, None, NOW)
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
@settings(max_examples=60, deadline=None)
def test_never_late_never_above_capacity_and_settled(
    jobs: list[tuple[int, float, int, int | None, str]], values: list[int], second: int, share: float
) -> None:
    now = NOW + timedelta(seconds=second)
    board = [
        job(number, nodes=nodes, hours=hours, latest_h=latest, begin_h=begin, state=state)
        for number, (nodes, hours, latest, begin, state) in enumerate(jobs, 1)
    ]
    told = series(*map(float, values))
    runs = {one.job_id: share * (one.limit or HOUR) for one in board if int(one.job_id) % 3}
    plans = replan(GREEN, board, told, now, runs)
    assert {plan.job.job_id for plan in plans} == {one.job_id for one in board if one.waits}
    for plan in plans:
        assert now <= plan.start_at <= max(now, plan.job.ticket.latest)
    # Those that could be placed and what runs never use more than there is.
    within = [plan for plan in plans if plan.why not in ("no room", "too wide", "due")]
    if all(one.nodes <= 4 for one in board) and not [plan for plan in plans if plan not in within]:
        running = [one for one in board if not one.waits]
        if sum(one.nodes for one in running) <= 4:
            spans = [(plan.start_at, plan.start_at + (plan.job.limit or HOUR), plan.job.nodes) for plan in within]
            spans += [(now, one.end_at or now, one.nodes) for one in running]
            for begin, _, _ in spans:
                assert sum(nodes for start, end, nodes in spans if start <= begin < end) <= 4
    # Planned again with the same forecast, nothing moves any more.
    settled = [replace(plan.job, begin_at=plan.start_at if plan.start_at > now else None) for plan in plans] + [
        one for one in board if not one.waits
    ]
    again = replan(GREEN, settled, told, now, runs)
    assert [plan.job.job_id for plan in again if plan.moved] == []


def test_one_more_job_finds_its_place_among_the_others() -> None:
    board = [job(1, nodes=3, begin_h=5), job(2, nodes=1, hours=6, state="RUNNING"), job(3, nodes=9, held=True)]
    found = place(GREEN, board, job(4, nodes=2), CLEAN_AT_5, NOW)
    assert (found.start_at, found.why) == (NOW + 6 * HOUR, "least carbon")
    assert place(GREEN, board, job(4, nodes=1), CLEAN_AT_5, NOW).start_at == NOW + 6 * HOUR
    assert place(GREEN, board[1:], job(4, nodes=3), CLEAN_AT_5, NOW).start_at == NOW + 5 * HOUR
    # No room before its latest start: Slurm itself has to make it wait then.
    crowded = [*board, *(job(number, nodes=4, hours=24, begin_h=0) for number in (5, 6))]
    late = place(GREEN, crowded, job(4, latest_h=3), CLEAN_AT_5, NOW)
    assert (late.start_at, late.why) == (NOW + 3 * HOUR, "no room")
    flat = series(*[200.0] * 30)
    assert place(GREEN, board, job(4), flat, NOW).start_at == NOW
    assert place(GREEN, crowded, job(4, latest_h=-1), flat, NOW).start_at == NOW
