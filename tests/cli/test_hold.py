"""``hpcfrugal hold`` and ``hpcfrugal release``, by what they ask of Slurm."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fake_slurm import FakeSlurm, squeue_row
from planned import Planned
from sandbox import Sandbox


@pytest.fixture
def waiting(box: Sandbox, tmp_path: Path) -> Planned:
    """Job 17, which waits for its planned start."""
    planned = Planned(box, tmp_path)
    planned.submit({"policy": "asap"}, name="one")
    planned.slurm.squeue(row("PENDING", reason="BeginTime"))
    return planned


def row(state: str, reason: str = "None", **more: Any) -> str:
    return squeue_row("17", state, submit=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}", reason=reason, **more)


def changes(slurm: FakeSlurm) -> list[list[str]]:
    return [call[:-2] for call in slurm.calls("scontrol") if call[0] != "show"]


def test_a_waiting_job_is_held_and_released(waiting: Planned) -> None:
    assert waiting.box.ok("hold", "one") == "Job 17 is held\n"
    waiting.slurm.squeue(row("PENDING", reason="JobHeldUser", priority=0))
    assert "JobHeldUser" in waiting.box.ok("status", "17")
    assert waiting.box.ok("release", "17") == "Job 17 is released\n"
    assert changes(waiting.slurm) == [["hold", "17"], ["release", "17"]]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("PENDING", "launch failed requeued held"), ("PENDING", "job requeued in held state"),
        ("PENDING", "JobHoldMaxRequeue"), ("SPECIAL_EXIT", "job requeued in held state"),
    ],
)  # fmt: skip
def test_a_held_job_is_released_whatever_its_reason(waiting: Planned, state: str, reason: str) -> None:
    waiting.slurm.squeue(row(state, reason, priority=0))
    assert waiting.box.ok("release", "17") == "Job 17 is released\n"
    assert changes(waiting.slurm) == [["release", "17"]]


def test_a_planned_job_starts_now_when_it_is_released(waiting: Planned) -> None:
    assert waiting.box.ok("release", "latest") == "Job 17 is released\n"
    assert changes(waiting.slurm) == [["update", "JobId=17", "StartTime=now"]]


def test_what_slurm_refuses_is_said_for_each_job(waiting: Planned) -> None:
    waiting.slurm.answer(
        "scontrol",
        "ClusterName = c1\n",
        then='[ "$1" = show ] || { echo "Access/permission denied for job 17" >&2; exit 1; }',
    )
    result = waiting.box.run("hold", "17")
    assert (result.code, result.out) == (3, "Job 17: Access/permission denied for job 17\n")
    assert result.err == "error: not all jobs could be changed\n"
    waiting.slurm.squeue(row("RUNNING"))
    result = waiting.box.run("hold", "17")
    assert (result.code, result.out) == (3, "Job 17: does not wait (RUNNING)\n")


def test_a_job_of_this_machine_cannot_be_held(box: Sandbox) -> None:
    job_id, _ = box.submit("true", name="here", energy="off")
    box.wait_over(job_id)
    result = box.run("release", "here")
    assert (result.code, result.err) == (
        2, f"error: {job_id}: is a job of this machine, which has no queue (`hpcfrugal cancel` ends it)\n",
    )  # fmt: skip


@pytest.mark.parametrize("command", ["hold", "release", "cancel", "status"])
def test_a_word_that_means_no_job_is_in_one_short_line(box: Sandbox, command: str) -> None:
    result = box.run(command, "x\nerror: \x1b[31m", "y" * 4000, "")
    assert result.code == 2
    lines = result.err.splitlines()
    assert [line.partition(": is not a job")[0] for line in lines] == [
        "error: x\N{REPLACEMENT CHARACTER}error: \N{REPLACEMENT CHARACTER}[31m", f"error: {'y' * 79}…", "error: ''"
    ]  # fmt: skip
