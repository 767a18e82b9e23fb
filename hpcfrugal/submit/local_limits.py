"""What this machine does not hold a job to, or refuses, where there is no Slurm."""

from __future__ import annotations

from pathlib import Path

from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.job import JobSpec

_HELD_BY_SLURM = ("cpus_per_task", "mem", "mem_per_cpu", "gpus", "gpus_per_node", "gpus_per_task", "gres")


def schedule_left_out(spec: JobSpec, *, slurm: bool) -> list[str]:
    """What of ``schedule`` does not decide when the job starts, a sentence each."""
    schedule = spec.schedule
    values = {key: getattr(schedule, key) for key in schedule.model_fields_set}
    told = {key for key, value in values.items() if value is not None and value is not False}
    acted_on = {"policy", "earliest"} if slurm else {"policy", "require_forecast"}
    if schedule.effective_policy == "asap":
        why = "the job starts as soon as it can"
    elif slurm:
        return []
    else:
        why = "this machine starts jobs at once"
    left_out = ", ".join(f"schedule.{key}" for key in sorted(told - acted_on))
    return [f"not acted on: {left_out}; {why}"] if left_out else []


def not_enforced(spec: JobSpec, *, slurm: bool) -> list[str]:
    """Keys of ``resources`` with amounts that only Slurm holds a job to; of those, a local job has its time limit."""
    if slurm:
        return []
    return [key for key in _HELD_BY_SLURM if getattr(spec.resources, key) is not None]


def refuse_for_local(spec: JobSpec, source: Path) -> None:
    """Refuse what one machine without Slurm cannot do. Raises InputError with every problem."""
    resources = spec.resources
    problems = []
    if resources.array is not None:
        problems.append(Problem(f"{source}: resources.array", "this machine has no Slurm, and only Slurm runs arrays"))
    if resources.min_nodes is not None and resources.min_nodes > 1:
        problems.append(
            Problem(f"{source}: resources.nodes", f"this machine is one node, {resources.nodes} were asked for")
        )
    if problems:
        hint = (
            "submit it where sbatch is to be found, or take these keys out; "
            "--backend slurm_cli --dry-run shows its script here too"
        )
        raise InputError(problems, hint=hint)
