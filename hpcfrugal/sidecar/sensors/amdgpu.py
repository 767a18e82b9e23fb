"""The job's AMD GPUs through the amdgpu driver's hwmon chip: ``power1_average``, else ``power1_input``, in
microwatts (Linux: Documentation/gpu/amdgpu, "hwmon Interfaces").

Which devices are the job's: ``gpu_selection``. An index counts the GPUs of the KFD topology that this process may
see. Of the two dies of an MI250
card only the first shows power, that of both (Linux: aldebaran_ppt.c), and a GPU may be cut into partitions:
a card that the job holds in part is marked modelled.

A GPU within a processor is numbered like the others and not read: what it shows is the power of the whole processor, or
of nothing (same page: "On APUs this includes the CPU"), whose own counter has it already.
"""

from __future__ import annotations

import os

from ..gpu_selection import resolve, rocm_lists, slurm_list
from ..sysfs import list_folder, parse_count, parse_cpus, text_or_empty
from .base import GPU_MAX_W, POWER_UW, TYPE_CHECKING, Absent, Channel, Gpu
from .hwmon import HWMON, Chip, Chips, Hwmon, HwmonChannel

if TYPE_CHECKING:
    from collections.abc import Mapping

_TWO_DIES = ("0x7408", "0x740c")
"""PCI device ids of MI250X and MI250."""

_WITH_PROCESSOR = ("0x74a0",)
"""That of MI300A, whose power is that of the socket with its processor cores and memory (Linux:
Documentation/gpu/amdgpu, "hwmon Interfaces": "On APUs this includes the CPU")."""

_SOCKET = ("cpu", "dram")


class _Device:
    """One GPU or die, ``address`` being its PCI address and ``index`` its place among all of the node."""

    def __init__(self, index: int, address: str, chip: Chip) -> None:
        self.index = index
        self.address = address
        self.chip = chip
        self.kind = text_or_empty(f"{chip.path}/device/device")
        unique = text_or_empty(f"{chip.path}/device/unique_id")
        self.uuid = f"GPU-{unique}" if unique else f"PCI-{address}"
        self.is_integrated = is_integrated(chip.path)


def gpu_sensor(chips: Chips, sysfs: str, environ: Mapping[str, str], *, in_slurm: bool, is_alone: bool) -> Hwmon | None:
    """A sensor of the job's GPUs; None where the machine has none of its own or the job asked for none.

    ``is_alone``: no other job may be on the machine. GPUs of one piece with processors that the job does not hold have
    the energy of these: where another job may hold them, or where it is not known which processor is which GPU's.
    """
    lists = rocm_lists(environ, in_slurm)
    from_slurm = slurm_list(environ)
    found = sorted(((_address(chip), chip) for chip in chips.named("amdgpu")), key=lambda pair: pair[0])
    devices = [_Device(index, address, chip) for index, (address, chip) in enumerate(found)]
    if all(device.is_integrated for device in devices):
        return None
    if in_slurm and not lists and from_slurm is None:
        has_processors = any(device.kind in _WITH_PROCESSOR for device in devices)
        return Hwmon("gpu", [], [], in_other_gpus=_SOCKET) if has_processors and not is_alone else None
    visible = _visible(sysfs, devices)
    held = list(visible)
    unknown: list[str] = []
    # where the job's cgroup hides the others, those that are left are its own, whatever their numbers
    if not lists and from_slurm is not None and len(from_slurm.entries) != len(visible):
        lists, held = [from_slurm], list(devices)
    for wanted in lists:
        places, missing = resolve(wanted.entries, [device.uuid for device in held], ends=not wanted.global_indices)
        held = [held[place] for place in places]
        unknown += [f"{wanted.variable}: no device {entry[:64]}" for entry in missing]
    absent = [Absent("gpu", HWMON, reason) for reason in unknown]
    return _sensor(devices, visible, held, absent, sysfs if is_alone else None)


def _sensor(
    devices: list[_Device], visible: list[_Device], held: list[_Device], absent: list[Absent], sysfs: str | None
) -> Hwmon:
    """``sysfs`` None: the other processors of the machine may be in GPUs of other jobs."""
    meters: list[HwmonChannel] = []
    gpus: list[Gpu] = []
    dies = [device for device in devices if device.kind in _TWO_DIES]
    for device in devices:
        if device not in held or device.is_integrated:
            continue
        gpu = Gpu(device.index, device.uuid, _model(device), domain=f"amd-gpu-{device.index}")
        gpus.append(gpu)
        path = device.chip.files.get("power1_average") or device.chip.files.get("power1_input")
        if path is None:
            absent.append(Absent("gpu", HWMON, f"no power of {device.address}", gpu.domain))
            continue
        part = None
        if held.count(device) < visible.count(device):
            part = f"the job holds {held.count(device)} of {visible.count(device)} partitions"
        if device in dies:
            place = dies.index(device)
            other = dies[place ^ 1] if place ^ 1 < len(dies) else None
            if place % 2 and other in held:
                continue  # its power is in that of the first die
            if other is not None and other not in held:
                part = "the job holds one of two dies"
        channel = _channel(gpu, path, part)
        if device.kind in _WITH_PROCESSOR:
            channel.contains = _SOCKET
            channel.package = None if sysfs is None else _package(device, sysfs)
            channel.detail += " (with the processor and memory of its socket)"
        meters.append(HwmonChannel(path, channel, never_zero=True))
    wholes = [device for device in devices if device.kind in _WITH_PROCESSOR]
    known = all(meter.channel.package for meter in meters if meter.channel.contains)
    is_unclear = sysfs is not None and not known and any(device not in held for device in wholes)
    return Hwmon("gpu", meters, absent, gpus, _SOCKET if is_unclear else ())


def _package(device: _Device, sysfs: str) -> str | None:
    """The domain of the processor that a GPU is of one piece with, by its NUMA node; None where that is not known."""
    node = text_or_empty(f"{device.chip.path}/device/numa_node")
    cpus = parse_cpus(text_or_empty(f"{sysfs}/devices/system/node/node{node}/cpulist", 4096))
    if not cpus:
        return None
    text = text_or_empty(f"{sysfs}/devices/system/cpu/cpu{min(cpus)}/topology/physical_package_id")
    package = parse_count(text.encode())
    return None if package is None else f"package-{package}"


def is_integrated(hwmon: str) -> bool:
    """Whether an amdgpu chip is that of a processor: only those show the voltage of the north bridge, and no MI300A,
    which is an accelerator (Linux: amdgpu_pm.c, hwmon_attributes_visible)."""
    return os.path.exists(f"{hwmon}/in1_label")


def _channel(gpu: Gpu, path: str, part: str | None) -> Channel:
    return Channel(
        "gpu",
        gpu.domain,
        HWMON,
        max_w=GPU_MAX_W,
        detail=path if part is None else f"{path} whole card, {part}",
        quantity=POWER_UW,
        quality="measured" if part is None else "modelled",
        scope="job" if part is None else "node",
        gpu_uuid=gpu.uuid,
    )


def _visible(sysfs: str, devices: list[_Device]) -> list[_Device]:
    """Devices in ROCm's order, one entry a partition; by PCI address where the topology cannot be read.

    The kernel refuses to show GPUs that the process's cgroup does not allow.
    """
    by_address = {device.address: device for device in devices}
    folder = f"{sysfs}/class/kfd/kfd/topology/nodes"
    nodes = sorted(int(name) for name in list_folder(folder) if name.isdigit())
    found = []
    for node in nodes:
        device = by_address.get(_kfd_address(f"{folder}/{node}/properties"))
        if device is not None:
            found.append(device)
    return found or list(devices)


def _kfd_address(path: str) -> str:
    """PCI address of a node of the topology; empty for a CPU, or for a GPU that is not to be seen."""
    values: dict[str, int] = {}
    for line in text_or_empty(path, 8192).split("\n"):
        name, _, value = line.partition(" ")
        number = parse_count(value.encode())
        if number is not None:
            values[name] = number
    if not values.get("simd_count") or "location_id" not in values:
        return ""
    place = values["location_id"]
    return f"{values.get('domain', 0):04x}:{place >> 8 & 0xFF:02x}:{place >> 3 & 0x1F:02x}.{place & 7:x}"


def _address(chip: Chip) -> str:
    return os.path.basename(os.path.realpath(f"{chip.path}/device"))


def _model(device: _Device) -> str:
    return text_or_empty(f"{device.chip.path}/device/product_name") or f"AMD {device.kind or 'GPU'}"
