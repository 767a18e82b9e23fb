"""The script that a job file names, and the options of the batch script around it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from hpcfrugal.core.errors import InputError, SetupError
from hpcfrugal.job import JobSpec
from hpcfrugal.job.array_tasks import parse_array
from hpcfrugal.job.backend import Backend
from hpcfrugal.job.batch_script import directive_flags, read_directives
from hpcfrugal.job.sbatch_flags import flags_from, sbatch_flags

_SAME = timedelta(minutes=1)
"""`--begin=now+1hour` is another time at each reading; it counts as the same within this."""


def refuse_other_cluster(spec: JobSpec, source: Path, backend: Backend) -> None:
    """Refuse a script whose ``--clusters`` names another cluster than this one, or several. Raises InputError."""
    named = [flag.value for flag in directive_flags(spec.directives) if flag.name == "clusters"]
    if named and named[-1] != (here := backend.cluster()):
        what = f"{named[-1]} is not the cluster of this login node, {here}"
        raise InputError.at(f"{source}: #SBATCH --clusters", what, "log in to that cluster and submit there")


def refuse_large_array(spec: JobSpec, source: Path, backend: Backend) -> None:
    """Refuse an array with an index that the cluster does not take, which sbatch calls invalid. Raises InputError."""
    if spec.resources.array is None:
        return
    last = max(one[-1] for one in parse_array(spec.resources.array).ranges)
    most = None
    with suppress(SetupError):
        most = backend.max_array_size()
    if most is not None and last >= most:
        if spec.matrix is not None:
            what = f"has {last + 1} combinations, and an array of this cluster has {most} tasks at most"
            raise InputError.at(f"{source}: matrix", what, "divide it into several jobs, or take fewer values")
        what = f"has the index {last}, and the highest of this cluster is {most - 1}"
        raise InputError.at(f"{source}: resources.array", what, "divide it into several jobs")


def read_script(path: Path, source: Path) -> bytes:
    """The bytes of a job's script. Raises InputError if it cannot be read or is empty."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError.at(f"{source}: script", f"{path} cannot be read: {error.strerror}") from None
    if not data:
        raise InputError.at(f"{source}: script", f"{path} is empty")
    return data


def script_text(script: bytes) -> str | None:
    """The text that the batch script can hold as a copy, in any encoding; None for a binary, and above 1 MB."""
    return None if b"\0" in script or len(script) > 1_000_000 else script.decode(errors="surrogateescape")


def interpreter(script: bytes) -> Sequence[str]:
    """The interpreter on a script's first line, as the kernel reads it (execve(2)): without a slash it is a file of the
    working directory. Bash where there is none.
    """
    if script.startswith(b"\x7fELF"):
        return []
    if not script.startswith(b"#!"):
        return ["/bin/bash"]
    line = script.split(b"\n", 1)[0][2:].strip().decode(errors="surrogateescape")
    path, *argument = line.split(None, 1) or ["/bin/bash"]
    return [path if "/" in path else f"./{path}", *argument]


def flags_for(spec: JobSpec, *, begin: datetime | None = None, interrupted: bool = False) -> list[str]:
    """Flags for the #SBATCH lines; those that the script's own lines hold already are not repeated.

    ``begin`` is the planned start. An ``interrupted`` job is requeued, and appends to its output.
    """
    flags = sbatch_flags(spec, begin=begin)
    if interrupted:
        given = {flag.partition("=")[0] for flag in flags}
        flags += [flag for flag in ("--requeue", "--open-mode=append") if flag.partition("=")[0] not in given]
    values = read_directives("\n".join(spec.directives), "script").values
    in_script = flags_from(values)
    own, now_read = spec.schedule.earliest, values.get("schedule.earliest")
    if begin is None and own is not None and now_read is not None and abs(own - now_read) < _SAME:
        flags = [flag for flag in flags if not flag.startswith("--begin=")]
    return [flag for flag in flags if flag not in in_script]
