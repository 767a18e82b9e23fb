"""Power meters and energy counters of processors, memory and machines among the hwmon chips.

- ``power_meter`` (ACPI): ``power<N>_average`` in microwatts, with ``power<N>_oem_info`` on NVIDIA Grace: "CPU",
  "SysIO", "Grace" (the whole socket with its memory) and "Module" (Grace with its GPU) before "Power Socket
  <n>". A meter without such a label measures the machine (acpi_power_meter.rst: what it measures is the
  firmware's choice).
- ``amd_energy``: ``energy<N>_input`` in microjoules, labelled EcoreX and, behind them, EsocketX; wraps are
  taken care of in the driver (amd_energy.rst).
- ``ibmpowernv`` (POWER8 and POWER9): ``power<N>_input`` in microwatts, labelled "Chip <n>" (the processor), "Chip <n>
  Memory" and "System" (skiboot: hw/occ-sensor.c).
- ``smpro`` (Ampere Altra): ``power<N>_input``, 1 the cores, 2 the SoC, 5 the root complexes, 3 and 4 the memory
  (smpro-hwmon.rst); ``apm_xgene`` shows the host 1 the cores and 2 the SoC (xgene-hwmon.rst).

The memory of a Grace socket is what its whole draws more than its rails. Where a rail is missing, the whole counts, as
that of the processor with its memory.
"""

from __future__ import annotations

from .base import ENERGY_UJ, POWER_UW, TYPE_CHECKING, Channel
from .hwmon import HWMON, Chip, Chips, Hwmon, HwmonChannel
from .rapl_powercap import DRAM_MAX_W, PACKAGE_MAX_W

if TYPE_CHECKING:
    from collections.abc import Iterable

NODE_MAX_W = 20_000
MODULE_MAX_W = 4000
"""Watts that no node, and no module of CPU and GPU, draws today."""

GRACE = ("CPU", "SysIO", "Grace", "Module")
"""What the meters of a Grace socket are of."""

_ALTRA = {
    ("smpro", "cpu"): (("1", "core"), ("2", "soc"), ("5", "rca")),
    ("smpro", "dram"): (("3", "dimm-1"), ("4", "dimm-2")),
    ("apm_xgene", "cpu"): (("1", "core"), ("2", "soc")),
}
"""Numbers of the powers of a chip and what they are of, by driver and component."""


def cpu_sensor(chips: Chips, have: frozenset[str]) -> Hwmon | None:
    """Sockets that are not in ``have``; None where the machine has no such meter."""
    found = [meter for chip in chips.named("amd_energy") for meter in _amd_sockets(chip)]
    found += _grace_sockets(chips)
    found += _power_chips(chips, "") + _altra(chips, "cpu")
    meters = [meter for meter in _distinct(found) if meter.channel.domain not in have]
    return Hwmon("cpu", meters, []) if meters else None


def dram_sensor(chips: Chips, have: frozenset[str]) -> Hwmon | None:
    """Memory of the sockets that are not in ``have``; None where the machine has no such meter."""
    found = _grace_memory(chips) + _power_chips(chips, "Memory") + _altra(chips, "dram")
    meters = [meter for meter in _distinct(found) if meter.channel.domain not in have]
    return Hwmon("dram", meters, []) if meters else None


def node_sensor(chips: Chips) -> Hwmon | None:
    """Meters of the machine, or of its modules of CPU and GPU; None where there is none."""
    modules: list[HwmonChannel] = []
    plain: list[HwmonChannel] = []
    for what, number, path in power_meters(chips):
        if what == "Module":
            channel = _node_channel(f"module-{number}", path, MODULE_MAX_W)
            modules.append(HwmonChannel(path, channel, never_zero=True))
        elif not what:
            channel = _node_channel("node" if not plain else f"node#{len(plain) + 1}", path, NODE_MAX_W)
            plain.append(HwmonChannel(path, channel, never_zero=True))
    for chip in chips.named("ibmpowernv"):
        for path in (path for label, path in _labelled(chip) if label == "System"):
            plain.append(HwmonChannel(path, _node_channel("node", path, NODE_MAX_W), never_zero=True))
    for meter in plain[1:]:
        # Two that both measure the machine are not the machine twice.
        meter.channel.counted = False
    # A module's power is inside the machine's.
    meters = plain or _distinct(modules)
    return Hwmon("node", meters, []) if meters else None


def _distinct(meters: list[HwmonChannel]) -> list[HwmonChannel]:
    """The first meter of each domain: a second of the same label measures the same thing."""
    first: dict[str, HwmonChannel] = {}
    for meter in meters:
        first.setdefault(meter.channel.domain, meter)
    return list(first.values())


def _node_channel(domain: str, path: str, max_w: int) -> Channel:
    return Channel("node", domain, HWMON, max_w=max_w, detail=path, quantity=POWER_UW, boundary="node")


def _grace_sockets(chips: Chips) -> list[HwmonChannel]:
    """The CPU and SysIO rails of each socket, and the whole of it: this counts where one of the rails is missing."""
    sockets = _grace_meters(chips)
    rails: list[HwmonChannel] = []
    wholes: list[HwmonChannel] = []
    for number, paths in sockets.items():
        whole = "Grace" in paths and not {"CPU", "SysIO"} <= set(paths)
        for what, path in paths.items():
            if what not in GRACE[:3]:
                continue
            domain = f"package-{number}" if what == "CPU" else f"{what.lower()}-{number}"
            channel = Channel("cpu", domain, HWMON, max_w=PACKAGE_MAX_W, detail=path, quantity=POWER_UW)
            channel.counted = whole == (what == "Grace")
            if what == "Grace":
                channel.detail += " (with its memory)"
                channel.contains = ("dram",) if whole else ()
            meter = HwmonChannel(path, channel, never_zero=what != "SysIO")
            (wholes if what == "Grace" else rails).append(meter)
    return rails + wholes


def _grace_meters(chips: Chips) -> dict[str, dict[str, str]]:
    """The file of each quantity of each socket: a second meter of the same quantity measures the same."""
    sockets: dict[str, dict[str, str]] = {}
    for what, number, path in power_meters(chips):
        sockets.setdefault(number, {}).setdefault(what, path)
    return sockets


def _grace_memory(chips: Chips) -> list[HwmonChannel]:
    """What a socket draws more than its rails, where both rails are there."""
    found = []
    for number, paths in _grace_meters(chips).items():
        if not {"Grace", "CPU", "SysIO"} <= set(paths):
            continue
        channel = _channel("dram", f"package-{number}/dram", paths["Grace"])
        channel.detail += " less CPU and SysIO"
        parts = tuple(HwmonChannel(paths[what], channel) for what in ("CPU", "SysIO"))
        found.append(HwmonChannel(paths["Grace"], channel, never_zero=True, parts=parts))
    return found


def _channel(component: str, domain: str, path: str) -> Channel:
    max_w = DRAM_MAX_W if component == "dram" else PACKAGE_MAX_W
    return Channel(component, domain, HWMON, max_w=max_w, detail=path, quantity=POWER_UW)


def _labelled(chip: Chip) -> Iterable[tuple[str, str]]:
    """Label and file of each power of a chip."""
    for file in sorted(chip.files):
        if file[:5] == "power" and file[-6:] == "_input":
            yield chip.text(file[:-5] + "label"), chip.files[file]


def _power_chips(chips: Chips, part: str) -> list[HwmonChannel]:
    """The processors of a POWER machine (``part`` empty), or their memory."""
    found = []
    for chip in chips.named("ibmpowernv"):
        for label, path in _labelled(chip):
            words = label.split()
            if words[:1] == ["Chip"] and len(words) > 1 and words[1].isdigit() and " ".join(words[2:]) == part:
                component, domain = ("dram", f"package-{words[1]}/dram") if part else ("cpu", f"package-{words[1]}")
                found.append(HwmonChannel(path, _channel(component, domain, path), never_zero=True))
    return found


def _altra(chips: Chips, component: str) -> list[HwmonChannel]:
    """The rails of each socket of an Ampere Altra: by the management chip, else by what firmware shows the host."""
    for driver in ("smpro", "apm_xgene"):
        found = []
        for socket, chip in enumerate(chips.named(driver)):
            for number, what in _ALTRA.get((driver, component), ()):
                path = chip.files.get(f"power{number}_input")
                if path is not None:
                    found.append(HwmonChannel(path, _channel(component, f"package-{socket}/{what}", path)))
        if found:
            return found
    return []


def power_meters(chips: Chips) -> Iterable[tuple[str, str, str]]:
    """What is measured ("" for the machine), its socket, and the file of each ACPI meter."""
    for chip in chips.named("power_meter"):
        for file in sorted(chip.files):
            stem, _, last = file.partition("_")
            if last != "average" or stem[:5] != "power" or not stem[5:].isdigit():
                continue
            if chip.text(f"{stem}_is_battery") == "1":
                continue
            label = chip.text(f"{stem}_oem_info") or chip.text(f"{stem}_label")
            what, middle, number = label.partition(" Power Socket ")
            if middle and number.isdigit():
                yield what, number, chip.files[file]
            elif not middle:
                yield "", "", chip.files[file]


def _amd_sockets(chip: Chip) -> list[HwmonChannel]:
    numbers = [file[6:-6] for file in chip.files if file[:6] == "energy" and file[-6:] == "_input"]
    found: list[HwmonChannel] = []
    # The sockets stand behind the cores: a hundred labels of cores need not be read.
    for number in sorted((int(number) for number in numbers if number.isdigit()), reverse=True):
        label = chip.text(f"energy{number}_label")
        if not (label.startswith("Esocket") and label[7:].isdigit()):
            break
        path = chip.files[f"energy{number}_input"]
        channel = Channel("cpu", f"package-{label[7:]}", HWMON, max_w=PACKAGE_MAX_W, detail=path, quantity=ENERGY_UJ)
        found.insert(0, HwmonChannel(path, channel))
    return found
