"""Which executions belong to a run, which restart each is, and when a job is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm, sacct_row, squeue_row
from fake_spool import FakeRun, FakeSpool

from hpcfrugal.job.backend import RunStates, SubmittedRun
from hpcfrugal.slurm.backend import SlurmBackend
from hpcfrugal.slurm.executions import Attempt, of_run
from hpcfrugal.slurm.states import refresh_states, stored_states
from hpcfrugal.spool import JobKey
from hpcfrugal.spool.job_state import JobState, is_over

CREATED = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return CREATED + timedelta(minutes=minutes)


def execution(submit: float, start: float | None, end: float | None, state: str = "COMPLETED") -> JobState:
    return JobState(
        "17", state, submit_at=at(submit),
        start_at=None if start is None else at(start), end_at=None if end is None else at(end),
    )  # fmt: skip


DAY = 24 * 60.0
YEAR = 365 * DAY
FIRST = execution(0, 1, 5, "REQUEUED")
SECOND = execution(5, 7, 9)


@pytest.mark.parametrize(
    ("listed", "attempts", "kept"),
    [
        ([FIRST, SECOND], {}, [(0, 0), (5, 1)]),
        # accounting has purged the first execution; the sidecar and the batch script know what they were
        ([SECOND], {1: at(7)}, [(5, 1)]),
        ([SECOND], {0: at(1), 1: at(7)}, [(5, 1)]),
        ([SECOND], {0: at(1)}, [(5, 1)]),
        ([execution(5, None, None, "PENDING")], {0: at(1)}, [(5, 1)]),
        ([execution(5, None, None, "PENDING")], {0: at(1), 1: at(2)}, [(5, 2)]),
        # an execution of which the spool has nothing
        ([FIRST, execution(5, 6, 7, "NODE_FAIL"), execution(7, 8, 9)], {2: at(8)}, [(0, 0), (5, 1), (7, 2)]),
        ([FIRST, execution(5, 6, 7, "NODE_FAIL"), execution(7, 8, 9)], {0: at(1)}, [(0, 0), (5, 1), (7, 2)]),
        # put back into the queue and started again within seconds
        (
            [execution(0, 1, 1.03, "REQUEUED"), execution(1.03, 1.03, 2)],
            {0: at(1.005), 1: at(1.035)},
            [(0, 0), (1.03, 1)],
        ),
        ([execution(1.03, 1.03, 2)], {0: at(1.005), 1: at(1.035)}, [(1.03, 1)]),
        # a node whose clock is wrong by hours
        ([execution(0, 1, 5)], {3: at(-500)}, [(0, 3)]),
        # the id belonged to a stranger's job before, or does since
        ([execution(-YEAR, 1 - YEAR, 5 - YEAR, "FAILED"), execution(0, 1, 5)], {0: at(1)}, [(0, 0)]),
        ([execution(0, 1, 5), execution(YEAR, YEAR, YEAR + 1)], {0: at(1)}, [(0, 0)]),
        ([execution(YEAR, YEAR, YEAR + 1)], {0: at(1)}, []),
        ([execution(YEAR, YEAR, YEAR + 1)], {}, []),
        # submitted by a login node whose clock is a few minutes ahead
        ([execution(-5, 1, 5)], {}, [(-5, 0)]),
        ([execution(-10, 1, 5)], {}, [(-10, 0)]),
        ([execution(-10.1, 1, 5)], {}, []),
        # within a day
        ([execution(DAY, DAY, DAY + 1)], {}, [(DAY, 0)]),
        ([execution(DAY + 0.1, DAY + 0.1, DAY + 1)], {}, []),
        ([FIRST, execution(5 + DAY, 5 + DAY, 9 + DAY)], {}, [(0, 0), (5 + DAY, 1)]),
        ([execution(0, 1, 5), execution(5.1 + DAY, 6 + DAY, 9 + DAY)], {}, [(0, 0)]),
        # a node's clock that is 2 s behind, and one that is more
        ([execution(0, 1, 1.5, "REQUEUED"), execution(2, 2, 3)], {5: at(2 - 2 / 60)}, [(0, 4), (2, 5)]),
        ([execution(0, 1, 1.5, "REQUEUED"), execution(2, 2, 3)], {5: at(2 - 2.1 / 60)}, [(0, 5), (2, 6)]),
    ],
)
def test_identity_and_restarts(
    listed: list[JobState], attempts: dict[int, datetime], kept: list[tuple[float, int]]
) -> None:
    known = {JobKey("17", restart): Attempt(None, start_at) for restart, start_at in attempts.items()}
    found = of_run(listed, CREATED, known)
    assert [(state.submit_at, state.restart) for state in found] == [(at(submit), number) for submit, number in kept]


def test_a_restart_keeps_the_number_under_which_it_is_stored() -> None:
    known = {JobKey("17", 4): Attempt(at(5), None)}
    assert [state.restart for state in of_run([SECOND, execution(9, 10, 11)], CREATED, known)] == [4, 5]


@pytest.mark.parametrize(
    ("states", "over"),
    [
        ([], False),
        ([JobState("17", "COMPLETED")], True),
        ([JobState("17", "REQUEUED", end_at=CREATED)], False),
        ([JobState("17", "REQUEUED", end_at=CREATED), JobState("17", "PENDING", restart=1)], False),
        ([JobState("17", "REQUEUED", end_at=CREATED), JobState("17", "FAILED", restart=1)], True),
        ([JobState("17", "NODE_FAIL")], True),
        ([JobState("18", "COMPLETED", array_job_id="17")], False),  # other tasks of the array wait
        ([JobState("18", "COMPLETED", array_job_id="17"), JobState("17", "RUNNING", array_job_id="17")], False),
        ([JobState("18", "COMPLETED", array_job_id="17"), JobState("17", "FAILED", array_job_id="17")], True),
    ],
)
def test_over(states: list[JobState], over: bool) -> None:
    assert is_over("17", states) is over


# Answers of Slurm -------------------------------------------------------------------------------------------------


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path / "slurm", cluster="lab")
    monkeypatch.setenv("PATH", f"{fake.bin}:/usr/bin:/bin")
    return fake


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    return FakeSpool(tmp_path).run("17")


def states(run: FakeRun) -> RunStates:
    return SlurmBackend().states([SubmittedRun(run.run_dir.path, "17")]).runs[run.run_id]


@pytest.mark.parametrize("how", ["PREEMPTED", "NODE_FAIL", "REQUEUED", "BOOT_FAIL", "FAILED"])
def test_a_job_that_leaves_its_nodes_may_come_back(slurm: FakeSlurm, run: FakeRun, how: str) -> None:
    slurm.sacct(sacct_row("17", how, code="1:0"))
    slurm.squeue(squeue_row("17", "COMPLETING"))
    found = states(run)
    assert ([state.state for state in found.states], found.over, found.queued) == (["COMPLETING"], False, True)
    slurm.squeue(squeue_row("17", "PENDING", submit="2026-11-21T10:01:01"))
    found = states(run)
    assert ([state.state for state in found.states], found.over) == ([how, "PENDING"], False)
    slurm.answer("squeue", err="slurm_load_jobs error: Invalid job id specified\n", code=1)
    assert states(run).over is (how != "REQUEUED")


@pytest.mark.parametrize("how", ["COMPLETED", "CANCELLED by 1000", "TIMEOUT", "OUT_OF_MEMORY"])
def test_a_job_that_cannot_come_back_is_over_at_once(slurm: FakeSlurm, run: FakeRun, how: str) -> None:
    slurm.sacct(sacct_row("17", how))
    slurm.squeue(squeue_row("17", "COMPLETING"))
    assert states(run).over


@pytest.mark.parametrize("how", ["PREEMPTED", "NODE_FAIL"])
def test_only_the_queue_knows_whether_a_job_comes_back(slurm: FakeSlurm, run: FakeRun, how: str) -> None:
    slurm.sacct(sacct_row("17", how))
    slurm.answer("squeue", err="slurm_load_jobs error: Unable to contact slurm controller\n", code=1)
    found = states(run)
    assert (found.over, found.queued) == (False, None)
    (line,) = refresh_states(run.run_dir.spool).warnings
    assert "Unable to contact slurm controller: states of jobs may be out of date" in line
    slurm.squeue()
    refresh_states(run.run_dir.spool)
    before = len(slurm.calls())
    refresh_states(run.run_dir.spool)
    assert len(slurm.calls()) == before  # settled


@pytest.mark.parametrize(
    ("start", "in_queue", "elapsed_s"),
    [
        ("2026-11-21T10:00:01", "2026-11-21T10:00:30", 60),  # 22.05
        ("2026-11-21T10:00:30", "2026-11-21T10:00:00", 120),  # 24.11
    ],
)
def test_a_job_whose_nodes_were_changed_is_one_execution(
    slurm: FakeSlurm, run: FakeRun, start: str, in_queue: str, elapsed_s: int
) -> None:
    changed = "2026-11-21T10:00:30"
    slurm.sacct(
        sacct_row("17", "RESIZING", end=changed),
        sacct_row("17", "RUNNING", submit=changed, start=start, end="Unknown", nodes="n1"),
    )
    slurm.squeue(squeue_row("17", "RUNNING", submit=in_queue, nodes="n1"))
    (state,) = states(run).states
    assert (state.restart, state.state, state.submit_at, state.nodes) == (0, "RUNNING", CREATED, ("n1", "n2"))
    assert (state.start_at, state.elapsed_s) == (CREATED + timedelta(seconds=1), elapsed_s)


def test_hanging_accounting_does_not_hide_the_queue(slurm: FakeSlurm, run: FakeRun) -> None:
    slurm.answer("sacct", then="exec sleep 60")
    slurm.squeue(squeue_row("17", "RUNNING"))
    found = SlurmBackend(timeout_s=0.3).states([SubmittedRun(run.run_dir.path, "17")])
    assert [state.state for state in found.runs[run.run_id].states] == ["RUNNING"]
    assert found.problem is not None
    assert "sacct did not answer" in found.problem


def test_without_accounting_a_job_is_settled_by_its_end_record(slurm: FakeSlurm, run: FakeRun) -> None:
    slurm.answer("sacct", err="Slurm accounting storage is disabled\n", code=1)
    slurm.squeue(squeue_row("17", "RUNNING"))
    assert refresh_states(run.run_dir.spool).notes == []
    slurm.answer("squeue", err="slurm_load_jobs error: Invalid job id specified\n", code=1)
    run.end(exit_code=3)
    found = states(run)
    assert ([(state.state, state.exit_code) for state in found.states], found.over) == ([("FAILED", 3)], True)
    refreshed = refresh_states(run.run_dir.spool)
    assert refreshed.warnings == []
    assert refreshed.notes == ["Slurm keeps no accounting: the end of jobs is taken from their own records: 17"]
    assert [(state.state, state.nodes) for state in stored_states(run.run_dir)] == [("FAILED", ("n1", "n2"))]
    before = len(slurm.calls())
    assert refresh_states(run.run_dir.spool).notes == []
    assert len(slurm.calls()) == before
