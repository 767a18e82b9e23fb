"""Sensors beside RAPL's powercap and NVML: perf_event, Cray's counters, hwmon meters and AMD GPUs."""

from __future__ import annotations

import os
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from fake_meters import PERF_SCALE, FakeCray, amd_gpu, chip, grace, kfd, perf_source, write

from hpcfrugal.sidecar.sensors import rapl_perf
from hpcfrugal.sidecar.sensors.amdgpu import gpu_sensor
from hpcfrugal.sidecar.sensors.base import Channel
from hpcfrugal.sidecar.sensors.hwmon import Chips
from hpcfrugal.sidecar.sensors.hwmon_meters import cpu_sensor, dram_sensor, node_sensor
from hpcfrugal.sidecar.sensors.intel_gpu import intel_gpu_sensor
from hpcfrugal.sidecar.sensors.pm_counters import PmCounters, parse_joules
from hpcfrugal.sidecar.sensors.rapl_perf import RaplPerf, parse_event, parse_scale

STALE_NS = 3 * 10**9

S = 10**9


def names(channels: list[Channel]) -> list[str]:
    return [f"{channel.component}:{channel.domain}{'' if channel.counted else '-'}" for channel in channels]


# perf_event ------------------------------------------------------------------------------------------------------


def test_scale_is_two_to_the_minus_32_exactly() -> None:
    assert parse_scale(PERF_SCALE) is not None
    assert Fraction(*(parse_scale(PERF_SCALE) or (0, 1))) == Fraction(1, 2**32)
    assert parse_scale("6.103515625e-05") == (6103515625, 10**14)
    assert parse_scale("1e+3") == (1000, 1)
    assert [parse_scale(text) for text in ("", "0", "-1e-3", "1e-", "x", "1e999", "1_0", "nan")] == [None] * 8


def test_events() -> None:
    assert parse_event("event=0x02") == 2
    assert [parse_event(text) for text in ("event=2", "umask=0x1", "event=0x", "event=0x-1", "")] == [None] * 5


def _proc(tmp_path: Path, level: str, capabilities: int) -> str:
    write(tmp_path / "proc/sys/kernel/perf_event_paranoid", level)
    write(tmp_path / "proc/self/status", f"Name:\tx\nCapEff:\t{capabilities:016x}\n")
    return str(tmp_path / "proc")


class Perf:
    """Stands in for the system call: one counter a call, in a file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[tuple[int, int, int]] = []

    def open(self, kind: int, config: int, *, pid: int, cpu: int) -> int:
        assert pid == -1
        self.calls.append((kind, config, cpu))
        path = self.folder / f"counter{cpu}"
        path.write_bytes((cpu + 1 << 32).to_bytes(8, "little") * 2)
        return os.open(path, os.O_RDONLY)


@pytest.mark.parametrize(
    ("level", "capabilities", "allowed"),
    [("-1", 0, True), ("0", 0, True), ("1", 0, False), ("3", 0, False), ("3", 1 << 38, True), ("2", 1 << 21, True)],
)
def test_perf_is_asked_only_where_paranoia_permits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str, capabilities: int, allowed: bool
) -> None:
    perf = Perf(tmp_path)
    monkeypatch.setattr(rapl_perf, "open_event", perf.open)
    perf_source(tmp_path, kind="20", event="event=0x02", cpus="0,28")
    for cpu, package in ((0, 0), (28, 1)):
        write(tmp_path / f"devices/system/cpu/cpu{cpu}/topology/physical_package_id", str(package))
    sensor = RaplPerf(str(tmp_path), _proc(tmp_path, level, capabilities), "cpu", frozenset())
    opened = sensor.open()
    if allowed:
        assert perf.calls == [(20, 2, 0), (20, 2, 28)]
        assert names(opened.channels) == ["cpu:package-0", "cpu:package-1"]
        assert sensor.read() == [1_000_000, 29_000_000]
        assert opened.absent == []
    else:
        assert perf.calls == []
        assert opened.absent[0].reason == f"denied: {tmp_path}/proc/sys/kernel/perf_event_paranoid is {level}"
    sensor.close()


def test_perf_opens_only_domains_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    perf = Perf(tmp_path)
    monkeypatch.setattr(rapl_perf, "open_event", perf.open)
    perf_source(tmp_path, cpus="0,1,2")
    for cpu, (package, die) in enumerate([(0, 0), (1, 0), (1, 1)]):
        write(tmp_path / f"devices/system/cpu/cpu{cpu}/topology/physical_package_id", str(package))
        write(tmp_path / f"devices/system/cpu/cpu{cpu}/topology/die_id", str(die))
    sensor = RaplPerf(str(tmp_path), _proc(tmp_path, "0", 0), "dram", frozenset({"package-0/dram"}))
    assert names(sensor.open().channels) == ["dram:package-1-die-0/dram", "dram:package-1-die-1/dram"]
    assert [cpu for _, _, cpu in perf.calls] == [1, 2]
    sensor.close()


@pytest.mark.parametrize(
    ("maker", "expected"),
    [
        ("AuthenticAMD", ["cpu:package-0", "cpu:package-1"]),
        ("HygonGenuine", ["cpu:package-0", "cpu:package-1"]),
        ("GenuineIntel", [f"cpu:package-{package}-die-{die}" for package in (0, 1) for die in (0, 1)]),
    ],
)
def test_perf_counts_a_package_of_dies_as_its_vendor_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maker: str, expected: list[str]
) -> None:
    perf = Perf(tmp_path)
    monkeypatch.setattr(rapl_perf, "open_event", perf.open)
    perf_source(tmp_path, cpus="0-3")
    proc = _proc(tmp_path, "0", 0)
    write(tmp_path / "proc/cpuinfo", f"vendor_id\t: {maker}")
    for cpu in range(4):
        write(tmp_path / f"devices/system/cpu/cpu{cpu}/topology/physical_package_id", str(cpu // 2))
        write(tmp_path / f"devices/system/cpu/cpu{cpu}/topology/die_id", str(cpu % 2))
    sensor = RaplPerf(str(tmp_path), proc, "cpu", frozenset())
    assert names(sensor.open().channels) == expected
    sensor.close()


def test_perf_without_the_event_opens_nothing(tmp_path: Path) -> None:
    opened = RaplPerf(str(tmp_path), "/nowhere", "cpu", frozenset()).open()
    assert opened.absent[0].reason.startswith("no such file: ")
    assert opened.channels == []


@pytest.mark.skipif(os.geteuid() != 0 or os.uname().machine != "x86_64", reason="needs root on x86_64")
def test_the_real_system_call_counts(tmp_path: Path) -> None:
    """A software event in place of RAPL's, which counts the nanoseconds of a CPU; the scale is 2^-32 J each."""
    perf_source(tmp_path)
    sensor = RaplPerf(str(tmp_path), "/proc", "cpu", frozenset())
    opened = sensor.open()
    if not opened.channels:
        pytest.skip(f"no perf_event here: {opened.absent[0].reason}")
    begun_ns = time.monotonic_ns()
    first = sensor.read()[0]
    time.sleep(0.2)
    second = sensor.read()[0]
    elapsed_ns = time.monotonic_ns() - begun_ns
    sensor.close()
    assert first is not None
    assert second is not None
    counted_ns = (second - first) * 2**32 / 1e6
    # a microjoule is 4295 counts
    assert 0.19e9 < counted_ns <= elapsed_ns + 10_000


# Cray ------------------------------------------------------------------------------------------------------------


def test_joules_of_cray() -> None:
    assert parse_joules(b"62186155 J 1717415041254962 us\n") == 62186155
    assert parse_joules(b"12345 J\n") == 12345
    assert [parse_joules(data) for data in (b"", b"5", b"5 W 1 us", b"-5 J", b"1.5 J", b"x J", b"\xff J")] == [None] * 7


WATTS = {
    "energy": 900,
    "cpu_energy": 200,
    "memory_energy": 50,
    "accel0_energy": 100,
    "accel1_energy": 110,
    "power": 1,
}


def test_cray_components(tmp_path: Path) -> None:
    cray = FakeCray(tmp_path, WATTS)
    write(cray.folder / "accel2_energy", "0 J 1 us")
    found: dict[str, Any] = {}
    for component in ("node", "cpu", "dram", "gpu"):
        sensor = PmCounters(str(tmp_path), component, lambda: 0)
        opened = sensor.open()
        found[component] = [(channel.domain, channel.boundary, channel.scope) for channel in opened.channels]
        if component == "gpu":
            assert [entry.reason for entry in opened.absent] == [f"reads 0 J: {cray.folder}/accel2_energy"]
        sensor.close()
    assert found == {
        "node": [("node", "node", "node")],
        "cpu": [("cpu", "components", "node")],
        "dram": [("memory", "components", "node")],
        "gpu": [("accel0", "components", "job"), ("accel1", "components", "job")],
    }


def test_cray_counts_and_stands_still(tmp_path: Path) -> None:
    now_ns = [0]
    cray = FakeCray(tmp_path, WATTS)
    sensor = PmCounters(str(tmp_path), "node", lambda: now_ns[0])
    sensor.open()
    before = sensor.read()[0]
    now_ns[0] = 2 * S
    cray.show(2 * S)
    after = sensor.read()[0]
    assert before is not None
    assert after is not None
    assert after - before == 1800 * 10**6
    now_ns[0] += STALE_NS - 1
    assert sensor.read() == [after]
    now_ns[0] += 1
    assert sensor.read() == [None]
    cray.show(6 * S)
    assert sensor.read() == [before + 6 * 900 * 10**6]
    sensor.close()


def test_cray_start_is_a_step_back_whatever_it_counts(tmp_path: Path) -> None:
    cray = FakeCray(tmp_path, WATTS)
    sensor = PmCounters(str(tmp_path), "node", lambda: 0)
    sensor.open()
    before = sensor.read()[0]
    write(cray.folder / "startup", "1413475999 1 us")
    write(cray.folder / "energy", "5000100 J 1 us")
    after = sensor.read()[0]
    assert before is not None
    assert after is not None
    assert 0 < after < before
    sensor.close()


def test_accelerators_of_others_are_not_counted(tmp_path: Path) -> None:
    FakeCray(tmp_path, WATTS)
    opened = PmCounters(str(tmp_path), "gpu", lambda: 0, "whose?").open()
    assert (opened.channels, [entry.reason for entry in opened.absent]) == ([], ["whose?"])


# hwmon -----------------------------------------------------------------------------------------------------------


def test_grace(tmp_path: Path) -> None:
    """CPU and SysIO rails count, the socket that contains them does not; the module is the node's."""
    for socket in (0, 1):
        for place, (what, watts) in enumerate((("Module", 600), ("Grace", 250), ("CPU", 150), ("SysIO", 30))):
            grace(tmp_path, 4 * socket + place, what, socket, watts)
    chips = Chips(str(tmp_path))
    sensor = cpu_sensor(chips, frozenset())
    assert sensor is not None
    assert names(sensor.open().channels) == [
        "cpu:package-0",
        "cpu:sysio-0",
        "cpu:package-1",
        "cpu:sysio-1",
        "cpu:grace-0-",
        "cpu:grace-1-",
    ]
    assert sensor.read() == [watts * 10**6 for watts in (150, 30, 150, 30, 250, 250)]
    sensor.close()
    node = node_sensor(chips)
    assert node is not None
    opened = node.open()
    assert names(opened.channels) == ["node:module-0", "node:module-1"]
    assert {channel.boundary for channel in opened.channels} == {"node"}
    node.close()


def test_grace_with_nothing_but_the_socket_counts_it(tmp_path: Path) -> None:
    grace(tmp_path, 0, "Grace", 0, 250)
    sensor = cpu_sensor(Chips(str(tmp_path)), frozenset())
    assert sensor is not None
    channels = sensor.open().channels
    assert names(channels) == ["cpu:grace-0"]
    assert channels[0].header()["contains"] == ("dram",)
    assert dram_sensor(Chips(str(tmp_path)), frozenset()) is None
    sensor.close()


@pytest.mark.parametrize("rail", ["CPU", "SysIO"])
def test_grace_without_one_of_its_rails_counts_the_socket(tmp_path: Path, rail: str) -> None:
    """Socket 1 has both, socket 0 one: what that draws else is in its whole alone."""
    for place, (what, socket) in enumerate(((rail, 0), ("Grace", 0), ("CPU", 1), ("SysIO", 1), ("Grace", 1))):
        grace(tmp_path, place, what, socket, 100)
    sensor = cpu_sensor(Chips(str(tmp_path)), frozenset())
    assert sensor is not None
    channels = sensor.open().channels
    assert sorted(names([channel for channel in channels if channel.counted])) == [
        "cpu:grace-0",
        "cpu:package-1",
        "cpu:sysio-1",
    ]
    assert [channel.domain for channel in channels if channel.contains == ("dram",)] == ["grace-0"]
    sensor.close()


def test_plain_power_meter_is_the_node(tmp_path: Path) -> None:
    chip(tmp_path, 0, "power_meter", {"power1_average": "350000000"})
    chip(tmp_path, 1, "power_meter", {"power1_average": "1", "power1_is_battery": "1"})
    chip(tmp_path, 2, "nvme", {"power1_average": "1"})
    chips = Chips(str(tmp_path))
    sensor = node_sensor(chips)
    assert sensor is not None
    assert names(sensor.open().channels) == ["node:node"]
    assert sensor.read() == [350_000_000]
    sensor.close()
    assert cpu_sensor(chips, frozenset()) is None


def test_a_meter_reading_of_0_w_is_ignored(tmp_path: Path) -> None:
    folder = chip(tmp_path, 0, "power_meter", {"power1_average": "0"})
    sensor = node_sensor(Chips(str(tmp_path)))
    assert sensor is not None
    opened = sensor.open()
    assert opened.channels == []
    assert [entry.reason.partition(":")[0] for entry in opened.absent] == ["reads 0"]
    (folder / "power1_average").write_text("350000000")
    sensor = node_sensor(Chips(str(tmp_path)))
    assert sensor is not None
    sensor.open()
    (folder / "power1_average").write_text("0")
    assert sensor.read() == [None]
    sensor.close()


def test_amd_energy_reads_sockets_only(tmp_path: Path) -> None:
    files = {f"energy{n}_label": f"Ecore{n - 1:03}" for n in range(1, 9)}
    files |= {"energy9_label": "Esocket0", "energy10_label": "Esocket1"}
    files |= {f"energy{n}_input": str(n * 1000) for n in range(1, 11)}
    chip(tmp_path, 0, "amd_energy", files)
    chips = Chips(str(tmp_path))
    sensor = cpu_sensor(chips, frozenset({"package-0"}))
    assert sensor is not None
    assert names(sensor.open().channels) == ["cpu:package-1"]
    assert sensor.read() == [10_000]
    sensor.close()


def readings(sensor: Any) -> dict[str, int | None]:
    opened = sensor.open()
    values = dict(zip(names(opened.channels), sensor.read(), strict=True))
    sensor.close()
    assert opened.absent == []
    return values


def test_memory_of_grace_is_what_its_rails_leave(tmp_path: Path) -> None:
    for place, (what, watts) in enumerate((("Grace", 250), ("CPU", 150), ("SysIO", 30))):
        grace(tmp_path, place, what, 0, watts)
    sensor = dram_sensor(Chips(str(tmp_path)), frozenset())
    assert readings(sensor) == {"dram:package-0/dram": 70_000_000}
    assert dram_sensor(Chips(str(tmp_path)), frozenset({"package-0/dram"})) is None


def test_power9(tmp_path: Path) -> None:
    labels = {"System": 700, "Chip 0": 190, "Chip 0 Vdd": 90, "Chip 0 Memory": 40, "Chip 0 GPU": 300, "Chip 8": 180}
    files: dict[str, str] = {}
    for number, (label, watts) in enumerate(labels.items(), 1):
        files |= {f"power{number}_label": label, f"power{number}_input": str(watts * 10**6)}
    chip(tmp_path, 0, "ibmpowernv", files)
    chips = Chips(str(tmp_path))
    assert readings(cpu_sensor(chips, frozenset())) == {"cpu:package-0": 190 * 10**6, "cpu:package-8": 180 * 10**6}
    assert readings(dram_sensor(chips, frozenset())) == {"dram:package-0/dram": 40 * 10**6}
    assert readings(node_sensor(chips)) == {"node:node": 700 * 10**6}


@pytest.mark.parametrize(
    ("driver", "cpu_w", "dram_w"), [("smpro", [100, 20, 10], [15, 16]), ("apm_xgene", [100, 20], None)]
)
def test_altra(tmp_path: Path, driver: str, cpu_w: list[int], dram_w: list[int] | None) -> None:
    watts = {1: 100, 2: 20, 3: 15, 4: 16, 5: 10}
    chip(tmp_path, 0, driver, {f"power{number}_input": str(power_w * 10**6) for number, power_w in watts.items()})
    chips = Chips(str(tmp_path))
    assert list(readings(cpu_sensor(chips, frozenset())).values()) == [power_w * 10**6 for power_w in cpu_w]
    dram = dram_sensor(chips, frozenset())
    assert (dram_w is None) == (dram is None)
    if dram_w is not None:
        assert list(readings(dram).values()) == [power_w * 10**6 for power_w in dram_w]


@pytest.mark.parametrize(
    ("environ", "in_slurm", "read", "named"),
    [
        ({}, False, ["intel-gpu-0", "intel-gpu-1"], 2),
        ({"SLURM_JOB_GPUS": "1"}, True, ["intel-gpu-1"], 1),
        ({"SLURM_JOB_GPUS": "0", "ZE_AFFINITY_MASK": "0"}, True, ["intel-gpu-0"], 1),
        ({"ZE_AFFINITY_MASK": "0.1"}, False, [], 2),
        ({}, True, None, 0),
    ],
)
def test_intel_gpus(
    tmp_path: Path, environ: dict[str, str], in_slurm: bool, read: list[str] | None, named: int
) -> None:
    """What cannot be told apart is named and not read, so that the job is not complete."""
    for number, (driver, bus) in enumerate((("xe", 0x4D), ("i915", 0x3A))):
        files = {"energy1_input": str(5_000_000 + number), "energy2_input": "1"}
        chip(tmp_path, number, driver, files, device=f"pci0000:00/0000:{bus:02x}:00.0")
    sensor = intel_gpu_sensor(Chips(str(tmp_path)), environ, in_slurm, exclusive=False)
    assert (sensor is None) == (read is None)
    if sensor is not None:
        opened = sensor.open()
        assert [channel.domain for channel in opened.channels] == read
        assert len(opened.gpus) == named
        assert len(opened.absent) == named - len(opened.channels)
        assert all(isinstance(value, int) for value in sensor.read())
        sensor.close()


def gpus(sysfs: Path, environ: dict[str, str], in_slurm: bool = True) -> Any:
    sensor = gpu_sensor(Chips(str(sysfs)), str(sysfs), environ, in_slurm=in_slurm, is_alone=not in_slurm)
    if sensor is None:
        return None
    opened = sensor.open()
    sensor.close()
    return (
        [(channel.domain, channel.quality) for channel in opened.channels],
        [gpu.index for gpu in opened.gpus],
        [entry.reason for entry in opened.absent],
    )


def test_amd_gpus_of_the_job(tmp_path: Path) -> None:
    """ROCm's order differs from that of the bus; HIP counts what ROCR left."""
    for number, bus in enumerate((0xC1, 0xC6, 0xC9, 0xCE)):
        amd_gpu(tmp_path, number, bus, 100 + number, unique=f"{number:016x}")
    kfd(tmp_path, [0xCE, 0xC9, 0xC6, 0xC1])
    assert gpus(tmp_path, {}) is None
    assert gpus(tmp_path, {}, in_slurm=False)[1] == [0, 1, 2, 3]
    assert gpus(tmp_path, {"ROCR_VISIBLE_DEVICES": "0,2"})[1] == [1, 3]
    assert gpus(tmp_path, {"ROCR_VISIBLE_DEVICES": "2,3", "HIP_VISIBLE_DEVICES": "1"})[1] == [0]
    assert gpus(tmp_path, {"ROCR_VISIBLE_DEVICES": "GPU-0000000000000002"})[1] == [2]
    assert gpus(tmp_path, {"ROCR_VISIBLE_DEVICES": ""})[:2] == ([], [])
    assert gpus(tmp_path, {"SLURM_JOB_GPUS": "0,1"})[1] == [0, 1]
    assert gpus(tmp_path, {"CUDA_VISIBLE_DEVICES": "1"}, in_slurm=False)[1] == [2]
    assert gpus(tmp_path, {"GPU_DEVICE_ORDINAL": "0"})[1] == [3]
    assert gpus(tmp_path, {"ROCR_VISIBLE_DEVICES": "9"})[2] == ["ROCR_VISIBLE_DEVICES: no device 9"]


def test_amd_gpus_that_the_cgroup_leaves(tmp_path: Path) -> None:
    for number, bus in enumerate((0xC1, 0xC6, 0xC9)):
        amd_gpu(tmp_path, number, bus, 100)
    kfd(tmp_path, [0xC9])
    assert gpus(tmp_path, {"SLURM_JOB_GPUS": "0"})[1] == [2]
    assert gpus(tmp_path, {"ROCR_VISIBLE_DEVICES": "0", "SLURM_JOB_GPUS": "2"})[1] == [2]


def test_gpu_within_a_processor_is_numbered_and_not_read(tmp_path: Path) -> None:
    """What it shows is the power of the processor, which counts already."""
    integrated = amd_gpu(tmp_path, 0, 0x74, 15)
    write(integrated / "in1_label", "vddnb")
    kfd(tmp_path, [0x74, 0xC1])
    assert gpus(tmp_path, {}, in_slurm=False) is None
    amd_gpu(tmp_path, 1, 0xC1, 100)
    discrete = ([("amd-gpu-1", "measured")], [1], [])
    assert gpus(tmp_path, {}, in_slurm=False) == discrete
    assert gpus(tmp_path, {"HIP_VISIBLE_DEVICES": "1"}, in_slurm=False) == discrete
    assert gpus(tmp_path, {"HIP_VISIBLE_DEVICES": "0"}, in_slurm=False) == ([], [], [])


def test_two_dies_of_one_card(tmp_path: Path) -> None:
    """The first die of an MI250X shows the power of both, the second 0."""
    for number, (bus, watts) in enumerate(((0xC1, 400), (0xC6, 0), (0xC9, 300), (0xCE, 0))):
        amd_gpu(tmp_path, number, bus, watts, kind="0x7408")
    assert gpus(tmp_path, {"SLURM_JOB_GPUS": "0,1"}) == ([("amd-gpu-0", "measured")], [0, 1], [])
    assert gpus(tmp_path, {"SLURM_JOB_GPUS": "2"})[0] == [("amd-gpu-2", "modelled")]
    channels, _, absent = gpus(tmp_path, {"SLURM_JOB_GPUS": "1"})
    assert channels == []
    assert absent[0].startswith("reads 0: ")


def test_partitions_of_one_gpu(tmp_path: Path) -> None:
    amd_gpu(tmp_path, 0, 0xC1, 400, kind="0x74a1")
    kfd(tmp_path, [0xC1] * 8)
    assert gpus(tmp_path, {"ROCR_VISIBLE_DEVICES": "0,1"})[0] == [("amd-gpu-0", "modelled")]
    assert gpus(tmp_path, {"ROCR_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"})[0] == [("amd-gpu-0", "measured")]
