"""Chips that show power or energy and that no sensor here reads: they are named, so that nobody takes them for missing.

Whether a total lacks something by that is decided by what they measure. An accelerator (PCI class 03 or 12, or a device
with a DRM or accel node) is a component of the total: a job that may use it is incomplete. All other chips measure the
processors or the memory, which are measured or modelled without them, or supplies, fans, disks and adapters, which are
in no total of components.
"""

from __future__ import annotations

import os

from ..sysfs import text_or_empty
from .base import NO_SENSOR_OF_OURS, TYPE_CHECKING, Absent, Opened
from .hwmon_meters import GRACE, power_meters

if TYPE_CHECKING:
    from .hwmon import Chip, Chips

_ACCELERATORS = ("0x03", "0x12")
"""Base classes of PCI: display controllers and processing accelerators (PCI Code and ID Assignment Specification)."""

MOST_NAMED = 16
_MOST_FILES = 4


UNREAD = "other-chips"


class UnreadChips:
    """Names what is present and not read, and how many accelerators among it the job may use: all of them with
    ``may_use_all``, else none, since Slurm's list names those of the job. Nothing of it is ever sampled."""

    name = UNREAD
    component = "node"
    components = ("node", "gpu")
    may_block = False

    def __init__(self, chips: Chips, *, may_use_all: bool) -> None:
        self._chips = chips
        self._may_use_all = may_use_all

    def open(self) -> Opened:
        """The chips as absent."""
        absent = _unread_chips(self._chips)
        accelerators = sum(entry.component == "gpu" for entry in absent)
        return Opened([], absent, [], unread_gpus=accelerators if self._may_use_all else 0)

    def read(self) -> list[int | None]:
        """No values."""
        return []

    def close(self) -> None:
        """Nothing is open."""


def _unread_chips(chips: Chips) -> list[Absent]:
    absent: list[Absent] = []
    for chip in chips.others():
        shown = sorted(file for file in chip.files if _is_reading(file))
        if not shown or len(absent) >= MOST_NAMED:
            continue
        files = ", ".join(shown[:_MOST_FILES]) + (", ..." if len(shown) > _MOST_FILES else "")
        component = "gpu" if _is_accelerator(chip) else "node"
        reason = f"present and not read: {chip.name} ({files}) in {chip.path}"
        absent.append(Absent(component, UNREAD, reason, advice=NO_SENSOR_OF_OURS))
    for what, number, path in power_meters(chips):
        if what not in ("", *GRACE) and len(absent) < MOST_NAMED:
            reason = f"present and not read: {what} of socket {number}: {path}"
            absent.append(Absent("node", UNREAD, reason, advice=NO_SENSOR_OF_OURS))
    return absent


def _is_reading(file: str) -> bool:
    kind, _, what = file.partition("_")
    number = kind[5:] if kind[:5] == "power" else kind[6:] if kind[:6] == "energy" else ""
    return number.isdigit() and what in ("input", "average")


def _is_accelerator(chip: Chip) -> bool:
    device = f"{chip.path}/device"
    return text_or_empty(f"{device}/class", 16)[:4] in _ACCELERATORS or any(
        os.path.isdir(f"{device}/{name}") for name in ("drm", "accel")
    )
