"""Arrays of this machine: what each task sees, how many run at once, how they end, and what their energy is."""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sandbox import Sandbox, wait_until

from hpcfrugal.job import job_from_mapping
from hpcfrugal.job.array_tasks import indices_of, parse_array
from hpcfrugal.submission.local_limits import tasks_at_once, tasks_in_turn


@pytest.mark.parametrize(
    ("text", "indices", "at_once", "step"),
    [
        ("0-9:2%3", [0, 2, 4, 6, 8], 3, 2),
        ("3,1,7-8", [1, 3, 7, 8], None, 1),
        ("1-3,2,5-9:4", [1, 2, 3, 5, 9], None, 4),
        ("0-8:2,0-9:3", [0, 2, 3, 4, 6, 8, 9], None, 2),
        ("007", [7], None, 1),
    ],
)
def test_tasks(text: str, indices: list[int], at_once: int | None, step: int) -> None:
    array = parse_array(text)
    assert (list(array.indices), array.at_once, array.step) == (indices, at_once, step)


@pytest.mark.parametrize(
    ("text", "indices"), [("3", {3}), ("[1-3]", {1, 2, 3}), ("[1-5:2,9]", {1, 3, 5, 9}), ("[4]", {4})]
)
def test_tasks_behind_a_job_id(text: str, indices: set[int]) -> None:
    assert indices_of(text) == indices


@pytest.mark.parametrize("text", ["", "[]", "1-3", "1,2", "[1-3", "x", "[1-3%2]", "[0-99999999]", "-1", "3%2"])
def test_no_tasks_behind_a_job_id(text: str) -> None:
    with pytest.raises(ValueError, match="array"):
        indices_of(text)


@pytest.mark.parametrize(
    ("resources", "wanted"),
    [
        ({}, 1),
        ({"array": "0-9%3"}, 3),
        ({"array": "0-9"}, 8),
        ({"array": "0-9", "cpus_per_task": 3}, 2),
        ({"array": "0-9", "cpus_per_task": 2, "ntasks": 2}, 2),
        ({"array": "0-9", "cpus_per_task": 64}, 1),
        ({"array": "0-9", "gpus": 1}, 1),
        ({"array": "0-9%2", "gpus": 1}, 2),
    ],
)
def test_tasks_at_once(resources: dict[str, Any], wanted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    asked = job_from_mapping({"command": "true", "resources": resources}).resources
    assert tasks_at_once(asked) == wanted
    assert tasks_in_turn(asked) == (math.ceil(10 / wanted) if resources else 1)


SHOW = 'echo "$SLURM_ARRAY_JOB_ID $SLURM_ARRAY_TASK_ID $SLURM_ARRAY_TASK_COUNT $SLURM_ARRAY_TASK_MIN"'
SHOW += ' "$SLURM_ARRAY_TASK_MAX $SLURM_ARRAY_TASK_STEP"'


def test_each_task_sees_the_variables_of_sbatch_and_is_an_execution_of_its_own(box: Sandbox) -> None:
    # What is left over from a job around it is not its own.
    box.env |= {"SLURM_JOB_ID": "17", "SLURM_ARRAY_JOB_ID": "16", "SLURM_ARRAY_TASK_ID": "99"}
    job = box.job(f"{SHOW}; exit $SLURM_ARRAY_TASK_ID", resources={"array": "0-5:2"}, output="%A-%a", error="e-%j")
    result = box.run("submit", "--wait", "--json", job)
    assert result.code == 4, "the highest of the tasks, as with sbatch --wait"
    # two tasks that start at once may be noted in any order
    rows = sorted(json.loads(result.out)["jobs"], key=lambda row: row["job_id"])
    (run_dir,) = box.spool.glob("20*/*")
    run_id = run_dir.name
    assert [row["job_id"] for row in rows] == [f"{run_id}_{task}" for task in (0, 2, 4)]
    assert {(row["array_job_id"], row["restart"]) for row in rows} == {(run_id, 0)}
    assert [(row["array_task_id"], row["state"], row["exit_code"]) for row in rows] == [
        ("0", "COMPLETED", 0),
        ("2", "FAILED", 2),
        ("4", "FAILED", 4),
    ]
    for task in (0, 2, 4):
        assert (box.work / f"{run_id}-{task}").read_text() == f"{run_id} {task} 3 0 4 2\n"
        assert (box.work / f"e-{run_id}_{task}").read_text() == ""
        header = json.loads(next(run_dir.glob(f"{run_id}_{task}.0.*.jsonl")).read_text().splitlines()[0])
        assert (header["job_id"], header["array_task_id"]) == (f"{run_id}_{task}", str(task))
    # By the end of the run id, as lists show it, by the name, and as the latest.
    assert f"{run_id[-8:]}_2 " in box.ok("report", "--all")
    for base in (run_id, run_id[-8:], "job", "latest"):
        one = json.loads(box.ok("report", "--json", f"{base}_2"))["jobs"]
        assert [row["job_id"] for row in one] == [f"{run_id}_2"]
        (row,) = json.loads(box.ok("status", "--json", f"{base}_2"))
        assert (row["job_id"], row["state"]) == (f"{run_id}_2", "FAILED")


def test_a_plain_job_has_no_array_variables(box: Sandbox) -> None:
    box.env |= {"SLURM_JOB_ID": "17", "SLURM_ARRAY_JOB_ID": "16", "SLURM_ARRAY_TASK_ID": "99"}
    job_id, run_dir = box.submit("echo =${SLURM_ARRAY_TASK_ID-none}", output="o")
    assert box.wait_over(job_id) == "COMPLETED"
    assert (box.work / "o").read_text() == "=none\n"
    end = json.loads((run_dir / f"{job_id}.0.end.json").read_text())
    assert (end["array_job_id"], end["array_task_id"]) == (None, None)


def test_a_plain_job_has_no_tasks(box: Sandbox) -> None:
    job_id, _ = box.submit("true", energy="off")
    for command in ("status", "cancel"):
        result = box.run(command, f"{job_id}_2")
        assert (result.code, "is not a job that you submitted" in result.err) == (2, True)


def states(box: Sandbox, job_id: str) -> dict[str, str]:
    return {state.array_task_id or "": state.state for state in box.states(job_id)}


def test_a_few_tasks_run_at_once_and_each_can_be_cancelled(box: Sandbox) -> None:
    job_id, run_dir = box.submit(
        "until [ -e go ]; do sleep 0.1; done", resources={"array": "1-6%2"}, energy="off", output="/dev/null"
    )
    wait_until(lambda: list(states(box, job_id).values()).count("RUNNING") == 2)
    assert states(box, job_id) == {**dict.fromkeys("12", "RUNNING"), **dict.fromkeys("3456", "PENDING")}
    (row,) = json.loads(box.ok("status", "--json", f"{job_id}_3"))
    assert (row["job_id"], row["state"], row["elapsed_s"]) == (f"{job_id}_3", "PENDING", None)
    assert row["reason"] == "waits for other tasks of its array"
    (row,) = json.loads(box.ok("status", "--json", f"{job_id}_[2-3]"))
    assert row["state"] == "PENDING, RUNNING"
    # A task that there is not cancels none of the others.
    result = box.run("cancel", job_id, f"{job_id}_[6-7]")
    assert (result.code, f"{job_id}_7: is not a task of this job" in result.err) == (2, True)
    result = box.run("status", f"{job_id}_[5-9]")
    assert (result.code, f"{job_id}_7: is not a task of this job (it has 1-6%2)" in result.err) == (2, True)
    short = job_id.rpartition("-")[2]
    assert f"{short}_[2-3]  " in box.ok("status", f"{short}_[2-3]")
    assert box.ok("cancel", f"{job_id}_[2-4]") == f"Cancelled job {job_id}_[2-4]\n"
    wait_until(lambda: list(states(box, job_id).values()).count("RUNNING") == 2)
    assert states(box, job_id) == {
        "1": "RUNNING", **dict.fromkeys("234", "CANCELLED"), "5": "RUNNING", "6": "PENDING",
    }  # fmt: skip
    assert sorted(path.name.split(".")[0][-1] for path in run_dir.glob("*.0.pid")) == ["1", "2", "5"]
    assert box.ok("cancel", f"{job_id}_3").startswith(f"Job {job_id}_3 has already ended (CANCELLED)")
    (box.work / "go").touch()
    wait_until(lambda: states(box, job_id)["6"] == "COMPLETED")
    wait_until(lambda: "RUNNING" not in states(box, job_id).values())
    assert box.run("cancel", job_id).out == f"Job {job_id} has already ended (CANCELLED, COMPLETED)\n"
    box.ok("ledger", "sync")
    rows = json.loads(box.ok("report", "--json", job_id))["jobs"]
    assert {row["array_task_id"]: row["started_at"] is None for row in rows} == {
        **dict.fromkeys("1256", False), **dict.fromkeys("34", True),
    }  # fmt: skip


def test_an_array_is_cancelled_as_a_whole(box: Sandbox) -> None:
    job_id, _ = box.submit("sleep 60", resources={"array": "0-9%2"}, energy="off", output="/dev/null")
    wait_until(lambda: list(states(box, job_id).values()).count("RUNNING") == 2)
    box.ok("cancel", job_id)
    assert set(states(box, job_id).values()) == {"CANCELLED"}


def test_the_time_limit_is_that_of_each_task(box: Sandbox) -> None:
    job_id, _ = box.submit(
        "[ $SLURM_ARRAY_TASK_ID = 2 ] || sleep 60", resources={"array": "1-2%1", "time": "0:01"}, energy="off"
    )
    wait_until(lambda: states(box, job_id) == {"1": "TIMEOUT", "2": "COMPLETED"})


BURN = "python3 -c 'import time; until = time.process_time() + 1.5\nwhile time.process_time() < until: pass'"


@pytest.mark.slow
@pytest.mark.serial
def test_two_tasks_at_once_do_not_have_the_energy_of_the_machine_twice(box: Sandbox) -> None:
    result = box.run("submit", "--wait", "--json", box.job(BURN, resources={"array": "0-1%2"}, output="/dev/null"))
    assert result.code == 0, result
    rows = json.loads(result.out)["jobs"]
    assert len(rows) == 2
    used_s = {row["array_task_id"]: row["usage"]["cpu_time_s"] for row in rows}
    assert all(1.4 < value < 2.5 for value in used_s.values()), used_s
    assert {row["scope"] for row in rows} == {"share of the node"}
    (run_dir,) = box.spool.glob("20*/*")
    boots = {json.loads(path.read_text().splitlines()[0])["boot_id"] for path in run_dir.glob("*.jsonl")}
    assert len(boots) == 1
    totals = json.loads(result.out)["totals"]
    assert (totals["overlapping_node_time"], totals["jobs"]) == (False, 2)
    assert totals["energy_j"]["cpu"] == pytest.approx(sum(row["energy_j"]["cpu"] for row in rows))


def test_a_task_that_cannot_write_its_output_fails_alone(box: Sandbox) -> None:
    (box.work / "1").mkdir()
    (box.work / "2").mkdir()
    (box.work / "3").mkdir()
    job_id, _ = box.submit("rmdir 2", resources={"array": "1-3%1"}, energy="off", output="%a/o")
    wait_until(lambda: set(states(box, job_id).values()) <= {"COMPLETED", "FAILED", "NODE_FAIL"})
    assert states(box, job_id) == {"1": "COMPLETED", "2": "FAILED", "3": "FAILED"}


@pytest.mark.slow
def test_the_array_outlives_its_submitter(box: Sandbox) -> None:
    path = box.job("echo $SLURM_ARRAY_TASK_ID >>o", resources={"array": "1-3%1"}, output="/dev/null", energy="off")
    subprocess.run([*box.program, "submit", path], cwd=box.work, env=box.env, check=True, capture_output=True)
    wait_until(lambda: Path(box.work / "o").exists() and (box.work / "o").read_text() == "1\n2\n3\n")
