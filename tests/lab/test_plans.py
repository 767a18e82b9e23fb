"""Planned jobs on a real Slurm cluster, on a forecast whose slots are seconds long."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from .conftest import Lab, sampled_share

pytestmark = pytest.mark.lab

SLOT_S = 10


class Planner:
    """alice with settings, spool and caches of her own in one folder."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.env = {
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }
        settings = folder / "config/hpcfrugal/config.toml"
        settings.parent.mkdir(parents=True)
        forecast = folder / "forecast.json"
        settings.write_text(
            f'[carbon]\nzone = "XX"\nprovider = "lab"\n[forecasts.lab]\nkind = "file"\npath = "{forecast}"\n'
        )

    def forecast(self, values: list[int]) -> datetime:
        """A forecast from now on."""
        start = datetime.now(UTC).replace(microsecond=0)
        told = {"zone": "XX", "issued_at": start.isoformat(), "start": start.isoformat(), "step_s": SLOT_S}
        (self.folder / "forecast.json").write_text(json.dumps(told | {"g_per_kwh": values}))
        return start

    def run(self, *argv: str) -> str:
        self.lab.exec(["chown", "-R", "alice:", str(self.folder)])
        return self.lab.exec(argv, user="alice", cwd=str(self.folder), env=self.env).stdout

    def submit(self, job: dict[str, Any]) -> dict[str, Any]:
        path = self.folder / "job.yaml"
        path.write_text(json.dumps(job))
        told: dict[str, Any] = json.loads(self.run("hpcfrugal", "submit", "--json", str(path)))
        return told


@pytest.fixture
def planner(lab: Lab) -> Iterator[Planner]:
    lab.install()
    folder = Path(f"/home/alice/plans-{time.time_ns()}")
    folder.mkdir(mode=0o755)
    yield Planner(lab, folder)
    lab.exec(["rm", "-rf", str(folder)])


def test_slurm_starts_a_job_when_its_power_is_clean(planner: Planner) -> None:
    start = planner.forecast([300, 300, 300, 20, 20, 20, *[300] * 60])
    clean = start + timedelta(seconds=3 * SLOT_S)
    output = planner.folder / "out"
    told = planner.submit(
        {"command": "date +%s", "output": str(output), "resources": {"time": "0:20"}, "schedule": {"max_delay": "3m"}}
    )
    plan = told["plan"]
    assert plan["action"] == "wait"
    assert plan["wait"]["source"] is not None
    begin = datetime.fromisoformat(plan["begin_at"])
    assert clean - timedelta(seconds=10) <= begin <= clean + timedelta(seconds=SLOT_S)
    shown = planner.run("squeue", "-h", "-j", told["job_id"], "-o", "%T %r").split()
    assert shown == ["PENDING", "BeginTime"]
    job = dict(cell.partition("=")[::2] for cell in planner.run("scontrol", "show", "job", told["job_id"]).split())
    local = planner.run("date", "-d", plan["begin_at"], "+%Y-%m-%dT%H:%M:%S").strip()
    assert job["EligibleTime"] == local
    assert job["Deadline"] == "N/A"
    until = time.monotonic() + 120
    while not (output.exists() and output.read_text().strip()):
        assert time.monotonic() < until
        time.sleep(0.5)
    ran_at = datetime.fromtimestamp(int(output.read_text()), UTC)
    assert begin <= ran_at <= datetime.fromisoformat(plan["latest_start_at"])
    run = json.loads((Path(told["run_dir"]) / "run.json").read_text())
    assert run["plan"] == plan


COUNTER = """
n=$(cat state 2>/dev/null || echo 0)
trap 'echo $n >state; echo saved $n; exit 0' USR1
echo began $(date +%s) at $n
while [ $n -lt 46 ]; do
  sleep 1
  i=0; while [ $i -lt 5000 ]; do i=$((i + 1)); done
  n=$((n + 1))
done
echo done
"""
"""Counts and saves its count. It computes a little, or its CPU time might stay below a tick, and its share at 0."""


def test_a_job_in_three_segments_carries_its_state_over(planner: Planner) -> None:
    planner.forecast([300, 300, 20, 20, 300, 300, 300, 20, 20, 300, 300, 300, 20, 20, *[300] * 60])
    output = planner.folder / "out"
    told = planner.submit(
        {
            "command": COUNTER,
            "output": str(output),
            "resources": {"time": "0:50"},
            "energy": {"interval": "0.5s", "record": "1s"},
            "schedule": {"max_delay": "4m", "interruptible": {"grace": "5s", "min_segment": "10s"}},
        }
    )
    plan = told["plan"]
    assert plan["action"] == "segments"
    starts = [datetime.fromisoformat(segment["start_at"]).timestamp() for segment in plan["segments"]]
    assert len(starts) == 3
    until = time.monotonic() + 300
    while not (output.exists() and "done" in output.read_text()):
        assert time.monotonic() < until, output.read_text() if output.exists() else "no output"
        time.sleep(1)
    lines = output.read_text().splitlines()
    began = [line.split() for line in lines if line.startswith("began")]
    saved = [line.split()[1] for line in lines if line.startswith("saved")]
    # It went on where it had stopped, twice.
    assert [words[-1] for words in began] == ["0", *saved]
    assert len(saved) == 2
    assert 0 < int(saved[0]) < int(saved[1]) < 46
    for planned, words in zip(starts, began, strict=True):
        assert -5 <= int(words[1]) - planned <= 30, (starts, began)

    # Slurm's books are a second or two behind.
    until = time.monotonic() + 60
    while True:
        planner.run("hpcfrugal", "ledger", "sync")
        jobs = json.loads(planner.run("hpcfrugal", "report", told["job_id"], "--json"))["jobs"]
        if [job["state"] for job in jobs].count("COMPLETED") == 1:
            break
        assert time.monotonic() < until, jobs
        time.sleep(1)
    assert [job["restart"] for job in jobs] == [0, 1, 2]
    assert {job["run_id"] for job in jobs} == {told["run_id"]}
    for job in jobs:
        assert job["measured_j"] > 0
        files = planner.folder.glob(f"data/hpcfrugal/spool/*/*/{job['job_id']}.{job['restart']}.*.jsonl")
        assert job["coverage"] == pytest.approx(sampled_share(files, job["elapsed_s"]), abs=0.01)
