"""Settings of a job file that are refused without Slurm."""

from __future__ import annotations

from pathlib import Path

from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.job import JobSpec


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
