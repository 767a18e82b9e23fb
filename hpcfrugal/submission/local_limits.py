"""Settings of a job file that are ignored or refused without Slurm."""

from __future__ import annotations

from pathlib import Path

from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.job import JobSpec

_ENFORCED_BY_SLURM = ("cpus_per_task", "mem", "mem_per_cpu", "gpus", "gpus_per_node", "gpus_per_task", "gres")


def ignored_schedule(spec: JobSpec, *, slurm: bool) -> list[str]:
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


def not_enforced(spec: JobSpec, *, slurm: bool) -> list[str]:
    """Keys of ``resources`` that only Slurm enforces. The time limit holds for local jobs too."""
    if slurm:
        return []
    return [key for key in _ENFORCED_BY_SLURM if getattr(spec.resources, key) is not None]


def refuse_for_local(spec: JobSpec, source: Path) -> None:
    """Refuse settings that need Slurm. Raises InputError with every problem."""
    resources = spec.resources
    problems = []
    if resources.array is not None:
        problems.append(Problem(f"{source}: resources.array", "only Slurm runs arrays, and this machine has no Slurm"))
    if resources.min_nodes is not None and resources.min_nodes > 1:
        problems.append(
            Problem(f"{source}: resources.nodes", f"{resources.nodes} nodes requested, and this machine is one")
        )
    if problems:
        hint = (
            "submit it on a login node of a cluster, or remove these keys; "
            "`--backend slurm_cli --dry-run` shows its script here too"
        )
        raise InputError(problems, hint=hint)
