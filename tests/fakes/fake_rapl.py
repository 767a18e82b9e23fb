"""A sysfs tree with RAPL zones whose counters follow from the time alone, so that the truth is known."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

INTEL_RANGE_UJ = 262_143_328_850
AMD_RANGE_UJ = 65_532_610_987


@dataclass(slots=True)
class Zone:
    """A zone of constant power; ``start_uj`` is its counter at time 0. ``path`` is set by ``build``."""

    entry: str
    name: str
    watts: int
    range_uj: int = INTEL_RANGE_UJ
    start_uj: int = 0
    path: Path = field(default_factory=Path)

    def energy_uj(self, elapsed_ns: int) -> int:
        """Microjoules used in ``elapsed_ns``."""
        return self.watts * elapsed_ns // 1000

    def count_uj(self, at_ns: int) -> int:
        """What the counter shows ``at_ns`` after time 0."""
        return (self.start_uj + self.energy_uj(at_ns)) % (self.range_uj + 1)


@dataclass(slots=True)
class FakeRapl:
    """The tree below ``sysfs`` (which stands for /sys)."""

    sysfs: Path
    zones: list[Zone]

    @property
    def powercap(self) -> Path:
        """The class directory."""
        return self.sysfs / "class/powercap"

    def zone(self, name: str) -> Zone:
        """The first zone of that name."""
        return next(zone for zone in self.zones if zone.name == name)

    def show(self, at_ns: int) -> None:
        """Let all counters stand where they are ``at_ns`` after time 0."""
        for zone in self.zones:
            write_count(zone.path / "energy_uj", zone.count_uj(at_ns))


def two_sockets(sysfs: Path, **changes: int) -> FakeRapl:
    """Packages of 100 and 80 W with dram of 10 and 8 W, core zones, and psys; ``changes`` set every range."""
    range_uj = changes.get("range_uj", INTEL_RANGE_UJ)
    return build(
        sysfs,
        [
            Zone("intel-rapl:0", "package-0", 100, range_uj, start_uj=1_000_000),
            Zone("intel-rapl:0:0", "core", 60, range_uj),
            Zone("intel-rapl:0:1", "dram", 10, range_uj, start_uj=7),
            Zone("intel-rapl:1", "package-1", 80, range_uj, start_uj=2_000_000),
            Zone("intel-rapl:1:0", "core", 50, range_uj),
            Zone("intel-rapl:1:1", "dram", 8, range_uj, start_uj=range_uj - 1),
            Zone("intel-rapl:2", "psys", 260, range_uj),
        ],
    )


def build(sysfs: Path, zones: list[Zone]) -> FakeRapl:
    """Make the tree as the kernel does: nested device directories, and flat links to all of them."""
    tree = FakeRapl(sysfs, zones)
    tree.powercap.mkdir(parents=True)
    (sysfs / "fs/cgroup").mkdir(parents=True)
    for zone in zones:
        interface, *numbers = zone.entry.split(":")
        device = sysfs / "devices/virtual/powercap" / interface
        for depth in range(1, len(numbers) + 1):
            device = device / ":".join([interface, *numbers[:depth]])
        device.mkdir(parents=True)
        (device / "name").write_text(zone.name + "\n")
        (device / "max_energy_range_uj").write_text(f"{zone.range_uj}\n")
        write_count(device / "energy_uj", zone.count_uj(0))
        control = tree.powercap / interface
        if not control.exists():
            control.symlink_to(os.path.relpath(device.parents[len(numbers) - 1], tree.powercap))
        (tree.powercap / zone.entry).symlink_to(os.path.relpath(device, tree.powercap))
        zone.path = device
    return tree


def write_count(path: Path, value: int) -> None:
    """Change a counter in place with one write of constant length: a reader that keeps the file open never
    sees half of it."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(fd, str(value).encode().ljust(24, b"\n"), 0)
    finally:
        os.close(fd)


class Stepper:
    """Moves the counters along real time in a thread, about every 5 ms, and remembers its longest pause."""

    def __init__(self, tree: FakeRapl) -> None:
        self._tree = tree
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._begun_ns = boottime_ns()
        self.longest_pause_ns = 0

    def __enter__(self) -> Stepper:
        self._tree.show(0)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        last_ns = self._begun_ns
        while not self._stop.wait(0.005):
            now_ns = boottime_ns()
            self._tree.show(now_ns - self._begun_ns)
            self.longest_pause_ns = max(self.longest_pause_ns, boottime_ns() - last_ns)
            last_ns = now_ns


def boottime_ns() -> int:
    """The clock of the sidecar."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
