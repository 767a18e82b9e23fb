"""Settings of a job that have no effect where it is submitted, and what its id shows, a sentence each."""

from __future__ import annotations

import os
from pathlib import Path

from hpcfrugal.job import JobSpec
from hpcfrugal.job.backend import Submitted
from hpcfrugal.job.batch_script import directive_flags
from hpcfrugal.job.mail import Mail
from hpcfrugal.job.model import SBATCH
from hpcfrugal.slurm.job_ids import in_federation

_ENFORCED_BY_SLURM = ("cpus_per_task", "mem", "mem_per_cpu", "gpus", "gpus_per_node", "gpus_per_task", "gres")


def _ignored_schedule(spec: JobSpec, *, slurm: bool) -> list[str]:
    """The keys of ``schedule`` that do not affect the start of the job, in one sentence; empty where there are none."""
    schedule = spec.schedule
    given = {key for key in schedule.known_keys if (value := getattr(schedule, key)) is not None and value is not False}
    if schedule.effective_policy == "asap":
        unused, why = given - {"policy", "earliest"}, "the job starts as soon as it can"
    else:
        unused, why = set() if slurm else given & {"queue"}, "this machine has no queue"
    ignored = ", ".join(f"schedule.{key}" for key in sorted(unused))
    return [f"ignored: {ignored}; {why}"] if ignored else []


def _only_in_slurm(spec: JobSpec) -> list[str]:
    """Keys that have no effect on this machine, a sentence for each kind. The time limit has one."""
    enforced = [f"resources.{key}" for key in _ENFORCED_BY_SLURM if getattr(spec.resources, key) is not None]
    found = [f"this machine does not enforce {', '.join(enforced)}"] if enforced else []
    ignored = ["mail"] * (spec.mail != Mail()) + ["export"] * (spec.export == "NONE")
    return [*found, *([f"ignored: {', '.join(ignored)}; only Slurm offers it"] if ignored else [])]


def _missing_directories(spec: JobSpec, workdir: Path) -> list[str]:
    """A sentence for each relative directory of an output file that does not exist: such a job fails at its start.

    An absolute path may exist on the nodes alone, and one with patterns is known to Slurm alone.
    """
    folders = {key: os.path.dirname(getattr(spec, key) or "") for key in ("output", "error")}
    return [
        f"{key}: the directory {folder} does not exist in {workdir}, and Slurm does not make it"
        for key, folder in folders.items()
        if folder and "%" not in folder and not os.path.isabs(folder) and not (workdir / folder).is_dir()
    ]


def _unknown_options(spec: JobSpec) -> list[str]:
    """A sentence for each option that is like one of sbatch and is none: a site's plugin may know it, else sbatch
    refuses the job.
    """
    flags = [*SBATCH.read(spec.sbatch), *directive_flags(spec.directives)]
    unknown = dict.fromkeys(flag.name for flag in flags if len(flag.name) > 1 and SBATCH.find(flag.name) is None)
    near = {name: SBATCH.nearest(name) for name in unknown}
    return [f"--{name} is not an option of sbatch; did you mean --{other}?" for name, other in near.items() if other]


def warnings_of(spec: JobSpec, workdir: Path, *, slurm: bool) -> tuple[str, ...]:
    """What in the job's settings has no effect, or makes it fail at its start."""
    ignored = _ignored_schedule(spec, slurm=slurm)
    # Without Slurm the submission itself is refused where its output cannot be written.
    other = _missing_directories(spec, workdir) if slurm else _only_in_slurm(spec)
    return (*ignored, *other, *_unknown_options(spec))


def warnings_of_submitted(spec: JobSpec, submitted: Submitted, *, slurm: bool) -> tuple[str, ...]:
    """What the id of the job shows: any cluster of a federation may start it, unless it names this one."""
    if not slurm or not in_federation(submitted.job_id):
        return ()
    if any(flag.name == "clusters" for flag in directive_flags(spec.directives)):
        return ()
    here = submitted.cluster or "NAME"
    return (
        f"federations are not supported: if another cluster than this one starts job {submitted.job_id}, its energy is "
        f"not known; a batch script with `#SBATCH --clusters={here}` stays here",
    )
