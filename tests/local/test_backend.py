"""Jobs of this machine: what a batch script sees, how it ends, and what is known of it afterwards."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sandbox import Sandbox, batch_pid, group_is_gone, wait_until

from hpcfrugal.job.backend import SubmittedRun
from hpcfrugal.job.output_path import expand_output, expand_slurm_output
from hpcfrugal.local.backend import Local
from hpcfrugal.local.task import LocalTask
from hpcfrugal.spool import RunDir
from hpcfrugal.spool.job_state import JobState

NODE = socket.gethostname().split(".")[0]


def end_of(run_dir: Path) -> dict[str, Any]:
    data = json.loads((run_dir / f"{run_dir.name}.0.end.json").read_text())
    assert isinstance(data, dict)
    return data


def samples(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in run_dir.glob("*.jsonl") for line in path.read_text().splitlines(True)]


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("out", "out"),
        ("%j.out", "J.out"),
        ("%A-%a", "J-%a"),
        ("%x-%u.log", "train-alice.log"),
        ("%%j %j", "%j J"),
        ("%5j", "J"),
        ("%N.%n.%t", f"{NODE}.0.0"),
        ("%", "%"),
        ("100%", "100%"),
        ("%y", "%y"),
        ("%é", "%é"),
    ],
)
def test_output_patterns(pattern: str, name: str) -> None:
    assert expand_output(pattern, job_id="J", array_job_id="J", name="train", user="alice") == name


@pytest.mark.parametrize(("pattern", "name"), [("%A_%a", "J_7"), ("%j", "J_7"), ("%3a", "007"), ("%%a", "%a")])
def test_output_patterns_of_a_task(pattern: str, name: str) -> None:
    assert expand_output(pattern, job_id="J_7", array_job_id="J", index=7, name="train", user="alice") == name


@pytest.mark.parametrize(
    ("pattern", "name", "array_name"),
    [
        ("logs/%x-%j.out", "logs/train-17.out", "logs/train-%j.out"),
        ("%A_%a-%u", "17_%a-alice", "17_%a-alice"),
        ("%5j-%N-%4t.%%", "00017-%N-%4t.%", "%5j-%N-%4t.%"),
    ],
)
def test_output_patterns_as_far_as_they_are_known_at_submission(pattern: str, name: str, array_name: str) -> None:
    for array, expected in ((False, name), (True, array_name)):
        assert expand_slurm_output(pattern, job_id="17", name="train", user="alice", array=array) == expected


def test_output_goes_where_sbatch_would_put_it(box: Sandbox) -> None:
    job_id, _ = box.submit("echo out; echo err >&2")
    assert box.wait_over(job_id) == "COMPLETED"
    assert (box.work / f"local-{job_id}.out").read_text() == "out\nerr\n"
    job_id, _ = box.submit("echo out; echo err >&2; pwd", output="%x.%j.o", error="logs/%x.e", name="n", workdir="deep")
    assert box.wait_over(job_id) == "COMPLETED"
    deep = box.work / "deep"
    assert (deep / f"n.{job_id}.o").read_text() == f"out\n{deep}\n"
    assert (deep / "logs/n.e").read_text() == "err\n"


@pytest.fixture(autouse=True)
def _folders(box: Sandbox) -> None:
    (box.work / "deep/logs").mkdir(parents=True)


@pytest.mark.parametrize(("command", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $BASHPID", 137)])
def test_wait_ends_with_the_code_of_the_job(box: Sandbox, command: str, code: int) -> None:
    result = box.run("submit", "--wait", "--json", box.job(command))
    assert result.code == code, result
    (row,) = json.loads(result.out)["jobs"]
    assert row["exit_code"] == code
    assert row["state"] == ("COMPLETED" if code == 0 else "FAILED")


def test_job_that_cannot_start_is_refused_and_leaves_nothing(box: Sandbox) -> None:
    for more, words in [
        ({"workdir": "/nowhere"}, "cannot run in /nowhere"),
        ({"output": "/nowhere/out"}, "/nowhere/out: No such file or directory"),
        ({"output": "/"}, "cannot be written: /: Is a directory"),
        ({"output": "%x", "name": "n" * 300}, "File name too long"),
        ({"output": "%x", "name": "a/b"}, "No such file or directory"),
    ]:
        result = box.run("submit", box.job("touch ran", **more))
        assert (result.code, result.out) == (3, ""), more
        assert words in result.err
        assert "Traceback" not in result.err
    assert list(box.spool.glob("20*/*")) == []
    assert not (box.work / "ran").exists()


def test_a_job_that_does_not_start_says_why(box: Sandbox) -> None:
    (box.work / "cloudpickle.py").write_text("raise ImportError('broken here')\n")
    result = box.run("submit", box.job("true"), env={"PYTHONPATH": str(box.work)})
    assert result.code == 3
    assert "did not start: ImportError: broken here" in result.err
    assert list(box.spool.glob("20*/*")) == []


@pytest.mark.slow
def test_time_limit_ends_the_job(box: Sandbox) -> None:
    job_id, run_dir = box.submit("sleep 60", resources={"time": "0:01"})
    pid = batch_pid(run_dir)
    assert box.wait_over(job_id) == "TIMEOUT"
    end = end_of(run_dir)
    assert end["exit_code"] == 128 + signal.SIGTERM
    assert 0.9 <= end["ended_wall_s"] - end["started_wall_s"] <= 10
    wait_until(lambda: group_is_gone(pid))


@pytest.mark.parametrize("devices", [None, "", "3", "GPU-aa,GPU-bb"])
def test_cuda_devices_are_those_of_the_shell(box: Sandbox, devices: str | None) -> None:
    if devices is not None:
        box.env["CUDA_VISIBLE_DEVICES"] = devices
    job_id, _ = box.submit("echo \"[${CUDA_VISIBLE_DEVICES-unset}]\"; env | grep -c '^SUBMITIT'", output="o")
    box.wait_over(job_id)
    assert (box.work / "o").read_text() == f"[{'unset' if devices is None else devices}]\n0\n"


def test_environment_of_the_shell_and_of_the_job_file(box: Sandbox) -> None:
    box.env |= {"FROM_SHELL": "a b", "BOTH": "shell"}
    hostile = "x'; touch pwned #\n\x1b[31m$(touch pwned)"
    job_id, _ = box.submit('printf "%s|%s|%s" "$FROM_SHELL" "$BOTH" "$HOSTILE"', output="o",
                           env={"BOTH": "file", "HOSTILE": hostile})  # fmt: skip
    box.wait_over(job_id)
    assert (box.work / "o").read_text() == f"a b|file|{hostile}"
    assert not (box.work / "pwned").exists()


def test_what_the_shell_knows_does_not_get_into_the_run_directory(box: Sandbox) -> None:
    box.env |= {"MY_TOKEN": "s3cr3t-of-the-shell", "PLAIN": "s3cr3t-too"}
    job_id, run_dir = box.submit('[ "$MY_TOKEN" ] && sleep 0.3', env={"API_TOKEN": "s3cr3t-of-the-file"})
    assert box.wait_over(job_id) == "COMPLETED"
    files = [path for path in run_dir.rglob("*") if path.is_file()]
    assert len(files) >= 8
    for path in files:
        data = path.read_bytes()
        assert b"s3cr3t-of-the-shell" not in data, path
        assert b"s3cr3t-too" not in data, path
        # The script needs it; nothing else keeps it.
        assert (b"s3cr3t-of-the-file" in data) == (path.name == "script.sbatch"), path
    assert run_dir.stat().st_mode & 0o777 == 0o700
    box.ok("ledger", "sync")
    assert b"s3cr3t" not in box.ledger.read_bytes()


def test_submit_does_not_keep_a_pipe_open(box: Sandbox) -> None:
    started = time.monotonic()
    job_id, _ = box.submit("sleep 30")
    assert time.monotonic() - started < 10
    assert box.state(job_id) == "RUNNING"
    (row,) = json.loads(box.ok("report", job_id, "--json"))["jobs"]
    assert (row["state"], row["exit_code"], row["complete"]) == ("RUNNING", None, False)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_the_job_outlives_its_submitter(box: Sandbox, signum: int) -> None:
    path = box.job("until [ -e go ]; do sleep 0.05; done; echo done", output="o", resources={"time": "0:30"})
    submitter = subprocess.Popen(
        [*box.program, "submit", "--wait", path],
        cwd=box.work, env=box.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        start_new_session=True, text=True,
    )  # fmt: skip
    wait_until(lambda: list(box.spool.glob("*/*/submitted.json")))
    time.sleep(0.3)
    # To the whole group, as a terminal does it.
    os.killpg(submitter.pid, signum)
    _, err = submitter.communicate(timeout=20)
    assert submitter.returncode == (130 if signum == signal.SIGINT else -signum)
    assert "Traceback" not in err
    (run_dir,) = box.spool.glob("20*/*")
    assert box.state(run_dir.name) == "RUNNING"
    (box.work / "go").touch()
    assert box.wait_over(run_dir.name) == "COMPLETED"
    assert (box.work / "o").read_text() == "done\n"
    wait_until(lambda: [line["kind"] for line in samples(run_dir)][-1] == "end")


def test_cancel(box: Sandbox) -> None:
    job_id, run_dir = box.submit("sleep 60")
    wait_until(lambda: samples(run_dir))
    pid = batch_pid(run_dir)
    started = time.monotonic()
    assert box.ok("cancel", job_id) == f"Cancelled job {job_id}\n"
    assert time.monotonic() - started < 10
    assert box.state(job_id) == "CANCELLED"
    assert end_of(run_dir)["exit_code"] == 128 + signal.SIGTERM
    wait_until(lambda: group_is_gone(pid))
    # Only its state is recorded; its times and its node are known all the same.
    (row,) = json.loads(box.ok("status", "--json", job_id))
    assert (row["state"], row["nodes"]) == ("CANCELLED", [NODE])
    assert row["elapsed_s"] == pytest.approx(
        end_of(run_dir)["ended_wall_s"] - end_of(run_dir)["started_wall_s"], abs=1e-4
    )
    # Over already: nothing to do and no mistake.
    assert box.run("cancel", job_id).code == 0
    assert end_of(run_dir)["exit_code"] == 128 + signal.SIGTERM


COMPUTES = "for i in $(seq 200000); do :; done"
"""Shell commands that take some ticks of CPU time."""


@pytest.mark.slow
def test_killed_batch_script(box: Sandbox) -> None:
    job_id, run_dir = box.submit(f"{COMPUTES}; sleep 60", energy={"interval": 0.1, "record": 0.2})
    # What is modelled of the node's memory is the job's by its CPU time.
    wait_until(lambda: len(samples(run_dir)) > 4 and (samples(run_dir)[-1].get("job_cpu_us") or 0) > 0)
    pid = batch_pid(run_dir)
    os.kill(pid, signal.SIGKILL)
    assert box.wait_over(job_id) == "NODE_FAIL"
    # Nothing of the job runs on, and the sidecar has written its last record.
    wait_until(lambda: group_is_gone(pid))
    assert samples(run_dir)[-1]["kind"] == "end"
    assert not list(run_dir.glob("*.end.json"))
    box.ok("ledger", "sync")
    (row,) = json.loads(box.ok("report", job_id, "--json"))["jobs"]
    assert (row["state"], row["exit_code"]) == ("NODE_FAIL", None)
    assert row["components"]["dram"]["energy_j"] > 0
    (status,) = json.loads(box.ok("status", "--json", job_id))
    assert status["state"] == "NODE_FAIL"
    # Its end is unknown, and the time since then is not its own.
    assert status["elapsed_s"] is None


def test_wait_for_a_job_that_is_killed_fails(box: Sandbox) -> None:
    result = box.run("submit", "--wait", box.job("sleep 0.5; kill -9 $PPID $$"))
    assert result.code not in (0, 2, 3), result
    assert "Traceback" not in result.err


def test_what_only_slurm_can_is_refused(box: Sandbox) -> None:
    asked = {"array": "0-10000", "nodes": 2, "hold": True, "dependency": "afterok:17"}
    result = box.run("submit", box.job("touch ran", resources=asked))
    assert result.code == 2
    for text in (
        "resources.array: 10001 tasks requested, and this machine takes 10000 in one array",
        "resources.nodes: 2 nodes requested, and this machine is one",
        "resources.hold: only Slurm holds jobs and releases them; `schedule.earliest` sets a start here too",
        "resources.dependency: only Slurm waits for other jobs; submit it when they are over",
    ):
        assert text in result.err
    assert result.err.count("error:") == 4
    assert not box.spool.exists()


def test_a_heterogeneous_job_is_refused(box: Sandbox) -> None:
    script = box.write("het.sh", "#!/bin/bash\n#SBATCH -n1\n#SBATCH hetjob\n#SBATCH -n2\ntouch ran\n")
    result = box.run("submit", script)
    assert result.code == 2
    assert f"error: {script}: a heterogeneous job of 2 components, and this machine is one node" in result.err
    assert not box.spool.exists()


def test_what_has_no_effect_here_is_named(box: Sandbox) -> None:
    path = box.job("true", mail="me@example.org", export="none", schedule={"queue": "green"})
    result = box.run("submit", "--json", path)
    assert result.code == 0
    assert json.loads(result.out)["warnings"] == [
        "ignored: schedule.queue; this machine has no queue",
        "ignored: mail, export; only Slurm offers it",
    ]


def test_batch_script_runs_as_it_is(box: Sandbox) -> None:
    script = box.write("train.sh", '#!/bin/bash -e\n#SBATCH --job-name=old --output=o\necho "$0 $#"; false; echo no\n')
    told = json.loads(box.ok("submit", "--json", script))
    assert told["name"] == "old"
    script.write_text("#!/bin/bash\necho changed after submission\n")
    assert box.wait_over(told["job_id"]) == "FAILED"
    assert (box.work / "o").read_text() == f"{told['run_dir']}/script.user 0\n"


def state_of(spool: Path, run_id: str) -> JobState:
    (state,) = Local(spool).states([SubmittedRun(RunDir.of(spool, run_id).path, run_id)]).runs[run_id].states
    return state


def test_pipes_and_garbage_in_the_run_directory_do_not_block(tmp_path: Path) -> None:
    run_id = "20261121T100000Z-00000000"
    run_dir = RunDir.of(tmp_path, run_id)
    run_dir.path.mkdir(parents=True)
    paths = [run_dir.local_json, run_dir.local_pid, run_dir.pid(run_id, 0)]
    for path in (*paths, run_dir.end_json(run_id, 0), run_dir.slurm_json(run_id, 0)):
        os.mkfifo(path)
    state = state_of(tmp_path, run_id)
    assert (state.state, state.exit_code) == ("NODE_FAIL", None)
    Local(tmp_path).cancel([run_id])
    for path in (*paths, run_dir.end_json(run_id, 0)):
        path.unlink()
    for text in ("1", "x y z", "-1 7 -", f"{'9' * 50} 7 -", "\x00 \x00 \x00"):
        for path in (run_dir.local_pid, run_dir.pid(run_id, 0)):
            path.write_text(text)
        assert state_of(tmp_path, run_id).state == "NODE_FAIL"
    for array in ("x", "0-999999999", "1-3%0"):
        run_dir.local_json.write_text(json.dumps({"schema": 1, "begin_at": None, "array": array}))
        assert state_of(tmp_path, run_id).state == "NODE_FAIL"
    run_dir.end_json(run_id, 0).write_text('{"exit_code": "0", "started_wall_s": 1e300, "ended_wall_s": true}')
    state = state_of(tmp_path, run_id)
    assert (state.state, state.exit_code) == ("NODE_FAIL", None)


def test_a_job_is_submitted_before_it_starts(box: Sandbox) -> None:
    for _ in range(3):
        job_id, run_dir = box.submit("true")
        box.wait_over(job_id)
        submitted = datetime.fromisoformat(json.loads((run_dir / "submitted.json").read_text())["submitted_at"])
        assert submitted.timestamp() <= end_of(run_dir)["started_wall_s"]


def test_killed_job_that_was_cancelled_is_cancelled(box: Sandbox) -> None:
    job_id, run_dir = box.submit("sleep 60")
    LocalTask(RunDir(str(run_dir))).keep_state("CANCELLED")
    os.killpg(batch_pid(run_dir), signal.SIGKILL)
    assert box.wait_over(job_id) == "CANCELLED"


def test_a_job_without_a_cache_is_sampled(box: Sandbox) -> None:
    box.env["XDG_CACHE_HOME"] = "/proc/nowhere"
    job_id, run_dir = box.submit("sleep 0.5")
    assert box.wait_over(job_id) == "COMPLETED"
    assert samples(run_dir)


def test_the_report_says_that_sampling_was_off(box: Sandbox) -> None:
    job_id, _ = box.submit("true", energy="off")
    box.wait_over(job_id)
    assert "job: not sampled: `energy: off` in the job file" in box.ok("report", job_id)
    (row,) = json.loads(box.ok("report", job_id, "--json"))["jobs"]
    assert row["sampled"] is False
    other, _ = box.submit("true")
    box.wait_over(other)
    (row,) = json.loads(box.ok("report", other, "--json"))["jobs"]
    assert row["sampled"] is True
