"""zeus: a ZeusMonitor and one window. It reads counters at both ends and watches for their turns in between."""

from __future__ import annotations

from typing import Any

from adapter import follow


def start() -> Any:
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor(log_file="zeus.csv")
    monitor.begin_window("run", sync_execution=False)
    return monitor


def stop(monitor: Any) -> dict[str, Any]:
    found = monitor.end_window("run", sync_execution=False)
    energy_j = {
        "cpu": None if found.cpu_energy is None else sum(found.cpu_energy.values()),
        "dram": None if found.dram_energy is None else sum(found.dram_energy.values()),
        "gpu": sum(found.gpu_energy.values()) if found.gpu_energy else None,
    }
    return {"energy_j": energy_j, "modelled": [], "duration_s": found.time, "says": str(found.cpu_energy)}


if __name__ == "__main__":
    follow(start, stop)
