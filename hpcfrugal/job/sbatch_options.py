"""JobSpec -> sbatch options, each as ``--name=value``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from hpcfrugal.core.units import format_walltime

if TYPE_CHECKING:
    from hpcfrugal.job import JobSpec

# Keys of `resources` that are the sbatch option of the same name and take a value.
_VALUED = (
    "partition", "account", "qos", "reservation", "constraint", "nodes", "nodelist", "exclude", "ntasks",
    "ntasks_per_node", "cpus_per_task", "mem", "mem_per_cpu", "gpus", "gpus_per_node", "gpus_per_task", "gres",
    "array", "dependency",
)  # fmt: skip


def begin_option(at: datetime) -> str:
    """``--begin`` for an instant, cut to the second, in the local time of this machine.

    sbatch reads a time without a zone as that of the machine it runs on (sbatch(1)). In the hour that the clock goes
    through twice such a time means two instants; there the seconds since 1970 are written, which sbatch reads behind
    "uts" (``parse_time`` in Slurm's src/common/parse_time.c).
    """
    local = at.astimezone()
    if local.replace(tzinfo=None, fold=0).timestamp() != local.replace(tzinfo=None, fold=1).timestamp():
        return f"--begin=uts{int(at.timestamp())}"
    return f"--begin={local:%Y-%m-%dT%H:%M:%S}"


def sbatch_options(spec: JobSpec, *, begin: datetime | None = None) -> list[str]:
    """The options that a job's own keys stand for, then its further ones as they were given.

    ``begin`` is the moment from which on it may start, where that was planned, else ``schedule.earliest``.
    """
    options = [f"--job-name={spec.name}"]
    for key, value in (("chdir", spec.workdir), ("output", spec.output), ("error", spec.error)):
        if value is not None:
            options.append(f"--{key}={value}")
    begin = begin or spec.schedule.earliest
    if begin is not None:
        options.append(begin_option(begin))
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
