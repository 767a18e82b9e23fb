"""Chips of the kernel's hwmon class and the reading of their attributes (Linux: Documentation/hwmon).

The attributes of an ACPI meter lie in the hwmon directory on newer kernels and in its ``device`` on older ones.
"""

from __future__ import annotations

import os

from ..sysfs import CountFile, Unusable, list_folder, open_count, text_or_empty
from .base import TYPE_CHECKING, Absent, Channel, Gpu, Opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HWMON = "hwmon"

_USED = ("power_meter", "amd_energy", "amdgpu", "ibmpowernv", "smpro", "apm_xgene", "i915", "xe")

_OTHERS = ("/coretemp.", "/nvme/", "/virtual/thermal/", "/net/", "/infiniband/", "/mdio_bus/")
"""Parts of the real path of chips without a power reading of interest, whose names need not be read."""

_MOST_CHIPS = 256


class Chip:
    """One hwmon device: its driver's name, its directory, and its attributes."""

    def __init__(self, name: str, path: str, files: dict[str, str]) -> None:
        self.name = name
        self.path = path
        self.files = files

    def text(self, file: str) -> str:
        """Content of an attribute, empty where there is none."""
        return text_or_empty(self.files[file], 256) if file in self.files else ""


class Chips:
    """The chips of a machine that show power or energy, looked for once."""

    def __init__(self, sysfs: str) -> None:
        self._class = f"{sysfs}/class/hwmon"
        self._found: list[Chip] | None = None

    def named(self, *names: str) -> list[Chip]:
        """Those with one of these names, in the kernel's order."""
        return [chip for chip in self.all() if chip.name in names]

    def others(self) -> list[Chip]:
        """Those of drivers that no sensor here knows."""
        return [chip for chip in self.all() if chip.name not in _USED]

    def all(self) -> list[Chip]:
        """All that are in use or named."""
        if self._found is None:
            self._found = list(_scan(self._class))
        return self._found


def _scan(folder: str) -> Iterable[Chip]:
    entries = [(int(entry[5:]), entry) for entry in list_folder(folder) if entry[:5] == "hwmon" and entry[5:].isdigit()]
    for _, entry in sorted(entries)[:_MOST_CHIPS]:
        path = f"{folder}/{entry}"
        real = _link(path)
        if any(part in real for part in _OTHERS):
            continue
        chip = text_or_empty(f"{path}/name", 64) or text_or_empty(f"{path}/device/name", 64)
        files = {}
        for place in (f"{path}/device", path):
            names = [name for name in list_folder(place) if name[:5] in ("power", "energ") and "_" in name]
            files.update({name: f"{place}/{name}" for name in names})
        if files:
            yield Chip(chip, path, files)


class HwmonChannel:
    """One file to read, and the channel that it gives. With ``never_zero`` a 0 is a failed reading: hardware in
    use draws power. ``parts`` are subtracted: what the file counts and the channel does not."""

    def __init__(
        self, path: str, channel: Channel, *, never_zero: bool = False, parts: tuple[HwmonChannel, ...] = ()
    ) -> None:
        self.path = path
        self.channel = channel
        self.never_zero = never_zero
        self.parts = parts
        self.file: CountFile | None = None


class Hwmon:
    """Reads the meters that were found for one component; ``absent`` are those that cannot be used, ``gpus`` the job's
    GPUs that were found, ``in_other_gpus`` as in ``Opened``.

    A read goes through firmware or a GPU's driver, which may hang.
    """

    name = HWMON
    may_block = True
    advice = "check with the driver's own tool: sensors, or rocm-smi for AMD GPUs"
    advice_if_denied = "ask your operator for read access to the power meters below /sys/class/hwmon"

    def __init__(
        self,
        component: str,
        meters: list[HwmonChannel],
        absent: list[Absent],
        gpus: Sequence[Gpu] = (),
        in_other_gpus: tuple[str, ...] = (),
    ) -> None:
        self.component = component
        self._meters = meters
        self._absent = absent
        self._gpus = gpus
        self._in_other_gpus = in_other_gpus

    def open(self) -> Opened:
        """Read each meter once; one that does not give a number is absent."""
        absent = list(self._absent)
        usable = []
        for meter in self._meters:
            problem = _problem(meter)
            if problem is None:
                usable.append(meter)
            else:
                absent.append(Absent(self.component, HWMON, problem, meter.channel.domain))
        self._meters = usable
        channels = [meter.channel for meter in usable]
        return Opened(channels, absent, list(self._gpus), in_other_gpus=self._in_other_gpus)

    def read(self) -> list[int | None]:
        """Microwatts or microjoules, as the channel says."""
        return [_value(meter) for meter in self._meters]

    def close(self) -> None:
        """Close the files."""
        for meter in self._meters:
            for each in (meter, *meter.parts):
                if each.file is not None:
                    each.file.close()


def _value(meter: HwmonChannel) -> int | None:
    value = None if meter.file is None else meter.file.read_count()
    if value is None or (value == 0 and meter.never_zero):
        return None
    for part in meter.parts:
        part_value = _value(part)
        if part_value is None:
            return None
        value -= part_value
    # the readings of one moment are not quite of one moment
    return max(0, value)


def _problem(meter: HwmonChannel) -> str | None:
    """Open and read a meter; why it cannot be used, None where it can."""
    try:
        meter.file, value = open_count(meter.path)
    except Unusable as error:
        return str(error)
    if value == 0 and meter.never_zero:
        meter.file.close()
        return f"reads 0: {meter.path}"
    return next((problem for part in meter.parts if (problem := _problem(part)) is not None), None)


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
