"""What the doctor advises about sensors that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

import hpcfrugal.doctor.sensors
from hpcfrugal.doctor import sensor_findings
from hpcfrugal.doctor.sensors import RAPL_RULE, RAPL_RULE_FILE

DENIED = "denied: /sys/class/powercap/intel-rapl:0/energy_uj"


def test_denied_counters_come_with_the_permanent_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = [{"component": component, "source": "rapl-powercap", "reason": DENIED} for component in ("cpu", "dram")]
    monkeypatch.setattr(hpcfrugal.doctor.sensors, "_probe", lambda: {"channels": [], "absent": absent, "gpus": []})
    findings = sensor_findings()
    assert [(one.subject, one.level) for one in findings] == [("CPU", "gap"), ("memory", "gap")]
    for one in findings:
        assert one.found == f"rapl-powercap: {DENIED}"
        assert (one.advice or "").endswith(f"ask an administrator for {RAPL_RULE_FILE}: {RAPL_RULE}")


def test_the_docs_have_the_same_rule() -> None:
    page = (Path(__file__).parents[2] / "docs/configuration.md").read_text()
    assert f"\n{RAPL_RULE}\n" in page
    assert RAPL_RULE_FILE in page
