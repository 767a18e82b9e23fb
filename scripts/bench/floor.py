"""The least that a sidecar could do, to measure the sidecar against: raw counters, 1 Hz, a line every 10 s.

Reads every energy_uj of RAPL and the energy of two GPUs and writes them as they are to the file that it is
given: no wraps, no failures, no job, no CPU time. Ends when its standard input does.
"""

import ctypes
import os
import select
import sys
import time

TREE = "/sys/class/powercap"
files = [
    os.open(f"{TREE}/{zone}/energy_uj", os.O_RDONLY) for zone in sorted(os.listdir(TREE)) if zone[:11] == "intel-rapl:"
]
nvml = ctypes.CDLL("libnvidia-ml.so.1")
nvml.nvmlInit_v2()
gpus = [ctypes.c_void_p(), ctypes.c_void_p()]
for index, gpu in enumerate(gpus):
    nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(gpu))
energy_mj = ctypes.c_ulonglong()
out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
stdin = select.poll()
stdin.register(0, select.POLLIN)
started = time.monotonic()
tick = 0
stopping = False
while True:
    values = [os.pread(file, 32, 0).strip(b"\n\0").decode() for file in files]
    for gpu in gpus:
        nvml.nvmlDeviceGetTotalEnergyConsumption(gpu, ctypes.byref(energy_mj))
        values.append(str(energy_mj.value))
    if tick % 10 == 0 or stopping:
        os.write(out, f'{{"kind":"record","wall_ns":{time.time_ns()},"raw":[{",".join(values)}]}}\n'.encode())
    if stopping:
        break
    tick += 1
    stopping = bool(stdin.poll(max(0.0, started + tick - time.monotonic()) * 1000))
