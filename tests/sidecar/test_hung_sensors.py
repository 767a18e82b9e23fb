"""Files of the kernel that do not answer: the other channels go on, nothing counts twice, and the end comes in time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_meters import FakeCray
from fake_rapl import FakeRapl, two_sockets
from sidecar_process import SidecarProcess

from hpcfrugal.sidecar.sensor_in_use import Fallback
from hpcfrugal.sidecar.sensor_selection import SensorSelection
from hpcfrugal.sidecar.sensors.base import Absent, Channel, Opened
from hpcfrugal.sidecar.sensors.pm_counters import PmCounters
from hpcfrugal.sidecar.sensors.rapl_powercap import RaplPowercap
from hpcfrugal.sidecar.sources import SensorContext, fallback_sensors, primary_sensors
from hpcfrugal.sidecar.worker import boottime_ns

pytestmark = pytest.mark.serial

TICK_WAIT_S = 0.25
FILE_TIMEOUT_S = 0.8

WATTS = {"energy": 900, "cpu_energy": 200, "memory_energy": 50}


class Gate:
    """Holds up whoever passes while it is shut."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def __call__(self) -> None:
        assert self._open.wait(30)


@pytest.fixture
def gate() -> Gate:
    return Gate()


def hang(monkeypatch: pytest.MonkeyPatch, sensor: type, call: str, gate: Gate) -> None:
    """Let ``call`` of a sensor wait at the gate."""
    real = getattr(sensor, call)

    def held(self: object) -> object:
        gate()
        return real(self)

    monkeypatch.setattr(sensor, call, held)


def counted(selection: SensorSelection) -> list[str]:
    channels = [entry.channel for entry in selection.entries]
    return sorted(f"{channel.component} {channel.source}" for channel in channels if channel.counted)


def test_every_source_of_the_machine_may_hang(tmp_path: Path) -> None:
    two_sockets(tmp_path)
    FakeCray(tmp_path, WATTS)
    place = SensorContext(str(tmp_path), str(tmp_path), {}, lambda: 0, in_slurm=False)
    made = primary_sensors(place) + [
        sensor
        for fallback in fallback_sensors(place)
        if (sensor := fallback.make(fallback.component, frozenset())) is not None
    ]
    assert {sensor.name for sensor in made} >= {"rapl-powercap", "rapl-perf", "pm-counters", "nvml-energy"}
    assert all(sensor.may_block for sensor in made)


@pytest.mark.parametrize("hung", [RaplPowercap, PmCounters])
def test_hung_read_costs_only_its_own_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate, hung: type
) -> None:
    tree = two_sockets(tmp_path)
    cray = FakeCray(tmp_path, WATTS)
    hang(monkeypatch, hung, "read", gate)
    place = SensorContext(str(tmp_path), str(tmp_path), {}, boottime_ns, in_slurm=False)
    node_only = [fallback for fallback in fallback_sensors(place) if fallback.component not in ("cpu", "dram", "gpu")]
    selection = SensorSelection(primary_sensors(place), node_only, boottime_ns, lambda: False)
    sources = [entry.channel.source for entry in selection.entries]
    assert set(sources) == {"rapl-powercap", "pm-counters"}
    try:
        selection.sample(TICK_WAIT_S)
        gate.shut()
        took_s = []
        for second in (1, 2, 3):
            tree.show(second * 10**9)
            cray.show(second * 10**9)
            begun_s = time.monotonic()
            selection.sample(TICK_WAIT_S)
            took_s.append(time.monotonic() - begun_s)
        # waited for once, and not again while it hangs
        assert FILE_TIMEOUT_S <= took_s[0] < FILE_TIMEOUT_S + 0.5
        assert max(took_s[1:]) < FILE_TIMEOUT_S / 2
        for entry, source in zip(selection.entries, sources, strict=True):
            assert entry.failures == (3 if source == hung.name else 0), entry.channel.domain
        gate.open()
        time.sleep(0.1)
        for second in (4, 5):
            tree.show(second * 10**9)
            cray.show(second * 10**9)
            selection.sample(TICK_WAIT_S)
        assert [entry.failures for entry in selection.entries] == [0] * len(sources)
    finally:
        gate.open()


def test_late_powercap_keeps_lesser_sources_of_all_its_components_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    two_sockets(tmp_path)
    FakeCray(tmp_path, WATTS)
    hang(monkeypatch, RaplPowercap, "open", gate)
    gate.shut()
    try:
        place = SensorContext(str(tmp_path), str(tmp_path), {}, boottime_ns, in_slurm=False)
        selection = SensorSelection(primary_sensors(place), fallback_sensors(place), boottime_ns, lambda: False)
        assert counted(selection) == ["node pm-counters"]
        said = {entry.component: entry.reason for entry in selection.absent if entry.source == "rapl-powercap"}
        assert said == dict.fromkeys(("cpu", "dram"), "no response within 1 s")
    finally:
        gate.open()
    _until(selection.has_late_opened)
    selection.adopt_opened()
    assert counted(selection) == ["cpu rapl-powercap"] * 2 + ["dram rapl-powercap"] * 2 + ["node pm-counters"]


def test_a_late_source_replaces_the_channels_that_it_contains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    """One package of two is denied and the counter of both comes late: from then on it alone counts."""
    tree = two_sockets(tmp_path)
    (tree.zone("package-1").path / "energy_uj").write_text("?")
    FakeCray(tmp_path, WATTS)
    hang(monkeypatch, PmCounters, "open", gate)
    gate.shut()
    try:
        place = SensorContext(str(tmp_path), str(tmp_path), {}, boottime_ns, in_slurm=False)
        selection = SensorSelection(primary_sensors(place), fallback_sensors(place), boottime_ns, lambda: False)
        assert counted(selection) == ["cpu rapl-powercap", "dram rapl-powercap", "dram rapl-powercap"]
    finally:
        gate.open()
    _until(selection.has_late_opened)
    time.sleep(0.1)
    selection.adopt_opened()
    assert counted(selection) == ["cpu pm-counters", "dram rapl-powercap", "dram rapl-powercap", "node pm-counters"]


class Fake:
    """A source of one domain, in a thread or not."""

    def __init__(self, name: str, *, may_block: bool) -> None:
        self.name = name
        self.component = "cpu"
        self.may_block = may_block

    def open(self) -> Opened:
        channel = Channel("cpu", self.name, self.name, max_w=1000, detail=self.name)
        return Opened([channel], [Absent("gpu", self.name, "none")], [])

    def read(self) -> list[int | None]:
        return [1]

    def close(self) -> None:
        return None


def test_channels_stand_in_the_order_of_their_sources() -> None:
    blocks = [True, False, True, False]
    fakes = [Fake(f"s{index}", may_block=may_block) for index, may_block in enumerate(blocks)]
    fallbacks: list[Fallback] = []
    selection = SensorSelection(fakes, fallbacks, boottime_ns, lambda: False)
    assert [entry.channel.source for entry in selection.entries] == ["s0", "s1", "s2", "s3"]


def _until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_job_ends_in_time_while_a_file_does_not_open(zipapp: Path, run_dir: Path, rapl: FakeRapl) -> None:
    """A package's counter that never answers: there is a record of what is left, and the end."""
    path = rapl.zone("package-0").path / "energy_uj"
    path.unlink()
    os.mkfifo(path)
    FakeCray(rapl.sysfs, {"energy": 900})
    with SidecarProcess(zipapp, run_dir, rapl.sysfs) as it:
        it.wait_for_records(2)
        code, took_s, _ = it.stop()
        lines = it.lines()
    assert code == 0
    assert took_s < 2
    assert [channel["source"] for channel in lines[0]["channels"]] == ["pm-counters"]
    assert "no response within 1 s" in [entry["reason"] for entry in lines[0]["absent"]]
    assert lines[-1]["kind"] == "end"
