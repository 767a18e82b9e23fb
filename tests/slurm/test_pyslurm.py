"""pyslurm in place of Slurm's commands: where it is used, and which jobs go by it. `scripts/pyslurm-lab` runs it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_slurm import FakeSlurm

from hpcfrugal.core.errors import SetupError
from hpcfrugal.slurm import pyslurm_probe, pyslurm_process, pyslurm_worker
from hpcfrugal.slurm.backend import SlurmBackend
from hpcfrugal.slurm.client import CommandClient
from hpcfrugal.slurm.command import NoAnswer
from hpcfrugal.slurm.many_requests import client_for
from hpcfrugal.slurm.pyslurm_client import PyslurmClient
from hpcfrugal.slurm.pyslurm_process import PyslurmProcess
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


class InThisProcess:
    """What the worker answers, without a process."""

    is_ready = True

    def __init__(self, module: FakePyslurm) -> None:
        self._worker = pyslurm_worker.PyslurmWorker(module)

    def configuration(self) -> dict[str, Any]:
        return FACTS

    def ask(self, question: str, *arguments: Any) -> Future[dict[str, Any]]:
        reply: Future[dict[str, Any]] = Future()
        line = json.dumps([question, *arguments], ensure_ascii=False).encode()
        reply.set_result(self._worker.answer(*json.loads(line)))
        return reply


def noted(ask: Callable[..., Any], asked: list[str]) -> Callable[..., Any]:
    """``ask``, which puts its questions into ``asked``."""

    def note(process: InThisProcess, question: str, *arguments: Any) -> Any:
        asked.append(question)
        return ask(process, question, *arguments)

    return note


def client(module: FakePyslurm) -> PyslurmClient:
    process: Any = InThisProcess(module)
    return PyslurmClient(process, CommandClient())


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
        return SubmitJob(path, path.read_bytes(), ())

    return write


def test_a_job_of_known_options_goes_by_pyslurm(
    commands: FakeSlurm, script: Callable[[str], SubmitJob], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_BOOTSTRAP", "ssh")
    module = FakePyslurm()
    more = "#SBATCH --time=1:30\n#SBATCH --hold --no-requeue\n#SBATCH --output=logs/%j.out --comment='a b'\n"
    answer = client(module).ask(script(HEAD + more))
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
    assert client(module).ask(script(lines)).job_id == "99"
    assert (module.submitted, len(commands.calls("sbatch"))) == ([], 1)


def test_within_a_job_all_go_by_sbatch(
    commands: FakeSlurm, script: Callable[[str], SubmitJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "5")  # pyslurm would pass it on
    assert client(FakePyslurm()).ask(script(HEAD)).job_id == "99"


def test_four_jobs_at_a_time_by_it_and_eight_by_sbatch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert client(FakePyslurm()).submits_at_once == 4
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    assert client(FakePyslurm()).submits_at_once == 8
    assert SlurmBackend().submits_at_once == 8


def test_the_environment_is_sent_once_for_all_jobs(
    script: Callable[[str], SubmitJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = FakePyslurm()
    one = client(module)
    asked = list[str]()
    monkeypatch.setattr(InThisProcess, "ask", noted(InThisProcess.ask, asked))
    for cpus in ("2", "3"):
        one.ask(script(HEAD.replace("cpus-per-task=2", f"cpus-per-task={cpus}")))
    assert asked == ["environment", "submit", "submit"]
    assert [job["environment"]["SLURM_CPUS_PER_TASK"] for job in module.submitted] == ["2", "3"]
    assert len({job["environment"]["PATH"] for job in module.submitted}) == 1


def test_a_job_whose_environment_is_not_text_goes_by_sbatch(
    commands: FakeSlurm, script: Callable[[str], SubmitJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TITLE", os.fsdecode(b"caf\xe9"))
    assert client(FakePyslurm()).ask(script(HEAD)).job_id == "99"


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
        client(module).ask(script(HEAD))
    assert (type(refused.value), refused.value.message) == (kind, message)


def test_an_update_of_the_start() -> None:
    module = FakePyslurm()
    one = client(module)
    at = datetime(2026, 11, 29, tzinfo=UTC)
    assert one.ask(UpdateJob("5", at, "moved")) is None
    assert module.changed == [(5, {"begin_time": int(at.timestamp()), "comment": "moved"})]
    module.error = RPCError(2017, "Invalid job id specified")
    assert one.ask(UpdateJob("5", at)) == "Invalid job id specified"


def test_a_job_is_held_and_released_and_tasks_of_an_array_by_commands(commands: FakeSlurm) -> None:
    module = FakePyslurm()
    one = client(module)
    for request in (HoldJob("5"), ReleaseJob("5"), HoldJob("6_[1-3]"), UpdateJob("6_1", "now")):
        assert one.ask(request) is None
    assert module.changed == [(5, "hold"), (5, "release")]
    told = [call[:-2] for call in commands.calls("scontrol")]
    assert told == [["hold", "6_[1-3]"], ["update", "JobId=6_1", "StartTime=now"]]
    module.error = RPCError(2017, "Invalid job id specified")
    assert one.ask(HoldJob("5")) == "Invalid job id specified"


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


MODULE = f"""\
import os, time, types
__version__ = "25.11.2"
class RPCError(Exception):
    pass
class Config:
    load = staticmethod(lambda: Config())
    to_dict = lambda self: {FACTS!r}
slurmctld = types.SimpleNamespace(Config=Config)
print("what a library prints", flush=True)
"""
"""A module called pyslurm with what decides whether it can be used."""


@pytest.fixture
def module_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a module called pyslurm on the path, for the process that uses it."""

    def write(text: str) -> None:
        (tmp_path / "pyslurm.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.syspath_prepend(str(tmp_path))

    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # written again within a second
    return write


def test_it_is_tried_in_a_process_of_its_own(
    module_that: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    module_that("import os, sys; sys.stderr.write('fatal: no slurm.conf\\n'); sys.stderr.flush(); os._exit(1)")
    assert pyslurm_probe.why_not_pyslurm() == "pyslurm does not work here: fatal: no slurm.conf"
    module_that("import os; os._exit(1)")
    assert pyslurm_probe.why_not_pyslurm() == "pyslurm does not work here: exit code 1"
    module_that(MODULE)
    assert pyslurm_probe.why_not_pyslurm() is None
    module_that("import time; time.sleep(60)")
    monkeypatch.setattr(pyslurm_process, "_TIMEOUT_S", 0.2)
    assert pyslurm_probe.why_not_pyslurm() == "pyslurm did not find Slurm within 0.2 s"
    assert "pyslurm" not in sys.modules


SUBMITS = f"""\
{MODULE}
class JobSubmitDescription:
    def __init__(self, name, **values):
        self.name = name
    def submit(self):
        if self.name == "ends":
            os.write(2, b"fatal: no memory")
            os._exit(3)
        if self.name == "torn":
            os.write(3, b'{{"answer": 1')  # the descriptor on which answers go
            os._exit(3)
        time.sleep(0.1)
        return int(self.name)
"""


def test_questions_are_answered_in_order_until_it_ends(module_that: Callable[[str], None]) -> None:
    """Of those that had no answer then, only the first can be in the queue."""
    module_that(SUBMITS)
    with PyslurmProcess() as process:
        assert process.configuration()["version"] == "25.11.7"
        jobs = [{"name": name, "environment": {}} for name in ("1", "2", "ends", "3")]
        *answered, begun, not_begun = [process.ask("submit", job) for job in jobs]
        assert [one.result(20) for one in answered] == [{"answer": 1}, {"answer": 2}]
        message = "pyslurm does not work here: fatal: no memory"
        for reply, kind in ((begun, NoAnswer), (not_begun, SetupError)):
            error = reply.exception(20)
            assert (type(error), str(error)) == (kind, message)
        with pytest.raises(SetupError, match="has ended"):
            process.ask("submit", {"name": "4", "environment": {}})


def test_an_answer_that_was_cut_short_is_none(
    module_that: Callable[[str], None], commands: FakeSlurm, script: Callable[[str], SubmitJob]
) -> None:
    """What is asked later goes by commands."""
    module_that(SUBMITS)
    with PyslurmProcess() as process:
        assert process.configuration()["version"] == "25.11.7"
        one = PyslurmClient(process, CommandClient())
        with pytest.raises(NoAnswer, match="pyslurm does not work here"):
            one.ask(script(HEAD.replace("=x", "=torn")))
        assert one.ask(script(HEAD.replace("=x", "=40"))).job_id == "99"


def test_what_it_was_asked_is_done_when_nobody_waits_any_more(
    module_that: Callable[[str], None], tmp_path: Path
) -> None:
    module_that(SUBMITS.replace("return int(", f"open({str(tmp_path / 'done')!r}, 'w').close(); return int("))
    with PyslurmProcess() as process:
        process.configuration()
        reply = process.ask("submit", {"name": "1", "environment": {}})
    assert reply.result(20) == {"answer": 1}
    assert (tmp_path / "done").exists()


def test_a_value_that_it_does_not_take(module_that: Callable[[str], None]) -> None:
    module_that(SUBMITS)
    with PyslurmProcess() as process:
        assert process.ask("submit", {"name": "x", "environment": {}}).result(20) == {
            "error": "ValueError: invalid literal for int() with base 10: 'x'", "errno": None,
        }  # fmt: skip


def test_many_requests_go_by_it_once_it_has_begun(
    module_that: Callable[[str], None], commands: FakeSlurm, script: Callable[[str], SubmitJob], tmp_path: Path
) -> None:
    request, later = script(HEAD.replace("=x", "=40")), tmp_path / "later"
    module_that(f"{SUBMITS}\nwhile not os.path.exists({str(later)!r}): time.sleep(0.02)\n")
    with client_for(40) as one:
        assert one.ask(request).job_id == "99"
        later.touch()
        until = time.monotonic() + 20
        while one.ask(request).job_id != "40":
            assert time.monotonic() < until
    with client_for(39) as one:
        assert isinstance(one, CommandClient)


def test_without_a_process_for_it_many_requests_go_by_commands(
    module_that: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    module_that(SUBMITS)
    monkeypatch.setattr(sys, "executable", "/no/such/python3")
    why = "the process for pyslurm cannot be started: No such file or directory"
    assert pyslurm_probe.why_not_pyslurm() == why
    with client_for(40) as one:
        assert isinstance(one, CommandClient)


def test_where_its_jobs_would_differ_they_go_by_commands(
    module_that: Callable[[str], None], commands: FakeSlurm, script: Callable[[str], SubmitJob]
) -> None:
    module_that(SUBMITS.replace("25.11.7", "26.05.1"))
    with PyslurmProcess() as process:
        assert process.configuration()["version"] == "26.05.1"
        assert PyslurmClient(process, CommandClient()).ask(script(HEAD.replace("=x", "=40"))).job_id == "99"


def test_without_it_many_jobs_go_by_commands() -> None:
    assert pyslurm_probe.why_not_pyslurm() == "pyslurm is not installed"
    with client_for(40) as one:
        assert isinstance(one, CommandClient)
    with SlurmBackend().for_many(40) as backend:
        assert backend.name == "slurm_cli"
