"""What reaches Slurm's commands of the caller's environment."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm

from hpcfrugal.core.errors import SetupError
from hpcfrugal.slurm.accounting import AccountingCheck, AccountingStates, StartedJobs
from hpcfrugal.slurm.client import Request, slurm_client
from hpcfrugal.slurm.cluster import ClusterRequest, ReleaseRequest
from hpcfrugal.slurm.environment import (
    FIXED,
    ignored_options,
    library_environment,
    query_environment,
    submission_environment,
)
from hpcfrugal.slurm.nodes import HardwareRequest, NodesRequest
from hpcfrugal.slurm.partitions import PartitionsRequest
from hpcfrugal.slurm.queue import PendingReasons, QueueSnapshot, QueueStates
from hpcfrugal.slurm.submission import StartTest, SubmitJob
from hpcfrugal.slurm.updates import CancelJobs, UpdateJob

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
QUERIES: tuple[Request[object], ...] = (
    QueueStates(["17"]), QueueSnapshot(), PendingReasons("batch"), AccountingStates(["17"]), StartedJobs(NOW, NOW),
    AccountingCheck(), NodesRequest(["n1"]), HardwareRequest(), PartitionsRequest(), StartTest(["--time=10"]),
    ClusterRequest(), ReleaseRequest(), UpdateJob("17", "now"), CancelJobs(["17"]),
)  # fmt: skip
LOGIN = {"HOME": "/home/alice", "PATH": "/usr/bin", "OMP_NUM_THREADS": "4", "MY_SLURM_NOTE": "x"}

# Variable; whether a query sees it; whether a job sees it that is submitted on a login node, and within another job.
VARIABLES = [
    ("SLURM_CONF", True, True, True),
    ("SLURM_CONF_SERVER", True, True, True),
    ("SLURM_JWT", True, True, True),
    ("HOME", True, True, True),
    ("MY_SLURM_NOTE", True, True, True),
    ("SBATCH_PARTITION", False, False, False),
    ("SBATCH_TIMELIMIT", False, False, False),
    ("SBATCH_ARRAY_INX", False, False, False),
    ("SBATCH_OUTPUT", False, False, False),
    ("SBATCH_CLUSTERS", False, False, False),
    ("SBATCH_WAIT", False, False, False),
    ("SBATCH_EXPORT", False, False, False),
    ("SLURM_CLUSTERS", False, False, False),
    ("SLURM_HINT", False, False, False),
    ("SQUEUE_FORMAT", False, True, False),
    ("SQUEUE_FORMAT2", False, True, False),
    ("SQUEUE_STATES", False, True, False),
    ("SQUEUE_PARTITION", False, True, False),
    ("SQUEUE_ACCOUNT", False, True, False),
    ("SQUEUE_QOS", False, True, False),
    ("SQUEUE_LICENSES", False, True, False),
    ("SQUEUE_NAMES", False, True, False),
    ("SQUEUE_USERS", False, True, False),
    ("SACCT_FORMAT", False, True, False),
    ("SACCT_FEDERATION", False, True, False),
    ("SINFO_PARTITION", False, True, False),
    ("SINFO_FORMAT", False, True, False),
    ("SCANCEL_STATE", False, True, False),
    ("SCANCEL_INTERACTIVE", False, True, False),
    ("SCONTROL_ALL", False, True, False),
    ("SRUN_CPUS_PER_TASK", False, True, False),
    ("SLURM_MPI_TYPE", False, True, False),
    ("SLURM_JOB_ID", False, False, False),
    ("SLURM_ARRAY_TASK_ID", False, False, False),
    ("SLURM_RESTART_COUNT", False, False, False),
    ("SLURM_MEM_PER_NODE", False, None, False),
    ("SLURM_CPUS_PER_TASK", False, None, False),
    ("SLURM_JOB_GPUS", False, False, False),
    ("SLURM_EXPORT_ENV", False, None, False),
    ("SLURMD_NODENAME", False, None, False),
    ("CUDA_VISIBLE_DEVICES", True, True, False),
    ("ROCR_VISIBLE_DEVICES", True, True, False),
    ("GPU_DEVICE_ORDINAL", True, True, False),
    ("ZE_AFFINITY_MASK", True, True, False),
    ("CUDA_DEVICE_ORDER", True, True, True),
]


@pytest.mark.parametrize(("name", "query", "job", "nested"), VARIABLES)
def test_variables(name: str, query: bool, job: bool | None, nested: bool) -> None:
    environ = {**LOGIN, name: "17"}
    assert (name in query_environment(environ)) is query
    if job is not None:
        assert (name in submission_environment(environ)) is job
    for outer in ("SLURM_JOB_ID", "SLURM_JOBID", "SLURM_RESTART_COUNT", "SLURM_ARRAY_JOB_ID", "SLURM_STEP_ID"):
        assert (name in submission_environment({**environ, outer: "900"})) is nested


def test_the_rest_stays_as_it_is() -> None:
    fixed = {"TZ": "Europe/Berlin", "LC_ALL": "de_DE.UTF-8", "SLURM_TIME_FORMAT": "relative", "SLURM_BITSTR_LEN": "0"}
    assert query_environment(LOGIN | fixed) == {**LOGIN, **FIXED}
    assert library_environment(LOGIN | fixed) == {**LOGIN, "TZ": "UTC", "LC_ALL": "C"}
    assert submission_environment(LOGIN | fixed) == LOGIN | fixed


def test_options_that_are_ignored_are_named() -> None:
    environ = LOGIN | {"SBATCH_QOS": "low", "SLURM_CLUSTERS": "other", "SQUEUE_FORMAT": "%i", "SBATCH_ACCOUNT": "proj"}
    assert ignored_options(environ) == ["SBATCH_ACCOUNT", "SBATCH_QOS", "SLURM_CLUSTERS"]
    assert ignored_options(LOGIN) == []


@pytest.mark.parametrize("request_", [*QUERIES, SubmitJob(Path("x"), b"", [])], ids=lambda one: type(one).__name__)
def test_every_request_has_a_clean_environment(
    request_: Request[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = FakeSlurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{slurm.bin}{os.pathsep}{os.environ['PATH']}")
    for name, *_ in VARIABLES:
        if name != "HOME":
            monkeypatch.setenv(name, "17")
    seen = tmp_path / "seen"
    program = request_.argv()[0]
    (slurm.bin / program).write_text(f"#!/bin/sh\nenv >{seen}\necho ClusterName=c1\n")
    with (
        closing(slurm_client().start(request_)) as pending,
        suppress(SetupError),
    ):  # to most of them the output makes no sense
        pending.answer(10)
    names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    submits = isinstance(request_, SubmitJob)
    assert names & {name for name, *_ in VARIABLES} - set(FIXED) == {
        name for name, query, _, nested in VARIABLES if (nested if submits else query)
    } - set(FIXED)
