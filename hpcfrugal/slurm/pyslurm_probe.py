"""Whether Slurm can be asked by pyslurm here."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcfrugal.core.errors import SetupError

if TYPE_CHECKING:
    from hpcfrugal.slurm.pyslurm_process import PyslurmProcess

RELEASES = ("25.11",)
"""Releases of Slurm on which jobs of pyslurm were found to be those of sbatch, by `scripts/pyslurm-lab`."""


def why_not_pyslurm() -> str | None:
    """Why jobs go to Slurm by its commands alone; None where pyslurm can be used."""
    if not is_installed():
        return "pyslurm is not installed"
    from hpcfrugal.slurm.pyslurm_process import PyslurmProcess

    try:
        with PyslurmProcess() as process:
            return why_not(process)
    except SetupError as error:
        return error.message


def why_not(process: PyslurmProcess) -> str | None:
    """The same, by a process that was started."""
    try:
        return _unlike_sbatch(process.configuration())
    except SetupError as error:
        return error.message


def is_installed() -> bool:
    """Whether there is a pyslurm for this Python."""
    return importlib.util.find_spec("pyslurm") is not None


def _unlike_sbatch(facts: Mapping[str, Any]) -> str | None:
    """What makes jobs of pyslurm differ from those of sbatch on a cluster with this configuration."""
    slurm, module = (".".join(str(facts.get(key)).split(".")[:2]) for key in ("version", "pyslurm"))
    if slurm != module:
        return f"pyslurm {facts.get('pyslurm')} is not for Slurm {facts.get('version')}"
    if slurm not in RELEASES:
        return f"pyslurm is used with Slurm {', '.join(RELEASES)}, and here is {facts.get('version')}"
    stack = facts.get("plugin_stack_config")
    if stack and Path(stack).exists():
        return f"sbatch runs the plugins of {stack}, which pyslurm does not"
    if facts.get("cli_filter_plugins"):
        return f"sbatch runs {', '.join(facts['cli_filter_plugins'])}, which pyslurm does not"
    if facts.get("propagate_resource_limits") != ["ALL"] or facts.get("propagate_resource_limits_except"):
        return "not all limits of the submission are passed on to jobs, which pyslurm would do"
    if "disable_slurm_hydra_bootstrap" in str(facts.get("mpi_parameters")):
        return "MpiParams has disable_slurm_hydra_bootstrap"
    if "oomkillstep" in str(facts.get("task_plugin_parameters")).lower():
        return "TaskPluginParam has OOMKillStep, which pyslurm would turn off"
    return None
