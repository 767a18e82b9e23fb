"""What the job's environment says about the sources to be tried."""

from __future__ import annotations

import pytest

from hpcfrugal.sidecar.sensor_child import UseOfGpus
from hpcfrugal.sidecar.sensor_process import SensorProcess
from hpcfrugal.sidecar.sensors.nvml import Nvml
from hpcfrugal.sidecar.sources import SensorContext, primary_sensors

MPS = "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"


@pytest.mark.parametrize(
    ("environ", "in_slurm", "exclusive", "shared"),
    [
        ({"SLURM_JOB_GPUS": "0"}, True, False, False),
        ({"SLURM_SHARDS_ON_NODE": "4", "SLURM_JOB_GPUS": "0"}, True, False, True),
        ({MPS: "50", "SLURM_JOB_GPUS": "0"}, True, False, True),
        ({MPS: "1", "SLURM_JOB_GPUS": "0"}, True, False, True),
        ({MPS: "a'; rm -rf ~ #", "SLURM_JOB_GPUS": "0"}, True, False, True),
        # all of the GPU, a node of its own, no Slurm that could have set it, and nothing at all
        ({MPS: "100", "SLURM_JOB_GPUS": "0"}, True, False, False),
        ({MPS: "50", "SLURM_JOB_GPUS": "0"}, True, True, False),
        ({MPS: "50"}, False, False, False),
        ({MPS: "", "SLURM_JOB_GPUS": "0"}, True, False, False),
    ],
)
def test_a_part_of_a_gpu_is_not_counted_as_a_whole_one(
    environ: dict[str, str], in_slurm: bool, exclusive: bool, shared: bool
) -> None:
    place = SensorContext("/nowhere", "/nowhere", environ, lambda: 0, in_slurm=in_slurm, exclusive=exclusive)
    (process,) = [sensor for sensor in primary_sensors(place) if isinstance(sensor, SensorProcess)]
    nvml = process.make(UseOfGpus())
    assert isinstance(nvml, Nvml)
    assert nvml._sharded is shared


@pytest.mark.parametrize(("environ", "in_slurm"), [({}, True), ({"CUDA_VISIBLE_DEVICES": ""}, False)])
def test_no_process_for_a_job_without_gpus(environ: dict[str, str], in_slurm: bool) -> None:
    place = SensorContext("/nowhere", "/nowhere", environ, lambda: 0, in_slurm=in_slurm)
    assert [sensor.name for sensor in primary_sensors(place)] == ["rapl-powercap"]


def test_what_an_agent_published_is_of_the_machines_own_tree() -> None:
    def published(sysfs: str, *file: str) -> str | None:
        context = SensorContext(
            sysfs, "/proc", {}, lambda: 0, in_slurm=False, **({"published": file[0]} if file else {})
        )
        return context.published

    assert published("/sys") == "/run/hpcfrugal/energy.json"
    assert published("/tree/sys") is None
    assert published("/tree/sys", "/tree/run/energy.json") == "/tree/run/energy.json"
