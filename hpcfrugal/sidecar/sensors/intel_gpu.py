"""Intel's discrete GPUs through the hwmon chip of xe or i915: ``energy1_input``, of the whole card, in microjoules
(Linux: Documentation/ABI/testing/sysfs-driver-intel-xe-hwmon, sysfs-driver-intel-i915-hwmon).

ZE_AFFINITY_MASK counts cards or tiles, by the mode of the program that reads it, so it does not show the cards of the
job: those are known from Slurm's list, and where the job has the machine to itself and there is no mask. Otherwise the
cards are named and not read.
"""

from __future__ import annotations

import os

from ..gpu_selection import resolve, slurm_list
from ..sysfs import text_or_empty
from .base import GPU_MAX_W, TYPE_CHECKING, Absent, Channel, Gpu
from .hwmon import HWMON, Chips, Hwmon, HwmonChannel

if TYPE_CHECKING:
    from collections.abc import Mapping

_MASK = "ZE_AFFINITY_MASK"


def intel_gpu_sensor(chips: Chips, environ: Mapping[str, str], in_slurm: bool, exclusive: bool) -> Hwmon | None:
    """A sensor of the job's cards; None where the machine has none or the job asked for none."""
    found = [(os.path.basename(os.path.realpath(f"{chip.path}/device")), chip) for chip in chips.named("xe", "i915")]
    cards = sorted((pair for pair in found if "energy1_input" in pair[1].files), key=lambda pair: pair[0])
    wanted = slurm_list(environ)
    if not cards or (in_slurm and not exclusive and wanted is None and not environ.get(_MASK)):
        return None
    uuids = [f"PCI-{address}" for address, _ in cards]
    places, unknown = list(range(len(cards))), list[str]()
    if wanted is not None and len(wanted.entries) != len(cards):
        places, unknown = resolve(wanted.entries, uuids, ends=False)
    absent = [Absent("gpu", HWMON, f"{wanted.variable}: no device {entry[:64]}") for entry in unknown if wanted]
    is_known = wanted is not None or not environ.get(_MASK)
    meters: list[HwmonChannel] = []
    gpus: list[Gpu] = []
    for place in places:
        chip = cards[place][1]
        name = f"Intel {text_or_empty(f'{chip.path}/device/device') or 'GPU'}"
        gpu = Gpu(place, uuids[place], name, domain=f"intel-gpu-{place}")
        gpus.append(gpu)
        path = chip.files["energy1_input"]
        if is_known:
            meters.append(HwmonChannel(path, _channel(gpu, path)))
        else:
            reason = f"not read, {_MASK} does not show which cards are the job's: {path}"
            absent.append(Absent("gpu", HWMON, reason, gpu.domain))
    return Hwmon("gpu", meters, absent, gpus)


def _channel(gpu: Gpu, path: str) -> Channel:
    return Channel("gpu", gpu.domain, HWMON, max_w=GPU_MAX_W, detail=path, scope="job", gpu_uuid=gpu.uuid)
