"""Sensors of this machine: which can be read, and why the others cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from hpcfrugal.doctor.finding import Finding

_PROBE_TIMEOUT_S = 15.0
_NAMES = {"cpu": "CPU", "dram": "memory", "gpu": "GPU", "node": "whole node"}


RAPL_RULE_FILE = "/etc/udev/rules.d/60-rapl.rules"
RAPL_RULE = """ACTION=="add", SUBSYSTEM=="powercap", KERNEL=="*:*", RUN+="/bin/chmod a+r /sys%p/energy_uj\""""
"""Makes RAPL's counters readable for all users whenever the kernel adds them; see docs/configuration.md."""


def _probe() -> dict[str, Any] | str:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "hpcfrugal.doctor.probe"],
            capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"a sensor did not respond within {_PROBE_TIMEOUT_S:g} s"
    if done.returncode != 0:
        return (done.stderr.strip().splitlines() or ["it ended without an error message"])[-1]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _advice(source: str, reason: str) -> str:
    if source == "rapl-perf" and "denied" in reason:
        return (
            "or: kernel.perf_event_paranoid = 0 in /etc/sysctl.d/ on the nodes, which lets all users read system-wide "
            "counters"
        )
    if source.startswith("rapl") and "denied" in reason:
        return f"readable by root only since Linux 5.10; ask an administrator for {RAPL_RULE_FILE}: {RAPL_RULE}"
    if source.startswith("rapl"):
        return "no counters here (a virtual machine, or not x86?); energy without a sensor is modelled and marked so"
    if source == "hwmon" and "denied" in reason:
        return "ask your operator for read access to the power meters below /sys/class/hwmon"
    if source == "pm-counters":
        return "ask your operator whether the node controller works: cat /sys/cray/pm_counters/freshness"
    if source == "hwmon":
        return "check with the driver's own tool: sensors, or rocm-smi for AMD GPUs"
    if source.startswith("site-"):
        return "ask the operator who added this sensor"
    if source.startswith("nvml") and "denied" in reason:
        return "ask your operator for access to /dev/nvidia*"
    return "nothing to do without an NVIDIA GPU; otherwise install its driver"


def sensor_findings() -> list[Finding]:
    """One finding for each component and source of this machine. On a compute node: ``srun hpcfrugal doctor``."""
    found = _probe()
    if isinstance(found, str):
        return [Finding("sensors", "probe", "fault", found, "check the GPU driver: nvidia-smi must answer")]
    findings = []
    sources: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for channel in found["channels"]:
        sources.setdefault((channel["component"], channel["source"]), []).append(channel)
    for (component, source), channels in sources.items():
        domains = ", ".join(
            channel["domain"] + ("" if channel["counted"] else " (part of another, not added)") for channel in channels
        )
        unreadable = [channel["domain"] for channel in channels if not channel["readable"]]
        if unreadable:
            what = f"{source} can be opened but not read: {', '.join(unreadable)}"
            findings.append(
                Finding("sensors", _NAMES.get(component, component), "fault", what, "check the kernel log: dmesg")
            )
        else:
            findings.append(Finding("sensors", _NAMES.get(component, component), "ok", f"{source}: {domains}"))
    for absent in found["absent"]:
        component, source, reason = absent["component"], absent["source"], absent["reason"]
        findings.append(
            Finding("sensors", _NAMES.get(component, component), "gap", f"{source}: {reason}", _advice(source, reason))
        )
    return findings
