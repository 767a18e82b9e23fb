"""The batch script of a job in segments, really run: it asks for the checkpoint, comes back, and is never late."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from segment_job import RUN, Job

from hpcfrugal.job.render import UserScript

pytestmark = pytest.mark.slow


def test_stops_at_the_end_of_its_segment_and_comes_back(tmp_path: Path) -> None:
    one = Job(tmp_path, f"echo first; {RUN}; echo never")
    assert one.run() == (0, "first\nsaved\n", "")
    assert one.calls() == ["show job 17", "requeue incomplete 17", f"update JobId=17 StartTime={one.start_time(100)}"]
    end = one.end()
    assert end["exit_code"] == 0
    assert end["segment"]["outcome"] == "checkpointed"
    assert end["segment"]["next_start_wall_s"] == one.begun + 100
    assert 2 <= end["segment"]["asked_wall_s"] - one.begun <= 4
    lines = [json.loads(line) for path in one.run_dir.glob("17.0.*.jsonl") for line in path.read_text().splitlines()]
    assert (lines[-1]["kind"], lines[-1]["reason"]) == ("end", "stopped")
    # It left nothing behind that runs.
    assert subprocess.run(["pgrep", "-f", str(tmp_path)], check=False).returncode == 1
    # When it is back its state is there, and in the last segment nothing stops it.
    assert int((tmp_path / "state").read_text()) >= 5
    one.begun -= 100
    assert one.run(SLURM_RESTART_COUNT="1", DEAF="1") == (0, "first\nfinished\nnever\n", "")
    assert len(one.calls()) == 3
    assert one.end(1)["segment"] is None


def test_one_task_of_an_array_leaves_the_others_alone(tmp_path: Path) -> None:
    # The task that Slurm starts last has the id of the whole array, and a requeue of that stops all of them.
    one = Job(tmp_path, RUN)
    assert one.run(SLURM_ARRAY_JOB_ID="17", SLURM_ARRAY_TASK_ID="3")[:2] == (0, "saved\n")
    assert one.calls() == [
        "show job 17_3",
        "requeue incomplete 17_3",
        f"update JobId=17_3 StartTime={one.start_time(100)}",
    ]


def test_the_next_start_is_shown_in_utc(tmp_path: Path) -> None:
    # An hour of local time means two when the clocks are set back.
    one = Job(tmp_path, f"echo $TZ; {RUN}")
    assert one.run(TZ="Europe/Paris") == (0, "Europe/Paris\nsaved\n", "")
    assert one.calls()[-1] == f"update JobId=17 StartTime={one.start_time(100)}"
    assert (tmp_path / "zone").read_text() == "UTC0\n"


def test_a_program_without_a_shell_above_it(tmp_path: Path) -> None:
    script = UserScript([sys.executable], str(tmp_path / "program.py"), None)
    one = Job(tmp_path, "", script=script)
    assert one.run() == (0, "saved\n", "")
    assert one.calls()[1:] == ["requeue incomplete 17", f"update JobId=17 StartTime={one.start_time(100)}"]


@pytest.mark.parametrize("script", [False, True])
def test_a_checkpoint_that_fails_is_the_jobs_end(tmp_path: Path, script: bool) -> None:
    one = Job(
        tmp_path,
        f"{RUN} || exit 9",
        script=UserScript([sys.executable], str(tmp_path / "program.py"), None) if script else None,
    )
    assert one.run(SAVED_CODE="9") == (9, "saved\n", "")
    assert one.calls() == ["show job 17"]
    assert one.end()["segment"]["outcome"] == "failed"


WORKERS = """
import os, signal, sys, time
workers = []
def stop(*_):
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    # Not waited for at once, as by Python's multiprocessing: their exit status can be seen.
    time.sleep(0.5)
    os._exit(int(os.environ.get("SAVED_CODE", "0")))
signal.signal(signal.SIGUSR1, stop)
for _ in range(2):
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        while True:
            time.sleep(0.1)
    workers.append(pid)
time.sleep(30)
"""


@pytest.mark.parametrize(("code", "outcome"), [("0", "checkpointed"), ("9", "failed")])
def test_a_program_that_ends_its_workers_has_not_failed(tmp_path: Path, code: str, outcome: str) -> None:
    (tmp_path / "workers.py").write_text(WORKERS)
    one = Job(tmp_path, f"{sys.executable} workers.py; code=$?; echo after; exit $code")
    assert one.run(SAVED_CODE=code) == (int(code), "" if code == "0" else "after\n", "")
    assert one.end()["segment"]["outcome"] == outcome
    assert ("requeue incomplete 17" in one.calls()) == (code == "0")


def test_the_job_ends_by_itself_before_its_segment(tmp_path: Path) -> None:
    one = Job(tmp_path, "sleep 0.5; exit 3")
    assert one.run() == (3, "", "")
    assert one.calls() == []
    assert one.end()["segment"] is None


@pytest.mark.parametrize(
    ("environ", "plan", "outcome"),
    [
        ({"DEAF": "1"}, {}, "not-handled"),
        ({"FAKE_REQUEUE": "0"}, {}, "no-requeue"),
        # 60 s of run time, 55 s until the deadline: whoever stops now would be late.
        ({}, {"deadline": 55}, "no-time"),
        ({}, {"deadline": 70, "margin_s": 15}, "no-time"),
    ],
)
def test_it_runs_on_where_stopping_is_not_possible(
    tmp_path: Path, environ: dict[str, str], plan: dict[str, int], outcome: str
) -> None:
    one = Job(tmp_path, RUN, **plan)
    assert one.run(**environ) == (0, "finished\n", "")
    assert "requeue incomplete 17" not in one.calls()
    assert one.end()["segment"]["outcome"] == outcome


def test_the_next_start_leaves_time_before_the_deadline(tmp_path: Path) -> None:
    # 60 s of run time in all: after 2 to 4 s about 57 are left, so 80 - 57 - 10 is the latest start.
    one = Job(tmp_path, RUN, deadline=80, margin_s=10)
    assert one.run()[0] == 0
    begun = one.end()["segment"]["asked_wall_s"]
    assert one.end()["segment"]["next_start_wall_s"] <= one.begun + 80 - 10 - (60 - (begun - one.begun)) + 1
    assert one.end()["segment"]["next_start_wall_s"] < one.begun + 100


def test_run_time_that_was_saved_counts_when_it_comes_back(tmp_path: Path) -> None:
    one = Job(tmp_path, RUN, deadline=62, windows=((0, 2), (10, 100), (300, 310)))
    (one.run_dir / ".17.progress").write_text("0 100 50\n")
    # 60 - 50 = 10 s are left, so there is time to stop; without the 50 s there would be none.
    assert one.run(SLURM_RESTART_COUNT="1")[:2] == (0, "saved\n")
    counted = [int(line.split()[2]) for line in (one.run_dir / ".17.progress").read_text().splitlines()]
    assert counted[0] == 50
    assert 1 <= counted[1] <= 4


def test_a_program_that_goes_on_after_its_checkpoint_is_ended(tmp_path: Path) -> None:
    one = Job(tmp_path, RUN + "0", grace_s=2)
    assert one.run(GO_ON="1")[:2] == (137, "saved\n")
    assert one.calls()[1] == "requeue incomplete 17"
    assert one.end()["segment"]["outcome"] == "overdue"
    # Nobody knows what it saved, so nothing of it counts.
    assert (one.run_dir / ".17.progress").read_text().split()[2] == "0"


def test_a_job_that_cannot_come_back_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    one = Job(tmp_path, RUN)
    assert one.run(FAKE_REQUEUE_CODE="1") == (0, "saved\nfinished\n", "")
    assert one.calls().count("requeue incomplete 17") == 1


def test_cancelled_while_it_saves(tmp_path: Path) -> None:
    one = Job(tmp_path, RUN, grace_s=20)
    process = one.start(SAVE_S="3")
    one.wait_for("show job 17")
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
    assert "requeue incomplete 17" not in one.calls()
    assert one.end()["segment"]["outcome"] == "interrupted"


def test_one_window_is_an_ordinary_job(tmp_path: Path) -> None:
    one = Job(tmp_path, RUN, windows=((0, 2),))
    assert "scontrol" not in one.text
