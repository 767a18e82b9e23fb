"""The node agent as a process: the real zipapp on made-up sensors and control groups, and what is in its files."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from day import today
from fake_groups import FakeGroups
from fake_nvml import FakeNvml
from fake_rapl import FakeRapl, Stepper

from hpcfrugal.spool.agent_files import AgentFile, read_agent_file
from hpcfrugal.spool.agent_layout import agent_file, agent_files, agent_folder

DEADLINE_S = 20.0
SHARES = {"job_17": 0.25, "job_18": 0.5}
"""CPU seconds that each job uses per second, of one that the node is busy."""


class Agent:
    """An agent on the node n1 and the place of its files."""

    def __init__(self, zipapp: Path, tmp_path: Path, *options: str) -> None:
        self.spool = tmp_path / "spool"
        self.day = today().date()
        self.published = tmp_path / "run/energy.json"
        self.argv = [sys.executable, "-I", "-S", str(zipapp), "agent", "--node", "n1"]
        self.argv += ["--folder", str(agent_folder(self.spool, "n1")), "--sysfs", str(tmp_path / "sys")]
        self.argv += ["--proc", str(tmp_path / "proc"), "--interval", "0.1", "--record", "0.3", *options]
        self.environ = dict(os.environ)

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(self.argv, stderr=subprocess.PIPE, text=True, env=self.environ) as process:
            try:
                yield process
            finally:
                process.kill()

    @property
    def path(self) -> Path:
        return agent_file(self.spool, "n1", self.day)

    def read(self) -> AgentFile:
        return read_agent_file(self.path, os.getuid(), "n1")

    def wait_for(self, condition: Callable[[AgentFile], Any]) -> AgentFile:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            if self.path.exists() and (found := self.read()).sessions and condition(found):
                return found
            time.sleep(0.02)
        raise AssertionError(self.path.read_text() if self.path.exists() else "no file")


@contextmanager
def busy(fake: FakeGroups) -> Iterator[list[float]]:
    """Let the jobs that are there use their shares of CPU time. Yields a list with the longest pause in seconds."""
    stop = threading.Event()
    begun = time.monotonic()
    longest_s = [0.0]

    def run() -> None:
        last = begun
        while not stop.wait(0.004):
            now = time.monotonic()
            longest_s[0], last = max(longest_s[0], now - last), now
            us = int((now - begun) * 1e6)
            for name, share in SHARES.items():
                # not where its group has just been removed
                with contextlib.suppress(FileNotFoundError):
                    fake.count(fake.job(name), int(us * share))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield longest_s
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def fake(tmp_path: Path) -> FakeGroups:
    fake = FakeGroups(tmp_path)
    for name in SHARES:
        fake.put(name, 0)
    return fake


def test_jobs_and_rest_are_the_node_and_files_are_for_the_group(
    zipapp: Path, rapl: FakeRapl, fake: FakeGroups, tmp_path: Path
) -> None:
    agent = Agent(zipapp, tmp_path, "--gid", str(os.getgid()))
    with Stepper(rapl), busy(fake) as longest_s, agent.running() as process:
        agent.wait_for(lambda found: len(found.sessions[0].records) >= 3)
        fake.end("job_18")
        agent.wait_for(lambda found: found.sessions[0].ended)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=DEADLINE_S) == (None, "")
    assert process.returncode == 0
    found = agent.read()
    assert not found.bad
    (session,) = found.sessions
    assert [record.kind for record in session.records][-1] == "end"
    last = session.latest
    assert last is not None
    # the reader refuses a record that does not close; here that nothing is lost between records either
    jobs = session.jobs()
    assert sorted(life.name for life in jobs) == ["17", "18"]
    for index, energy_uj in enumerate(last.energy_uj):
        assert energy_uj == last.rest_uj[index] + sum(job.energy_uj[index] for job in jobs.values()) > 0
    assert [job.job_id for job in session.ended] == ["18"]
    # while both were there, one had twice the CPU time of the other
    energies_uj = {job.job_id: job.energy_uj for job in session.records[2].jobs}
    for less_uj, more_uj in zip(energies_uj["17"], energies_uj["18"], strict=True):
        # in three records of 0.3 s, of which the counter of one job may lack the latest step
        assert more_uj / less_uj == pytest.approx(2, rel=0.05 + longest_s[0] / 0.9)
    assert stat.S_IMODE(agent.path.stat().st_mode) == 0o640
    assert stat.S_IMODE(agent.path.parent.stat().st_mode) == 0o750
    assert list(agent_files(agent.spool)) == [("n1", agent.day, agent.path)]


def test_a_gpu_is_the_job_s_that_slurm_gave_it_to(
    zipapp: Path, rapl: FakeRapl, fake: FakeGroups, make_nvml: Callable[..., FakeNvml], tmp_path: Path
) -> None:
    """Of three GPUs one is a job's by its number, one by its UUID, and one is nobody's."""
    nvml = make_nvml(devices=3)
    agent = Agent(zipapp, tmp_path)
    agent.environ |= nvml.environ()
    fake.processes.put(71, 1, environ={"SLURM_JOB_ID": "17", "SLURM_JOB_GPUS": "2"})
    fake.run("job_17", 71)
    fake.processes.put(81, 1, environ={"SLURM_JOB_ID": "18", "CUDA_VISIBLE_DEVICES": nvml.uuid(0)})
    fake.run("job_18", 81)
    with Stepper(rapl), agent.running() as process:
        # NVML may open after the first header
        agent.wait_for(lambda found: len(found.sessions[-1].header.gpus) == 3 and len(found.sessions[-1].records) >= 4)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=DEADLINE_S)
    session = agent.read().sessions[-1]
    last = session.latest
    assert last is not None
    places = {channel.domain: index for index, channel in enumerate(session.header.channels)}
    holders = {
        domain: [job.job_id for job in last.jobs if job.energy_uj[places[domain]]]
        for domain in ("gpu-0", "gpu-1", "gpu-2")
    }
    assert holders == {"gpu-0": ["18"], "gpu-1": [], "gpu-2": ["17"]}
    for domain, index in places.items():
        if holders.get(domain):
            assert last.rest_uj[index] == 0


def test_a_killed_agent_loses_one_record(zipapp: Path, rapl: FakeRapl, fake: FakeGroups, tmp_path: Path) -> None:
    agent = Agent(zipapp, tmp_path)
    with Stepper(rapl), busy(fake):
        with agent.running() as process:
            agent.wait_for(lambda found: len(found.sessions[0].records) >= 3)
            process.kill()
        with agent.path.open("ab") as file:
            file.write(b'{"kind":"record","wall')  # as a kill, or a full disk, may leave it
        with agent.running():
            found = agent.wait_for(lambda found: len(found.sessions) == 2 and found.sessions[1].records)
    assert dict(found.bad) == {"not valid JSON": 1}
    assert len(found.sessions[0].records) >= 3


@pytest.mark.usefixtures("fake", "rapl")
def test_one_agent_a_node(zipapp: Path, tmp_path: Path) -> None:
    agent = Agent(zipapp, tmp_path)
    with agent.running():
        agent.wait_for(lambda _: True)
        done = subprocess.run(agent.argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "hpcfrugal site agent: another agent already samples this node; exiting\n",
    )


def test_what_is_published_changes_once_in_a_step(
    zipapp: Path, rapl: FakeRapl, fake: FakeGroups, tmp_path: Path
) -> None:
    agent = Agent(zipapp, tmp_path, "--publish", str(tmp_path / "run/energy.json"), "--publish-step", "0.5")
    with Stepper(rapl) as stepper, agent.running() as process:
        agent.wait_for(lambda found: len(found.sessions[0].records) >= 5)
        text = agent.published.read_text()
        published = json.loads(text)
        assert stat.S_IMODE(agent.published.stat().st_mode) == 0o644
        assert stat.S_IMODE(agent.published.parent.stat().st_mode) == 0o755
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=DEADLINE_S)
    assert not agent.published.exists()
    assert (published["schema"], published["node"], published["boot_id"], published["step_s"]) == (
        1,
        "n1",
        "boot-1",
        0.5,
    )
    package = next(one for one in published["channels"] if one["domain"] == "package-0")
    (before_ns, before_uj), (now_ns, now_uj) = package["points"]
    assert now_ns - before_ns >= 0.3e9
    slack = 0.02 + 2 * stepper.longest_pause_ns / (now_ns - before_ns)
    assert (now_uj - before_uj) * 1000 / (now_ns - before_ns) == pytest.approx(100, rel=slack)


def test_once_prints_what_it_sees(zipapp: Path, rapl: FakeRapl, fake: FakeGroups, tmp_path: Path) -> None:
    agent = Agent(zipapp, tmp_path, "--once")
    with Stepper(rapl), busy(fake):
        done = subprocess.run(agent.argv, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    header, record = map(json.loads, done.stdout.splitlines())
    assert (header["kind"], record["kind"], header["cpu_time_source"]) == ("header", "end", "cgroup-v2")
    assert {job["job_id"] for job in record["jobs"]} == {"17", "18"}
    assert not agent.path.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bogus"], "unknown argument '--bogus'"),
        (["--interval", "x"], "--interval: 'x' is not a number of seconds"),
        (["--slurm-cpus", "-8"], "--slurm-cpus: '-8' is not a number of CPUs"),
        (["--gid", "root"], "--gid: 'root' is not the number of a group"),
    ],
)
def test_a_wrong_command_line(zipapp: Path, tmp_path: Path, options: list[str], message: str) -> None:
    done = subprocess.run(Agent(zipapp, tmp_path, *options).argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"hpcfrugal site agent: {message}\n")
