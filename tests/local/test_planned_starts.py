"""Jobs of this machine that wait for their start: in a process of their own, by the wall clock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from planned import Planned
from sandbox import Sandbox, wait_until

from hpcfrugal.job.backend import RenderedJob
from hpcfrugal.local import job_process, states
from hpcfrugal.local.backend import Local
from hpcfrugal.local.pid_file import read_pid
from hpcfrugal.local.task import LocalTask
from hpcfrugal.spool import RunDir
from hpcfrugal.spool.documents import LocalDocument, write_document


@pytest.fixture
def planned(box: Sandbox, tmp_path: Path) -> Planned:
    made = Planned(box, tmp_path)
    box.env["HPCFRUGAL_BACKEND"] = "local"
    return made


def later(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def starter_of(run_dir: Path) -> int:
    pid = read_pid(run_dir / "local.pid")
    assert pid is not None
    return pid


def test_a_job_waits_for_the_start_of_its_plan(planned: Planned) -> None:
    start = planned.forecast([300.0] * 8 + [30.0] * 4 + [300.0] * 36)
    result, plan, _ = planned.submit({"max_delay": "12h"})
    box, run_id = planned.box, json.loads(result.out)["run_id"]
    assert (plan["action"], result.err) == ("wait", "")
    begin = datetime.fromisoformat(plan["begin_at"])
    assert abs(begin - (start + timedelta(hours=8))) < timedelta(seconds=2)
    assert planned.slurm.calls() == []
    (row,) = json.loads(box.ok("status", "--json"))
    assert (row["state"], row["elapsed_s"]) == ("PENDING", None)
    assert row["reason"].startswith("starts at ")
    assert f"{begin:%H:%M} UTC" in row["reason"]
    assert "PENDING" in box.ok("status", run_id)
    # It has no terminal, is in a session of its own, and a hang-up does not end it.
    starter = starter_of(RunDir.of(box.spool, run_id).path)
    assert os.getsid(starter) not in (os.getsid(0), starter)
    os.kill(starter, signal.SIGHUP)
    time.sleep(0.2)
    assert box.state(run_id) == "PENDING"
    assert box.ok("cancel", run_id) == f"Cancelled job {run_id}\n"
    assert box.state(run_id) == "CANCELLED"
    wait_until(lambda: not Path(f"/proc/{starter}/stat").exists())
    assert not list(box.work.glob("local-*.out")) or (box.work / f"local-{run_id}.out").read_text() == ""
    box.ok("ledger", "sync")
    (job,) = json.loads(box.ok("report", "--json", run_id))["jobs"]
    assert (job["state"], job["started_at"], job["elapsed_s"]) == ("CANCELLED", None, None)


@pytest.mark.slow
def test_the_wait_is_not_counted_as_run_time(box: Sandbox) -> None:
    job = box.job("date +%s.%N; sleep 0.5", output="o", schedule={"earliest": later(8)})
    submitted = time.time()
    result = box.run("submit", "--wait", "--json", job)
    assert result.code == 0, result
    (row,) = json.loads(result.out)["jobs"]
    begin = datetime.fromisoformat(json.loads(job.read_text())["schedule"]["earliest"]).timestamp()
    assert begin <= float((box.work / "o").read_text())
    assert submitted <= datetime.fromisoformat(row["submitted_at"]).timestamp() < begin
    assert begin <= datetime.fromisoformat(row["started_at"]).timestamp()
    assert 0.5 <= row["elapsed_s"] < 6


def test_a_start_that_has_passed_is_a_wait_of_0(box: Sandbox) -> None:
    job_id, run_dir = box.submit("true", schedule={"earliest": "2026-01-01T00:00Z"}, energy="off")
    assert box.wait_over(job_id) == "COMPLETED"
    assert json.loads((run_dir / "local.json").read_text())["begin_at"] is None


def test_the_wall_clock_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that was suspended, or whose clock was set: the time that has passed differs from the time slept."""
    now_s, slept = 1000.0, list[float]()

    def sleep(seconds: float) -> None:
        nonlocal now_s
        slept.append(seconds)
        # The second second takes an hour, as of a machine that sleeps; then the clock is set back by a minute.
        now_s += {2: 3600.0, 3: -60.0}.get(len(slept), seconds)

    monkeypatch.setattr(job_process.time, "time", lambda: now_s)
    monkeypatch.setattr(job_process.time, "sleep", sleep)
    tasks = [LocalTask(RunDir(str(tmp_path)))]
    job_process.wait_to_begin(tasks, datetime.fromtimestamp(1000.0 + 7200, UTC))
    assert now_s == 1000.0 + 7200
    assert len(slept) == 2 + 1 + (7200 - 3601 + 60)
    assert max(slept) <= 1
    slept.clear()
    job_process.wait_to_begin(tasks, datetime.fromtimestamp(now_s - 1, UTC))
    job_process.wait_to_begin(tasks, None)
    assert slept == []


def test_a_job_whose_waiting_process_is_gone_is_named_with_what_to_do(box: Sandbox) -> None:
    job = box.job("touch ran", schedule={"earliest": later(3600)}, resources={"array": "1-2"}, file="my job.yaml")
    run_id = json.loads(box.ok("submit", "--json", job))["run_id"]
    run_dir = RunDir.of(box.spool, run_id)
    os.kill(starter_of(run_dir.path), signal.SIGKILL)
    wait_until(lambda: read_pid(run_dir.local_pid) is None)
    result = box.run("status", run_id)
    assert "NODE_FAIL" in result.out
    gone = "the process that was to start it is gone, as after a restart of this machine; submit it again"
    assert result.err == f"warning: job {run_id}: {gone}: hpcfrugal submit '{job}'\n"
    (row,) = json.loads(box.ok("status", "--json", run_id))
    assert (row["state"], row["elapsed_s"], row["reason"]) == ("NODE_FAIL", None, f"{gone}: hpcfrugal submit '{job}'")
    assert box.ok("cancel", run_id) == f"Job {run_id} has already ended (NODE_FAIL)\n"


def test_a_process_of_another_boot_is_not_the_one_that_waits(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = json.loads(box.ok("submit", "--json", box.job("true", schedule={"earliest": later(3600)})))["run_id"]
    run_dir = RunDir.of(box.spool, run_id)
    pid = run_dir.local_pid.read_text().split()[0]
    os.kill(int(pid), signal.SIGKILL)
    ours = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[19]
    # The same pid and start time, by chance.
    run_dir.local_pid.write_text(f"{os.getpid()} {ours} 00000000-0000-0000-0000-000000000000\n")
    (state,) = states.job_states(run_dir)
    assert state.state == "NODE_FAIL"


@pytest.mark.slow
def test_the_job_that_waits_outlives_its_submitter(box: Sandbox) -> None:
    path = box.job("echo done", output="o", schedule={"earliest": later(3)}, energy="off")
    submitter = subprocess.Popen(
        [*box.program, "submit", "--wait", path],
        cwd=box.work, env=box.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: list(box.spool.glob("*/*/submitted.json")))
    os.killpg(submitter.pid, signal.SIGHUP)
    submitter.wait(timeout=20)
    wait_until(lambda: (box.work / "o").exists() and (box.work / "o").read_text() == "done\n")


def test_a_hang_up_ends_the_commands_of_a_job_as_it_does_in_a_shell(box: Sandbox) -> None:
    job_id, _ = box.submit("kill -HUP $BASHPID; echo alive", output="o", energy="off")
    assert box.wait_over(job_id) == "FAILED"
    assert (box.work / "o").read_text() == ""


def test_a_plan_counts_the_time_limit_and_the_deadline(planned: Planned) -> None:
    start = planned.forecast([300.0] * 8 + [30.0] * 4 + [300.0] * 36)
    deadline = start + timedelta(hours=6)
    result, plan, _ = planned.submit({"deadline": deadline.isoformat()}, resources={"time": "2:00:00"})
    assert plan["latest_start_at"] == (deadline - timedelta(hours=2)).isoformat().replace("+00:00", "Z")
    assert plan["action"] == "start-now", "the clean hours come too late"
    assert planned.box.wait_over(json.loads(result.out)["run_id"]) == "COMPLETED"
    result = planned.box.run("submit", planned.job({"deadline": "2020-01-01T00:00Z"}))
    assert (result.code, "has passed" in result.err) == (2, True)


def test_a_plan_counts_all_tasks_of_an_array(planned: Planned) -> None:
    start = planned.forecast([300.0] * 8 + [30.0] * 4 + [300.0] * 36)
    deadline = start + timedelta(hours=20)
    path = planned.job({"deadline": deadline.isoformat()}, resources={"time": "2:00:00", "array": "1-8%2"})
    plan = json.loads(planned.box.ok("plan", "--json", path))
    assert plan["latest_start_at"] == (deadline - timedelta(hours=8)).isoformat().replace("+00:00", "Z")
    assert (plan["duration_s"], plan["duration_source"]) == (8 * 3600, "time limit; 4 tasks one after the other")


def test_now_starts_it_at_once(planned: Planned) -> None:
    planned.forecast([300.0] * 8 + [30.0] * 4 + [300.0] * 36)
    out = json.loads(planned.box.ok("submit", "--now", "--json", planned.job({"max_delay": "12h"})))
    assert out["plan"]["reason"] == "an immediate start was asked for"
    assert planned.box.wait_over(out["run_id"]) == "COMPLETED"


def test_a_job_that_is_cancelled_as_its_segment_ends_does_not_start_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process has ended, and that it is to start again is not recorded yet."""
    run_dir = RunDir.create(tmp_path, "20261128T220244Z-9a60552e")
    write_document(run_dir.local_json, LocalDocument())
    segments = list[int]()

    def segment(task: LocalTask, _: job_process.Launch) -> int:
        segments.append(task.restart)
        task.pid_path.write_text("1 None -\n")
        if not task.restart:
            run_dir.next_start(task.job_id).write_text(f"{int(time.time())}\n")
            Local(tmp_path).cancel([task.job_id])
        return 0

    monkeypatch.setattr(job_process, "run_segment", segment)
    launch = job_process.Launch(RenderedJob(run_dir.run_id, "job", run_dir.script, b"", tmp_path), "alice", None)
    job_process.run_task(LocalTask(run_dir), launch)
    assert segments == [0]
    assert LocalTask(run_dir).is_cancelled()
