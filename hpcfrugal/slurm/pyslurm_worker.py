"""The program of the process that asks Slurm by pyslurm: a line of JSON for each question, and one for its answer, in
the same order. The first line, without a question, is what decides whether pyslurm can be used.

A process of its own, since the import of pyslurm without a usable slurm.conf ends the process that does it, after a
minute and without an exception; and as pyslurm lets no other thread run while Slurm answers. It is started by its path,
and imports nothing else of the package.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

FACTS = (
    "version",
    "cli_filter_plugins",
    "plugin_stack_config",
    "propagate_resource_limits",
    "propagate_resource_limits_except",
    "mpi_parameters",
    "task_plugin_parameters",
)
"""What is read of Slurm's configuration."""

_JOB = (
    *("id", "array_id", "array_task_id", "array_tasks_waiting", "state", "submit_time", "start_time", "end_time"),
    *("partition", "account", "qos", "user_name", "cpus", "priority", "allocated_nodes", "state_reason"),
)
_NODE = (
    *("name", "total_cpus", "sockets", "cores_per_socket", "real_memory", "configured_gres", "available_features"),
)


class _NotSet(tuple[str, ...]):
    """No profile at all, as sbatch leaves it: pyslurm takes an empty list for "all of them"."""

    def __bool__(self) -> bool:
        return True


class PyslurmWorker:
    """Answers questions by ``pyslurm``, the module."""

    def __init__(self, pyslurm: Any) -> None:
        self._pyslurm = pyslurm
        self._environment: Mapping[str, str] = {}
        self._questions: Mapping[str, Callable[..., Any]] = {
            "environment": self._keep_environment,
            "submit": self._submit,
            "update": self._update,
            "hold": self._hold,
            "release": self._release,
            "jobs": self._jobs,
            "nodes": self._nodes,
        }

    def answer(self, question: str, *arguments: Any) -> dict[str, Any]:
        """The ``answer`` of Slurm, or its ``error`` with its ``errno``, None where it is that of pyslurm."""
        try:
            return {"answer": self._questions[question](*arguments)}
        except self._pyslurm.RPCError as error:
            return {"error": str(error), "errno": error.errno}
        except Exception as error:  # whatever pyslurm raises for a value that it does not take
            return {"error": f"{type(error).__name__}: {error}", "errno": None}

    def _keep_environment(self, environment: Mapping[str, str]) -> None:
        """What all jobs have in their environment that are submitted from now on."""
        self._environment = environment

    def _submit(self, values: Mapping[str, Any]) -> int:
        values = {**values, "environment": {**self._environment, **values["environment"]}}
        job_id: int = self._pyslurm.JobSubmitDescription(profile_types=_NotSet(), **values).submit()
        return job_id

    def _update(self, job_id: int, changes: Mapping[str, Any]) -> None:
        self._pyslurm.Job(job_id).modify(self._pyslurm.JobSubmitDescription(**changes))

    def _hold(self, job_id: int) -> None:
        self._pyslurm.Job(job_id).hold()

    def _release(self, job_id: int) -> None:
        self._pyslurm.Job(job_id).release()

    def _jobs(self, wanted: Sequence[str]) -> list[dict[str, Any]]:
        ids = frozenset(wanted)
        jobs = self._pyslurm.Jobs.load().values()
        return _columns([job for job in jobs if str(job.id) in ids or str(job.array_id) in ids], _JOB)

    def _nodes(self) -> list[dict[str, Any]]:
        return _columns(self._pyslurm.Nodes.load().values(), _NODE)


def _columns(objects: Iterable[Any], names: Sequence[str]) -> list[dict[str, Any]]:
    return [{name: getattr(one, name) for name in names} for one in objects]


def _main() -> None:
    # What a library prints is no answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def write(line: Mapping[str, Any]) -> None:
        answers.write(json.dumps(line).encode() + b"\n")
        answers.flush()

    import pyslurm

    config = pyslurm.slurmctld.Config.load().to_dict()
    write({"answer": {"pyslurm": pyslurm.__version__, **{key: config.get(key) for key in FACTS}}})
    worker = PyslurmWorker(pyslurm)
    for line in sys.stdin.buffer:
        write(worker.answer(*json.loads(line)))


if __name__ == "__main__":
    _main()
