"""Jobs in segments against the clock: what counts as done, and that coming back never makes a job late."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from segment_job import RUN, Job

pytestmark = pytest.mark.slow


def credited(one: Job) -> list[int]:
    return [int(line.split()[2]) for line in (one.run_dir / ".17.progress").read_text().splitlines()]


def test_after_a_checkpoint_that_is_overdue_the_whole_limit_has_to_fit_in(tmp_path: Path) -> None:
    # Asked at 2 s it seems that 28 s are left, so 70 would do; but nothing is saved.
    one = Job(tmp_path, RUN, limit_s=30, deadline=90, windows=((0, 2), (70, 80)), grace_s=2)
    assert one.run(SAVE_S="60")[0] == 137
    assert one.calls()[1:] == ["requeue incomplete 17", f"update JobId=17 StartTime={one.start_time(60)}"]
    assert one.end()["segment"]["outcome"] == "overdue"
    assert one.end()["segment"]["next_start_wall_s"] == one.begun + 60


def test_where_an_overdue_checkpoint_leaves_no_time_it_goes_on_at_once(tmp_path: Path) -> None:
    one = Job(tmp_path, RUN, limit_s=40, deadline=43, grace_s=3)
    code, out, _ = one.run(SAVE_S="60")
    assert (code, out) == (0, "finished\n")
    assert one.calls() == ["show job 17"]
    # It is one run to the ledger, from its very start on.
    end = one.end()
    assert end["segment"]["outcome"] == "overdue"
    assert end["segment"]["next_start_wall_s"] is None
    assert end["started_wall_s"] < end["segment"]["asked_wall_s"]


def test_where_the_next_window_opens_meanwhile_it_goes_on_at_once_and_stops_at_its_end(tmp_path: Path) -> None:
    one = Job(tmp_path, RUN + "0", windows=((0, 2), (4, 8), (200, 210)))
    assert one.run(SAVE_S="2.5")[:2] == (0, "saved\nsaved\n")
    assert one.calls() == [
        "show job 17",
        "show job 17",
        "requeue incomplete 17",
        f"update JobId=17 StartTime={one.start_time(200)}",
    ]


def test_time_for_a_checkpoint_is_not_work(tmp_path: Path) -> None:
    one = Job(tmp_path, RUN)
    assert one.run(SAVE_S="3.5")[:2] == (0, "saved\n")
    assert 1 <= credited(one)[0] <= 3


def test_restart_time_is_not_work_either(tmp_path: Path) -> None:
    one = Job(tmp_path, RUN + "0", windows=((0, 4), (100, 110)), restart_cost_s=2)
    (one.run_dir / ".17.progress").write_text("0 100 7\n")
    assert one.run(SLURM_RESTART_COUNT="1")[:2] == (0, "saved\n")
    assert credited(one)[0] == 7
    assert 1 <= credited(one)[1] <= 3


def test_suspended_time_is_not_counted_as_work(tmp_path: Path) -> None:
    one = Job(tmp_path, RUN + "0", windows=((0, 3), (100, 110)))
    process = one.start()
    while not (tmp_path / "ready").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGSTOP)
    time.sleep(6)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert 1 <= credited(one)[0] <= 5


@pytest.mark.parametrize(("behind", "outcome"), [(0, "checkpointed"), (90, "no-time")])
def test_a_clock_that_is_behind_makes_no_job_late(tmp_path: Path, behind: int, outcome: str) -> None:
    # Slurm started the job just now, and its clock is right: by that, the 60 s have to begin now.
    one = Job(tmp_path, RUN, deadline=140)
    code, _, _ = one.run(FAKE_STARTED=str(one.begun + behind))
    assert (code, one.end()["segment"]["outcome"]) == (0, outcome)
    assert ("requeue incomplete 17" in one.calls()) == (behind == 0)


def test_nothing_of_an_overdue_job_runs_on(tmp_path: Path) -> None:
    # A shell that dies in its trap leaves behind what it waits for.
    (tmp_path / "nap").symlink_to("/bin/sleep")
    command = f"exec /bin/bash -c 'trap \"{tmp_path}/nap 78\" USR1; while :; do sleep 0.2; done'"
    one = Job(tmp_path, command, grace_s=2)
    assert one.run()[0] == 143
    assert one.end()["segment"]["outcome"] == "overdue"
    assert subprocess.run(["pgrep", "-f", f"{tmp_path}/nap"], check=False).returncode == 1


# Slurm put it back in the queue itself -------------------------------------------------------------------------------

LATER: dict[str, Any] = {"windows": ((-20, -10), (300, 310), (600, 700))}


def test_after_a_failure_of_its_node_it_waits_for_its_window(tmp_path: Path) -> None:
    one = Job(tmp_path, "echo ran", **LATER)
    assert one.run(SLURM_RESTART_COUNT="1") == (0, "", "")
    assert one.calls() == ["show job 17", "requeue incomplete 17", f"update JobId=17 StartTime={one.start_time(300)}"]
    assert one.end(1)["segment"]["outcome"] == "put-off"
    # It comes before its window: somebody wants it to, or Slurm was not told when. It is not put off for ever.
    assert one.run(SLURM_RESTART_COUNT="2") == (0, "ran\n", "")
    assert len(one.calls()) == 3


def test_put_off_it_still_comes_in_time(tmp_path: Path) -> None:
    one = Job(tmp_path, "echo ran", deadline=270, margin_s=20, **LATER)
    assert one.run(SLURM_RESTART_COUNT="1") == (0, "", "")
    assert one.calls()[-1] == f"update JobId=17 StartTime={one.start_time(270 - 60 - 20)}"


@pytest.mark.parametrize(
    ("environ", "plan"),
    [
        # No time to lose; little to wait for; Slurm does not take it back; the window is open; a first start.
        ({}, {**LATER, "deadline": 90}),
        ({}, {"windows": ((-20, -10), (50, 60), (600, 700))}),
        ({"FAKE_REQUEUE_CODE": "1"}, LATER),
        ({"FAKE_REQUEUE": "0"}, LATER),
        ({}, {"windows": ((-20, 10), (300, 310))}),
        ({"SLURM_RESTART_COUNT": "0"}, LATER),
    ],
)
def test_it_runs_where_waiting_is_not_possible_or_not_worth_it(
    tmp_path: Path, environ: dict[str, str], plan: dict[str, Any]
) -> None:
    one = Job(tmp_path, "echo ran", **plan)
    assert one.run(**({"SLURM_RESTART_COUNT": "1"} | environ)) == (0, "ran\n", "")
    assert not any(call.startswith("update") for call in one.calls())


def test_a_job_in_three_segments_keeps_to_its_windows(tmp_path: Path) -> None:
    command = f"{sys.executable} program.py 60"
    one = Job(tmp_path, command, windows=((0, 2), (4, 6), (8, 20)), limit_s=12, deadline=60)
    outs = []
    for restart, start in enumerate((0, 4, 8)):
        time.sleep(max(0.0, one.begun + start - time.time()))
        outs.append(one.run(SLURM_RESTART_COUNT=str(restart))[:2])
    assert outs == [(0, "saved\n"), (0, "saved\n"), (0, "finished\n")]
    told = [call.partition("StartTime=")[2] for call in one.calls() if call.startswith("update")]
    assert told == [one.start_time(4), one.start_time(8)]
    assert len(credited(one)) == 2
