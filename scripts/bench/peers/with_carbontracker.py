"""carbontracker: one epoch without prediction, a sample a second; the figures are what its own log parser reads."""

from __future__ import annotations

from typing import Any

from adapter import follow


def start() -> Any:
    from carbontracker.tracker import CarbonTracker

    tracker = CarbonTracker(epochs=1, epochs_before_pred=0, monitor_epochs=1, update_interval=1, log_dir="logs")
    tracker.epoch_start()
    return tracker


def stop(tracker: Any) -> dict[str, Any]:
    tracker.epoch_end()
    from carbontracker import parser

    components = parser.parse_logs("logs")
    energy_j: dict[str, float | None] = {}
    duration_s = None
    for name, found in components.items():
        joules = found["avg_energy_usages (J)"]
        energy_j[name] = None if joules is None else float(joules.sum())
        if found["epoch_durations (s)"] is not None:
            duration_s = float(found["epoch_durations (s)"].sum())
    # Its cpu is the mean of every zone of package and dram.
    within = {"dram": "cpu"} if any("dram" in str(device) for device in components["cpu"]["devices"]) else {}
    says = {name: [str(device) for device in found["devices"]] for name, found in components.items()}
    return {"energy_j": energy_j, "modelled": [], "within": within, "duration_s": duration_s, "says": str(says)}


if __name__ == "__main__":
    follow(start, stop)
