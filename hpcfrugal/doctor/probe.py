"""Open every sensor once and print what it found as JSON; run as a child process, since a driver can hang."""

from __future__ import annotations

import json
import os

from hpcfrugal.sidecar.sensors.nvml import Nvml, wanted_devices
from hpcfrugal.sidecar.sensors.rapl_powercap import RaplPowercap


def probe(sysfs: str = "/sys") -> dict[str, list[dict[str, object]]]:
    """Channels that can be read here, sources that cannot and why, and the GPUs in sight."""
    found: dict[str, list[dict[str, object]]] = {"channels": [], "absent": [], "gpus": []}
    for sensor in (RaplPowercap(sysfs), Nvml(wanted_devices(os.environ, "SLURM_JOB_ID" in os.environ))):
        opened = sensor.open()
        for channel, value in zip(opened.channels, sensor.read(), strict=True):
            found["channels"].append({**channel.header(), "readable": value is not None})
        found["absent"] += [absent.header() for absent in opened.absent]
        found["gpus"] += [gpu.header() for gpu in opened.gpus]
        sensor.close()
    return found


if __name__ == "__main__":
    print(json.dumps(probe()))
