"""The GPUs that a job may open by the ``devices`` controller of control groups (version 1).

``devices.list`` is of use where a group above has a list of what is allowed, as in a container or a service with a
device policy. Below one that allows all, the kernel shows "a *:* rwm" whatever Slurm has denied (Linux:
security/device_cgroup.c), as version 2 shows nothing; the environment of tasks names the GPUs then.
"""

from __future__ import annotations

import os

from ..sysfs import list_folder, parse_count, text_or_empty, value_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NVIDIA = 195
"""The major number of NVIDIA's devices, of which the minor is the GPU (kernel-open: nv.h)."""


def gpu_devices(proc: str, sysfs: str) -> dict[str, str]:
    """The UUID of each GPU of the node, as sensors call it, by the numbers of its device such as ``195:0``."""
    found: dict[str, str] = {}
    folder = f"{proc}/driver/nvidia/gpus"
    for name in list_folder(folder):
        text = text_or_empty(f"{folder}/{name}/information", 4096).encode()
        minor = parse_count(value_after(text, b"Device Minor", b":"))
        uuid = value_after(text, b"GPU UUID", b":").decode()
        if minor is not None and uuid.startswith("GPU-") and "?" not in uuid:
            found[f"{_NVIDIA}:{minor}"] = uuid
    for name in list_folder(f"{sysfs}/class/drm"):
        card = f"{sysfs}/class/drm/{name}"
        numbers = text_or_empty(f"{card}/dev", 64)
        if name.startswith("renderD") and numbers:
            unique = text_or_empty(f"{card}/device/unique_id", 64)
            address = os.path.basename(os.path.realpath(f"{card}/device"))
            found[numbers] = f"GPU-{unique}" if unique else f"PCI-{address}"
    return found


def allowed_gpus(devices_list: str, devices: Mapping[str, str]) -> set[str] | None:
    """The GPUs of a group with this ``devices.list``; None where it confines the job to none of them."""
    allowed: set[str] = set()
    for line in devices_list.splitlines():
        kind, _, rest = line.partition(" ")
        numbers = rest.partition(" ")[0]
        if kind == "a" or (kind == "c" and numbers in ("*:*", *(f"{one.partition(':')[0]}:*" for one in devices))):
            return None
        if kind == "c" and numbers in devices:
            allowed.add(devices[numbers])
    return None if not devices_list or allowed == set(devices.values()) else allowed
