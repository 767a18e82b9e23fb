"""Twelve jobs of alice and bob through a low-carbon queue of two nodes, on a clock of seconds: the forecast is revised
three times, the controller is killed twice, and every job runs in time.
"""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import SCRIPT, Lab

pytestmark = pytest.mark.lab

SLOT_S = 10
SLOTS = 40
LIMIT_S = 8
DELAY_S = 60
CAPACITY = 2
JOBS = 6
NASTY = "a'; rm -rf ~ #|x"


class Green:
    """Settings that alice, bob and the operator share, and a spool each."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.grid = folder / "grid.json"
        self.began = datetime.now(UTC).replace(microsecond=0)
        draw = random.Random(4)
        self.actual = [draw.choice([60, 90, 250, 300, 420]) + draw.randrange(20) for _ in range(SLOTS)]
        self.issues: list[dict[str, Any]] = []
        self.controller: subprocess.Popen[bytes] | None = None
        settings = folder / "config/hpcfrugal/config.toml"
        settings.parent.mkdir(parents=True)
        settings.write_text(
            f'[carbon]\nzone = "XX"\nprovider = "lab"\n[forecasts.lab]\nkind = "file"\npath = "{self.grid}"\n'
            f'[queues.green]\nmax_delay = "{DELAY_S}s"\ncapacity = {CAPACITY}\nstep = "1s"\n'
        )
        for user in ("alice", "bob", "root"):
            (folder / user).mkdir()
            lab.exec(["chown", f"{user}:", str(folder / user)])

    def series(self, values: list[int], **more: str) -> dict[str, Any]:
        return {"zone": "XX", "start": self.began.isoformat(), "step_s": SLOT_S, "g_per_kwh": values, **more}

    def issue(self, error: float) -> None:
        """A forecast of now, off by this share at random."""
        draw = random.Random(error)
        told = [round(value * (1 + draw.uniform(-error, error))) for value in self.actual]
        self.issues.append(self.series(told, kind="forecast", issued_at=datetime.now(UTC).isoformat()))
        self.tell(self.issues)

    def tell(self, series: list[dict[str, Any]]) -> None:
        fresh = self.grid.with_suffix(".new")
        fresh.write_text(json.dumps(series))
        fresh.rename(self.grid)

    def env(self, user: str) -> dict[str, str]:
        own = self.folder / user
        return {
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_DATA_HOME": str(own / "data"),
            "XDG_CACHE_HOME": str(own / "cache"),
        }

    def run(self, user: str, *argv: str) -> str:
        return self.lab.exec(argv, user=user, cwd=str(self.folder / user), env=self.env(user)).stdout

    def submit(self, user: str, count: int) -> list[str]:
        names = []
        for number in range(count):
            path = self.folder / user / f"{number}.yaml"
            job = {
                "name": NASTY if number == 0 else f"job-{number}",
                "command": "end=$((SECONDS + 3)); while [ $SECONDS -lt $end ]; do :; done",
                "output": "/dev/null",
                "resources": {"time": f"0:{LIMIT_S}", "mem": "50M"},
                "energy": {"interval": "0.5s", "record": "1s"},
            }
            path.write_text(yaml.safe_dump(job))
            names.append(str(path))
        out = self.run(user, "hpcfrugal", "submit", "--queue", "green", "--json", *names)
        told = [json.loads(line) for line in out.splitlines()]
        assert {one["plan"]["queue"] for one in told} == {"green"}
        return [one["job_id"] for one in told]

    def start(self) -> None:
        """`queue run` as root."""
        words = [str(SCRIPT), "exec", "--user", "root"]
        for name, value in self.env("root").items():
            words += ["--env", f"{name}={value}"]
        with (self.folder / "controller.log").open("ab") as log:
            self.controller = subprocess.Popen(
                [*words, "--", "hpcfrugal", "queue", "run", "--every", "1s"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """As the kernel would for want of memory. ``lab exec`` has become the program."""
        assert self.controller is not None
        self.controller.kill()
        self.controller.wait()


@pytest.fixture
def green(lab: Lab) -> Iterator[Green]:
    lab.install()
    folder = Path(f"/home/green-{time.time_ns()}")
    folder.mkdir(mode=0o755)
    one = Green(lab, folder)
    yield one
    if one.controller is not None:
        one.kill()
    lab.exec(["rm", "-rf", str(folder)])


def accounts(green: Green, jobs: list[str]) -> dict[str, dict[str, str]]:
    fields = "JobIDRaw,User,State,Submit,Eligible,Start,End"
    out = green.lab.exec(["sacct", "-aXPn", "-j", ",".join(jobs), "-o", fields], env={"TZ": "UTC"}).stdout
    names = fields.split(",")
    return {row[0]: dict(zip(names, row, strict=True)) for row in (line.split("|") for line in out.splitlines())}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_twelve_jobs_three_revisions_two_kills(green: Green) -> None:
    green.issue(0.5)
    jobs = [*green.submit("alice", JOBS), *green.submit("bob", JOBS)]
    assert len(set(jobs)) == 2 * JOBS
    # Each carries in Slurm itself a start that is safe, before any controller has run.
    listed = json.loads(green.run("root", "hpcfrugal", "queue", "list", "--json"))["queues"][0]
    for row in listed["jobs"]:
        assert row["start_at"] <= row["latest_start_at"]
    assert {row["user"] for row in listed["jobs"]} <= {"alice", "bob"}

    latest = {row["job_id"]: datetime.fromisoformat(row["latest_start_at"]) for row in listed["jobs"]}
    green.start()
    released = planned_at = None
    for error in (0.3, 0.1):
        time.sleep(8)
        green.kill()
        green.issue(error)
        time.sleep(3)
        green.start()
        if released is None:
            waiting = json.loads(green.run("bob", "hpcfrugal", "queue", "list", "--json"))["queues"][0]["jobs"]
            assert {row["user"] for row in waiting} == {"bob"}
            last = max(waiting, key=lambda row: str(row["start_at"]))
            released, planned_at = last["job_id"], datetime.fromisoformat(last["start_at"])
            assert "starts as soon" in green.run("bob", "hpcfrugal", "queue", "release", released)
    time.sleep(5)
    green.issue(0.0)

    until = time.monotonic() + DELAY_S + 60
    while True:
        rows = accounts(green, jobs)
        if len(rows) == len(jobs) and not {row["State"] for row in rows.values()} & {"PENDING", "RUNNING"}:
            break
        assert time.monotonic() < until, rows
        time.sleep(1)
    green.kill()
    log = (green.folder / "controller.log").read_text()
    assert "Traceback" not in log

    assert {row["State"] for row in rows.values()} == {"COMPLETED"}, log
    assert {row["User"] for row in rows.values()} == {"alice", "bob"}
    # Slurm starts a job some time after it may start, and so it ends that much later than planned.
    second = timedelta(seconds=1)
    spans = {}
    for job, row in rows.items():
        eligible = at(row["Eligible"])
        spans[job] = eligible, at(row["End"]) - (at(row["Start"]) - eligible) - second
        assert eligible <= latest.get(job, eligible)
        assert spans[job][1] <= at(row["Submit"]) + timedelta(seconds=DELAY_S + LIMIT_S)
    assert released is not None
    assert planned_at is not None
    assert spans.pop(released)[0] < planned_at
    for begin, _ in spans.values():
        assert sum(start <= begin < end for start, end in spans.values()) <= CAPACITY, log

    # Afterwards, with what the grid really was.
    green.tell([*green.issues, green.series(green.actual, kind="actual")])
    total = 0
    for user in ("alice", "bob"):
        # Slurm may have said at submission that a job would wait for minutes: the counterfactual has to be over too.
        until = time.monotonic() + 200
        while True:
            green.run(user, "hpcfrugal", "ledger", "sync")
            savings = json.loads(green.run(user, "hpcfrugal", "report", "--savings", "--json"))
            if savings["jobs_pending"] == 0:
                break
            assert time.monotonic() < until, {job["reason"] for job in savings["jobs"]}
            time.sleep(2)
        assert savings["jobs_known"] + savings["jobs_not_delayed"] == len(savings["jobs"]) == JOBS
        sums = savings["savings"]["average"]
        known = [job["savings"]["saved_g"] for job in savings["jobs"] if job["status"] == "known"]
        assert len(known) == savings["jobs_known"] > 0
        assert sums["saved_g"] == pytest.approx(sum(known))
        assert sums["actual_g"] > 0
        total += len(savings["jobs"])
    assert total == 2 * JOBS
