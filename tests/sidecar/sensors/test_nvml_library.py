"""Our few calls of NVML beside NVIDIA's own binding of all of them, on the simulated driver."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from fake_nvml import FakeNvml
from sidecar_process import clean_environ

from hpcfrugal.sidecar.sensors import nvml_library

BOTH = """
import json, pynvml
from hpcfrugal.sidecar.sensors.nvml_library import Library, NVMLError
ours = Library()
ours.start()
pynvml.nvmlInit()

def told(function, *arguments):
    try:
        found = function(*arguments)
    except (NVMLError, pynvml.NVMLError) as error:
        return [error.value]
    return getattr(found, "value", found)

mine, theirs, mig = ours.device(1), pynvml.nvmlDeviceGetHandleByIndex(1), ours.device(0)
pairs = [
    (told(ours.device_count), told(pynvml.nvmlDeviceGetCount)),
    (told(ours.device, 7), told(pynvml.nvmlDeviceGetHandleByIndex, 7)),
    (told(ours.device_by_uuid, "GPU-none"), told(pynvml.nvmlDeviceGetHandleByUUID, "GPU-none")),
    (ours.device_by_uuid(ours.uuid(mine)).value == mine.value, True),
    (told(ours.uuid, mine), told(pynvml.nvmlDeviceGetUUID, theirs)),
    (told(ours.name, mine), told(pynvml.nvmlDeviceGetName, theirs)),
    (told(ours.power_mw, mine), told(pynvml.nvmlDeviceGetPowerUsage, theirs)),
    (told(ours.in_mig_mode, mig), bool(pynvml.nvmlDeviceGetMigMode(pynvml.nvmlDeviceGetHandleByIndex(0))[0])),
    (told(ours.busy_percent, mine), pynvml.nvmlDeviceGetUtilizationRates(theirs).gpu),
    (told(ours.energy_mj, mine) // 10**6, told(pynvml.nvmlDeviceGetTotalEnergyConsumption, theirs) // 10**6),
]
ours.shutdown()
pairs.append((told(ours.device_count), [1]))
print(json.dumps(pairs))
"""


def test_says_what_nvidias_own_binding_says(make_nvml: Callable[..., FakeNvml]) -> None:
    environ = clean_environ(make_nvml(mig=0, period_ms=10**8).environ())
    done = subprocess.run([sys.executable, "-c", BOTH], env=environ, capture_output=True, text=True, check=True)
    for ours, theirs in json.loads(done.stdout):
        assert ours == theirs


def test_functions_are_those_of_nvidias_own_binding() -> None:
    import pynvml

    called = set(re.findall(r'"(nvml[A-Za-z0-9_]+)"', Path(nvml_library.__file__).read_text()))
    known = set(re.findall(r'_nvmlGetFunctionPointer\("(\w+)"\)', Path(pynvml.__file__).read_text()))
    assert len(called) == 12
    assert called - known == {"nvmlInit_v2"}  # pynvml's is nvmlInitWithFlags, with no flag
    assert nvml_library._TEXT_B == pynvml.NVML_DEVICE_UUID_V2_BUFFER_SIZE == pynvml.NVML_DEVICE_NAME_V2_BUFFER_SIZE


def test_function_that_the_driver_lacks(make_nvml: Callable[..., FakeNvml]) -> None:
    script = "from hpcfrugal.sidecar.sensors.nvml_library import *; it = Library(); it.start(); it._call('nvmlNone')"
    environ = clean_environ(make_nvml().environ())
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("NVMLError: the driver has no nvmlNone")
