"""How long a job took where the wall clock was set meanwhile."""

from __future__ import annotations

import pytest
from fake_spool import SECOND, START_NS, FakeRun, FakeSpool

from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync


def sampled(run: FakeRun, step_s: float, node: str = "n1", **header: object) -> None:
    """A minute of samples, in the middle of which the wall clock is set forward."""
    lines = run.records([100, 10], 60)
    for line in lines[3:]:
        line["wall_ns"] += round(step_s * SECOND)
    run.samples([run.header(node=node, **header), *lines], node=node)


def times(spool: FakeSpool) -> tuple[int | None, int | None, float | None]:
    """(seconds from START to the end, elapsed seconds, coverage)."""
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        (job,) = find_jobs(connection, JobFilter())
    ended_s = None if job.ended_wall_ns is None else (job.ended_wall_ns - START_NS) // SECOND
    elapsed_s = None if job.elapsed_ns is None else job.elapsed_ns // SECOND
    return ended_s, elapsed_s, job.totals.sums.coverage


@pytest.mark.parametrize("step_s", [3600, -3600, 30, -30, 1])
def test_the_time_since_boot_tells_how_long_a_job_took(spool: FakeSpool, step_s: float) -> None:
    run = spool.run()
    sampled(run, step_s)
    run.end(end_s=60 + step_s)
    assert times(spool) == (60, 60, 1.0)


def test_small_steps_are_left_as_they_are(spool: FakeSpool) -> None:
    run = spool.run()
    sampled(run, 0.9)
    run.end(end_s=60.9)
    with_step = times(spool)
    assert with_step[1] == 60
    assert with_step[2] == pytest.approx(60 / 60.9)


def test_a_clock_set_between_two_sessions_of_the_sidecar_is_noticed(spool: FakeSpool) -> None:
    run = spool.run()
    run.samples([run.header(), *run.records([100, 10], 60)[:4]])
    later = run.header()
    later |= {"wall_ns": later["wall_ns"] + 3640 * SECOND, "boottime_ns": later["boottime_ns"] + 40 * SECOND}
    run.samples([later], mode="a")
    run.end(end_s=3660)
    assert times(spool)[:2] == (60, 60)


def test_of_several_nodes_all_must_have_been_set(spool: FakeSpool) -> None:
    run = spool.run()
    sampled(run, 3600)
    sampled(run, 0, "n2")
    run.end(end_s=60)
    assert times(spool)[1] == 60


def test_a_sidecar_that_died_early_still_lowers_the_coverage(spool: FakeSpool) -> None:
    run = spool.run()
    sampled(run, 0)
    run.end(end_s=3660)
    assert times(spool) == (3660, 3660, pytest.approx(60 / 3660))


def test_slurms_own_times_are_not_touched_and_other_boots_do_not_count(spool: FakeSpool) -> None:
    run = spool.run()
    sampled(run, 3600)
    run.slurm(end_s=70)
    assert times(spool)[1] == 70
    other = spool.run("18")
    other.samples([other.header("18", boot_id=None), *other.records([100, 10], 60)], "18")
    other.end(job_id="18", end_s=90)
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        (job,) = find_jobs(connection, JobFilter(jobs=("18",)))
    assert job.elapsed_ns == 90 * SECOND


def test_an_unusable_clock_reading_is_ignored(spool: FakeSpool) -> None:
    run = spool.run()
    far_s = (7_200_000_000 * SECOND - START_NS) / SECOND
    run.samples([run.header(wall_ns=7_200_000_000 * SECOND), run.record(60, [1, 1], wall_ns=0)])
    run.end(end_s=far_s)
    assert sync(spool.root, spool.ledger).skipped == ()
    assert times(spool)[1] == far_s
