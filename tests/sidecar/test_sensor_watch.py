"""Sensors that appear after the start: read from then on, or named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_meters import FakeCray, chip
from fake_rapl import two_sockets
from simulated_node import DRAM_KEY, PACKAGE_KEY, S, SimulatedNode

from hpcfrugal.sidecar.sensor_in_use import Fallback
from hpcfrugal.sidecar.sensor_selection import SensorSelection
from hpcfrugal.sidecar.sensor_watch import SensorWatch
from hpcfrugal.sidecar.sources import SensorContext, fallback_sensors, later_sources, primary_sensors

MINUTE_NS = 60_000_000_000


def context(sysfs: Path, clock_ns: Callable[[], int] = lambda: 0) -> SensorContext:
    environ = {"CUDA_VISIBLE_DEVICES": ""}
    return SensorContext(str(sysfs), str(sysfs / "proc"), environ, clock_ns, in_slurm=False)


def select(sysfs: Path) -> tuple[SensorSelection, Callable[[], bool]]:
    """The sources of a machine, and what looks for more."""
    place = context(sysfs)
    selection = SensorSelection(primary_sensors(place), fallback_sensors(place), lambda: 0, lambda: False)
    return selection, lambda: selection.look_again(later_sources(place))


def counted(selection: SensorSelection) -> list[str]:
    channels = [entry.channel for entry in selection.entries]
    return [f"{channel.source} {channel.domain}" for channel in channels if channel.counted]


def test_looks_once_a_minute_and_acts_on_a_change(tmp_path: Path) -> None:
    now_ns = 5
    sources = [Fallback("cpu", lambda _component, _covered: None)]
    watch = SensorWatch(str(tmp_path), str(tmp_path / "proc"), lambda: now_ns, lambda: sources)
    (tmp_path / "class/hwmon/hwmon7").mkdir(parents=True)
    now_ns = 4 + MINUTE_NS
    assert watch.new_sources() == ()
    now_ns = 5 + MINUTE_NS
    assert watch.new_sources() == sources
    now_ns = 5 + 2 * MINUTE_NS
    assert watch.new_sources() == ()
    for folder in ("class/powercap/new", "bus/event_source/devices/power", "cray/pm_counters"):
        (tmp_path / folder).mkdir(parents=True)
        now_ns += MINUTE_NS
        assert watch.new_sources() == sources, folder
    (tmp_path / "proc/driver/nvidia/gpus/0000:05:00.0").mkdir(parents=True)
    now_ns += MINUTE_NS
    assert watch.new_sources() == sources
    (tmp_path / "class/hwmon/hwmon7").rmdir()
    now_ns += MINUTE_NS
    assert watch.new_sources() == sources


def test_device_that_comes_and_goes_is_looked_for_32_times(tmp_path: Path) -> None:
    now_ns = found = 0
    sources = [Fallback("cpu", lambda _component, _covered: None)]
    watch = SensorWatch(str(tmp_path), str(tmp_path / "proc"), lambda: now_ns, lambda: sources)
    for number in range(100):
        (tmp_path / f"class/hwmon/hwmon{number}").mkdir(parents=True)
        now_ns += MINUTE_NS
        found += bool(watch.new_sources())
    assert found == 32


def test_powercap_that_appears_is_read(tmp_path: Path) -> None:
    selection, look_again = select(tmp_path)
    assert counted(selection) == []
    assert not look_again()
    two_sockets(tmp_path)
    assert look_again()
    assert counted(selection) == [
        "rapl-powercap package-0",
        "rapl-powercap package-0/dram",
        "rapl-powercap package-1",
        "rapl-powercap package-1/dram",
    ]
    assert [entry for entry in selection.absent if entry.source == "rapl-powercap"] == []
    assert not look_again()


def test_package_that_appears_is_read_beside_the_others_and_none_twice(tmp_path: Path) -> None:
    tree = two_sockets(tmp_path)
    hidden = tmp_path / "offline"
    second = [path for path in tree.powercap.iterdir() if path.name.startswith("intel-rapl:1")]
    hidden.mkdir()
    for path in second:
        shutil.move(path, hidden / path.name)
    selection, look_again = select(tmp_path)
    first = counted(selection)
    assert first == ["rapl-powercap package-0", "rapl-powercap package-0/dram"]
    for path in second:
        shutil.move(hidden / path.name, path)
    assert look_again()
    assert counted(selection) == [*first, "rapl-powercap package-1", "rapl-powercap package-1/dram"]
    domains = [(entry.channel.component, entry.channel.domain) for entry in selection.entries]
    assert len(domains) == len(set(domains))


def test_nothing_is_added_to_a_counter_of_all_packages(tmp_path: Path) -> None:
    FakeCray(tmp_path, {"energy": 900, "cpu_energy": 200, "memory_energy": 50})
    selection, look_again = select(tmp_path)
    before = counted(selection)
    assert before == ["pm-counters cpu", "pm-counters memory", "pm-counters node"]
    two_sockets(tmp_path)
    assert not look_again()
    assert counted(selection) == before


def test_meter_and_unknown_chip_that_appear(tmp_path: Path) -> None:
    two_sockets(tmp_path)
    selection, look_again = select(tmp_path)
    chip(tmp_path, 0, "power_meter", {"power1_average": "350000000"})
    assert look_again()
    assert counted(selection)[-1] == "hwmon node"
    chip(tmp_path, 1, "nct6775", {"temp1_input": "1"})
    assert not look_again()


def test_an_unread_chip_is_named_when_it_appears(tmp_path: Path) -> None:
    two_sockets(tmp_path)
    selection, look_again = select(tmp_path)
    chip(tmp_path, 0, "ina3221", {"power1_input": "1"})
    assert look_again()
    assert not look_again()
    (reason,) = [entry.reason for entry in selection.absent if entry.source == "other-chips"]
    assert reason.startswith("present and not read: ina3221 (power1_input)")


def test_energy_counts_from_the_look_on(make_node: Callable[..., SimulatedNode]) -> None:
    """The counters appear 90 s after the start; a look each minute finds them at 120 s."""
    node = make_node()
    zones = node.rapl.powercap.rename(node.folder / "unloaded")
    node.at(90, lambda: zones.rename(node.rapl.powercap) and None)
    place = context(node.rapl.sysfs, lambda: node.boottime_ns)
    watch = SensorWatch(str(node.rapl.sysfs), str(node.proc), lambda: node.boottime_ns, lambda: later_sources(place))
    node.patch.setattr(node, "show", lambda: None)
    node.patch.setattr(node, "_pass", _pass_where_there_are_counters(node))
    node.sample(200, watch=watch)
    found = node.ledger()
    for key, watts in ((PACKAGE_KEY, 100), (DRAM_KEY, 10)):
        assert found[key].energy_uj == watts * 80 * 10**6
        assert found[key].measured_ns == 80 * S
    assert found["cpu/cpu/model-tdp"].measured_ns == 120 * S


def _pass_where_there_are_counters(node: SimulatedNode) -> Callable[[int], None]:
    def move(span_ns: int) -> None:
        node.boottime_ns += span_ns
        node.wall_ns += span_ns
        node.counted_ns += span_ns
        if node.rapl.powercap.is_dir():
            node.rapl.show(node.counted_ns)

    return move


@pytest.mark.parametrize("rate", [1, 10])
def test_watching_costs_next_to_nothing(tmp_path: Path, rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five folders a minute, whatever the interval between samples."""
    listed: list[str] = []
    monkeypatch.setattr("hpcfrugal.sidecar.sensor_watch.list_folder", lambda path: listed.append(path) or [])
    now_ns = 0
    watch = SensorWatch("/sys", "/proc", lambda: now_ns, list)
    for tick in range(1, 600 * rate + 1):
        now_ns = tick * 10**9 // rate
        watch.new_sources()
    assert len(listed) == 5 * 11
