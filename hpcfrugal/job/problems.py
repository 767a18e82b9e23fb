"""Everything that is wrong with a job, each mistake with its place and what would be right."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from hpcfrugal.core.errors import Problem
from hpcfrugal.core.text import quoted_value
from hpcfrugal.job.model import SBATCH, JobSpec
from hpcfrugal.job.section import Fault, Faults, KeyPath, dotted, keys_below
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

_SECTION_EXAMPLES = {
    "resources": "resources: {nodes: 2, time: 1:30:00}",
    "energy": "energy: {interval: 1s}",
    "schedule": "schedule: {max_delay: 12h}",
    "container": "container: {image: torch.sif}",
    "mail": "mail: {type: END, user: me@example.org}",
    "interruptible": "interruptible: {signal: USR1}",
}


def key_paths() -> list[KeyPath]:
    """Every key path of a job file, sections before the keys that they hold."""
    return [path for path, _ in keys_below(JobSpec) if path != ("directives",)]


def _unknown_key(path: KeyPath) -> Problem:
    """An unknown key: a misspelling of one beside it, one that belongs elsewhere, or neither."""
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
    near = difflib.get_close_matches(word, beside, n=1, cutoff=0.6)
    if near:
        return Problem(dotted(path), what, f"did you mean `{near[0]}`?")
    everywhere = {str(candidate[-1]): candidate for candidate in reversed(known)}
    far = difflib.get_close_matches(word, everywhere, n=1, cutoff=0.8)
    if far:
        return Problem(dotted(path), what, f"did you mean `{dotted(everywhere[far[0]])}`?")
    return Problem(dotted(path), what, f"the keys here are {', '.join(beside)}" if beside else None)


def _located(path: KeyPath, error: Mapping[str, Any]) -> list[tuple[KeyPath, Problem, tuple[KeyPath, ...]]]:
    """One error of pydantic as (place, problem, keys that were compared)."""
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, Faults):
        return [_from_fault(path, fault) for fault in cause.faults]
    kind = error["type"]
    if kind == "extra_forbidden":
        return [(path, _unknown_key(path), ())]
    hint = None
    if isinstance(cause, ValueError):
        what = str(cause).rstrip(".")
    elif kind == "missing":
        what = "is missing"
    elif kind in {"model_type", "model_attributes_type", "dict_type"}:
        what = "must be a mapping of keys"
        example = _SECTION_EXAMPLES.get(str(path[-1])) if path else None
        hint = f"write for example `{example}`" if example else None
    else:
        what = f"{quoted_value(error.get('input'))} is not valid: {error['msg']}"
    return [(path, Problem(dotted(path), what, hint), ())]


def _from_fault(path: KeyPath, fault: Fault) -> tuple[KeyPath, Problem, tuple[KeyPath, ...]]:
    place = (*path, *fault.path)
    involved = tuple((*path, *key) for key in fault.involves)
    return place, Problem(dotted(place), fault.what.rstrip("."), fault.hint), involved


def _without(data: Any, path: KeyPath) -> Any:
    """A copy without the value at the path; for a list entry, without the whole list."""
    if not path:
        return data
    at = next((index for index, part in enumerate(path) if isinstance(part, int)), len(path))
    path = path[:at]
    data = copy.copy(data)
    node = data
    for part in path[:-1]:
        if not isinstance(node, dict) or part not in node:
            return data
        node[part] = copy.copy(node[part])
        node = node[part]
    if path and isinstance(node, dict):
        node.pop(path[-1], None)
    return data


def checked_job(data: Any) -> tuple[JobSpec | None, list[tuple[KeyPath, Problem]]]:
    """Build a job from plain values; the job, or everything that is wrong with it.

    pydantic compares keys with one another only if each of them is valid by itself. So invalid values are removed and
    the rest is tried again, until nothing new is found; comparisons with a key that was already reported are dropped.
    """
    found: list[tuple[KeyPath, Problem]] = []
    seen: set[tuple[KeyPath, str]] = set()
    bad: set[KeyPath] = set()
    while True:
        try:
            job = JobSpec.model_validate(data)
        except ValidationError as failure:
            fresh: list[KeyPath] = []
            for error in failure.errors(include_url=False):
                for place, problem, involved in _located(tuple(error["loc"]), error):
                    fresh.append(place)
                    fresh.extend(involved)
                    if error["type"] == "missing":
                        fresh.append(place[:-1])  # removing the key that is missing would change nothing
                    if (place, problem.what) in seen:
                        continue
                    seen.add((place, problem.what))
                    if not any(_overlaps(key, wrong) for key in involved for wrong in bad):
                        found.append((place, problem))
            before = data
            for place in fresh:
                data = _without(data, place)
            bad.update(fresh)
            if data == before:
                return None, found
            continue
        return (None if found else job), found


def _overlaps(one: KeyPath, other: KeyPath) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def placed(where: str, source: Source | None, found: Iterable[tuple[KeyPath, Problem]]) -> list[Problem]:
    """The problems with the file's name and line before the key, in the order of the lines."""
    rows: list[tuple[int, Problem]] = []
    for path, problem in found:
        line = source.line_of(path) if source is not None else None
        file = where if line is None else f"{where}:{line}"
        place = f"{file}: {problem.where}" if problem.where else file
        rows.append((line or 0, Problem(place, problem.what, problem.hint)))
    return [problem for _, problem in sorted(rows, key=lambda row: row[0])]
