"""The idle power of a node: that of the settings, else the lowest that the agent has seen without jobs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from hpcfrugal.sidecar.agent.idle_power import NodeIdlePower, idle_energy_uj
from hpcfrugal.sidecar.sensor_in_use import ActiveChannel
from hpcfrugal.sidecar.sensors.base import Channel

S = 10**9


class Node:
    """Two packages and a memory, which are read once a second."""

    def __init__(self, idle: NodeIdlePower) -> None:
        self.idle = idle
        names = (("cpu", "package-0"), ("cpu", "package-1"), ("dram", "package-0/dram"))
        self.entries = [ActiveChannel(Channel(*name, "fake", max_w=10**6, detail="")) for name in names]
        self.at_ns, self.counts_uj = 0, [0, 0, 0]
        self.spend(1, 0, 0, 0)
        for entry in self.entries:
            entry.meter.restart()
        self.idle.begin(self.at_ns, self.entries, jobs=False)

    def spend(self, seconds: int, *watts: int | None, jobs: bool = False) -> None:
        """Draw so much, None for a sensor that fails."""
        for _ in range(seconds):
            self.at_ns += S
            if jobs:
                self.idle.interrupt()
            for index, (entry, power_w) in enumerate(zip(self.entries, watts, strict=True)):
                self.counts_uj[index] += (power_w or 0) * 10**6
                entry.meter.update(self.at_ns, None if power_w is None else self.counts_uj[index])

    def record(self, *, jobs: bool = False) -> dict[str, int]:
        self.idle.look(self.at_ns, self.entries, 30 * S, jobs=jobs)
        return self.idle.power_uw


def test_the_lowest_power_between_two_records_without_jobs(tmp_path: Path) -> None:
    path = tmp_path / "lowest_power"
    node = Node(NodeIdlePower({}, "", str(path)))
    node.spend(60, 40, 30, 10)
    assert node.record() == {"cpu": 70 * 10**6, "dram": 10 * 10**6}
    node.spend(60, 20, 20, 12)
    assert node.record() == {"cpu": 40 * 10**6, "dram": 10 * 10**6}
    node.spend(60, 5, 5, 5, jobs=True)
    node.record(jobs=True)
    node.spend(60, 5, 5, 5)  # a job was there when it began
    node.record()
    assert NodeIdlePower({}, "", str(path)).power_uw == {"cpu": 40 * 10**6, "dram": 10 * 10**6}


def test_a_time_that_is_short_or_has_not_been_read_does_not_count(tmp_path: Path) -> None:
    node = Node(NodeIdlePower({}, "", str(tmp_path / "lowest_power")))
    node.spend(20, 5, 5, 5)
    assert node.record() == {}
    node.spend(20, 5, None, 5)
    assert node.record() == {"dram": 5 * 10**6}


def test_the_settings_come_first(tmp_path: Path) -> None:
    path = tmp_path / "lowest_power"
    path.write_text("cpu 1000\ndram 2000\ngpu 3000\nnode x\n")
    idle = NodeIdlePower({"cpu": 60_000_000}, "wattmeter 2026-03", str(path))
    assert idle.power_uw == {"cpu": 60_000_000, "dram": 2000}
    assert idle.header({"cpu": 60_000_000, "dram": 2000}) == [
        {"component": "cpu", "power_uw": 60_000_000, "source": "wattmeter 2026-03"},
        {"component": "dram", "power_uw": 2000, "source": "the lowest that the agent has seen without jobs"},
    ]


def test_a_folder_that_cannot_be_written_is_logged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    node = Node(NodeIdlePower({}, "", str(tmp_path / "none/lowest_power")))
    node.spend(60, 40, 30, 10)
    assert node.record() == {"cpu": 70 * 10**6, "dram": 10 * 10**6}
    assert "cannot write" in capfd.readouterr().err


def test_idle_energy_of_consecutive_times_adds_up() -> None:
    times_ns = [0, 7, 10**9 + 1, 2 * 10**9 + 13, 5 * 10**9]
    parts = [idle_energy_uj(333_333, one, next_) for one, next_ in pairwise(times_ns)]
    assert sum(parts) == 333_333 * 5
