"""The environment of Slurm's commands: nothing that happens to be set changes what they do or how they answer.

Slurm's commands take options from the environment (SBATCH_PARTITION, SQUEUE_STATES, SLURM_CLUSTERS, ...), and inside a
job there are the variables of that job (SLURM_JOB_ID, SLURM_RESTART_COUNT, ...). Neither may decide what is asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

FIXED: Mapping[str, str] = {
    # A form of times and messages that can be read back, whatever the user's profile sets.
    "TZ": "UTC",
    "LC_ALL": "C",
    "SLURM_TIME_FORMAT": "standard",
    # squeue cuts lists of array tasks after 64 characters by default.
    "SLURM_BITSTR_LEN": "16384",
}
"""What every query by a command has in its environment."""

_SLURM = re.compile(
    r"(SACCT|SACCTMGR|SALLOC|SATTACH|SBATCH|SBCAST|SCANCEL|SCONTROL|SCRON|SDIAG|SINFO|SLURM|SLURMD|SPRIO|SQUEUE|SREPORT"
    r"|SRUN|SSHARE|SSTAT|STRIGGER)_\w+"
)
# How to find the cluster and prove who one is: these are no options of a command.
_CONNECTION = re.compile(r"SLURM_(CONF|CONF_SERVER|JWT|SACK_\w+)")
# What a job has in its environment: Slurm's own variables, and the devices that it was given (gres.conf(5)).
_OF_JOB = re.compile(r"SLURM_(JOB_?ID|JOB_\w+|ARRAY_\w+|RESTART_COUNT|STEP_?ID|STEP_\w+|NODEID|PROCID|TASK_PID)")
_OF_DEVICES = re.compile(r"CUDA_VISIBLE_DEVICES|ROCR_VISIBLE_DEVICES|GPU_DEVICE_ORDINAL|ZE_AFFINITY_MASK")
# What sbatch reads as options (sbatch(1), INPUT ENVIRONMENT VARIABLES).
_SBATCH_OPTION = re.compile(r"SBATCH_\w+|SLURM_CLUSTERS|SLURM_HINT")


def query_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of every command but sbatch's submission: without any variable of Slurm's, in UTC."""
    kept = {name: value for name, value in environ.items() if not _SLURM.fullmatch(name) or _CONNECTION.fullmatch(name)}
    return {**kept, **FIXED}


def library_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program that asks Slurm by pyslurm, which adds that program's own variables of Slurm's to
    those of each job that it submits: as that of the commands, but without what makes their text readable."""
    kept = query_environment(environ)
    return {name: kept[name] for name in kept if name not in FIXED or not _SLURM.fullmatch(name)}


def submission_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of sbatch, which becomes that of the job: the user's own, as with plain sbatch.

    Left out are sbatch's options, which would outrank the job file (SBATCH_WAIT would also make sbatch wait for the end
    of the job), and inside a job the variables of that job and its devices, which the new one would take for its own.
    """
    dropped = [_SBATCH_OPTION]
    if any(_OF_JOB.fullmatch(name) for name in environ):
        dropped = [_SLURM, _OF_DEVICES]
    return {
        name: value
        for name, value in environ.items()
        if _CONNECTION.fullmatch(name) or not any(pattern.fullmatch(name) for pattern in dropped)
    }


def ignored_options(environ: Mapping[str, str]) -> list[str]:
    """Variables with which plain sbatch would change the job, and which are left out here."""
    return sorted(name for name in environ if _SBATCH_OPTION.fullmatch(name))
