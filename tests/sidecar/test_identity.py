"""The job's identity from its environment."""

from __future__ import annotations

import pytest

from hpcfrugal import __version__
from hpcfrugal.sidecar import VERSION
from hpcfrugal.sidecar.identity import expand_per_node, identify, is_exclusive

RUN = "20260101T000000Z-0a1b2c3d"
SLURM = {"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "n1", "SLURM_CLUSTER_NAME": "lab"}


def test_version_is_the_package_s() -> None:
    assert __version__ == VERSION


def test_slurm_job() -> None:
    environ = {
        **SLURM,
        "SLURM_RESTART_COUNT": "2",
        "SLURM_ARRAY_JOB_ID": "15",
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_CPUS_ON_NODE": "8",
        "SLURM_MEM_PER_NODE": "2000",
    }
    who = identify(RUN, environ, "login.example.org")
    assert who.file_name == "17.2.n1.jsonl"
    assert (who.cluster, who.array_job_id, who.array_task_id) == ("lab", "15", "3")
    assert (who.cpus_alloc, who.memory_alloc_b) == (8, 2000 * 1024 * 1024)


def test_defaults_of_a_slurm_job() -> None:
    who = identify(RUN, {"SLURM_JOB_ID": "17"}, "n7.cluster")
    assert who.file_name == "17.0.n7.jsonl"
    assert (who.cluster, who.cpus_alloc, who.memory_alloc_b, who.array_job_id) == (None, None, None, None)


def test_a_component_of_a_heterogeneous_job() -> None:
    """SLURM_JOB_ID and the memory are those of the first component in all of them (seen with 22.05, 24.11, 26.05)."""
    environ = {
        **SLURM,
        "SLURM_MEM_PER_NODE": "100",
        "SLURM_JOB_ID_HET_GROUP_0": "17",
        "SLURM_JOB_ID_HET_GROUP_1": "18",
        "SLURM_MEM_PER_NODE_HET_GROUP_1": "200",
    }
    first = identify(RUN, {**environ, "HPCFRUGAL_HET_GROUP": ""}, "x")
    assert (first.file_name, first.leader_id, first.memory_alloc_b) == ("17.0.n1.jsonl", "17", 100 * 1024**2)
    second = identify(RUN, {**environ, "HPCFRUGAL_HET_GROUP": "1"}, "x")
    assert (second.file_name, second.leader_id, second.memory_alloc_b) == ("18.0.n1.jsonl", "17", 200 * 1024**2)
    assert "leader_id" not in second.header()


def test_cpus_of_the_job_and_not_of_the_step() -> None:
    """In a step SLURM_CPUS_ON_NODE is the step's; the job's list is indexed by the node's number."""
    environ = {
        **SLURM,
        "SLURM_JOB_CPUS_PER_NODE": "8(x2),4",
        "SLURM_NODEID": "2",
        "SLURM_CPUS_ON_NODE": "1",
        "SLURM_MEM_PER_CPU": "100",
    }
    who = identify(RUN, environ, "x")
    assert (who.cpus_alloc, who.memory_alloc_b) == (4, 400 * 1024 * 1024)


@pytest.mark.parametrize(
    ("environ", "promised"),
    [
        ({}, None),
        ({"SLURM_JOB_GPUS": "0,1"}, 2),
        ({"SLURM_STEP_GPUS": "3"}, 1),
        ({"SLURM_JOB_GPUS": "0,1", "CUDA_VISIBLE_DEVICES": "GPU-aa"}, 1),
        ({"CUDA_VISIBLE_DEVICES": ""}, None),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, None),
        # slices may be of one device
        ({"CUDA_VISIBLE_DEVICES": "MIG-a,MIG-b,MIG-c"}, 1),
    ],
)
def test_promised_gpus(environ: dict[str, str], promised: int | None) -> None:
    assert identify(RUN, {**SLURM, **environ}, "x").gpus_promised == promised
    local = {name: value for name, value in environ.items() if name.startswith("CUDA")}
    assert identify(RUN, local, "x").gpus_promised == (promised if local else None)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("72(x2),36", [72, 72, 36]), ("8", [8]), ("", []), ("8(x", []), ("x", []), ("8(x999999999)", [])],
)
def test_expand_per_node(text: str, numbers: list[int]) -> None:
    assert expand_per_node(text) == numbers


def test_local_job() -> None:
    who = identify(RUN, {"HPCFRUGAL_JOB_ID": RUN, "HPCFRUGAL_CLUSTER": "local:desk"}, "desk.home")
    assert who.file_name == f"{RUN}.0.desk.jsonl"
    assert (who.cluster, who.in_slurm) == ("local:desk", False)


def test_task_of_a_local_array_in_its_second_segment() -> None:
    environ = {**SLURM, "HPCFRUGAL_JOB_ID": f"{RUN}_3", "HPCFRUGAL_RESTART": "1", "SLURM_ARRAY_JOB_ID": "99"}
    who = identify(RUN, environ, "desk")
    assert (who.in_slurm, who.file_name) == (False, f"{RUN}_3.1.desk.jsonl")
    assert (who.array_job_id, who.array_task_id) == (RUN, "3")


def test_a_run_inside_a_local_job_is_not_its_segment() -> None:
    environ = {"HPCFRUGAL_JOB_ID": "20250101T000000Z-ffffffff_2", "HPCFRUGAL_RESTART": "1"}
    assert identify(RUN, environ, "desk").restart == 0


def test_local_job_inside_an_allocation_is_local() -> None:
    assert not identify(RUN, {**SLURM, "HPCFRUGAL_JOB_ID": RUN}, "n1").in_slurm


def test_left_over_local_id_does_not_hide_slurm() -> None:
    who = identify(RUN, {**SLURM, "HPCFRUGAL_JOB_ID": "20250101T000000Z-ffffffff"}, "n1")
    assert (who.in_slurm, who.job_id) == (True, "17")


@pytest.mark.parametrize("name", ["../../etc", "a\0b", ".", "x" * 121])
def test_names_that_leave_the_directory_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="SLURMD_NODENAME"):
        identify(RUN, {**SLURM, "SLURMD_NODENAME": name}, "n1")


@pytest.mark.parametrize(
    ("flag", "alloc", "there", "answer"),
    [(True, 1, 8, True), (False, 4, 8, False), (False, 8, 8, None), (False, None, 8, None)],
)
def test_is_exclusive(flag: bool, alloc: int | None, there: int, answer: bool | None) -> None:
    assert is_exclusive(flag, alloc, there) is answer
