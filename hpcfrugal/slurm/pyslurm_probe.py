"""Whether pyslurm can be used here, which a process of its own tries: without a usable slurm.conf its import ends the
process that does it, after a minute and without an exception.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hpcfrugal.slurm.client import CommandClient, SlurmClient
from hpcfrugal.slurm.environment import query_environment

RELEASES = ("25.11",)
"""Releases of Slurm on which jobs of pyslurm were found to be those of sbatch, by `scripts/pyslurm-lab`."""

_TIMEOUT_S = 5.0

_PROBE = """
import json, pyslurm
config = pyslurm.slurmctld.Config.load().to_dict()
print(json.dumps({"pyslurm": pyslurm.__version__, **{key: value for key, value in config.items() if key in %r}}))
"""
_FACTS = (
    "version",
    "cli_filter_plugins",
    "plugin_stack_config",
    "propagate_resource_limits",
    "propagate_resource_limits_except",
    "mpi_parameters",
    "task_plugin_parameters",
)


@cache
def why_not_pyslurm() -> str | None:
    """Why jobs go to Slurm by its commands alone; None where pyslurm can be used."""
    if importlib.util.find_spec("pyslurm") is None:
        return "pyslurm is not installed"
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE % (_FACTS,)],
            env=query_environment(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"pyslurm did not find Slurm within {_TIMEOUT_S:g} s"
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return f"pyslurm does not work here: {reason[0][:200]}"
    return _unlike_sbatch(json.loads(lines[-1]))


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


_MANY = 40
"""From so many requests on it pays to look for pyslurm, which takes a few tenths of a second."""


def client_for(requests: int) -> SlurmClient:
    """The client for so many requests: pyslurm for many where it can be used, else Slurm's commands."""
    commands = CommandClient()
    if requests < _MANY or why_not_pyslurm() is not None:
        return commands
    import pyslurm

    from hpcfrugal.slurm.pyslurm_client import PyslurmClient

    return PyslurmClient(pyslurm, commands)
