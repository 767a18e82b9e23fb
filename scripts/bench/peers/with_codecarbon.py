"""codecarbon: OfflineEmissionsTracker, a sample a second, its CSV file in the working directory."""

from __future__ import annotations

from typing import Any

from adapter import JOULES_PER_KWH, follow


def start() -> Any:
    from codecarbon import OfflineEmissionsTracker

    tracker = OfflineEmissionsTracker(country_iso_code="FRA", measure_power_secs=1, output_dir=".")
    tracker.start()
    return tracker


def stop(tracker: Any) -> dict[str, Any]:
    tracker.stop()
    data = tracker.final_emissions_data
    energy_j = {
        "cpu": data.cpu_energy * JOULES_PER_KWH,
        "dram": data.ram_energy * JOULES_PER_KWH,
        "gpu": data.gpu_energy * JOULES_PER_KWH,
    }
    # Which part is read and which is a constant it does not say in its result, only in its own state.
    modes = [getattr(item, "_mode", "") for item in tracker._hardware]
    modelled = ["dram"] if "intel_rapl" in modes else ["cpu", "dram"]
    return {"energy_j": energy_j, "modelled": modelled, "duration_s": data.duration, "says": str(modes)}


if __name__ == "__main__":
    follow(start, stop)
