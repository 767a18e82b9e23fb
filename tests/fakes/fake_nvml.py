"""Compiles ``fake_nvml.c`` and knows the energy that its devices have truly used."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FakeNvml:
    """The library in ``folder`` (for LD_LIBRARY_PATH), with its wave and its switchboard of faults."""

    folder: Path
    control: Path
    devices: int = 2
    low_mw: int = 100_000
    high_mw: int = 300_000
    period_ms: int = 1000
    mig: int = -1
    other: int = -1

    def environ(self) -> dict[str, str]:
        """The variables under which a process sees this library and these devices."""
        return {
            "LD_LIBRARY_PATH": str(self.folder),
            "FAKE_NVML_CONTROL": str(self.control),
            "FAKE_NVML_DEVICES": str(self.devices),
            "FAKE_NVML_LOW_MW": str(self.low_mw),
            "FAKE_NVML_HIGH_MW": str(self.high_mw),
            "FAKE_NVML_PERIOD_MS": str(self.period_ms),
            "FAKE_NVML_MIG": str(self.mig),
            "FAKE_NVML_OTHER": str(self.other),
        }

    def uuid(self, index: int) -> str:
        """UUID of a device."""
        return f"GPU-{0xAA00 + index:08x}-1111-2222-3333-44445555{index:04x}"

    def slice_uuid(self, index: int) -> str:
        """UUID of the MIG slice on a device."""
        return "MIG" + self.uuid(index)[3:]

    def truth_uj(self, from_ns: int, to_ns: int) -> int:
        """Microjoules of one device between two moments of CLOCK_BOOTTIME."""
        return self._until_uj(to_ns) - self._until_uj(from_ns)

    def _until_uj(self, at_ns: int) -> int:
        period_ns = self.period_ms * 1_000_000
        half_ns = period_ns // 2
        whole, part_ns = divmod(at_ns, period_ns)
        high_ns = whole * half_ns + min(part_ns, half_ns)
        # milliwatts x nanoseconds are picojoules
        return (high_ns * self.high_mw + (at_ns - high_ns) * self.low_mw) // 1_000_000

    def switch_on(self, fault: str) -> None:
        """Make a fault appear; ``fake_nvml.c`` has their names."""
        (self.control / fault).touch()

    def switch_off(self, fault: str) -> None:
        """Make a fault go away."""
        (self.control / fault).unlink()


def compile_library(folder: Path) -> Path:
    """Build libnvidia-ml.so.1 in ``folder``. Raises CalledProcessError where gcc fails."""
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).with_name("fake_nvml.c")
    target = folder / "libnvidia-ml.so.1"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-Wl,-soname,libnvidia-ml.so.1"]
    subprocess.run(["gcc", *flags, "-o", str(target), str(source)], check=True)
    return folder
