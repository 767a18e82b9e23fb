"""Devices that use energy and that no sensor here reads: the header names them.

Whether a total lacks something by that is decided by what they are. An accelerator (PCI class 03 or 12, or a device
with a DRM or accel node) is a component of the total: a job that may use it is incomplete. All other chips measure the
processors or the memory, which are measured or modelled without them, or supplies, fans, disks and adapters, which are
in no total of components.

Chips that show power or energy are found by hwmon, accelerators without such a chip by their DRM or accel node, which
those have that a driver is bound to; without one no job can use them.
"""

from __future__ import annotations

import os

from ..sysfs import list_folder, text_or_empty
from .amdgpu import is_integrated
from .base import NO_SENSOR_OF_OURS, TYPE_CHECKING, Absent, Opened
from .hwmon_meters import GRACE, power_meters

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .hwmon import Chip, Chips

_DISPLAY, _PROCESSING = "0x03", "0x12"
"""Base classes of PCI: display controllers and processing accelerators (PCI Code and ID Assignment Specification)."""

_AMD, _INTEL = "0x1002", "0x8086"
_GPU_VENDORS = ("0x10de", _AMD, _INTEL)
"""Whose display controllers compute: those of servers' management controllers and of virtual machines do not."""

_ROOT_BUS = "0000:00:"
"""Where the devices within a processor are. Intel's discrete GPUs are behind a bridge."""

_OF_NVML = "nvidia"
"""The driver whose library names what it cannot read."""

MOST_NAMED = 16
_MOST_FILES = 4


UNREAD = "other-chips"


class UnreadDevices:
    """Names what is present and not read, and how many accelerators among it the job may use: all of them with
    ``may_use_all``, else none, since Slurm's list names those of the job. Nothing of it is ever sampled."""

    name = UNREAD
    component = "node"
    components = ("node", "gpu")
    may_block = False

    def __init__(self, chips: Chips, sysfs: str, *, may_use_all: bool, gpus_unread: bool = False) -> None:
        """``gpus_unread``: GPUs whose drivers sensors here know are not read either."""
        self._chips = chips
        self._sysfs = sysfs
        self._may_use_all = may_use_all
        self._gpus_unread = gpus_unread

    def open(self) -> Opened:
        """The devices as absent."""
        found = [*_unread_accelerators(self._chips, self._sysfs), *_unread_chips(self._chips)]
        if self._gpus_unread:
            found = [*_unread_gpus(self._chips), *found]
        found = found[:MOST_NAMED]
        absent = [
            Absent(component, UNREAD, f"present and not read: {what}", advice=NO_SENSOR_OF_OURS)
            for component, what in found
        ]
        accelerators = sum(entry.component == "gpu" for entry in absent)
        return Opened([], absent, [], unread_gpus=accelerators if self._may_use_all else 0)

    def read(self) -> list[int | None]:
        """No values."""
        return []

    def close(self) -> None:
        """Nothing is open."""


def _unread_gpus(chips: Chips) -> Iterable[tuple[str, str]]:
    """Those of AMD and Intel beside NVIDIA's in a job of Slurm: its list has the same numbers for all vendors."""
    for chip in chips.named("amdgpu", "xe", "i915"):
        device = os.path.realpath(f"{chip.path}/device")
        if _computes_by_itself(device):
            yield "gpu", f"accelerator {os.path.basename(device)} of the driver {chip.name}, beside NVIDIA's"


def _unread_chips(chips: Chips) -> Iterable[tuple[str, str]]:
    """Component and description of each chip or meter."""
    for chip in chips.others():
        shown = sorted(file for file in chip.files if _is_reading(file))
        if shown:
            files = ", ".join(shown[:_MOST_FILES]) + (", ..." if len(shown) > _MOST_FILES else "")
            yield "gpu" if _is_accelerator(chip) else "node", f"{chip.name} ({files}) in {chip.path}"
    for what, number, path in power_meters(chips):
        if what not in ("", *GRACE):
            yield "node", f"{what} of socket {number}: {path}"


def _unread_accelerators(chips: Chips, sysfs: str) -> Iterable[tuple[str, str]]:
    """Those that have a driver and no chip that shows power or energy."""
    seen = {os.path.realpath(f"{chip.path}/device") for chip in chips.all()}
    for kind, prefix in (("drm", "card"), ("accel", "accel")):
        folder = f"{sysfs}/class/{kind}"
        for name in list_folder(folder):
            if name[: len(prefix)] != prefix or not name[len(prefix) :].isdigit():
                continue  # a connector, or the second node of a card
            device = os.path.realpath(f"{folder}/{name}/device")
            driver = os.path.basename(os.path.realpath(f"{device}/driver"))
            if device not in seen and driver != _OF_NVML and _computes_by_itself(device):
                yield "gpu", f"accelerator {os.path.basename(device)} of the driver {driver}"
            seen.add(device)


def _computes_by_itself(device: str) -> bool:
    """Whether a PCI device is an accelerator whose energy is not in that of a processor."""
    pci_class = text_or_empty(f"{device}/class", 16)[:4]
    vendor = text_or_empty(f"{device}/vendor", 16)
    if pci_class != _PROCESSING and (pci_class != _DISPLAY or vendor not in _GPU_VENDORS):
        return False
    if vendor == _INTEL:
        return not os.path.basename(device).startswith(_ROOT_BUS)
    hwmon = f"{device}/hwmon"
    return vendor != _AMD or not any(is_integrated(f"{hwmon}/{name}") for name in list_folder(hwmon))


def _is_reading(file: str) -> bool:
    kind, _, what = file.partition("_")
    number = kind[5:] if kind[:5] == "power" else kind[6:] if kind[:6] == "energy" else ""
    return number.isdigit() and what in ("input", "average")


def _is_accelerator(chip: Chip) -> bool:
    device = f"{chip.path}/device"
    return text_or_empty(f"{device}/class", 16)[:4] in (_DISPLAY, _PROCESSING) or any(
        os.path.isdir(f"{device}/{name}") for name in ("drm", "accel")
    )
