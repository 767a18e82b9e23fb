"""RAPL zones of a fake sysfs: what is found, what is counted, what is denied, and garbage."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from fake_rapl import AMD_RANGE_UJ, INTEL_RANGE_UJ, FakeRapl, Zone, build, write_count

from hpcfrugal.sidecar.sensors.base import Opened
from hpcfrugal.sidecar.sensors.rapl_powercap import RaplPowercap


def open_tree(sysfs: Path) -> tuple[RaplPowercap, Opened]:
    sensor = RaplPowercap(str(sysfs))
    return sensor, sensor.open()


def table(opened: Opened) -> list[tuple[Any, ...]]:
    return [(channel.component, channel.domain, channel.counted) for channel in opened.channels]


def test_two_sockets(rapl: FakeRapl) -> None:
    sensor, opened = open_tree(rapl.sysfs)
    assert table(opened) == [
        ("cpu", "package-0", True),
        ("cpu", "package-0/core", False),
        ("dram", "package-0/dram", True),
        ("cpu", "package-1", True),
        ("cpu", "package-1/core", False),
        ("dram", "package-1/dram", True),
        ("node", "psys", False),
    ]
    assert opened.absent == []
    assert {channel.range_uj for channel in opened.channels} == {INTEL_RANGE_UJ}
    assert [channel.boundary for channel in opened.channels] == ["components"] * 6 + ["node"]
    assert opened.channels[0].detail == f"{rapl.powercap}/intel-rapl:0"
    rapl.show(10_000_000_000)
    assert sensor.read() == [zone.count_uj(10_000_000_000) for zone in rapl.zones]
    sensor.close()


def constrain(rapl: FakeRapl, name: str, *constraints: tuple[str, int | None, int | None]) -> None:
    for number, (kind, max_power_uw, power_limit_uw) in enumerate(constraints):
        files = {"name": kind, "max_power_uw": max_power_uw, "power_limit_uw": power_limit_uw}
        for file, value in files.items():
            if value is not None:
                (rapl.zone(name).path / f"constraint_{number}_{file}").write_text(f"{value}\n")


def test_long_term_limit_of_all_packages(rapl: FakeRapl) -> None:
    """Readable also where the counters are not, and not the higher short-term limit."""
    assert open_tree(rapl.sysfs)[1].cpu_limit_uw is None
    constrain(rapl, "package-0", ("short_term", 400_000_000, 246_000_000), ("long_term", 205_000_000, 150_000_000))
    assert open_tree(rapl.sysfs)[1].cpu_limit_uw is None, "of one of two packages only"
    constrain(rapl, "package-1", ("long_term", 0, 185_000_000), ("short_term", 0, 222_000_000))
    constrain(rapl, "psys", ("long_term", 900_000_000, 900_000_000))
    for zone in rapl.zones:
        (zone.path / "energy_uj").unlink()
    opened = open_tree(rapl.sysfs)[1]
    assert (opened.channels, opened.cpu_limit_uw) == ([], 390_000_000)
    constrain(rapl, "package-0", ("long_term", 1 << 62, None), ("long_term", None, None))
    assert open_tree(rapl.sysfs)[1].cpu_limit_uw == 431_000_000, "more than a package can draw is no limit"


def test_flat_tree_without_links(tmp_path: Path) -> None:
    """Copies in place of links, children beside their package."""
    for entry, name in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "dram")):
        folder = tmp_path / "class/powercap" / entry
        folder.mkdir(parents=True)
        (folder / "name").write_text(name)
        (folder / "energy_uj").write_text("5\n")
        (folder / "max_energy_range_uj").write_text("1000\n")
    sensor, opened = open_tree(tmp_path)
    assert table(opened) == [("cpu", "package-0", True), ("dram", "package-0/dram", True)]
    sensor.close()


def test_several_dies_and_amd(tmp_path: Path) -> None:
    tree = build(
        tmp_path,
        [
            Zone("intel-rapl:0", "package-0-die-0", 50, AMD_RANGE_UJ),
            Zone("intel-rapl:1", "package-0-die-1", 60, AMD_RANGE_UJ),
            Zone("intel-rapl:1:0", "core", 60, AMD_RANGE_UJ),
        ],
    )
    sensor, opened = open_tree(tree.sysfs)
    assert table(opened) == [
        ("cpu", "package-0-die-0", True),
        ("cpu", "package-0-die-1", True),
        ("cpu", "package-0-die-1/core", False),
    ]
    assert [(entry.component, entry.reason) for entry in opened.absent] == [
        ("dram", f"no dram zone in {tree.powercap}")
    ]
    sensor.close()


def dies(tmp_path: Path, count: int, names: str = "package-{package}-die-{die}", **settings: int) -> FakeRapl:
    """Two packages of ``count`` zones each that show the same, with a core zone each."""
    zones = []
    for number in range(2 * count):
        package, die = divmod(number, count)
        start_uj = settings.get("start_uj", 5_000_000) * (package + 1)
        name = names.format(package=package, die=die)
        zones.append(Zone(f"intel-rapl:{number:x}", name, 150 + 150 * package, AMD_RANGE_UJ, start_uj=start_uj))
        zones.append(Zone(f"intel-rapl:{number:x}:0", "core", 10 + number, AMD_RANGE_UJ, start_uj=number))
    return build(tmp_path / "sys", zones)


def vendor(tmp_path: Path, name: str) -> str:
    """A procfs of a machine of that vendor."""
    proc = tmp_path / "proc"
    proc.mkdir(exist_ok=True)
    (proc / "cpuinfo").write_text(f"processor\t: 0\nvendor_id\t: {name}\nmodel name\t: X\n")
    return str(proc)


@pytest.mark.parametrize("maker", ["AuthenticAMD", "HygonGenuine"])
@pytest.mark.parametrize("start_uj", [0, 5_000_000])
@pytest.mark.parametrize("names", ["package-{package}-die-{die}", "package-{package}"])
def test_one_counter_shown_for_each_die_counts_once(tmp_path: Path, maker: str, start_uj: int, names: str) -> None:
    """Linux 6.10 and 6.11 on AMD, 16 zones with hexadecimal numbers."""
    tree = dies(tmp_path, 8, names, start_uj=start_uj)
    sensor = RaplPowercap(str(tree.sysfs), vendor(tmp_path, maker))
    opened = sensor.open()
    assert table(opened) == [
        ("cpu", "package-0", True),
        ("cpu", "package-0/core", False),
        ("cpu", "package-1", True),
        ("cpu", "package-1/core", False),
    ]
    tree.show(10**9)
    assert sensor.read()[::2] == [tree.zones[0].count_uj(10**9), tree.zones[16].count_uj(10**9)]
    sensor.close()


def test_denied_dies_are_one_absent_package(tmp_path: Path) -> None:
    """So that what another source gives for the package leaves nothing missing."""
    tree = dies(tmp_path, 2)
    for zone in tree.zones:
        (zone.path / "energy_uj").unlink()
    opened = RaplPowercap(str(tree.sysfs), vendor(tmp_path, "AuthenticAMD")).open()
    assert [entry.domain for entry in opened.absent if entry.component == "cpu" and entry.domain] == [
        "package-0",
        "package-1",
    ]
    write_count(tree.zones[2].path / "energy_uj", 5)
    sensor = RaplPowercap(str(tree.sysfs), vendor(tmp_path, "AuthenticAMD"))
    opened = sensor.open()
    assert table(opened) == [("cpu", "package-0", True)]
    assert [entry.domain for entry in opened.absent if entry.component == "cpu" and entry.domain] == ["package-1"]
    sensor.close()


def test_alike_is_one_counter_where_the_vendor_is_unknown(tmp_path: Path) -> None:
    tree = dies(tmp_path, 8)
    sensor, opened = open_tree(tree.sysfs)
    assert [channel.domain for channel in opened.channels if channel.counted] == ["package-0-die-0", "package-1-die-0"]
    assert len(opened.channels) == 4
    sensor.close()


@pytest.mark.parametrize("maker", ["GenuineIntel", None])
def test_dies_with_a_counter_each_are_summed(tmp_path: Path, maker: str | None) -> None:
    """Cascade Lake-AP: two dies a package, each with its own counters and memory."""
    zones = []
    for number in range(4):
        package, die = divmod(number, 2)
        name = f"package-{package}-die-{die}"
        zones += [
            Zone(f"intel-rapl:{number}", name, 100, start_uj=10**9 * (number + 1)),
            Zone(f"intel-rapl:{number}:0", "dram", 10, start_uj=10**9 * (number + 1)),
        ]
    tree = build(tmp_path / "sys", zones)
    sensor = RaplPowercap(str(tree.sysfs), None if maker is None else vendor(tmp_path, maker))
    opened = sensor.open()
    assert [channel.domain for channel in opened.channels if channel.component == "cpu"] == [
        "package-0-die-0",
        "package-0-die-1",
        "package-1-die-0",
        "package-1-die-1",
    ]
    assert len(opened.channels) == 8
    sensor.close()


def test_intel_dies_that_happen_to_read_alike_are_summed(tmp_path: Path) -> None:
    tree = dies(tmp_path, 2)
    sensor = RaplPowercap(str(tree.sysfs), vendor(tmp_path, "GenuineIntel"))
    assert sum(channel.counted for channel in sensor.open().channels) == 4
    sensor.close()


def test_mmio_duplicate_counts_once(tmp_path: Path) -> None:
    tree = build(
        tmp_path,
        [
            Zone("intel-rapl:0", "package-0", 100),
            Zone("intel-rapl-mmio:0", "package-0", 100),
            Zone("intel-rapl-mmio:0:0", "dram", 10),
        ],
    )
    sensor, opened = open_tree(tree.sysfs)
    assert table(opened) == [("cpu", "package-0", True), ("dram", "package-0/dram", True)]
    assert opened.channels[0].detail.endswith("/intel-rapl:0")
    sensor.close()


def test_mmio_stands_in_where_msr_gives_nothing(tmp_path: Path) -> None:
    tree = build(tmp_path, [Zone("intel-rapl:0", "package-0", 1), Zone("intel-rapl-mmio:0", "package-0", 100)])
    (tree.zones[0].path / "energy_uj").unlink()
    sensor, opened = open_tree(tree.sysfs)
    assert [channel.detail for channel in opened.channels] == [f"{tree.powercap}/intel-rapl-mmio:0"]
    assert [entry.component for entry in opened.absent] == ["dram"]
    sensor.close()


def test_same_zone_by_two_links_counts_once(rapl: FakeRapl) -> None:
    (rapl.powercap / "intel-rapl:9").symlink_to(rapl.zone("package-0").path)
    sensor, opened = open_tree(rapl.sysfs)
    assert len(opened.channels) == len(rapl.zones)
    sensor.close()


def test_two_zones_of_one_name_are_distinguished(tmp_path: Path) -> None:
    tree = build(tmp_path, [Zone("intel-rapl:0", "package-0", 1), Zone("intel-rapl:1", "package-0", 2)])
    sensor, opened = open_tree(tree.sysfs)
    assert [channel.domain for channel in opened.channels] == ["package-0", "package-0#2"]
    sensor.close()


def test_no_powercap_at_all(tmp_path: Path) -> None:
    sensor, opened = open_tree(tmp_path)
    assert opened.channels == []
    assert [(entry.component, entry.reason) for entry in opened.absent] == [
        (component, f"no such file: {tmp_path}/class/powercap") for component in ("cpu", "dram")
    ]
    assert sensor.read() == []


def test_other_classes_are_left_alone(tmp_path: Path) -> None:
    tree = build(tmp_path, [Zone("dtpm:0", "package-0", 1)])
    _, opened = open_tree(tree.sysfs)
    assert opened.channels == []


@pytest.mark.parametrize("content", ["", "\n", "-5\n", "1_000\n", "0x10\n", "12 34\n", "9" * 40, "nan", "\0" * 10])
def test_garbage_at_the_start_is_absent(rapl: FakeRapl, content: str) -> None:
    (rapl.zone("package-0").path / "energy_uj").write_text(content)
    sensor, opened = open_tree(rapl.sysfs)
    assert "package-0" not in [channel.domain for channel in opened.channels]
    assert [entry.reason for entry in opened.absent] == [f"not a counter: {rapl.powercap}/intel-rapl:0/energy_uj"]
    sensor.close()


def test_garbage_later_is_a_failed_read(rapl: FakeRapl) -> None:
    sensor, _ = open_tree(rapl.sysfs)
    path = rapl.zone("package-0").path / "energy_uj"
    path.write_text("oops")
    assert sensor.read()[0] is None
    write_count(path, 42)
    assert sensor.read()[0] == 42
    sensor.close()


@pytest.mark.parametrize("content", ["", "0", "-1", "junk"])
def test_an_invalid_range_is_unknown(rapl: FakeRapl, content: str) -> None:
    (rapl.zone("package-0").path / "max_energy_range_uj").write_text(content)
    sensor, opened = open_tree(rapl.sysfs)
    assert opened.channels[0].range_uj is None
    sensor.close()


def test_a_missing_name_gives_no_zone(rapl: FakeRapl) -> None:
    (rapl.zone("psys").path / "name").unlink()
    sensor, opened = open_tree(rapl.sysfs)
    assert "psys" not in [channel.domain for channel in opened.channels]
    sensor.close()


def test_counter_replaced_by_a_directory_is_absent(rapl: FakeRapl) -> None:
    path = rapl.zone("package-1").path / "energy_uj"
    path.unlink()
    path.mkdir()
    sensor, opened = open_tree(rapl.sysfs)
    assert [entry.reason for entry in opened.absent] == [f"is a directory: {rapl.powercap}/intel-rapl:1/energy_uj"]
    sensor.close()


def test_files_are_opened_once(rapl: FakeRapl) -> None:
    sensor, _ = open_tree(rapl.sysfs)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        sensor.read()
    assert len(os.listdir("/proc/self/fd")) == before
    shutil.rmtree(rapl.sysfs)
    sensor.close()
