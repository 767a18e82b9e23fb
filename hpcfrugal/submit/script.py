"""The script that a job file names, and the options of the batch script around it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hpcfrugal.core.errors import InputError
from hpcfrugal.job import JobSpec, job_from_mapping
from hpcfrugal.job.batch_script import read_directives
from hpcfrugal.job.sbatch_options import sbatch_options


def read_script(path: Path, source: Path) -> bytes:
    """The bytes of a job's script. Raises InputError if it cannot be read or is empty."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError.at(f"{source}: script", f"{path} cannot be read: {error.strerror}") from None
    if not data:
        raise InputError.at(f"{source}: script", f"{path} is empty")
    return data


def text_of(script: bytes) -> str | None:
    """The script as text, to be copied into the batch script; None if it is binary or too long (sbatch takes 4 MB)."""
    try:
        text = script.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text or len(script) > 1_000_000 else text


def interpreter(script: bytes) -> Sequence[str]:
    """The interpreter on a script's first line, as the kernel reads it (execve(2)); bash where there is none."""
    if script.startswith(b"\x7fELF"):
        return []
    if not script.startswith(b"#!"):
        return ["/bin/bash"]
    line = script.split(b"\n", 1)[0][2:].strip().decode(errors="surrogateescape")
    return line.split(None, 1) or ["/bin/bash"]


def flags_for(spec: JobSpec, *, begin: datetime | None = None, interrupted: bool = False) -> list[str]:
    """Options for the #SBATCH lines, without those that the script's own lines have already.

    ``begin`` is the planned begin. An ``interrupted`` job is requeued and appends to its output.
    """
    options = sbatch_options(spec, begin=begin)
    if interrupted:
        given = {option.partition("=")[0] for option in options}
        options += [option for option in ("--requeue", "--open-mode=append") if option.partition("=")[0] not in given]
    if not spec.directives:
        return options
    stated = read_directives("\n".join(spec.directives), "script").values
    nested: dict[str, Any] = {"script": "script", "name": ""}
    for dotted, value in stated.items():
        section, _, key = dotted.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[key] = value
    own = set(sbatch_options(job_from_mapping(nested)))
    if "name" not in stated:
        # Slurm would name the job after the submitted file, which is ours.
        own -= {option for option in own if option.startswith("--job-name=")}
    return [option for option in options if option not in own]
