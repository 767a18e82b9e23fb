"""Opens every sensor like the sidecar and prints the results as JSON, in a child process, since a driver can hang."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from importlib.metadata import entry_points

from hpcfrugal.sidecar.sensor_selection import SensorSelection
from hpcfrugal.sidecar.sources import SensorContext, fallback_sensors, primary_sensors
from hpcfrugal.sidecar.worker import boottime_ns

OPEN_WAIT_S = 10.0
READ_WAIT_S = 2.0
"""A driver may need seconds to wake several GPUs."""


def probe(
    sysfs: str = "/sys", proc: str = "/proc", environ: Mapping[str, str] = os.environ
) -> dict[str, list[dict[str, object]]]:
    """Channels that would be sampled here, better sources that cannot be used with the reason, and visible GPUs."""
    place = SensorContext(sysfs, proc, environ, boottime_ns, in_slurm="SLURM_JOB_ID" in environ)
    site = tuple((entry.name, entry.module, entry.attr) for entry in entry_points(group="hpcfrugal.sensors"))
    selection = SensorSelection(primary_sensors(place, site), fallback_sensors(place), boottime_ns, lambda: False)
    deadline_s = time.monotonic() + OPEN_WAIT_S
    while selection.is_waiting and time.monotonic() < deadline_s:
        if selection.has_late_opened():
            selection.adopt_opened()
        time.sleep(0.05)
    selection.sample(READ_WAIT_S)
    return {
        "channels": [{**entry.channel.header(), "readable": entry.meter.is_reading} for entry in selection.entries],
        "absent": [{**absent.header(), "advice": absent.advice} for absent in selection.absent],
        "gpus": [gpu.header() for gpu in selection.gpus],
    }


if __name__ == "__main__":
    print(json.dumps(probe()))
