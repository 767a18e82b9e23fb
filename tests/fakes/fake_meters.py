"""Sysfs trees of power meters other than RAPL: Cray pm_counters, hwmon chips, the perf event source, KFD."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

PERF_SCALE = "2.3283064365386962890625e-10"


def write(path: Path, text: str) -> Path:
    """Write an attribute as the kernel shows it; keeps the inode, as a sysfs file does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        data = text.encode() + b"\n"
        os.pwrite(fd, data.ljust(64, b"\n"), 0)
        os.ftruncate(fd, max(64, len(data)))
    finally:
        os.close(fd)
    return path


class FakeCray:
    """``/sys/cray/pm_counters`` whose counters follow from the time alone; watts by counter."""

    def __init__(self, sysfs: Path, watts: Mapping[str, int], start_j: int = 5_000_000) -> None:
        self.folder = sysfs / "cray/pm_counters"
        self.watts = dict(watts)
        self.start_j = start_j
        write(self.folder / "startup", "1413475810 1413477345134310 us")
        self.show(0)

    def show(self, at_ns: int) -> None:
        """Let all counters stand where they are ``at_ns`` after time 0."""
        stamp = f"{1_700_000_000_000_000 + at_ns // 1000} us"
        write(self.folder / "freshness", f"{at_ns // 100_000_000} {stamp}")
        for name, watts in self.watts.items():
            write(self.folder / name, f"{self.start_j + watts * at_ns // 10**9} J {stamp}")


def chip(sysfs: Path, number: int, name: str, files: Mapping[str, str], *, place: str = "", device: str = "") -> Path:
    """A hwmon chip; ``place`` "device" puts its attributes there, ``device`` is its path below devices."""
    target = sysfs / "devices" / (device or f"platform/{name}.{number}")
    hwmon = target / "hwmon" / f"hwmon{number}"
    hwmon.mkdir(parents=True)
    (hwmon / "device").symlink_to("../..")
    write((hwmon / "device" if place == "device" else hwmon) / "name", name)
    for file, text in files.items():
        write((hwmon / place if place else hwmon) / file, text)
    folder = sysfs / "class/hwmon"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"hwmon{number}").symlink_to(os.path.relpath(hwmon, folder))
    return hwmon


def grace(sysfs: Path, number: int, what: str, socket: int, watts: int) -> Path:
    """One ACPI meter of a Grace socket, its attributes in ``device`` as on older kernels."""
    files = {"power1_average": str(watts * 1_000_000), "power1_oem_info": f"{what} Power Socket {socket}"}
    return chip(
        sysfs, number, "power_meter", files, place="device", device=f"LNXSYSTM:00/LNXSYBUS:00/ACPI000D:{number:02x}"
    )


def amd_gpu(sysfs: Path, number: int, bus: int, watts: int, *, kind: str = "0x740f", unique: str = "") -> Path:
    """An amdgpu chip at PCI address 0000:<bus>:00.0."""
    device = f"pci0000:00/0000:{bus:02x}:00.0"
    hwmon = chip(sysfs, number, "amdgpu", {"power1_average": str(watts * 1_000_000)}, device=device)
    write(hwmon / "device/device", kind)
    if unique:
        write(hwmon / "device/unique_id", unique)
    return hwmon


def kfd(sysfs: Path, buses: list[int]) -> None:
    """The KFD topology: one CPU node, then GPUs in this order."""
    nodes = sysfs / "class/kfd/kfd/topology/nodes"
    write(nodes / "0/properties", "cpu_cores_count 64\nsimd_count 0\nlocation_id 0\ndomain 0")
    for index, bus in enumerate(buses, 1):
        write(nodes / f"{index}/properties", f"simd_count 416\nlocation_id {bus << 8}\ndomain 0\nunique_id 1")


def perf_source(sysfs: Path, *, kind: str = "1", event: str = "event=0x00", cpus: str = "0") -> Path:
    """The ``power`` event source. Type 1 is PERF_TYPE_SOFTWARE, whose event 0 counts nanoseconds of a CPU."""
    pmu = sysfs / "bus/event_source/devices/power"
    write(pmu / "type", kind)
    write(pmu / "cpumask", cpus)
    for name in ("energy-pkg", "energy-ram"):
        write(pmu / "events" / name, event)
        write(pmu / "events" / f"{name}.unit", "Joules")
        write(pmu / "events" / f"{name}.scale", PERF_SCALE)
    return pmu
