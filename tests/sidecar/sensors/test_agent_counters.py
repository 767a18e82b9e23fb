"""The counters that the node agent publishes: what a sidecar reads from them, and which files it refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_rapl import two_sockets

from hpcfrugal.sidecar.sensor_in_use import ActiveChannel
from hpcfrugal.sidecar.sensor_selection import SensorSelection
from hpcfrugal.sidecar.sensors.agent_counters import AgentCounters
from hpcfrugal.sidecar.sources import SensorContext, fallback_sensors, primary_sensors

S = 10**9


class Published:
    """A file in which package-0 stands at ``points``, and the time now."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "run/energy.json"
        self.path.parent.mkdir(mode=0o755)
        self.proc = folder / "proc"
        (self.proc / "sys/kernel/random").mkdir(parents=True)
        (self.proc / "sys/kernel/random/boot_id").write_text("boot-1\n")
        self.now_ns = 0
        self.writes = 0

    def write(self, *points: tuple[float, int], **changes: Any) -> None:
        """Let it show ``points``, of seconds and joules, and be of now."""
        channel = {
            "component": "cpu", "domain": "package-0", "source": "rapl-powercap", "boundary": "components",
            "counted": True, "max_w": 1000, "detail": "d", "contains": [],
            "points": [[round(at_s * S), energy_j * 10**6] for at_s, energy_j in points],
        }  # fmt: skip
        content = {
            "schema": 1, "node": "n1", "boot_id": "boot-1", "begun_ns": 1, "step_s": 10.0,
            "boottime_ns": self.now_ns, "wall_ns": 0, "channels": [channel], **changes,
        }  # fmt: skip
        new = self.path.with_name("new")
        new.write_text(json.dumps(content))
        new.chmod(0o644)
        self.writes += 1
        os.utime(new, ns=(self.writes, self.writes))
        new.rename(self.path)

    def sensor(self, component: str = "cpu") -> AgentCounters:
        return AgentCounters(str(self.path), str(self.proc), component, lambda: self.now_ns, os.getuid())

    def joules(self, sensor: AgentCounters, at_s: float) -> float | None:
        self.now_ns = round(at_s * S)
        (value,) = sensor.read()
        return None if value is None else value / 1e6


@pytest.fixture
def published(tmp_path: Path) -> Published:
    return Published(tmp_path)


def test_a_counter_goes_on_between_readings_and_is_corrected_by_the_next(published: Published) -> None:
    published.now_ns = 20 * S
    published.write((10, 1000), (20, 2000))
    sensor = published.sensor()
    (channel,) = sensor.open().channels
    assert (channel.component, channel.domain, channel.source) == ("cpu", "package-0", "agent")
    assert (channel.quality, channel.counted, channel.step_s) == ("measured", True, 10.0)
    assert "rapl-powercap, published each 10 s" in channel.detail
    assert [published.joules(sensor, at_s) for at_s in (20, 25, 29)] == [2000, 2500, 2900]
    published.now_ns = 30 * S
    assert channel.continued_ns == 9 * S
    published.write((20, 2000), (30, 2200))  # it drew less than was assumed
    assert [published.joules(sensor, at_s) for at_s in (30, 31, 40)] == [2200, 2220, 2400]
    assert channel.continued_ns == 10 * S
    published.now_ns = 40 * S
    published.write((30, 2200), (40, 5200))
    assert [published.joules(sensor, at_s) for at_s in (40, 41)] == [5200, 5500]


def test_time_in_which_less_was_drawn_than_assumed_is_measured(published: Published) -> None:
    """Power falls from 400 W to 50 W at 10 s, which the file shows at 20 s. At 15 s, 2000 J too much are assumed."""
    published.now_ns = 10 * S
    published.write((0, 0), (10, 4000))
    sensor = published.sensor()
    meter = ActiveChannel(sensor.open().channels[0]).meter
    for at_s in range(10, 131):
        published.now_ns = at_s * S
        if at_s % 10 == 0 and at_s > 10:
            joules = [4000 + 50 * (since_s - 10) for since_s in (at_s - 10, at_s)]
            published.write((at_s - 10, joules[0]), (at_s, joules[1]))
        meter.update(published.now_ns, sensor.read()[0])
        assert meter.is_reading
    assert (meter.energy_uj, meter.measured_ns) == (120 * 50 * 10**6, 120 * S)


def test_an_agent_that_has_just_started_has_one_reading(published: Published) -> None:
    published.write((0, 7))
    sensor = published.sensor()
    assert len(sensor.open().channels) == 1
    assert [published.joules(sensor, at_s) for at_s in (0, 9)] == [7, 7]


def test_an_agent_that_was_started_again_counts_from_0(published: Published) -> None:
    published.write((0, 700))
    sensor = published.sensor()
    sensor.open()
    assert published.joules(sensor, 1) == 700
    published.write((0.5, 3), (1, 8), begun_ns=2)
    assert published.joules(sensor, 1) is None
    assert published.joules(sensor, 2) == 18


def test_a_job_after_a_hot_one_has_no_more_and_no_less_than_it_used(published: Published) -> None:
    """Until 2 s before the job 400 W are drawn, and in it 50 W, which are published 1 s after its start."""
    published.now_ns = 10 * S
    published.write((0, 0), (10, 4000))
    sensor = published.sensor()
    entry = ActiveChannel(sensor.open().channels[0])
    for at_s in range(19, 80):
        if at_s % 10 == 0:
            published.now_ns = at_s * S
            ends_s = at_s - 10, at_s
            published.write(*((s, 4000 + 400 * min(7, s - 10) + 50 * max(0, s - 17)) for s in ends_s))
        joules = published.joules(sensor, at_s)
        assert joules is not None
        entry.update(published.now_ns, round(joules * 1e6), 0)
    assert entry.assumed_ns == (9 + 9) * S
    # all that was used in the second from the start to the first reading may be missing, and no more
    assert entry.meter.energy_uj == (79 - 20) * 50 * 10**6


def test_a_file_that_is_not_written_any_more_gives_nothing(published: Published) -> None:
    published.write((0, 7))
    sensor = published.sensor()
    sensor.open()
    assert [published.joules(sensor, at_s) for at_s in (30, 30.001)] == [7, None]
    published.path.unlink()
    assert published.joules(sensor, 31) is None


def _link(published: Published) -> None:
    target = published.path.rename(published.path.with_name("target"))
    published.path.symlink_to(target)


def _pipe(published: Published) -> None:
    published.path.unlink()
    os.mkfifo(published.path, 0o644)


REFUSED: dict[str, tuple[Callable[[Published], object], str]] = {
    "missing": (lambda one: one.path.unlink(), "no such file: "),
    "link": (_link, "too many levels of symbolic links: "),
    "pipe": (_pipe, "not a file of root alone: "),
    "others may write": (lambda one: one.path.chmod(0o666), "not a file of root alone: "),
    "others may write into the folder": (lambda one: one.path.parent.chmod(0o777), "not root's alone: "),
    "stale": (lambda one: setattr(one, "now_ns", 100 * S + 31 * S), "not written for 31 s: "),
    "future": (lambda one: setattr(one, "now_ns", 100 * S - 1), "from the future: "),
    "another boot": (lambda one: one.write((1, 2), boot_id="boot-0"), "from before the last boot: "),
    "another schema": (lambda one: one.write((1, 2), schema=2), "not of schema 1: "),
    "no JSON": (lambda one: one.path.write_text("{" * 100_000), "not of schema 1: "),
    "too large": (lambda one: one.write((1, 2), node="x" * 300_000), "not of schema 1: "),
    "no step": (lambda one: one.write((1, 2), step_s=0), "not as the agent writes it: "),
    "no channels": (lambda one: one.write((1, 2), channels=None), "not as the agent writes it: "),
    "not a channel": (lambda one: one.write((1, 2), channels=[{}]), "not as the agent writes it: "),
    "backwards": (lambda one: one.write((2, 2), (1, 3)), "not as the agent writes it: "),
    "falling": (lambda one: one.write((1, 3), (2, 2)), "not as the agent writes it: "),
    "negative": (lambda one: one.write((1, -3)), "not as the agent writes it: "),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_files(published: Published, kind: str) -> None:
    published.now_ns = 100 * S
    published.write((90, 1), (100, 2))
    spoil, reason = REFUSED[kind]
    spoil(published)
    opened = published.sensor().open()
    assert opened.channels == []
    (absent,) = opened.absent
    assert (absent.component, absent.source, absent.reason.startswith(reason)) == ("cpu", "agent", True), absent.reason


def test_a_file_of_another_user_is_refused(published: Published) -> None:
    published.write((0, 1))
    sensor = AgentCounters(str(published.path), str(published.proc), "cpu", lambda: 0, os.getuid() + 1)
    assert sensor.open().channels == []


def test_a_component_that_is_not_published_is_absent(published: Published) -> None:
    published.write((0, 1))
    opened = published.sensor("dram").open()
    assert [absent.reason for absent in opened.absent] == [f"not published in {published.path}"]


@pytest.mark.parametrize(("readable", "sources"), [(True, {"rapl-powercap"}), (False, {"agent", "rapl-powercap"})])
def test_it_is_used_only_for_what_cannot_be_read(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readable: bool, sources: set[str]
) -> None:
    """RAPL of one package cannot be read, and psys can: it is part of no sum, and is there once."""
    monkeypatch.setattr(AgentCounters, "_may_be_forged", lambda *_: False)
    tree = two_sockets(tmp_path / "sys")
    if not readable:
        (tree.zone("package-0").path / "energy_uj").unlink()
    one = {"source": "rapl-powercap", "counted": True, "max_w": 1000, "detail": "d", "contains": []}
    one |= {"points": [[0, 1]]}
    channels = [
        {**one, "component": "cpu", "domain": "package-0", "boundary": "components"},
        {**one, "component": "cpu", "domain": "package-1", "boundary": "components"},
        {**one, "component": "node", "domain": "psys", "boundary": "node", "counted": False},
    ]
    published.write((0, 1), channels=channels)
    place = SensorContext(
        str(tree.sysfs), str(published.proc), {}, lambda: 0, in_slurm=False, published=str(published.path)
    )
    selection = SensorSelection(primary_sensors(place), fallback_sensors(place), lambda: 0, lambda: False)
    found = [entry.channel for entry in selection.entries]
    assert {channel.source for channel in found} == sources
    assert len({(channel.component, channel.domain) for channel in found}) == len(found)
    assert [channel.domain for channel in found if channel.source == "agent"] == ([] if readable else ["package-0"])


def test_it_comes_after_all_sensors_and_only_where_there_is_an_agent(published: Published) -> None:
    def made(path: Path | None) -> list[str]:
        place = SensorContext(
            "/none", str(published.proc), {}, lambda: 0, in_slurm=True, published=None if path is None else str(path)
        )
        fallbacks = [fallback for fallback in fallback_sensors(place) if fallback.component == "cpu"]
        sensors = [fallback.make("cpu", frozenset()) for fallback in fallbacks]
        return [sensor.name for sensor in sensors if sensor is not None]

    assert made(None) == made(published.path) != []
    published.write((0, 1))
    assert made(published.path) == [*made(None), "agent"]
