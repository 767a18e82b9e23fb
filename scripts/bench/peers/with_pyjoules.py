"""pyJoules: an EnergyMeter over all devices that it finds, one record a second, since it takes no samples itself.

Its README gives uJ as the unit of every device, so all of its figures are taken as that.
"""

from __future__ import annotations

from typing import Any

from adapter import follow

UJ_PER_J = 1_000_000
COMPONENTS = {"package": "cpu", "dram": "dram", "nvidia_gpu": "gpu"}


def start() -> Any:
    from pyJoules.device import DeviceFactory
    from pyJoules.energy_meter import EnergyMeter

    meter = EnergyMeter(DeviceFactory.create_devices())
    meter.start(tag="run")
    return meter


def stop(meter: Any) -> dict[str, Any]:
    meter.stop()
    trace = meter.get_trace()
    energy_j: dict[str, float] = {}
    for sample in trace:
        for domain, value in sample.energy.items():
            kind = domain.rpartition("_")[0]
            if kind in COMPONENTS:
                component = COMPONENTS[kind]
                energy_j[component] = energy_j.get(component, 0.0) + value / UJ_PER_J
    last = trace[len(trace) - 1]
    return {
        "energy_j": energy_j,
        "modelled": [],
        "from_wall_s": trace[0].timestamp,
        "to_wall_s": last.timestamp + last.duration,
    }


if __name__ == "__main__":
    follow(start, stop, tick=lambda meter: meter.record(tag="run"))
