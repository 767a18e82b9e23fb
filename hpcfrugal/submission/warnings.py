"""Settings of a job that have no effect where it is submitted, a sentence each."""

from __future__ import annotations

import os

from hpcfrugal.job import JobSpec
from hpcfrugal.submission.prepare import Prepared

_ENFORCED_BY_SLURM = ("cpus_per_task", "mem", "mem_per_cpu", "gpus", "gpus_per_node", "gpus_per_task", "gres")


def _ignored_schedule(spec: JobSpec, *, slurm: bool) -> list[str]:
    """The keys of ``schedule`` that do not affect the start of the job, in one sentence; empty where there are none."""
    schedule = spec.schedule
    values = {key: getattr(schedule, key) for key in schedule.model_fields_set}
    given = {key for key, value in values.items() if value is not None and value is not False}
    used = {"policy", "earliest"} if slurm else {"policy", "require_forecast"}
    if schedule.effective_policy == "asap":
        why = "the job starts as soon as it can"
    elif slurm:
        return []
    else:
        why = "jobs start at once on this machine"
    ignored = ", ".join(f"schedule.{key}" for key in sorted(given - used))
    return [f"ignored: {ignored}; {why}"] if ignored else []


def _not_enforced(spec: JobSpec, *, slurm: bool) -> list[str]:
    """Keys of ``resources`` that only Slurm enforces. The time limit holds for local jobs too."""
    if slurm:
        return []
    return [key for key in _ENFORCED_BY_SLURM if getattr(spec.resources, key) is not None]


def _missing_directories(prepared: Prepared) -> list[str]:
    """A sentence for each relative directory of an output file that does not exist: such a job fails at its start.

    An absolute path may exist on the nodes alone, and one with patterns is known to Slurm alone.
    """
    folders = {key: os.path.dirname(getattr(prepared.spec, key) or "") for key in ("output", "error")}
    return [
        f"{key}: the directory {folder} does not exist in {prepared.workdir}, and Slurm does not make it"
        for key, folder in folders.items()
        if folder and "%" not in folder and not (prepared.workdir / folder).is_dir() and not os.path.isabs(folder)
    ]


def warnings_of(prepared: Prepared, *, slurm: bool) -> tuple[str, ...]:
    """What in the job's settings has no effect, or makes it fail at its start."""
    warnings = _ignored_schedule(prepared.spec, slurm=slurm)
    if not_held := _not_enforced(prepared.spec, slurm=slurm):
        warnings.append("this machine does not enforce " + ", ".join(f"resources.{key}" for key in not_held))
    return (*warnings, *_missing_directories(prepared))
