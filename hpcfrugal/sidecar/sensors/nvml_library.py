"""The dozen functions of NVIDIA's library that the sidecar calls, by ctypes.

pynvml is one file of 8000 lines, mostly for things that a sidecar never asks; what loading it costs is in
docs/measurements.md. The functions are those of the NVML API Reference Guide. A handle is a ``c_void_p``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIBRARY = "libnvidia-ml.so.1"

_FUNCTION_NOT_FOUND = 13
_TEXT_B = 96
"""NVML_DEVICE_UUID_V2_BUFFER_SIZE and NVML_DEVICE_NAME_V2_BUFFER_SIZE."""


class NVMLError(Exception):
    """NVML's return code in ``value``, in its own words."""

    def __init__(self, value: int, text: str) -> None:
        super().__init__(text)
        self.value = value


class Library:
    """The driver's library. All calls raise NVMLError."""

    def __init__(self) -> None:
        self._ctypes: Any = None
        self._library: Any = None

    def start(self) -> None:
        """Load the library at the first call. Raises OSError where there is none."""
        if self._library is None:
            # Not before a GPU is looked for: a node without one is to load no ctypes.
            import ctypes

            self._ctypes = ctypes
            self._library = ctypes.CDLL(LIBRARY)
            self._library.nvmlErrorString.restype = ctypes.c_char_p
        self._call("nvmlInit_v2")

    def shutdown(self) -> None:
        self._call("nvmlShutdown")

    def device_count(self) -> int:
        return self._number("nvmlDeviceGetCount_v2")

    def device(self, index: int) -> Any:
        return self._handle("nvmlDeviceGetHandleByIndex_v2", index)

    def device_by_uuid(self, uuid: str) -> Any:
        return self._handle("nvmlDeviceGetHandleByUUID", uuid.encode())

    def device_of_slice(self, mig: Any) -> Any:
        return self._handle("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", mig)

    def uuid(self, device: Any) -> str:
        return self._text("nvmlDeviceGetUUID", device)

    def name(self, device: Any) -> str:
        return self._text("nvmlDeviceGetName", device)

    def in_mig_mode(self, device: Any) -> bool:
        current, pending = self._ctypes.c_uint(), self._ctypes.c_uint()
        self._call("nvmlDeviceGetMigMode", device, self._ctypes.byref(current), self._ctypes.byref(pending))
        return bool(current.value == 1)

    def power_mw(self, device: Any) -> int:
        return self._number("nvmlDeviceGetPowerUsage", device)

    def energy_mj(self, device: Any) -> int:
        energy = self._ctypes.c_ulonglong()
        self._call("nvmlDeviceGetTotalEnergyConsumption", device, self._ctypes.byref(energy))
        return int(energy.value)

    def busy_percent(self, device: Any) -> int:
        # nvmlUtilization_t: of its cores, of its memory
        percent = (self._ctypes.c_uint * 2)()
        self._call("nvmlDeviceGetUtilizationRates", device, percent)
        return int(percent[0])

    def _number(self, function: str, *arguments: Any) -> int:
        number = self._ctypes.c_uint()
        self._call(function, *arguments, self._ctypes.byref(number))
        return int(number.value)

    def _handle(self, function: str, argument: Any) -> Any:
        handle = self._ctypes.c_void_p()
        self._call(function, argument, self._ctypes.byref(handle))
        return handle

    def _text(self, function: str, device: Any) -> str:
        text = self._ctypes.create_string_buffer(_TEXT_B)
        self._call(function, device, text, _TEXT_B)
        return str(text.value, "utf-8", "replace")

    def _call(self, function: str, *arguments: Any) -> None:
        try:
            code = int(getattr(self._library, function)(*arguments))
        except AttributeError:
            raise NVMLError(_FUNCTION_NOT_FOUND, f"the driver has no {function}") from None
        if code:
            raise NVMLError(code, str(self._library.nvmlErrorString(code) or b"", "utf-8", "replace"))
