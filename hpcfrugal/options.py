"""JobSpec -> sbatch options, each as ``--name=value``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcfrugal.units import format_walltime

if TYPE_CHECKING:
    from hpcfrugal.jobspec import JobSpec

# Keys of `resources` that are the sbatch option of the same name and take a value.
_VALUED = (
    "partition", "account", "qos", "reservation", "constraint", "nodes", "nodelist", "exclude", "ntasks",
    "ntasks_per_node", "cpus_per_task", "mem", "mem_per_cpu", "gpus", "gpus_per_node", "gpus_per_task", "gres",
    "array", "dependency",
)  # fmt: skip


def sbatch_options(spec: JobSpec) -> list[str]:
    """The options that a job's own keys stand for, then its further ones as they were given."""
    options = [f"--job-name={spec.name}"]
    for key, value in (("chdir", spec.workdir), ("output", spec.output), ("error", spec.error)):
        if value is not None:
            options.append(f"--{key}={value}")
    if spec.schedule.earliest is not None:
        # sbatch reads a time without a zone as that of the machine it runs on (sbatch(1), --begin).
        options.append(f"--begin={spec.schedule.earliest.astimezone():%Y-%m-%dT%H:%M:%S}")
    resources = spec.resources
    if resources.time is not None:
        options.append(f"--time={format_walltime(resources.time)}")
    for key in _VALUED:
        value = getattr(resources, key)
        if value is not None:
            options.append(f"--{key.replace('_', '-')}={value}")
    if resources.exclusive:
        options.append("--exclusive")
    if resources.requeue is not None:
        options.append("--requeue" if resources.requeue else "--no-requeue")
    return [*options, *spec.sbatch]
