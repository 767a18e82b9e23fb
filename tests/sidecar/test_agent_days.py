"""The agent's files by day, and its loop in simulated time: midnight, a full disk, a file close to its limit."""

from __future__ import annotations

import contextlib
import json
import os
import types
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from fake_groups import FakeGroups

from hpcfrugal.sidecar import loop as loop_module
from hpcfrugal.sidecar.agent import agent_loop
from hpcfrugal.sidecar.agent.agent_loop import AgentConfig, AgentLoop, NodeSampler
from hpcfrugal.sidecar.agent.day_files import DayFiles
from hpcfrugal.sidecar.agent.idle_power import NodeIdlePower
from hpcfrugal.sidecar.agent.node_jobs import NodeJobs
from hpcfrugal.sidecar.job_wait import JobWait
from hpcfrugal.sidecar.sensors.base import Channel, Opened
from hpcfrugal.spool.agent_files import AgentFile, read_agent_file

S = 10**9
MIDNIGHT_NS = 20_000 * 86_400 * S
"""2024-10-04, 00:00 UTC."""

LIMIT_B = 64 * 1024 * 1024


class Sensor:
    """A package of 100 W."""

    name = "fake"
    component = "cpu"
    may_block = False

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def open(self) -> Opened:
        return Opened([Channel("cpu", "package-0", "fake", max_w=1000, detail="d")], [], [])

    def read(self) -> list[int | None]:
        return [100 * self.clock.boot_ns // 1000]

    def close(self) -> None:
        pass


class Clock:
    """Both clocks; waiting is what lets time pass, until ``seconds`` have."""

    def __init__(self, wall_ns: int, seconds: int) -> None:
        self.wall_ns = wall_ns
        self.boot_ns = 1000 * S
        self.end_ns = self.boot_ns + seconds * S

    def wait_until(self, at_ns: int) -> str | None:
        step_ns = max(0, min(at_ns, self.end_ns) - self.boot_ns)
        self.boot_ns += step_ns
        self.wall_ns += step_ns
        return "stopped" if self.boot_ns >= self.end_ns else None


def run(
    tmp_path: Path, patch: pytest.MonkeyPatch, clock: Clock, limit_b: int = LIMIT_B, *, job: bool = True
) -> list[AgentFile]:
    """An agent until its clock ends; the files that it has left."""
    times = types.SimpleNamespace(time_ns=lambda: clock.wall_ns)
    patch.setattr(loop_module, "time", times)
    patch.setattr(agent_loop, "time", times)
    fake = FakeGroups(tmp_path)
    if job:
        fake.put("job_17", 0)
    config = AgentConfig("n1", S, 60 * S, str(fake.proc), file_limit_b=limit_b)
    jobs = NodeJobs(config.proc, "n1")
    sampler = NodeSampler(
        config, [Sensor(clock)], [], jobs, NodeIdlePower({}, ""), lambda: clock.boot_ns, lambda: False
    )
    folder = tmp_path / "out"
    folder.mkdir()
    files = DayFiles(str(folder), None, limit_b)
    AgentLoop(config, sampler, files, None, cast(JobWait, clock), lambda: clock.boot_ns, lambda: 0).run()
    found = [read_agent_file(path, os.getuid(), "n1") for path in sorted(folder.iterdir())]
    assert not any(file.bad for file in found)
    return found


def test_a_new_day_has_a_file_of_its_own_and_nothing_is_lost_at_midnight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = run(tmp_path, monkeypatch, Clock(MIDNIGHT_NS - 90 * S, 300))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["2024-10-03.jsonl", "2024-10-04.jsonl"]
    last, next_last = before.sessions[0].latest, after.sessions[0].latest
    assert last is not None
    assert next_last is not None
    assert (last.boottime_ns, last.energy_uj) == (1090 * S, (9_000_000_000,))
    assert after.sessions[0].header.boottime_ns == last.boottime_ns
    assert (next_last.boottime_ns, next_last.energy_uj) == (1300 * S, (21_000_000_000,))
    assert [record.kind for record in after.sessions[0].records] == ["record"] * 4 + ["end"]


def test_the_idle_power_of_a_node_without_jobs_is_in_force_once_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = run(tmp_path, monkeypatch, Clock(MIDNIGHT_NS, 300), job=False)
    first, second = found.sessions
    assert first.header.idle_power == ()
    (cpu,) = second.header.idle_power
    assert (cpu.component, cpu.power_uw) == ("cpu", 100 * 10**6)
    energies_uj = [session.latest.energy_uj for session in found.sessions if session.latest is not None]
    assert energies_uj == [(60 * 100 * 10**6,), (240 * 100 * 10**6,)]


def test_records_come_less_often_towards_the_limit_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(MIDNIGHT_NS, 5_000)
    (found,) = run(tmp_path, monkeypatch, clock, limit_b=16 * 1024)
    (path,) = (tmp_path / "out").iterdir()
    assert path.stat().st_size <= 16 * 1024
    last = found.sessions[0].latest
    assert last is not None
    assert last.energy_uj[0] is not None
    assert last.energy_uj[0] > 0.7 * 5_000 * 100 * 10**6
    gaps_ns = [new.boottime_ns - old.boottime_ns for old, new in pairwise(found.sessions[0].records)]
    assert gaps_ns[1] == 60 * S < gaps_ns[-2]


def line(number: int) -> str:
    return json.dumps({"kind": "job", "number": number, "fill": "x" * 1000})


def test_jobs_that_end_while_the_disk_is_full_are_written_later(small_disk: Path) -> None:
    files = DayFiles(str(small_disk), None, LIMIT_B)
    files.begin(MIDNIGHT_NS, '{"kind":"header"}', '{"kind":"record"}')
    (path,) = small_disk.glob("*.jsonl")
    filler = small_disk / "filler"
    fd = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        with contextlib.suppress(OSError):
            while os.write(fd, b"x" * 4096):
                pass
    finally:
        os.close(fd)
    files.jobs_ended([line(number) for number in range(20)])
    filler.unlink()
    files.jobs_ended([line(20)])
    assert [number for number in numbers_of_whole(path) if number is not None] == list(range(21))


def numbers_of_whole(path: Path) -> list[Any]:
    """The numbers of the lines that are whole: a full disk tears one."""
    found: list[Any] = []
    for text in path.read_text().splitlines():
        try:
            found.append(json.loads(text).get("number"))
        except ValueError:
            continue
    return found
