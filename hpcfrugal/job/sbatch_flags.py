"""JobSpec -> flags for sbatch, each as ``--name=value``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from hpcfrugal.core.units import format_walltime
from hpcfrugal.job.model import SBATCH, JobSpec

_VALUE_OF = {key: attrgetter(key) for key in SBATCH.keys}


def sbatch_time(at: datetime) -> str:
    """An instant, cut to the second, in the local time of this machine, as sbatch reads it.

    sbatch takes a time without a zone as that of the machine it runs on (sbatch(1)). In the hour that the clock goes
    through twice such a time means two instants; there the seconds since 1970 are written, which sbatch reads behind
    "uts" (``parse_time`` in Slurm's src/common/parse_time.c).
    """
    local = at.astimezone()
    if local.replace(tzinfo=None, fold=0).timestamp() != local.replace(tzinfo=None, fold=1).timestamp():
        return f"uts{int(at.timestamp())}"
    return f"{local:%Y-%m-%dT%H:%M:%S}"


def sbatch_flags(spec: JobSpec, *, begin: datetime | None = None) -> list[str]:
    """The flags of a job's own keys, then its further ones as they were given.

    ``begin`` is the planned start; without one the job may start at ``schedule.earliest``.
    """
    values = {key: read(spec) for key, read in _VALUE_OF.items()}
    if begin is not None:
        values["schedule.earliest"] = begin
    return [*flags_from(values), *spec.sbatch]


def flags_from(values: Mapping[str, Any]) -> list[str]:
    """The flags of values by their keys (``resources.time``); None, and false without an opposite, give none."""
    flags = []
    for key, option in SBATCH.keys.items():
        value = values.get(key)
        if value is True:
            flags.append(f"--{option.name}")
        elif value is False:
            flags += [f"--{option.opposite}"] if option.opposite is not None else []
        elif value is not None:
            flags.append(f"--{option.name}={_text(value)}")
    return flags


def _text(value: Any) -> str:
    if isinstance(value, timedelta):
        return format_walltime(value)
    return sbatch_time(value) if isinstance(value, datetime) else str(value)
