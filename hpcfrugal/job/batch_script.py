"""The #SBATCH lines of an existing batch script, read by sbatch's own rules.

After sbatch(1) and src/sbatch/opt.c of Slurm: a directive begins at the start of a line; blank lines and
other comments may stand between; the first line of anything else ends them. Words are split at blanks; quotes
group, a backslash escapes, an unescaped ``#`` begins a comment. The lines themselves are kept; they are read only
for what hpcfrugal needs to know about the job, so a value in a form that it does not know is left to Slurm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from pydantic import ValidationError

from hpcfrugal.core.errors import Problem
from hpcfrugal.job.model import SBATCH, JobSpec, excluded_by
from hpcfrugal.job.option_table import Flag
from hpcfrugal.job.text_types import to_text

_BLANKS = " \t\v\f\r"
_MAGIC = "#SBATCH"
_REFUSED = dict(SBATCH.refusals_in_script())


@dataclass(frozen=True, slots=True)
class Directives:
    """The directive lines as they stand, and their values by the keys of a job file."""

    lines: tuple[str, ...]
    values: dict[str, Any]
    problems: tuple[Problem, ...]


def split_words(text: str) -> list[str]:
    """The words of one directive line after its ``#SBATCH``; raises ValueError if a quote is not closed."""
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
            lines.append(to_text(line))
        except ValueError as error:
            problems.append(Problem(place, str(error), "sbatch would refuse this line as well"))
            continue
        if found[:1] in (["hetjob"], ["packjob"]):
            problems.append(
                Problem(place, "a heterogeneous job can't be tracked", "submit its components as separate jobs")
            )
            continue
        for flag in SBATCH.read(found):
            if flag.name in _REFUSED:
                problems.append(Problem(place, f"--{flag.name} can't be used here", _REFUSED[flag.name]))
        words.extend(found)
    return Directives(tuple(lines), _values_of(SBATCH.read(words)), tuple(problems))


def directive_flags(lines: Sequence[str]) -> list[Flag]:
    """The options of #SBATCH lines that were found valid."""
    return SBATCH.read([word for line in lines for word in split_words(line.removeprefix(_MAGIC))])


def _values_of(flags: list[Flag]) -> dict[str, Any]:
    """The values of options by their keys in the job file; the last one counts of an option that is given twice."""
    values: dict[str, Any] = {}
    for flag in flags:
        key = SBATCH.key_of(flag.name)
        if key is None:
            continue
        option = SBATCH.keys[key]
        if option.argument == "required":
            values.pop(key, None)
            value = _read(key, flag.value) if flag.value else None
        else:
            value = flag.name != option.opposite and flag.value not in option.other_values
        # sbatch refuses two options that exclude each other; the last one is as good as any for the plan.
        for other in excluded_by(key) if flag.value else ():
            values.pop(other, None)
        if value is not None:
            values[key] = value
    return values


def _read(key: str, text: str) -> Any:
    """A value as its key of the job file reads it; None for a form that only Slurm knows: the line itself is kept."""
    data: Any = text
    for part in reversed(key.split(".")):
        data = {part: data}
    try:
        return attrgetter(key)(JobSpec.model_validate({"command": "true", **data}))
    except ValidationError:
        return None
