"""Which GPUs are the job's, by the documented rules of each vendor, in tables."""

from __future__ import annotations

import pytest

from hpcfrugal.sidecar.gpu_selection import entries_of, job_device_list, resolve, rocm_lists

AMD = [f"GPU-{number:016x}" for number in (0xA1, 0xA2, 0xB3, 0xB4)]


def held(environ: dict[str, str], in_slurm: bool, count: int = 4) -> list[int] | None:
    """Devices of ``count`` AMD GPUs that ROCm shows a process; None where it shows all."""
    lists = rocm_lists(environ, in_slurm)
    devices = list(range(count))
    for wanted in lists:
        places, _ = resolve(wanted.entries, [AMD[device] for device in devices], ends=True)
        devices = [devices[place] for place in places]
    return devices if lists else None


@pytest.mark.parametrize(
    ("environ", "devices"),
    [
        ({}, None),
        # one list
        ({"ROCR_VISIBLE_DEVICES": "2,0"}, [2, 0]),
        ({"HIP_VISIBLE_DEVICES": "3"}, [3]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, [1]),
        ({"GPU_DEVICE_ORDINAL": "1,2"}, [1, 2]),
        # empty
        ({"ROCR_VISIBLE_DEVICES": ""}, []),
        ({"HIP_VISIBLE_DEVICES": ""}, None),
        ({"CUDA_VISIBLE_DEVICES": ""}, None),
        # on top of each other
        ({"HIP_VISIBLE_DEVICES": "3", "CUDA_VISIBLE_DEVICES": "1"}, [3]),
        ({"HIP_VISIBLE_DEVICES": "", "CUDA_VISIBLE_DEVICES": "1"}, [1]),
        ({"CUDA_VISIBLE_DEVICES": "2", "GPU_DEVICE_ORDINAL": "0"}, [2]),
        ({"ROCR_VISIBLE_DEVICES": "2,3", "CUDA_VISIBLE_DEVICES": "1"}, [3]),
        ({"ROCR_VISIBLE_DEVICES": "2,3", "HIP_VISIBLE_DEVICES": "2"}, []),
        # duplicates: they end ROCm's own list, and HIP's pass over them
        ({"ROCR_VISIBLE_DEVICES": "1,1,2"}, [1]),
        ({"HIP_VISIBLE_DEVICES": "1,1,2"}, [1, 2]),
        # an invalid entry ends the list
        ({"ROCR_VISIBLE_DEVICES": "1,9,2"}, [1]),
        ({"HIP_VISIBLE_DEVICES": "1,-1,2"}, [1]),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, []),
        # UUIDs: shortened while they name one device, in any case
        ({"ROCR_VISIBLE_DEVICES": AMD[2]}, [2]),
        ({"ROCR_VISIBLE_DEVICES": "gpu-00000000000000b4,0"}, [3, 0]),
        ({"ROCR_VISIBLE_DEVICES": "0,GPU-00000000000000A,1"}, [0]),
    ],
)
def test_rocm(environ: dict[str, str], devices: list[int] | None) -> None:
    assert held(environ, in_slurm=False) == devices


def test_slurm_writes_one_list_into_all_variables() -> None:
    """In Slurm's numbering: the second one is no choice among the devices that the first one left."""
    same = {"ROCR_VISIBLE_DEVICES": "2,3", "CUDA_VISIBLE_DEVICES": "2,3", "GPU_DEVICE_ORDINAL": "2,3"}
    assert held(same, in_slurm=True) == [2, 3]
    assert held({**same, "HIP_VISIBLE_DEVICES": "1"}, in_slurm=True) == [3]


def test_variable_for_containers_restricts_no_process() -> None:
    assert job_device_list({"NVIDIA_VISIBLE_DEVICES": "1"}, in_slurm=False).all_devices


@pytest.mark.parametrize(
    ("text", "places", "unknown"),
    [
        ("1,0,1", [1, 0], []),
        ("0,7,1", [0], ["7"]),
        ("GPU-aa", [0], []),
        ("GPU-aa,GPU-b,0", [0], ["GPU-b"]),
        ("2,1", [1], ["2"]),
        ("0,-1,1", [0], []),
        ("", [], []),
    ],
)
def test_cuda(text: str, places: list[int], unknown: list[str]) -> None:
    """Of four devices the third is broken: it keeps its place and ends nothing."""
    assert resolve(entries_of(text), ["GPU-aa", "GPU-ba", None, "GPU-bb"], ends=True) == (places, unknown)


def test_list_of_slurm_goes_on_after_a_device_that_is_not_there() -> None:
    assert resolve(["0", "7", "1"], ["GPU-a", "GPU-b"], ends=False) == ([0, 1], ["7"])
