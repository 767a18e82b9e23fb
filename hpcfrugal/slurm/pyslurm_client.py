"""Slurm by pyslurm, for what takes many requests: no process is started for each of them.

A job has to be the same as one of sbatch. ``JobSubmitDescription`` alone does not see to that (it sets defaults where
sbatch sets none, and leaves out variables that sbatch gives to a job), so only jobs with options of which that is
tested go this way; `scripts/pyslurm-lab` compares them on a real Slurm. What is not in ``_OPTIONS`` is asked by
commands. What differs still: Slurm shows no SubmitLine and no TresPerTask of the job (its steps have both values from
the environment), and OOMKillStep is off.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.files import process_umask
from hpcfrugal.core.host import host_name
from hpcfrugal.core.units import expand_nodelist, parse_walltime
from hpcfrugal.job.backend import Submitted
from hpcfrugal.job.batch_script import directive_flags
from hpcfrugal.job.slurm_time import parse_slurm_time
from hpcfrugal.slurm.client import PendingAnswer, Request, SlurmClient
from hpcfrugal.slurm.command import NoAnswer
from hpcfrugal.slurm.environment import submission_environment
from hpcfrugal.slurm.nodes import HardwareRequest, NodeHardware
from hpcfrugal.slurm.pyslurm_probe import why_not
from hpcfrugal.slurm.pyslurm_process import PyslurmAnswer, PyslurmProcess
from hpcfrugal.slurm.queue import PresentStates, QueueStates, listed_state
from hpcfrugal.slurm.submission import SubmitJob
from hpcfrugal.slurm.updates import HoldJob, ReleaseJob, UpdateJob

_T = TypeVar("_T")

_COMMUNICATION = range(1000, 2000)
"""slurm_errno.h: "communication layer RPC errors"; whether the controller did the work is not known."""

_NOT_CONNECTED = 1001
"""SLURM_COMMUNICATIONS_CONNECTION_ERROR: it was not reached."""

_OPTIONS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "account": ("account", str),
    "array": ("array", str),
    "begin": ("begin_time", lambda text: int(parse_slurm_time(text).timestamp())),
    "chdir": ("working_directory", str),
    "comment": ("comment", str),
    "constraint": ("constraints", str),
    "cpus-per-task": ("cpus_per_task", int),
    "dependency": ("dependencies", str),
    "error": ("standard_error", str),
    "job-name": ("name", str),
    "mem": ("memory_per_node", str),
    "nodes": ("nodes", str),
    "ntasks": ("ntasks", int),
    "output": ("standard_output", str),
    "partition": ("partitions", lambda text: text.split(",")),
    "qos": ("qos", str),
    "time": ("time_limit", lambda text: -(-parse_walltime(text) // timedelta(minutes=1))),
}
"""Options of sbatch with the attribute that stands for each."""

_FLAGS: Mapping[str, tuple[str, Any]] = {
    "hold": ("priority", 0),
    "no-requeue": ("is_requeueable", False),
    "requeue": ("is_requeueable", True),
}

_LIMITS = ("AS", "CORE", "CPU", "DATA", "FSIZE", "MEMLOCK", "NOFILE", "NPROC", "RSS", "STACK")
"""The limits that sbatch passes on (``slurm_rlimits_info`` in src/common/slurm_rlimits_info.c)."""

_LAUNCHERS = {
    "OMPI_MCA_plm_slurm_args": "--external-launcher",
    "PRTE_MCA_plm_slurm_args": "--external-launcher",
}
_BOOTSTRAPS = {
    "HYDRA_BOOTSTRAP": "HYDRA_LAUNCHER_EXTRA_ARGS",
    "I_MPI_HYDRA_BOOTSTRAP": "I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS",
}
"""As ``set_env_from_opts`` in Slurm's src/common/env.c."""


_AT_ONCE = 4
"""So many threads keep the process busy, which asks for one job after the other. More of them wait for each other: with
eight a thousand jobs took 1.2 to 1.4 times as long on two CPUs that had little else to do."""


class PyslurmClient:
    """Asks Slurm by pyslurm. ``commands`` is asked what that cannot do, all while its process is not ready or when that
    has ended, and all where pyslurm cannot be used.
    """

    def __init__(self, process: PyslurmProcess, commands: SlurmClient) -> None:
        self._process, self._commands = process, commands

    def start(self, request: Request[_T]) -> PendingAnswer[_T]:
        """See ``SlurmClient``."""
        asked = None
        if self._is_usable:
            with suppress(UnicodeEncodeError):  # variables and paths may be any bytes
                asked = self._asked(request)
        return self._commands.start(request) if asked is None else _Asked(asked, request.timeout_s)

    def ask(self, request: Request[_T], timeout_s: float | None = None) -> _T:
        """See ``SlurmClient``."""
        with closing(self.start(request)) as pending:
            return pending.answer(timeout_s)

    @property
    def submits_at_once(self) -> int:
        """See ``SlurmClient``."""
        return _AT_ONCE if self._is_usable and self._submits else self._commands.submits_at_once

    @property
    def _is_usable(self) -> bool:
        return self._process.is_ready and self._unlike_sbatch is None

    @cached_property
    def _unlike_sbatch(self) -> str | None:
        return why_not(self._process)

    def _asked(self, request: Request[_T]) -> tuple[Future[PyslurmAnswer], Callable[[PyslurmAnswer], _T]] | None:
        """The reply to a request, and what reads it; None for one that only a command can answer."""
        ask = self._process.ask
        asked: tuple[Future[PyslurmAnswer], Callable[[PyslurmAnswer], Any]] | None = None
        if isinstance(request, SubmitJob):
            description = _description(request)
            if description is not None and self._submits:
                asked = (ask("submit", description), _submitted)
        elif isinstance(request, UpdateJob) and request.job_id.isdigit():
            asked = (ask("update", int(request.job_id), _changes(request)), _refusal)
        elif isinstance(request, HoldJob) and request.job_id.isdigit():
            word = "release" if isinstance(request, ReleaseJob) else "hold"
            asked = (ask(word, int(request.job_id)), _refusal)
        elif isinstance(request, QueueStates):
            asked = (ask("jobs", [*request.job_ids]), partial(self._states, request))
        elif isinstance(request, HardwareRequest):
            asked = (ask("nodes"), _hardware)
        return cast("tuple[Future[PyslurmAnswer], Callable[[PyslurmAnswer], _T]] | None", asked)

    @cached_property
    def _submits(self) -> bool:
        """Whether jobs can go by it. Then it has been sent the environment, which is the same for all jobs of a
        submission.
        """
        if any(name.startswith("SLURM_") and name != "SLURM_CONF" for name in os.environ):
            return False  # within a job, whose variables it would pass on
        with suppress(UnicodeEncodeError, SetupError):
            self._process.ask("environment", _environment())
            return True
        return False

    def _states(self, request: QueueStates, reply: PyslurmAnswer) -> PresentStates:
        if "error" in reply:
            return PresentStates((), f"Slurm does not answer: {reply['error']}")
        if any(job["array_tasks_waiting"] is not None for job in reply["answer"]):
            return self._commands.ask(request)  # squeue lists each task that waits
        return PresentStates([listed_state(_row(job)) for job in reply["answer"]], None)


class _Asked(Generic[_T]):
    """A request that pyslurm was asked."""

    def __init__(self, asked: tuple[Future[PyslurmAnswer], Callable[[PyslurmAnswer], _T]], longest_s: float) -> None:
        (self._reply, self._read), self._longest_s = asked, longest_s

    def answer(self, timeout_s: float | None = None) -> _T:
        """See ``PendingAnswer``."""
        limit_s = min(self._longest_s, self._longest_s if timeout_s is None else timeout_s)
        try:
            reply = self._reply.result(limit_s)
        except TimeoutError:
            raise NoAnswer(
                f"Slurm did not answer within {round(limit_s, 1):g} s", hint="the Slurm controller may be busy or down"
            ) from None
        return self._read(reply)

    def close(self) -> None:
        """What was asked cannot be taken back."""


def _submitted(reply: PyslurmAnswer) -> Submitted:
    if "error" not in reply:
        return Submitted(cluster="", job_id=str(reply["answer"]))
    error, errno = reply["error"], reply["errno"]
    if errno == _NOT_CONNECTED:
        raise SetupError(f"Slurm cannot be reached: {error}")
    if errno in _COMMUNICATION:
        raise NoAnswer(f"Slurm did not answer: {error}")
    raise SetupError(f"Slurm refused the job: {error}")


def _refusal(reply: PyslurmAnswer) -> str | None:
    return reply.get("error")


def _hardware(reply: PyslurmAnswer) -> Mapping[str, NodeHardware]:
    if "error" in reply:
        raise SetupError(f"Slurm does not answer: {reply['error']}")
    return {
        node["name"]: NodeHardware(
            node["total_cpus"],
            node["sockets"] * node["cores_per_socket"] or None,
            node["real_memory"],
            ",".join(f"{name}:{count}" for name, count in (node["configured_gres"] or {}).items()) or None,
            ",".join(node["available_features"] or ()) or None,
        )
        for node in reply["answer"]
    }


def _changes(request: UpdateJob) -> dict[str, Any]:
    start = datetime.now(UTC) if request.start_at == "now" else request.start_at
    return {"begin_time": int(start.timestamp()), **({} if request.comment is None else {"comment": request.comment})}


def _row(job: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of squeue that ``listed_state`` reads."""

    def moment(key: str) -> datetime | None:
        return datetime.fromtimestamp(job[key], UTC) if job[key] else None

    def word(key: str) -> str | None:
        return None if job[key] is None else str(job[key])

    return {
        "job_id": str(job["id"]),
        "array_job_id": word("array_id"),
        "array_task_id": word("array_task_id"),
        "state": job["state"],
        "submit_at": moment("submit_time"),
        "start_at": moment("start_time"),
        "end_at": moment("end_time"),
        "partition": job["partition"],
        "account": job["account"],
        "qos": job["qos"],
        "user": job["user_name"],
        "alloc_cpus": job["cpus"],
        "held": job["priority"] == 0,
        "nodes": tuple(expand_nodelist(job["allocated_nodes"])) if job["allocated_nodes"] else (),
        "reason": None if job["state_reason"] in (None, "None") else job["state_reason"],
    }


def _description(request: SubmitJob) -> dict[str, Any] | None:
    """The attributes of a job; None where one of its options is not among those known here."""
    if request.options:
        return None
    try:
        text = request.content.decode()
    except UnicodeDecodeError:
        return None
    head = text[: text.index("\n\n")] if "\n\n" in text else text
    lines = [line for line in head.splitlines() if line.startswith("#")]
    found: dict[str, Any] = {}
    for flag in directive_flags([line for line in lines if line.startswith("#SBATCH")]):
        if flag.name in _OPTIONS and flag.value is not None:
            attribute, read = _OPTIONS[flag.name]
            try:
                found[attribute] = read(flag.value)
            except ValueError:
                return None
        elif flag.name in _FLAGS and flag.value is None:
            attribute, value = _FLAGS[flag.name]
            found[attribute] = value
        else:
            return None
    # pyslurm sets what is missing to 1, and the job would have variables that sbatch does not set, or too few nodes.
    if not {"name", "ntasks", "cpus_per_task"} <= found.keys() or ("nodes" not in found and found["ntasks"] > 1):
        return None
    here = os.getcwd()
    for key in ("standard_output", "standard_error"):
        if key in found:
            found[key] = str(Path(found.get("working_directory", here), found[key]))
    cpus = found["cpus_per_task"]
    return {
        "working_directory": here,
        **found,
        "environment": {"SLURM_CPUS_PER_TASK": str(cpus), "SLURM_TRES_PER_TASK": f"cpu={cpus}"},
        "script": str(request.script),
        "script_args": [str(request.script)],
    }


def _environment() -> dict[str, str]:
    """The environment of all jobs, with what sbatch adds to that of the submission."""
    own = submission_environment(os.environ)
    umask = process_umask()
    found = {
        **own,
        "SLURM_SUBMIT_DIR": os.getcwd(),
        "SLURM_SUBMIT_HOST": host_name(),
        "SLURM_PRIO_PROCESS": str(os.getpriority(os.PRIO_PROCESS, 0)),
        "SLURM_UMASK": f"{umask:04o}",
        **{name: own.get(name, value) for name, value in _LAUNCHERS.items()},
    }
    for name, arguments in _BOOTSTRAPS.items():
        if own.get(name, "slurm") == "slurm":
            found |= {name: "slurm", arguments: "--external-launcher"}
    for name in _LIMITS:
        soft, _ = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
        found[f"SLURM_RLIMIT_{name}"] = str(soft % 2**64)
    return found
