"""Everything that is wrong with a job, each mistake with its place and what would be right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hpcfrugal.core.errors import Problem
from hpcfrugal.core.section import Fault, KeyPath, keys_below
from hpcfrugal.core.text import quoted_value
from hpcfrugal.job.model import SBATCH, JobSpec
from hpcfrugal.job.section import dotted
from hpcfrugal.job.yaml_source import Source

_OTHER_WORDS = {
    "cmd": "command",
    "run": "command",
    "exec": "command",
    "job-name": "name",
    "environment": "env",
    "module": "modules",
    "chdir": "workdir",
    "cwd": "workdir",
    "directory": "workdir",
    "image": "container.image",
    "stdout": "output",
    "stderr": "error",
    "arguments": "args",
    "virtualenv": "venv",
    "uv": "venv",
    "conda-env": "conda",
    "singularity": "container",
    "apptainer": "container",
    "prologue": "setup",
    "epilogue": "teardown",
    "memory": "resources.mem",
    "walltime": "resources.time",
    "timelimit": "resources.time",
    "time-limit": "resources.time",
    "cpus": "resources.cpus_per_task",
    "cores": "resources.cpus_per_task",
    "tasks": "resources.ntasks",
    "gpu": "resources.gpus",
    "features": "resources.constraint",
    "project": "tags.project",
    "phase": "tags.phase",
}
"""Names in other tools and in sbatch of what has another name here."""

_EXPLAINED = {
    "queue": "Slurm's queues are partitions: `resources.partition`; `schedule.queue` is a low-carbon queue of the site",
}
"""Names that may mean one of several keys."""


def key_paths() -> list[KeyPath]:
    """Every key path of a job file, sections before the keys that they hold."""
    return [path for path, _ in keys_below(JobSpec) if path != ("directives",)]


def _unknown_key(path: KeyPath) -> Problem:
    """An unknown key: a misspelling of one beside it, one that belongs elsewhere, or neither."""
    from difflib import get_close_matches  # needed only for mistakes

    *above, written = path
    known = key_paths()
    beside = [str(candidate[-1]) for candidate in known if candidate[:-1] == tuple(above)]
    section = dotted(tuple(above))
    word = str(written).lower().replace("-", "_")
    what = f"there is no key {quoted_value(written)} " + (f"in `{section}`" if section else "at the top level")
    if word in beside:
        return Problem(dotted(path), what, f"write `{word}`")
    home = _OTHER_WORDS.get(str(written).lower().replace("_", "-"))
    if home is not None:
        return Problem(dotted(path), what, f"the key is `{home}`")
    if (explained := _EXPLAINED.get(word)) is not None:
        return Problem(dotted(path), what, explained)
    option = SBATCH.known(word.replace("_", "-"))
    key = SBATCH.key_of(option.name) if option is not None else None
    if option is not None and key is None:
        value = "" if option.argument == "none" else "=..."
        return Problem(dotted(path), what, option.refused or f"write `sbatch: [--{option.name}{value}]`")
    elsewhere = [candidate for candidate in known if candidate[-1] == word]
    if elsewhere:
        place = dotted(elsewhere[0][:-1])
        return Problem(dotted(path), what, f"`{word}` belongs " + (f"under `{place}`" if place else "at the top level"))
    if key is not None:
        return Problem(dotted(path), what, f"the key is `{key}`")
    near = get_close_matches(word, beside, n=1, cutoff=0.6)
    if near:
        return Problem(dotted(path), what, f"did you mean `{near[0]}`?")
    everywhere = {str(candidate[-1]): candidate for candidate in reversed(known)}
    far = get_close_matches(word, everywhere, n=1, cutoff=0.8)
    if far:
        return Problem(dotted(path), what, f"did you mean `{dotted(everywhere[far[0]])}`?")
    return Problem(dotted(path), what, f"the keys here are {', '.join(beside)}" if beside else None)


def _in_words(fault: Fault) -> Problem:
    if fault.unknown_to is not None:
        return _unknown_key(fault.path)
    return Problem(dotted(fault.path), fault.what.rstrip("."), fault.hint)


def checked_job(data: Any) -> tuple[JobSpec | None, list[tuple[KeyPath, Problem]]]:
    """Build a job from plain values; the job, or everything that is wrong with it."""
    job, faults = JobSpec.checked(data)
    return (None if faults else job), [(fault.path, _in_words(fault)) for fault in faults]


def placed(where: str, source: Source | None, found: Iterable[tuple[KeyPath, Problem]]) -> list[Problem]:
    """The problems with the file's name and line before the key, in the order of the lines."""
    rows: list[tuple[int, Problem]] = []
    for path, problem in found:
        line = source.line_of(path) if source is not None else None
        file = where if line is None else f"{where}:{line}"
        place = f"{file}: {problem.where}" if problem.where else file
        rows.append((line or 0, Problem(place, problem.what, problem.hint)))
    return [problem for _, problem in sorted(rows, key=lambda row: row[0])]
