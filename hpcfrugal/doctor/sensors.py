"""Sensors of this machine: which can be read, and why the others cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from hpcfrugal.doctor.finding import Finding

_PROBE_TIMEOUT_S = 15.0
_ASK = "ask your operator whether this sensor should work here"
_NAMES = {"cpu": "CPU", "dram": "memory", "gpu": "GPU", "node": "whole node"}


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
        component, found_there = absent["component"], f"{absent['source']}: {absent['reason']}"
        advice = absent["advice"] or _ASK
        findings.append(Finding("sensors", _NAMES.get(component, component), "gap", found_there, advice))
    return findings
