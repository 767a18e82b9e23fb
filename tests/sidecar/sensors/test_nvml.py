"""GPU selection and readings by pynvml on a fake driver library, each in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fake_nvml import FakeNvml
from sidecar_process import clean_environ

from hpcfrugal.sidecar.gpu_selection import job_device_list

PROBE = """
import json, sys
from hpcfrugal.sidecar.gpu_selection import job_device_list
from hpcfrugal.sidecar.sensors.nvml import Nvml
found = []
for environ, in_slurm in json.loads(sys.argv[1]):
    present = int(environ.get("PRESENT", 0))
    sensor = Nvml(job_device_list(environ, in_slurm), sharded="SLURM_SHARDS_ON_NODE" in environ, present=present)
    opened = sensor.open()
    found.append({
        "gpus": [gpu.index for gpu in opened.gpus],
        "limits": [gpu.limit_uw for gpu in opened.gpus],
        "channels": [channel.header() for channel in opened.channels],
        "absent": [entry.reason for entry in opened.absent],
        "unread": opened.unread_gpus,
        "values": sensor.read(),
        "loaded": "pynvml" in sys.modules,
    })
    sensor.close()
print(json.dumps(found))
"""


def probe(environ: Mapping[str, str], *cases: tuple[Mapping[str, str], bool]) -> list[dict[str, Any]]:
    command = [sys.executable, "-c", PROBE, json.dumps(cases)]
    done = subprocess.run(command, env=clean_environ(environ), capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("environ", "in_slurm", "entries"),
    [
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, True, ["1", "0"]),
        ({"CUDA_VISIBLE_DEVICES": "0,-1,1"}, True, ["0"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, False, []),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles", "SLURM_JOB_GPUS": "0"}, True, []),
        ({"CUDA_VISIBLE_DEVICES": "1,1"}, True, ["1"]),
        ({"CUDA_VISIBLE_DEVICES": "1,\u00b2,0"}, True, ["1"]),
        ({"CUDA_VISIBLE_DEVICES": "9" * 5000}, True, []),
        ({"SLURM_STEP_GPUS": "3", "SLURM_JOB_GPUS": "2,3"}, True, ["3"]),
        ({"SLURM_JOB_GPUS": "2,3"}, True, ["2", "3"]),
        ({}, True, []),
    ],
)
def test_wanted_devices(environ: dict[str, str], in_slurm: bool, entries: list[str]) -> None:
    wanted = job_device_list(environ, in_slurm)
    assert (wanted.entries, wanted.all_devices) == (entries, False)


def test_local_job_without_a_choice_has_all() -> None:
    assert job_device_list({}, False).all_devices


def test_selection(make_nvml: Callable[..., FakeNvml]) -> None:
    nvml = make_nvml(devices=4)
    expected: dict[str, list[int]] = {
        "2,0": [2, 0],
        nvml.uuid(3): [3],
        nvml.uuid(3)[:12]: [3],
        "7": [],
        "": [],
    }
    found = probe(nvml.environ(), *[({"CUDA_VISIBLE_DEVICES": text}, True) for text in expected])
    assert [case["gpus"] for case in found] == list(expected.values())
    assert found[3]["absent"] == ["CUDA_VISIBLE_DEVICES: no device 7"]
    assert found[4]["absent"] == []
    channel = found[0]["channels"][0]
    assert channel["gpu_uuid"] == nvml.uuid(2)
    assert (channel["source"], channel["quality"], channel["scope"], channel["counted"], channel["range_uj"]) == (
        "nvml-energy",
        "measured",
        "job",
        True,
        None,
    )


def test_slurm_lists_number_the_whole_node(make_nvml: Callable[..., FakeNvml]) -> None:
    """Devices 2 and 3 of the node; where the job's cgroup shows two only, these are all."""
    case = ({"SLURM_JOB_GPUS": "2,3"}, True)
    assert probe(make_nvml(devices=4).environ(), case)[0]["gpus"] == [2, 3]
    assert probe(make_nvml(devices=2).environ(), case)[0]["gpus"] == [0, 1]


def test_index_counts_as_cuda_does(make_nvml: Callable[..., FakeNvml]) -> None:
    """CUDA's own order is known only where all devices are alike, or all are named."""
    nvml = make_nvml(devices=3, other=0)
    by_pci = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    found = probe(
        nvml.environ(),
        ({"CUDA_VISIBLE_DEVICES": "1"}, False),
        ({"CUDA_VISIBLE_DEVICES": "1", **by_pci}, False),
        ({"CUDA_VISIBLE_DEVICES": "2,0,1"}, False),
        ({"CUDA_VISIBLE_DEVICES": nvml.uuid(2)}, False),
        ({"CUDA_VISIBLE_DEVICES": "1", "SLURM_JOB_GPUS": "2"}, True),
        ({"CUDA_VISIBLE_DEVICES": "0", "SLURM_JOB_GPUS": "1,2,3", "SLURM_STEP_GPUS": "1"}, True),
        ({"SLURM_JOB_GPUS": "0"}, True),
    )
    assert [case["gpus"] for case in found] == [[], [1], [2, 0, 1], [2], [2], [1], [0]]
    (said,) = found[0]["absent"]
    assert said.startswith("CUDA_VISIBLE_DEVICES=1, GPUs of several models, and CUDA_DEVICE_ORDER is not PCI_BUS_ID")
    assert found[0]["channels"] == []
    assert all(case["absent"] == [] for case in found[1:])
    assert probe(make_nvml(devices=3).environ(), ({"CUDA_VISIBLE_DEVICES": "1"}, False))[0]["gpus"] == [1]


def test_no_gpu_loads_nothing(make_nvml: Callable[..., FakeNvml]) -> None:
    found = probe(make_nvml().environ(), ({}, True))[0]
    assert (found["channels"], found["absent"], found["loaded"]) == ([], [], False)


def test_local_job_has_all_devices(make_nvml: Callable[..., FakeNvml]) -> None:
    found = probe(make_nvml().environ(), ({}, False))[0]
    assert (found["gpus"], found["limits"]) == ([0, 1], [400_000_000] * 2)


def test_missing_library() -> None:
    promised, local, present = probe({}, ({"CUDA_VISIBLE_DEVICES": "0"}, True), ({}, False), ({"PRESENT": "2"}, False))
    assert promised["absent"] == present["absent"] == ["no libnvidia-ml.so.1"]
    assert local["absent"] == []
    assert [case["unread"] for case in (promised, local, present)] == [0, 0, 2]


def test_mig_slices_are_modelled_from_the_whole_device(make_nvml: Callable[..., FakeNvml]) -> None:
    nvml = make_nvml(devices=2, mig=1)
    found = probe(
        nvml.environ(),
        ({"CUDA_VISIBLE_DEVICES": nvml.slice_uuid(1)}, True),
        ({"CUDA_VISIBLE_DEVICES": f"MIG-{nvml.uuid(1)}/1/0"}, True),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, True),
        ({"CUDA_VISIBLE_DEVICES": "MIG-unknown"}, True),
    )
    for case in found[:2]:
        assert (case["gpus"], case["limits"]) == ([1], [None])
        assert (case["channels"][0]["quality"], case["channels"][0]["scope"]) == ("modelled", "node")
        assert "whole device" in case["channels"][0]["detail"]
    assert [channel["quality"] for channel in found[2]["channels"]] == ["measured", "modelled"]
    assert found[3]["absent"] == ["CUDA_VISIBLE_DEVICES: no device MIG-unknown"]


def test_shards_are_modelled(make_nvml: Callable[..., FakeNvml]) -> None:
    environ = {"CUDA_VISIBLE_DEVICES": "0", "SLURM_SHARDS_ON_NODE": "1"}
    channel = probe(make_nvml().environ(), (environ, True))[0]["channels"][0]
    assert (channel["quality"], channel["scope"]) == ("modelled", "node")


def test_power_where_there_is_no_energy_counter(make_nvml: Callable[..., FakeNvml]) -> None:
    nvml = make_nvml()
    nvml.switch_on("no-energy")
    found = probe(nvml.environ(), ({}, False))[0]
    assert [channel["source"] for channel in found["channels"]] == ["nvml-power"] * 2
    assert set(found["values"]) <= {100_000_000, 300_000_000}


STANDING = """
import json
from hpcfrugal.sidecar.gpu_selection import job_device_list
from hpcfrugal.sidecar.sensors import nvml
seconds = iter(range(100))
sensor = nvml.Nvml(job_device_list({}, False), clock_ns=lambda: next(seconds) * 10**9)
opened = sensor.open()
print(json.dumps([[channel.source for channel in opened.channels], [sensor.read()[0] for _ in range(4)]]))
"""


@pytest.mark.parametrize(("power", "watts"), [("", 200), ("no-power", 0)])
def test_power_while_the_energy_counter_stands_still(
    make_nvml: Callable[..., FakeNvml], power: str, watts: int
) -> None:
    nvml = make_nvml(devices=1, low_mw=200_000, high_mw=200_000)
    nvml.switch_on("frozen")
    if power:
        nvml.switch_on(power)
    command = [sys.executable, "-c", STANDING]
    done = subprocess.run(command, env=clean_environ(nvml.environ()), capture_output=True, text=True, check=True)
    sources, values = json.loads(done.stdout)
    assert sources == ["nvml-energy"]
    assert values == [16_430_000 + watts * second * 10**6 for second in (1, 2, 3, 4)]


def test_neither_energy_nor_power(make_nvml: Callable[..., FakeNvml]) -> None:
    nvml = make_nvml(devices=1)
    nvml.switch_on("no-energy")
    nvml.switch_on("no-power")
    found = probe(nvml.environ(), ({}, False))[0]
    assert found["gpus"] == [0]
    assert found["absent"] == [f"{nvml.uuid(0)}: NVML error 3: Not Supported"]


def test_driver_not_loaded(make_nvml: Callable[..., FakeNvml]) -> None:
    nvml = make_nvml()
    nvml.switch_on("unloaded")
    found = probe(nvml.environ(), ({}, False), ({"PRESENT": "3"}, False))
    assert [case["absent"] for case in found] == [["NVML error 9: Driver Not Loaded"]] * 2
    assert [case["unread"] for case in found] == [0, 3]


def test_broken_and_foreign_devices_cost_only_themselves(make_nvml: Callable[..., FakeNvml]) -> None:
    """Device 0 fell off the bus; device 1 is another job's, and CUDA does not number it."""
    nvml = make_nvml(devices=4)
    nvml.switch_on("lost-0")
    nvml.switch_on("foreign-1")
    every, one, lost, slurm = probe(
        nvml.environ(),
        ({}, False),
        ({"CUDA_VISIBLE_DEVICES": "1"}, True),
        ({"CUDA_VISIBLE_DEVICES": "0,2"}, True),
        ({"SLURM_JOB_GPUS": "0,2,3"}, True),
    )
    said = "device 0: NVML error 15: GPU is lost"
    assert (every["gpus"], every["absent"]) == ([2, 3], [said])
    assert (one["gpus"], one["absent"]) == ([2], [])
    assert (lost["gpus"], lost["absent"]) == ([3], [said, "CUDA_VISIBLE_DEVICES: no device 0"])
    assert (slurm["gpus"], slurm["absent"]) == ([2, 3], [said])
    assert [case["unread"] for case in (every, one, lost, slurm)] == [1, 0, 0, 0]
    assert all(isinstance(value, int) for case in (every, one, lost, slurm) for value in case["values"])


AFTER_LOSS = """
import json, os, sys
from hpcfrugal.sidecar.gpu_selection import job_device_list
from hpcfrugal.sidecar.sensors import nvml
sensor = nvml.Nvml(job_device_list({}, False))
sensor.open()
lost = os.path.join(os.environ["FAKE_NVML_CONTROL"], "lost-0")
open(lost, "w").close()
found = [sensor.read() for _ in range(2 * 30 + 5)]
os.unlink(lost)
found += [sensor.read() for _ in range(30 + 1)]
print(json.dumps(found))
"""


def test_device_that_stays_lost_keeps_no_other_from_being_read(make_nvml: Callable[..., FakeNvml]) -> None:
    nvml = make_nvml(devices=2)
    command = [sys.executable, "-c", AFTER_LOSS]
    done = subprocess.run(command, env=clean_environ(nvml.environ()), capture_output=True, text=True, check=True)
    readings = json.loads(done.stdout)
    assert all(one[1] is not None for one in readings)
    assert [one[0] is None for one in readings[:65]] == [True] * 65
    assert readings[-1][0] is not None


def test_a_power_of_null_is_not_a_reading(make_nvml: Callable[..., FakeNvml]) -> None:
    nvml = make_nvml(devices=1, low_mw=0, high_mw=0)
    nvml.switch_on("no-energy")
    (found,) = probe(nvml.environ(), ({}, False))
    assert (found["channels"], found["absent"]) == ([], [f"{nvml.uuid(0)}: reads 0 W"])


AFTER_RELOAD = """
import os
from hpcfrugal.sidecar.gpu_selection import job_device_list
from hpcfrugal.sidecar.sensors import nvml
sensor = nvml.Nvml(job_device_list({}, False))
sensor.open()
unloaded = os.path.join(os.environ["FAKE_NVML_CONTROL"], "unloaded")
open(unloaded, "w").close()
assert sensor.read() == [None]
os.unlink(unloaded)
print(next(count for count in range(1, 1000) if sensor.read() != [None]))
"""


def test_library_is_started_anew_at_the_30th_read_after_the_driver_went_away(
    make_nvml: Callable[..., FakeNvml],
) -> None:
    nvml = make_nvml(devices=1)
    command = [sys.executable, "-c", AFTER_RELOAD]
    done = subprocess.run(command, env=clean_environ(nvml.environ()), capture_output=True, text=True, check=True)
    assert done.stdout == "30\n"
