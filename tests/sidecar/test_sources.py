"""What the job's environment says about the sources to be tried."""

from __future__ import annotations

import pytest

from hpcfrugal.sidecar.sensors.nvml import Nvml
from hpcfrugal.sidecar.sources import SensorContext, primary_sensors

MPS = "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"


@pytest.mark.parametrize(
    ("environ", "in_slurm", "exclusive", "shared"),
    [
        ({"SLURM_JOB_GPUS": "0"}, True, False, False),
        ({"SLURM_SHARDS_ON_NODE": "4"}, True, False, True),
        ({MPS: "50", "SLURM_JOB_GPUS": "0"}, True, False, True),
        ({MPS: "1"}, True, False, True),
        ({MPS: "a'; rm -rf ~ #"}, True, False, True),
        # all of the GPU, a node of its own, no Slurm that could have set it, and nothing at all
        ({MPS: "100"}, True, False, False),
        ({MPS: "50"}, True, True, False),
        ({MPS: "50"}, False, False, False),
        ({MPS: ""}, True, False, False),
    ],
)
def test_part_of_a_gpu_is_no_whole_one(environ: dict[str, str], in_slurm: bool, exclusive: bool, shared: bool) -> None:
    place = SensorContext("/nowhere", "/nowhere", environ, lambda: 0, in_slurm=in_slurm, exclusive=exclusive)
    (nvml,) = [sensor for sensor in primary_sensors(place) if isinstance(sensor, Nvml)]
    assert nvml._sharded is shared
