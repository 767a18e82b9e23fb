"""pyslurm in place of Slurm's commands: where it is used, and which jobs go by it. `scripts/pyslurm-lab` runs it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from fake_slurm import FakeSlurm

from hpcfrugal.core.errors import SetupError
from hpcfrugal.slurm import pyslurm_probe
from hpcfrugal.slurm.backend import SlurmBackend
from hpcfrugal.slurm.client import CommandClient
from hpcfrugal.slurm.command import NoAnswer
from hpcfrugal.slurm.pyslurm_client import PyslurmClient
from hpcfrugal.slurm.submission import SubmitJob
from hpcfrugal.slurm.updates import HoldJob, ReleaseJob, UpdateJob

HEAD = "#SBATCH --job-name=x\n#SBATCH --ntasks=1\n#SBATCH --cpus-per-task=2\n"
FACTS = {
    "version": "25.11.7",
    "pyslurm": "25.11.2",
    "cli_filter_plugins": [],
    "plugin_stack_config": None,
    "propagate_resource_limits": ["ALL"],
    "propagate_resource_limits_except": [],
    "mpi_parameters": [],
    "task_plugin_parameters": [],
}


class RPCError(Exception):
    def __init__(self, errno: int, message: str) -> None:
        super().__init__(message)
        self.errno = errno


class FakePyslurm:
    """Notes what it is asked for, in place of the module."""

    RPCError = RPCError

    def __init__(self) -> None:
        self.submitted: list[dict[str, Any]] = []
        self.changed: list[tuple[int, Any]] = []
        self.error: RPCError | None = None

    def JobSubmitDescription(self, **values: Any) -> SimpleNamespace:  # noqa: N802
        def submit() -> int:
            self.submitted.append(values)
            if self.error is not None:
                raise self.error
            return 17

        return SimpleNamespace(submit=submit, values=values)

    def Job(self, job_id: int) -> SimpleNamespace:  # noqa: N802
        def modify(changes: SimpleNamespace) -> None:
            if self.error is not None:
                raise self.error
            self.changed.append((job_id, changes.values))

        def change(word: str) -> None:
            if self.error is not None:
                raise self.error
            self.changed.append((job_id, word))

        return SimpleNamespace(modify=modify, hold=partial(change, "hold"), release=partial(change, "release"))


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path / "slurm")
    fake.answer("sbatch", "99\n")
    monkeypatch.setenv("PATH", str(fake.bin), prepend=":")
    return fake


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], SubmitJob]:
    def write(lines: str) -> SubmitJob:
        path = tmp_path / "script"
        path.write_text(f"#!/bin/bash\n{lines}# Written by hpcfrugal\n\nhf_script='\n#SBATCH --gres=gpu:4\n'\n")
        return SubmitJob(path, ())

    return write


def test_a_job_of_known_options_goes_by_pyslurm(
    commands: FakeSlurm, script: Callable[[str], SubmitJob], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_BOOTSTRAP", "ssh")
    module = FakePyslurm()
    more = "#SBATCH --time=1:30\n#SBATCH --hold --no-requeue\n#SBATCH --output=logs/%j.out --comment='a b'\n"
    answer = PyslurmClient(module, CommandClient()).ask(script(HEAD + more))
    assert (answer.job_id, commands.calls()) == ("17", [])
    (job,) = module.submitted
    environment = job.pop("environment")
    profiles = job.pop("profile_types")
    assert (list(profiles), bool(profiles)) == ([], True)
    assert job == {
        "name": "x", "ntasks": 1, "cpus_per_task": 2, "time_limit": 2, "priority": 0, "is_requeueable": False,
        "standard_output": f"{tmp_path}/logs/%j.out", "comment": "a b", "working_directory": str(tmp_path),
        "script": str(tmp_path / "script"), "script_args": [str(tmp_path / "script")],
    }  # fmt: skip
    assert environment["SLURM_SUBMIT_DIR"] == str(tmp_path)
    assert (environment["SLURM_CPUS_PER_TASK"], environment["SLURM_TRES_PER_TASK"]) == ("2", "cpu=2")
    assert environment["HYDRA_BOOTSTRAP"] == "ssh"
    assert "HYDRA_LAUNCHER_EXTRA_ARGS" not in environment
    assert environment["I_MPI_HYDRA_BOOTSTRAP"] == "slurm"
    assert len([name for name in environment if name.startswith("SLURM_RLIMIT_")]) == 10


@pytest.mark.parametrize(
    "lines",
    [
        f"{HEAD}#SBATCH --gres=gpu:1\n",  # not among the options that were compared
        f"{HEAD}#SBATCH --export=NONE\n",
        "#SBATCH --job-name=x --ntasks=1\n",  # sbatch sets no SLURM_CPUS_PER_TASK
        "#SBATCH --job-name=x --ntasks=4 --cpus-per-task=1\n",  # they may be on several nodes
    ],
)
def test_any_other_job_goes_by_sbatch(commands: FakeSlurm, script: Callable[[str], SubmitJob], lines: str) -> None:
    module = FakePyslurm()
    assert PyslurmClient(module, CommandClient()).ask(script(lines)).job_id == "99"
    assert (module.submitted, len(commands.calls("sbatch"))) == ([], 1)


def test_within_a_job_all_go_by_sbatch(
    commands: FakeSlurm, script: Callable[[str], SubmitJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "5")  # pyslurm would pass it on
    assert PyslurmClient(FakePyslurm(), CommandClient()).ask(script(HEAD)).job_id == "99"


@pytest.mark.parametrize(
    ("errno", "kind", "message"),
    [
        (2000, SetupError, "Slurm refused the job: why"),
        (1001, SetupError, "Slurm cannot be reached: why"),
        (1003, NoAnswer, "Slurm did not answer: why"),
    ],
)
def test_errors(script: Callable[[str], SubmitJob], errno: int, kind: type[SetupError], message: str) -> None:
    module = FakePyslurm()
    module.error = RPCError(errno, "why")
    with pytest.raises(SetupError) as refused:
        PyslurmClient(module, CommandClient()).ask(script(HEAD))
    assert (type(refused.value), refused.value.message) == (kind, message)


def test_an_update_of_the_start() -> None:
    module = FakePyslurm()
    client = PyslurmClient(module, CommandClient())
    at = datetime(2026, 11, 29, tzinfo=UTC)
    assert client.ask(UpdateJob("5", at, "moved")) is None
    assert module.changed == [(5, {"begin_time": int(at.timestamp()), "comment": "moved"})]
    module.error = RPCError(2017, "Invalid job id specified")
    assert client.ask(UpdateJob("5", at)) == "Invalid job id specified"


def test_a_job_is_held_and_released_and_tasks_of_an_array_by_commands(commands: FakeSlurm) -> None:
    module = FakePyslurm()
    client = PyslurmClient(module, CommandClient())
    for request in (HoldJob("5"), ReleaseJob("5"), HoldJob("6_[1-3]"), UpdateJob("6_1", "now")):
        assert client.ask(request) is None
    assert module.changed == [(5, "hold"), (5, "release")]
    told = [call[:-2] for call in commands.calls("scontrol")]
    assert told == [["hold", "6_[1-3]"], ["update", "JobId=6_1", "StartTime=now"]]
    module.error = RPCError(2017, "Invalid job id specified")
    assert client.ask(HoldJob("5")) == "Invalid job id specified"


@pytest.mark.parametrize(
    ("changes", "why_not"),
    [
        ({}, None),
        ({"version": "26.05.1"}, "pyslurm 25.11.2 is not for Slurm 26.05.1"),
        ({"version": "24.11.1", "pyslurm": "24.11.0"}, "pyslurm is used with Slurm 25.11, and here is 24.11.1"),
        ({"cli_filter_plugins": ["lua"]}, "sbatch runs lua, which pyslurm does not"),
        ({"plugin_stack_config": "/"}, "sbatch runs the plugins of /, which pyslurm does not"),
        (
            {"propagate_resource_limits_except": ["MEMLOCK"]},
            "not all limits of the submission are passed on to jobs, which pyslurm would do",
        ),
        ({"mpi_parameters": ["disable_slurm_hydra_bootstrap"]}, "MpiParams has disable_slurm_hydra_bootstrap"),
        ({"task_plugin_parameters": ["OOMKillStep"]}, "TaskPluginParam has OOMKillStep, which pyslurm would turn off"),
    ],
)
def test_clusters_on_which_its_jobs_would_differ(changes: dict[str, Any], why_not: str | None) -> None:
    assert pyslurm_probe._unlike_sbatch({**FACTS, **changes}) == why_not


@pytest.fixture
def module_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a module called pyslurm on the path, for the process that tries it."""

    def write(text: str) -> None:
        (tmp_path / "pyslurm.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.syspath_prepend(str(tmp_path))

    monkeypatch.setattr(pyslurm_probe, "_TIMEOUT_S", 2.0)
    pyslurm_probe.why_not_pyslurm.cache_clear()
    monkeypatch.setattr(pyslurm_probe, "why_not_pyslurm", pyslurm_probe.why_not_pyslurm.__wrapped__)
    return write


def test_it_is_tried_in_a_process_of_its_own(module_that: Callable[[str], None]) -> None:
    module_that("import os, sys; sys.stderr.write('fatal: no slurm.conf\\n'); os._exit(1)")
    assert pyslurm_probe.why_not_pyslurm() == "pyslurm does not work here: fatal: no slurm.conf"
    module_that("import time; time.sleep(60)")
    assert pyslurm_probe.why_not_pyslurm() == "pyslurm did not find Slurm within 2 s"
    config = f"class Config:\n load = staticmethod(lambda: Config())\n to_dict = lambda self: {FACTS!r}\n"
    module_that(f"import types\n__version__ = '25.11.2'\n{config}slurmctld = types.SimpleNamespace(Config=Config)\n")
    assert pyslurm_probe.why_not_pyslurm() is None
    assert isinstance(pyslurm_probe.client_for(40), PyslurmClient)
    assert isinstance(pyslurm_probe.client_for(39), CommandClient)
    assert isinstance(sys.modules.pop("pyslurm"), ModuleType)


def test_without_it_many_jobs_go_by_commands() -> None:
    assert pyslurm_probe.why_not_pyslurm() == "pyslurm is not installed"
    assert isinstance(pyslurm_probe.client_for(40), CommandClient)
    assert SlurmBackend().for_many(40).name == "slurm_cli"
