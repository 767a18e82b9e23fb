"""What the doctor advises about sensors that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_meters import chip

import hpcfrugal.doctor.sensors
from hpcfrugal.doctor import sensor_findings
from hpcfrugal.doctor.probe import probe
from hpcfrugal.sidecar.gpu_selection import DeviceList
from hpcfrugal.sidecar.sensor_calls import open_sensor
from hpcfrugal.sidecar.sensors.base import Absent, Opened
from hpcfrugal.sidecar.sensors.hwmon import Hwmon
from hpcfrugal.sidecar.sensors.nvml import Nvml
from hpcfrugal.sidecar.sensors.rapl_perf import RaplPerf
from hpcfrugal.sidecar.sensors.rapl_powercap import RULE, RULE_FILE, RaplPowercap

NOT_HERE = "no counters here (a virtual machine, or not x86?); energy without a sensor is modelled and marked so"
NO_GPUS = DeviceList("", [], all_devices=False, global_indices=False)


def findings_of(sysfs: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> dict[str, tuple[str, str]]:
    """What the doctor finds on a machine, by the subject and source of each finding."""
    found = probe(str(sysfs), str(sysfs / "proc"), environ)
    monkeypatch.setattr(hpcfrugal.doctor.sensors, "_probe", lambda: found)
    return {f"{one.subject} {one.found.partition(':')[0]}": (one.level, one.advice or "") for one in sensor_findings()}


def test_each_sensor_has_its_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chip(tmp_path, 0, "power_meter", {"power1_average": "0"})
    chip(tmp_path, 1, "ina3221", {"power1_input": "1"})
    found = findings_of(tmp_path, monkeypatch, {"CUDA_VISIBLE_DEVICES": "0"})
    assert {subject: advice for subject, (_, advice) in found.items() if "hwmon" not in subject} == {
        "CPU rapl-powercap": NOT_HERE,
        "memory rapl-powercap": NOT_HERE,
        "CPU rapl-perf": NOT_HERE,
        "memory rapl-perf": NOT_HERE,
        "GPU nvml-energy": "nothing to do without an NVIDIA GPU; otherwise install its driver",
        "whole node other-chips": (
            "no sensor of hpcfrugal reads it; a sensor of your own can (entry points hpcfrugal.sensors)"
        ),
    }
    assert {level for level, _ in found.values()} == {"gap"}
    advice = {one.advice for one in sensor_findings() if one.found.startswith("hwmon")}
    assert advice == {"check with the driver's own tool: sensors, or rocm-smi for AMD GPUs"}


def test_advice_where_access_is_denied() -> None:
    denied = "denied: /sys/class/powercap/intel-rapl:0/energy_uj"
    advice = {}
    for sensor in (RaplPowercap("/s"), RaplPerf("/s", "/p", "cpu", frozenset()), Hwmon("cpu", [], []), Nvml(NO_GPUS)):
        opened = Opened([], [Absent("cpu", sensor.name, denied)], [])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(sensor), "open", lambda _self, opened=opened: opened)
            advice[sensor.name] = open_sensor(sensor).absent[0].advice or ""
    assert advice["rapl-powercap"].endswith(f"ask an administrator for {RULE_FILE}: {RULE}")
    assert "kernel.perf_event_paranoid = 0" in advice["rapl-perf"]
    assert "read access to the power meters" in advice["hwmon"]
    assert "/dev/nvidia*" in advice["nvml-energy"]


def test_sensor_without_advice_gets_that_of_the_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {"component": "cpu", "source": "new", "reason": "none", "advice": None}
    monkeypatch.setattr(hpcfrugal.doctor.sensors, "_probe", lambda: {"channels": [], "absent": [absent], "gpus": []})
    assert [one.advice for one in sensor_findings()] == ["ask your operator whether this sensor should work here"]


def test_advice_is_not_written_to_the_sample_file() -> None:
    assert Absent("cpu", "s", "r", advice="do something").header() == {"component": "cpu", "source": "s", "reason": "r"}


def test_the_docs_have_the_same_rule() -> None:
    page = (Path(__file__).parents[2] / "docs/configuration.md").read_text()
    assert f"\n{RULE}\n" in page
    assert RULE_FILE in page
