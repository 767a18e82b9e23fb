"""Which GPUs are the job's: what the variables of the vendors and of Slurm select, by the rules of those who read them.

- CUDA_VISIBLE_DEVICES, read by CUDA: indices and UUIDs, which may be shortened while they name one device; the first
  entry that names none ends the list (CUDA C++ Programming Guide, "CUDA Environment Variables"). Empty: none.
- NVIDIA_VISIBLE_DEVICES selects what a container is given, and has no effect on processes elsewhere; inside the
  container only those devices exist (NVIDIA Container Toolkit, "Docker Specialized Configurations"). It is not read.
- ROCR_VISIBLE_DEVICES, read by ROCm's lowest layer: as CUDA's, but an index that stands twice ends the list as well
  (ROCR-Runtime: amd_filter_device.cpp). Empty: none.
- HIP_VISIBLE_DEVICES, else CUDA_VISIBLE_DEVICES, read by HIP, and GPU_DEVICE_ORDINAL, read by OpenCL, count what the
  former left; an empty one is as good as none (clr: rocdevice.cpp; ROCm: GPU isolation techniques).
- SLURM_STEP_GPUS, else SLURM_JOB_GPUS, number the devices of the whole node.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SLURM_VARIABLES = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")
_AFTER_ROCR = ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
VARIABLES = ("ROCR_VISIBLE_DEVICES", *_AFTER_ROCR, "ZE_AFFINITY_MASK", *SLURM_VARIABLES)
"""All that select GPUs of a job."""


class DeviceList:
    """Entries of a device list. ``all_devices`` is True where nothing restricts the choice; ``in_cuda_order`` where
    an index counts as CUDA does by itself; ``instead`` is then Slurm's own list, None where there is none."""

    def __init__(
        self,
        variable: str,
        entries: list[str],
        *,
        all_devices: bool,
        global_indices: bool,
        in_cuda_order: bool = False,
        instead: DeviceList | None = None,
    ) -> None:
        self.variable = variable
        self.entries = entries
        self.all_devices = all_devices
        self.global_indices = global_indices
        self.in_cuda_order = in_cuda_order
        self.instead = instead


def job_device_list(environ: Mapping[str, str], in_slurm: bool) -> DeviceList:
    """What the environment says about the job's NVIDIA GPUs.

    ``CUDA_VISIBLE_DEVICES`` counts where it is set, also to nothing. Otherwise SLURM_STEP_GPUS and
    SLURM_JOB_GPUS, which number the devices of the whole node. A Slurm job with none of them has no GPU; a
    local job has all.
    """
    from_slurm = slurm_list(environ)
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return DeviceList(
            "CUDA_VISIBLE_DEVICES",
            entries_of(visible),
            all_devices=False,
            global_indices=False,
            in_cuda_order=environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID",
            instead=from_slurm,
        )
    return from_slurm or DeviceList("", [], all_devices=not in_slurm, global_indices=False)


def slurm_list(environ: Mapping[str, str]) -> DeviceList | None:
    """Slurm's own list, None where there is none."""
    for variable in SLURM_VARIABLES:
        text = environ.get(variable)
        if text:
            return DeviceList(variable, entries_of(text), all_devices=False, global_indices=True)
    return None


def rocm_lists(environ: Mapping[str, str], in_slurm: bool) -> list[DeviceList]:
    """The lists that ROCm applies, each to the devices that the one before left; none where nothing restricts the
    choice.

    Slurm writes the same list into all of them, so one like the first says nothing more.
    """
    rocr = environ.get("ROCR_VISIBLE_DEVICES")
    after = next((name for name in _AFTER_ROCR if environ.get(name)), None)
    if after is not None and in_slurm and environ[after] == rocr:
        after = None
    names = ([] if rocr is None else ["ROCR_VISIBLE_DEVICES"]) + ([] if after is None else [after])
    found: list[DeviceList] = []
    for name in names:
        entries = entries_of(environ[name], repeat_ends=name == "ROCR_VISIBLE_DEVICES")
        found.append(DeviceList(name, entries, all_devices=False, global_indices=False))
    return found


def entries_of(text: str, *, repeat_ends: bool = False) -> list[str]:
    """The entries before the first that is no device, such as -1 or Slurm's NoDevFiles; each once, and with
    ``repeat_ends`` only up to the first that stands twice."""
    entries: list[str] = []
    for entry in text.split(","):
        entry = entry.strip()
        is_index = entry.isascii() and entry.isdigit() and len(entry) < 10
        if is_index:
            entry = str(int(entry))
        if not (is_index or entry.upper().startswith(("GPU-", "MIG-"))):
            break
        if entry not in entries:
            entries.append(entry)
        elif repeat_ends:
            break
    return entries


def resolve(entries: Sequence[str], uuids: Sequence[str | None], *, ends: bool) -> tuple[list[int], list[str]]:
    """Places among devices with these ``uuids`` (None: broken) that ``entries`` select, and what they name in vain.

    A shortened UUID that fits several devices names none. With ``ends`` an entry that names none ends the list; a
    broken device does not.
    """
    places: list[int] = []
    unknown: list[str] = []
    for entry in entries:
        if entry.isdigit():
            named = [int(entry)] if int(entry) < len(uuids) else []
        else:
            named = [place for place, uuid in enumerate(uuids) if uuid and uuid.lower().startswith(entry.lower())]
            # partitions of one device share its UUID
            if len({uuids[place] for place in named}) > 1:
                named = []
        usable = [place for place in named if uuids[place] is not None]
        if not usable:
            unknown.append(entry)
        if not named and ends:
            break
        places += [place for place in usable if place not in places]
    return places, unknown
