"""The #SBATCH lines of an existing batch script, read by sbatch's own rules.

After sbatch(1) and src/sbatch/opt.c of Slurm: a directive begins at the start of a line; blank lines and
other comments may stand between; the first line of anything else ends them. Words are split at blanks; quotes
group, a backslash escapes, an unescaped ``#`` begins a comment. The lines themselves are kept; what is read
here is only what hpcfrugal needs to know of the job, so a value not understood is left to Slurm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hpcfrugal.core.errors import Problem
from hpcfrugal.job import fields
from hpcfrugal.job.sbatch_flags import REFUSED_IN_SCRIPT, Flag, read_options, why_refused

_BLANKS = " \t\v\f\r"
_MAGIC = "#SBATCH"


@dataclass(frozen=True, slots=True)
class Directives:
    """The directive lines as they stand, and what they say in the words of a job file."""

    lines: tuple[str, ...]
    values: dict[str, Any]
    problems: tuple[Problem, ...]


def split_words(text: str) -> list[str]:
    """The words of one directive line, behind the ``#SBATCH``; raises ValueError where a quote stays open."""
    words: list[str] = []
    word: list[str] | None = None
    quote = ""
    escaped = False
    for char in text:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
            continue
        elif quote:
            if char == quote:
                quote = ""
                continue
        elif char in "\"'":
            quote = char
            continue
        elif char == "#":
            break
        elif char in _BLANKS:
            if word is not None:
                words.append("".join(word))
                word = None
            continue
        word = [char] if word is None else [*word, char]
    if quote:
        raise ValueError(f"the quote {quote} is not closed")
    if word is not None:
        words.append("".join(word))
    return words


def read_directives(text: str, where: str) -> Directives:
    """Read the directives of a batch script; ``where`` is its name in messages."""
    lines: list[str] = []
    words: list[str] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line.startswith(_MAGIC):
            stripped = line.lstrip(_BLANKS)
            if stripped and not stripped.startswith("#"):
                break
            continue
        place = f"{where}:{number}"
        try:
            found = split_words(line[len(_MAGIC) :])
            lines.append(fields.text_of(line))
        except ValueError as error:
            problems.append(Problem(place, str(error), "sbatch would refuse this line too"))
            continue
        if found[:1] in (["hetjob"], ["packjob"]):
            problems.append(
                Problem(place, "a heterogeneous job can't be followed", "submit its parts as jobs of their own")
            )
            continue
        for flag in read_options(found):
            if flag.name in REFUSED_IN_SCRIPT:
                problems.append(Problem(place, f"--{flag.name} can't be used here", why_refused(flag.name)))
        words.extend(found)
    return Directives(tuple(lines), _values_of(read_options(words)), tuple(problems))


_Reader = Callable[[object], object]

_KEYS: dict[str, tuple[str, _Reader]] = {
    "account": ("resources.account", fields.line_of),
    "array": ("resources.array", fields.array_of),
    "constraint": ("resources.constraint", fields.line_of),
    "cpus-per-task": ("resources.cpus_per_task", fields.count_of),
    "dependency": ("resources.dependency", fields.line_of),
    "exclude": ("resources.exclude", fields.line_of),
    "gpus": ("resources.gpus", fields.gpus_of),
    "gpus-per-node": ("resources.gpus_per_node", fields.gpus_of),
    "gpus-per-task": ("resources.gpus_per_task", fields.gpus_of),
    "gres": ("resources.gres", fields.line_of),
    "mem": ("resources.mem", fields.memory_of),
    "mem-per-cpu": ("resources.mem_per_cpu", fields.memory_of),
    "nodelist": ("resources.nodelist", fields.line_of),
    "nodes": ("resources.nodes", fields.nodes_of),
    "ntasks": ("resources.ntasks", fields.count_of),
    "tasks": ("resources.ntasks", fields.count_of),
    "ntasks-per-node": ("resources.ntasks_per_node", fields.count_of),
    "tasks-per-node": ("resources.ntasks_per_node", fields.count_of),
    "partition": ("resources.partition", fields.line_of),
    "qos": ("resources.qos", fields.line_of),
    "reservation": ("resources.reservation", fields.line_of),
    "time": ("resources.time", fields.walltime_of),
    "job-name": ("name", fields.name_of),
    "output": ("output", fields.line_of),
    "error": ("error", fields.line_of),
    "chdir": ("workdir", fields.path_of),
    "workdir": ("workdir", fields.path_of),
    "begin": ("schedule.earliest", fields.moment_of),
}


def _values_of(flags: list[Flag]) -> dict[str, Any]:
    """What the options say, as dotted keys; of an option given twice the last counts, as in sbatch."""
    values: dict[str, Any] = {}
    for flag in flags:
        if flag.name == "exclusive":
            # `--exclusive=user` shares the node among one user's jobs: no claim to the whole of it.
            values["resources.exclusive"] = flag.value is None
        elif flag.name in {"requeue", "no-requeue"}:
            values["resources.requeue"] = flag.name == "requeue"
        elif flag.name in _KEYS and flag.value is not None:
            key, read = _KEYS[flag.name]
            # Of the two, sbatch takes the one that comes last.
            other = {"resources.mem": "resources.mem_per_cpu", "resources.mem_per_cpu": "resources.mem"}.get(key)
            values.pop(other or "", None)
            try:
                values[key] = read(flag.value)
            except ValueError:
                values.pop(key, None)  # Slurm knows more forms than we need to; the line itself is kept
    return values
