"""What waiting saved: who is compared with what, and who is not."""

from __future__ import annotations

import pytest
from fake_spool import SECOND, START_NS, FakeSpool, iso
from planned_runs import FETCHED_NS, HOUR, kwh, plan, segment, tell

from hpcfrugal.ledger.due import Defaults
from hpcfrugal.ledger.footprints import times_used
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.savings import JobSavings, savings, totals
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync
from hpcfrugal.spool.documents import write_document
from hpcfrugal.spool.intensity import IntensitySource
from hpcfrugal.spool.job_state import JobState


def saved(spool: FakeSpool) -> list[JobSavings]:
    with open_ledger(spool.ledger) as connection:
        return savings(connection, find_jobs(connection, JobFilter()), Defaults())


def test_what_waiting_saved_by_hand(spool: FakeSpool) -> None:
    spool.whole_run(plan=plan(levels=(0, 500.0, 250.0)), carbon={"zone": "FR", "pue": 2})
    tell(spool, 400.0, -HOUR, -HOUR + 60)
    tell(spool, 100.0, 0, 60)
    sync(spool.root, spool.ledger)
    (one,) = saved(spool)
    assert one.saving is not None
    assert one.forecast is not None
    assert (one.status, one.quality, one.settled, one.pue) == ("known", "measured", True, 2.0)
    assert one.saving.actual_g == kwh(6600) * 200
    assert one.saving.counterfactual_g == kwh(6600) * 800
    assert one.forecast.saved_g == kwh(6600) * 2 * 250
    assert one.error is not None
    assert one.error.mape == pytest.approx((100 / 400 + 150 / 100) / 2)


@pytest.mark.parametrize("state", [None, "CANCELLED"])
def test_a_job_of_this_machine_saves_against_its_submission(spool: FakeSpool, state: str | None) -> None:
    """No scheduler says when it could have started, so its plan counts."""
    run = spool.whole_run(plan=plan(), backend="local")
    run.run_dir.slurm_json("17", 0).unlink()
    if state is not None:
        write_document(run.run_dir.slurm_json("17", 0), JobState("17", state))
    tell(spool, 400.0, -HOUR, -HOUR + 60)
    tell(spool, 100.0, 0, 60)
    sync(spool.root, spool.ledger)
    (one,) = saved(spool)
    assert one.saving is not None
    assert (one.status, one.counterfactual_start_ns) == ("known", START_NS - HOUR * SECOND)
    assert one.saving.saved_g == kwh(6600) * 300


def test_savings_by_estimates_of_the_provider_are_marked(spool: FakeSpool) -> None:
    spool.whole_run(plan=plan())
    tell(spool, 400.0, -HOUR, -HOUR + 60)
    tell(spool, 100.0, 0, 30)
    tell(spool, 100.0, 30, 60, estimated_by="mean of FR")
    sync(spool.root, spool.ledger)
    found = saved(spool)
    assert [one.estimated for one in found] == [True]
    assert totals(found)["average"].estimated
    tell(spool, 100.0, 30, 60)
    sync(spool.root, spool.ledger)
    assert [one.estimated for one in saved(spool)] == [False]


def test_a_loss_is_in_the_sum(spool: FakeSpool) -> None:
    spool.whole_run("17", plan=plan())
    segment(spool.run("18", plan=plan()), 0, HOUR)
    tell(spool, 200.0, -HOUR, HOUR)
    tell(spool, 300.0, HOUR, 2 * HOUR)
    sync(spool.root, spool.ledger)
    found = saved(spool)
    # The second run's sample file is of job 17 too, since only its run tells them apart.
    (total,) = totals(found).values()
    assert total.jobs == 2
    assert total.losses == 1
    assert total.counterfactual_g - total.actual_g == -kwh(6600) * 100
    assert total.lost_g == kwh(6600) * 100


def test_without_all_actuals_no_saving_is_reported(spool: FakeSpool) -> None:
    spool.whole_run("17", plan=plan())
    tell(spool, 100.0, 0, 60)
    tell(spool, 100.0, -HOUR, -HOUR + 59)
    sync(spool.root, spool.ledger)
    (one,) = saved(spool)
    assert (one.status, one.saving) == ("pending", None)
    assert one.reason is not None
    assert "all of these times is not known from energy-charts yet" in one.reason
    assert totals([one]) == {}


def test_figures_of_another_provider_or_signal_are_not_compared(spool: FakeSpool) -> None:
    spool.whole_run("17", plan=plan())
    tell(spool, 100.0, -2 * HOUR, HOUR, IntensitySource("FR", "average", "other"))
    tell(spool, 100.0, -2 * HOUR, HOUR, IntensitySource("FR", "marginal", "energy-charts"))
    sync(spool.root, spool.ledger)
    (one,) = saved(spool)
    assert one.status == "pending"


def test_segments_at_their_own_times_against_one_go(spool: FakeSpool) -> None:
    run = spool.run(plan=plan())
    for restart, at_s in enumerate((0, 1000, 2000)):
        last = restart == 2
        segment(run, restart, at_s, state="COMPLETED" if last else "REQUEUED")
    tell(spool, 300.0, -HOUR, -HOUR + 90)
    tell(spool, 600.0, -HOUR + 90, 0)
    for at_s in (0, 1000, 2000):
        tell(spool, 100.0, at_s, at_s + 60)
    sync(spool.root, spool.ledger)
    (one,) = saved(spool)
    assert one.saving is not None
    assert one.saving.actual_g == 3 * kwh(6600) * 100
    assert one.saving.counterfactual_g == kwh(6600) * (300 + 450 + 600)
    assert one.counterfactual_end_ns == START_NS + (-HOUR + 180) * SECOND


@pytest.mark.parametrize(("state", "lost_s"), [("REQUEUED", 12), ("NODE_FAIL", 0)])
def test_planned_interruptions_are_a_loss_and_a_failed_node_is_not(spool: FakeSpool, state: str, lost_s: int) -> None:
    run = spool.run(plan=plan(interruptions={"checkpoint_s": 5, "restart_s": 7}))
    for restart, at_s in enumerate((0, 1000)):
        segment(run, restart, at_s, state="COMPLETED" if restart else state)
    tell(spool, 100.0, -2 * HOUR, HOUR)
    sync(spool.root, spool.ledger)
    (one,) = saved(spool)
    assert one.saving is not None
    assert one.saving.actual_g == 2 * kwh(6600) * 100
    assert float(one.saving.saved_g) == pytest.approx(-float(kwh(110 * lost_s) * 100))
    assert one.counterfactual_end_ns == START_NS + (-HOUR + 120 - lost_s) * SECOND


def test_a_job_between_two_segments_is_not_over(spool: FakeSpool) -> None:
    segment(spool.run("17", plan=plan()), 0, 0, state="REQUEUED")
    sync(spool.root, spool.ledger)
    assert [one.status for one in saved(spool)] == ["unfinished"]


def test_providers_that_are_left_out_with_their_reasons(spool: FakeSpool) -> None:
    spool.whole_run("17")
    spool.whole_run("18", plan=plan(forecast=None, provider=None))
    spool.run("19", plan=plan()).slurm("CANCELLED", start_s=None, job_id="19")
    spool.run("20", plan=plan())
    unsampled = spool.run("21", plan=plan())
    unsampled.slurm(job_id="21", nodes=())
    sync(spool.root, spool.ledger)
    assert {one.first.job_id: one.status for one in saved(spool)} == {
        "17": "asap", "18": "no-forecast", "19": "not-run", "20": "unfinished", "21": "pending",
    }  # fmt: skip
    assert [one.reason for one in saved(spool) if one.first.job_id == "21"] == ["its energy is unknown"]


def test_a_job_that_started_when_it_would_have_saved_exactly_nothing(spool: FakeSpool) -> None:
    # Put off by as long as it would have waited in the queue.
    spool.whole_run(plan=plan(counterfactual={"start_at": iso(0), "wait_s": 9}))
    for second in range(-10, 70):
        tell(spool, 17.3 * (second + 20), second, second + 1)
    sync(spool.root, spool.ledger)
    (one,) = saved(spool)
    assert one.saving is not None
    assert one.saving.saved_g == 0


@pytest.mark.parametrize("eligible_s", [-9, 0])
def test_the_queue_s_wait_of_a_job_that_was_not_delayed_saves_nothing(spool: FakeSpool, eligible_s: float) -> None:
    run = spool.run(plan=plan(action="start-now"))
    segment(run, 0, 0, eligible_at=iso(eligible_s))
    tell(spool, 500.0, -2 * HOUR, -60)
    tell(spool, 100.0, -60, HOUR)
    sync(spool.root, spool.ledger)
    (one,) = saved(spool)
    assert (one.status, one.saving) == ("not-delayed", None)
    assert totals([one]) == {}
    with open_ledger(spool.ledger) as connection:
        asked = list(times_used(connection, Defaults(), 0))
    assert [one.start_ns for one in asked] == [START_NS]


@pytest.mark.parametrize(
    ("action", "eligible_s", "status"),
    [
        ("start-now", 0, "known"),  # delayed by the queue's controller later on
        ("start-now", -8, "not-delayed"),
        ("start-now", None, "not-delayed"),
        ("wait", -8, "not-delayed"),  # released at once
        ("wait", 0, "known"),
        ("wait", None, "known"),
        ("segments", -9, "known"),
    ],
)
def test_in_a_queue_slurm_s_word_on_when_it_could_start_decides(
    spool: FakeSpool, action: str, eligible_s: float | None, status: str
) -> None:
    run = spool.run(plan=plan(action=action, queue="green"))
    segment(run, 0, 0, eligible_at=None if eligible_s is None else iso(eligible_s))
    tell(spool, 500.0, -2 * HOUR, -60)
    tell(spool, 100.0, -60, HOUR)
    sync(spool.root, spool.ledger)
    (one,) = saved(spool)
    assert one.status == status
    assert (one.saving is not None) == (status == "known")


def test_a_job_that_asked_for_a_later_start_itself_was_not_delayed_by_that(spool: FakeSpool) -> None:
    for job_id, eligible_s in (("17", 3600), ("18", 4000)):
        run = spool.run(job_id, plan=plan(counterfactual={"start_at": iso(3700), "wait_s": 100}, queue="green"))
        run.samples([run.header(job_id), *run.records([100, 10], 60)], job_id)
        run.slurm(job_id=job_id, eligible_at=iso(eligible_s), start_s=5000, end_s=5060)
    sync(spool.root, spool.ledger)
    assert [one.status for one in saved(spool)] == ["not-delayed", "pending"]


def test_tasks_of_an_array_keep_their_distance_from_the_first(spool: FakeSpool) -> None:
    """Of ``--array=0-2%1`` each waits for the one before it, delayed or not."""
    run = spool.run("20", plan=plan(counterfactual={"start_at": iso(-HOUR), "wait_s": 0}))
    for task in range(3):
        shift = task * 100 * SECOND
        lines = [run.header(str(20 + task)), *run.records([100, 10], 60)]
        run.samples([{**line, "wall_ns": line["wall_ns"] + shift} for line in lines], str(20 + task))
        array = {"array_job_id": "20", "array_task_id": str(task)}
        run.slurm(job_id=str(20 + task), start_s=task * 100, end_s=task * 100 + 60, **array)
    for task in range(3):
        tell(spool, 100.0 * (task + 1), -HOUR + task * 100, -HOUR + task * 100 + 100)
    tell(spool, 50.0, 0, 300)
    sync(spool.root, spool.ledger)
    found = saved(spool)
    assert [one.saving.counterfactual_g for one in found if one.saving] == [kwh(6600) * 100 * n for n in (1, 2, 3)]
    starts = [START_NS + (task * 100 - HOUR) * SECOND for task in range(3)]
    assert [one.counterfactual_start_ns for one in found] == starts
    with open_ledger(spool.ledger) as connection:
        # One task alone has the same distance: the others are looked up.
        (last,) = savings(connection, find_jobs(connection, JobFilter(jobs=("20_2",))), Defaults())
        asked = list(times_used(connection, Defaults(), 0))
    assert last.counterfactual_start_ns == starts[2]
    for start_ns in starts:
        assert any(one.start_ns <= start_ns and one.end_ns >= start_ns + 60 * SECOND for one in asked)


def test_values_that_a_provider_never_publishes_are_not_waited_for(spool: FakeSpool) -> None:
    spool.whole_run("17", plan=plan())
    tell(spool, 100.0, 0, 60)
    tell(spool, None, -HOUR, -HOUR + 60, settled=False)
    sync(spool.root, spool.ledger)
    assert [one.status for one in saved(spool)] == ["pending"]
    tell(spool, None, -HOUR, -HOUR + 60, fetched_ns=FETCHED_NS + SECOND)
    sync(spool.root, spool.ledger)
    (one,) = saved(spool)
    assert (one.status, one.saving) == ("no-actuals", None)
    assert one.reason is not None
    assert one.reason.startswith(
        "energy-charts does not offer the actual average intensity of FR at all of these times"
    )


def test_a_repeated_last_day_is_not_taken_for_a_forecast(spool: FakeSpool) -> None:
    told = plan()["forecast"]
    told |= {"assumed_from": iso(30), "assumed_by": "same-time-yesterday"}
    spool.whole_run("17", plan=plan(forecast=told))
    tell(spool, 200.0, -2 * HOUR, HOUR)
    sync(spool.root, spool.ledger)
    (one,) = saved(spool)
    assert one.status == "known"
    assert one.forecast is None
    assert one.error is not None
    assert one.error.over_ns == 90 * SECOND
