"""NVIDIA GPUs through NVML: the energy counter of a device, or its power integrated where there is none, and while it
stands still.

Which devices are the job's: ``gpu_selection``.
NVML numbers devices by their PCI address, CUDA only with ``CUDA_DEVICE_ORDER=PCI_BUS_ID``:
otherwise the fastest comes first, by a measure of its own (CUDA C++ Programming Guide, "CUDA Environment
Variables"). NVML can take seconds to start, and a call can hang in the driver or end the process: the sidecar uses this
sensor in a process of its own, see ``sensor_process``.
"""

from __future__ import annotations

from ..counter import BridgedCounter
from ..gpu_selection import resolve
from ..worker import boottime_ns
from .base import ENERGY_UJ, GPU_MAX_W, NVML_ENERGY, NVML_LIBRARY, POWER_UW, TYPE_CHECKING, Absent, Channel, Gpu, Opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..gpu_selection import DeviceList
    from ..sensor_child import UseOfGpus

ENERGY = NVML_ENERGY
POWER = "nvml-power"

REOPEN_AFTER_READS = 30
"""Reads between two attempts to start NVML anew after the driver went away."""

_UNSUPPORTED = (3, 13)
"""NVML_ERROR_NOT_SUPPORTED and NVML_ERROR_FUNCTION_NOT_FOUND: this device will never give that value."""

_NO_PERMISSION = 4
"""NVML_ERROR_NO_PERMISSION: a device of another user, which is counted but may not be queried
(NVML API: nvmlDeviceGetCount_v2)."""

_DRIVER_GONE = (1, 9, 15)
"""NVML_ERROR_UNINITIALIZED, DRIVER_NOT_LOADED and GPU_IS_LOST: worth a new start of the library."""


class _Device:
    def __init__(self, handle: Any, gpu: Gpu, shared: str | None) -> None:
        self.handle = handle
        self.gpu = gpu
        self.shared = shared
        self.has_utilization = shared is None
        self.use_power = False
        self.counter = BridgedCounter()


class Nvml:
    """The job's NVIDIA GPUs on this node; ``busy`` receives their utilisation at each read. ``present`` is how many the
    driver has where the job may use them all: where the library fails, so many are not read."""

    name = ENERGY
    component = "gpu"
    may_block = True
    advice = "nothing to do without an NVIDIA GPU; otherwise install its driver"
    advice_if_denied = "ask your operator for access to /dev/nvidia*"

    def __init__(
        self,
        wanted: DeviceList,
        *,
        sharded: bool = False,
        present: int = 0,
        busy: UseOfGpus | None = None,
        clock_ns: Callable[[], int] = boottime_ns,
    ) -> None:
        self._wanted = wanted
        self._present = present
        self._clock_ns = clock_ns
        self._sharded = sharded
        self._busy = busy
        self._nvml: Any = None
        self._devices: list[_Device] = []
        self._lost = False
        self._reads_since_loss = 0

    def open(self) -> Opened:
        """Start NVML and find the job's devices; nothing is loaded where the job has none."""
        if not self._wanted.entries and not self._wanted.all_devices:
            return Opened([], [], [])
        import ctypes

        try:
            ctypes.CDLL(NVML_LIBRARY)
        except OSError:
            # a node without the driver is normal, unless the job requested a GPU; pynvml would take longer to find out
            is_lacking = self._wanted.entries or self._present
            absent = [Absent("gpu", ENERGY, f"no {NVML_LIBRARY}")] if is_lacking else []
            return Opened([], absent, [], unread_gpus=self._present)
        import pynvml

        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
            found, unknown, broken = self._find()
        except pynvml.NVMLError as error:
            return Opened([], [Absent("gpu", ENERGY, _error_text(error))], [], unread_gpus=self._present)
        absent = [Absent("gpu", ENERGY, reason) for reason in broken]
        absent += [Absent("gpu", ENERGY, f"{self._wanted.variable}: no device {entry}") for entry in unknown]
        channels = []
        for device in found:
            channel = self._probe(device)
            if isinstance(channel, Absent):
                absent.append(channel)
            else:
                self._devices.append(device)
                channels.append(channel)
                if self._busy is not None and device.shared is not None:
                    device.has_utilization = False
                    self._busy.reasons.append(f"{device.gpu.uuid}: {device.shared}")
        for device in found:
            device.gpu.limit_uw = self._limit_uw(device)
        # what the environment names and is not found is known from that
        unread = len(broken) if self._wanted.all_devices else 0
        return Opened(channels, absent, [device.gpu for device in found], unread_gpus=unread)

    def read(self) -> list[int | None]:
        """Energy in microjoules or power in microwatts of each device; NVML has milli of both."""
        if self._lost:
            self._reads_since_loss += 1
            if self._reads_since_loss >= REOPEN_AFTER_READS:
                self._reads_since_loss = 0
                self._reopen()
        values: list[int | None] = []
        for device in self._devices:
            if device.handle is None:
                values.append(None)
                continue
            try:
                values.append(self._value(device))
            except self._nvml.NVMLError as error:
                values.append(None)
                if error.value in _DRIVER_GONE:
                    self._lost = True
        if self._busy is not None:
            self._busy.update([self._percent(device, self._busy) for device in self._devices])
        return values

    def close(self) -> None:
        """Shut NVML down."""
        if self._nvml is None:
            return
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError:
            return  # the driver is gone or was never there

    def _value(self, device: _Device) -> int | None:
        if device.use_power:
            return self._power_uw(device)
        count_uj = int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(device.handle)) * 1000
        at_ns = self._clock_ns()
        power_uw = None
        if device.counter.stands_still(count_uj):
            try:
                power_uw = self._power_uw(device)
            except self._nvml.NVMLError:
                pass  # this device shows no power: its counter alone counts
        return device.counter.update(at_ns, count_uj, power_uw)

    def _power_uw(self, device: _Device) -> int | None:
        # no device that answers draws nothing
        return int(self._nvml.nvmlDeviceGetPowerUsage(device.handle)) * 1000 or None

    def _limit_uw(self, device: _Device) -> int | None:
        """The power limit that the driver enforces; None for a part of a device, and where it is not known."""
        if device.shared is not None:
            return None
        try:
            return int(self._nvml.nvmlDeviceGetEnforcedPowerLimit(device.handle)) * 1000 or None
        except self._nvml.NVMLError:
            return None

    def _percent(self, device: _Device, busy: UseOfGpus) -> int | None:
        """The device's utilisation now; a device without this value is not queried again."""
        if not device.has_utilization or device.handle is None:
            return None
        try:
            return int(self._nvml.nvmlDeviceGetUtilizationRates(device.handle).gpu)
        except self._nvml.NVMLError as error:
            if error.value in _UNSUPPORTED:
                device.has_utilization = False
                busy.reasons.append(f"{device.gpu.uuid}: {_error_text(error)}")
            return None

    def _probe(self, device: _Device) -> Channel | Absent:
        problem = ""
        for use_power in (False, True):
            device.use_power = use_power
            try:
                value = self._value(device)
            except self._nvml.NVMLError as error:
                problem = _error_text(error)
                if error.value not in _UNSUPPORTED:
                    break
                continue
            if value is not None:
                return self._channel(device)
            problem = "reads 0 W"
        return Absent("gpu", POWER if device.use_power else ENERGY, f"{device.gpu.uuid}: {problem}")

    def _channel(self, device: _Device) -> Channel:
        detail = f"nvml:{device.gpu.uuid}"
        if device.shared is not None:
            detail += f" whole device, {device.shared}"
        return Channel(
            "gpu",
            device.gpu.domain,
            POWER if device.use_power else ENERGY,
            max_w=GPU_MAX_W,
            detail=detail,
            quantity=POWER_UW if device.use_power else ENERGY_UJ,
            quality="measured" if device.shared is None else "modelled",
            scope="job" if device.shared is None else "node",
            gpu_uuid=device.gpu.uuid,
        )

    def _find(self) -> tuple[list[_Device], list[str], list[str]]:
        """The job's devices, each once, the entries that name none, and what is wrong with others.

        Raises NVMLError where not even their number is known.
        """
        nvml = self._nvml
        by_index: list[_Device | None] = []
        broken: list[str] = []
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                gpu = Gpu(index, nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle))
            except self._nvml.NVMLError as error:
                # CUDA does not number what it may not use; what is broken keeps its place
                if error.value != _NO_PERMISSION:
                    by_index.append(None)
                    broken.append(f"device {index}: {_error_text(error)}")
                continue
            by_index.append(_Device(handle, gpu, self._shared(handle)))
        wanted = self._wanted
        if wanted.in_cuda_order and not _order_is_plain(wanted.entries, by_index):
            if wanted.instead is None:
                broken.append(
                    f"{wanted.variable}={','.join(wanted.entries)}, GPUs of several models, and CUDA_DEVICE_ORDER is "
                    "not PCI_BUS_ID: unknown which GPUs these are"
                )
                return [], [], broken
            wanted = self._wanted = wanted.instead
        entries = wanted.entries
        # where the job's cgroup shows only its own devices, these are numbered from 0
        are_all = wanted.global_indices and len(entries) == len(by_index)
        if wanted.all_devices or are_all:
            return [device for device in by_index if device is not None], [], broken
        slices = {self._device_of(entry): entry for entry in entries if entry.startswith("MIG-")}
        # a slice that is not known stays as it is, and names no device
        names = [self._device_of(entry) if entry.startswith("MIG-") else entry for entry in entries]
        uuids = [None if device is None else device.gpu.uuid for device in by_index]
        places, unknown = resolve(names, uuids, ends=not wanted.global_indices)
        chosen = [device for device in map(by_index.__getitem__, places) if device is not None]
        for device in chosen:
            held = [entry for uuid, entry in slices.items() if device.gpu.uuid.startswith(uuid)]
            if held:
                device.shared = f"the job holds {held[0]}"
        return chosen, [slices.get(entry, entry) for entry in unknown], broken if unknown else []

    def _device_of(self, entry: str) -> str:
        """UUID of the device of a MIG slice; the entry itself where it is not known."""
        # "MIG-GPU-<uuid>/<gi>/<ci>" names its device; "MIG-<uuid>" has to be asked for it
        if entry.startswith("MIG-GPU-"):
            return entry[4:].split("/", 1)[0]
        return self._parent_uuid(entry) or entry

    def _parent_uuid(self, entry: str) -> str:
        nvml = self._nvml
        try:
            slice_handle = nvml.nvmlDeviceGetHandleByUUID(entry)
            parent = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(slice_handle)
            return str(nvml.nvmlDeviceGetUUID(parent))
        except self._nvml.NVMLError:
            return ""

    def _shared(self, handle: Any) -> str | None:
        """Why a device is not the job's alone, None where it is."""
        if self._sharded:
            return "shared by Slurm shards or MPS"
        try:
            current, _pending = self._nvml.nvmlDeviceGetMigMode(handle)
        except self._nvml.NVMLError:
            return None  # a device without MIG support
        return "in MIG mode" if current == 1 else None

    def _reopen(self) -> None:
        """Start the library again and find the same devices by UUID; what fails is tried again later.

        All handles from before are invalid; one device that stays lost does not affect the others.
        """
        nvml = self._nvml
        self.close()
        try:
            nvml.nvmlInit()
        except self._nvml.NVMLError:
            return
        self._lost = False
        for device in self._devices:
            try:
                device.handle = nvml.nvmlDeviceGetHandleByUUID(device.gpu.uuid)
            except self._nvml.NVMLError:
                device.handle = None
                self._lost = True


def _order_is_plain(entries: list[str], by_index: list[_Device | None]) -> bool:
    """Whether ``entries`` name the same devices in whatever order these are counted."""
    numbers = {int(entry) for entry in entries if entry.isdigit()}
    models = {device.gpu.name for device in by_index if device is not None}
    return not numbers or len(models) < 2 or numbers.issuperset(range(len(by_index)))


def _error_text(error: Any) -> str:
    return f"NVML error {error.value}: {error}"
