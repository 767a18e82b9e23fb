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
"""What every query has in its environment."""

_SLURM = re.compile(
    r"(SACCT|SACCTMGR|SALLOC|SATTACH|SBATCH|SBCAST|SCANCEL|SCONTROL|SCRON|SDIAG|SINFO|SLURM|SLURMD|SPRIO|SQUEUE|SREPORT"
    r"|SRUN|SSHARE|SSTAT|STRIGGER)_\w+"
)
# How to find the cluster and prove who one is: these are no options of a command.
_CONNECTION = re.compile(r"SLURM_(CONF|CONF_SERVER|JWT|SACK_\w+)")
# What sbatch reads as options (sbatch(1), INPUT ENVIRONMENT VARIABLES).
_SBATCH_OPTION = re.compile(r"SBATCH_\w+|SLURM_CLUSTERS|SLURM_HINT")


def query_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of every command but sbatch's submission: without any variable of Slurm's, in UTC."""
    kept = {name: value for name, value in environ.items() if not _SLURM.fullmatch(name) or _CONNECTION.fullmatch(name)}
    return {**kept, **FIXED}


def submission_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of sbatch, which becomes that of the job: the user's own, as with plain sbatch.

    Left out are sbatch's options, which would outrank the job file (SBATCH_WAIT would also make sbatch wait for the end
    of the job), and inside a job the variables of that job, which the new one would take for its own.
    """
    in_job = "SLURM_JOB_ID" in environ or "SLURM_JOBID" in environ
    dropped = _SLURM if in_job else _SBATCH_OPTION
    return {n: value for n, value in environ.items() if not dropped.fullmatch(n) or _CONNECTION.fullmatch(n)}


def ignored_options(environ: Mapping[str, str]) -> list[str]:
    """Variables with which plain sbatch would change the job, and which are left out here."""
    return sorted(name for name in environ if _SBATCH_OPTION.fullmatch(name))
