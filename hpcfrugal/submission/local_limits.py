"""What a job may ask of a machine without Slurm."""

from __future__ import annotations

import os
from pathlib import Path

from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.job import JobSpec
from hpcfrugal.job.array_tasks import parse_array
from hpcfrugal.job.batch_script import components
from hpcfrugal.job.resources import Resources
from hpcfrugal.local.task import MOST_LOCAL_TASKS


def refuse_for_local(spec: JobSpec, source: Path) -> None:
    """Refuse settings that need Slurm. Raises InputError with every problem."""
    resources = spec.resources
    problems = []
    if resources.array is not None and (count := parse_array(resources.array).count) > MOST_LOCAL_TASKS:
        what = f"{count} tasks requested, and this machine takes {MOST_LOCAL_TASKS} in one array"
        problems.append(Problem(f"{source}: {'resources.array' if spec.matrix is None else 'matrix'}", what))
    if resources.hold:
        what = "only Slurm holds jobs and releases them; `schedule.earliest` sets a start here too"
        problems.append(Problem(f"{source}: resources.hold", what))
    if resources.dependency is not None:
        what = "only Slurm waits for other jobs; submit it when they are over"
        problems.append(Problem(f"{source}: resources.dependency", what))
    if resources.min_nodes is not None and resources.min_nodes > 1:
        problems.append(
            Problem(f"{source}: resources.nodes", f"{resources.nodes} nodes requested, and this machine is one")
        )
    if (count := len(components(spec.directives))) > 1:
        problems.append(
            Problem(str(source), f"a heterogeneous job of {count} components, and this machine is one node")
        )
    if problems:
        hint = (
            "submit it on a login node of a cluster, or remove these keys; "
            "`--backend slurm_cli --dry-run` shows its script here too"
        )
        raise InputError(problems, hint=hint)


def tasks_at_once(resources: Resources) -> int:
    """How many tasks of an array run at the same time: as many as are asked for, else as there are CPUs for. Nothing
    divides the GPUs of this machine, so tasks that want some run one after the other.
    """
    if resources.array is None:
        return 1
    asked = parse_array(resources.array).at_once
    if asked is not None or resources.wants_gpus:
        return asked or 1
    cpus = (resources.cpus_per_task or 1) * (resources.ntasks or 1)
    return max(1, len(os.sched_getaffinity(0)) // cpus)


def tasks_in_turn(resources: Resources) -> int:
    """How many tasks of an array run one after the other."""
    return -(-task_count(resources) // tasks_at_once(resources))


def task_count(resources: Resources) -> int:
    """How many tasks an array has; 1 for a job that is none."""
    return 1 if resources.array is None else parse_array(resources.array).count
