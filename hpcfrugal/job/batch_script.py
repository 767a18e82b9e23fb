"""The #SBATCH lines of an existing batch script, read by sbatch's own rules.

After sbatch(1) and src/sbatch/opt.c of Slurm: a directive begins at the start of a line; blank lines and
other comments may stand between; the first line of anything else ends them. Words are split at blanks; quotes
group, a backslash escapes, an unescaped ``#`` begins a comment. The lines themselves are kept; they are read only
for what hpcfrugal needs to know about the job, so a value in a form that it does not know is left to Slurm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from functools import lru_cache
from typing import Any

from hpcfrugal.core.errors import Problem
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.section import ValueType
from hpcfrugal.core.text import quoted_value
from hpcfrugal.core.units import parse_walltime
from hpcfrugal.job.model import JOB_KEYS, SBATCH
from hpcfrugal.job.option_table import Flag
from hpcfrugal.job.resources import is_gpu_gres
from hpcfrugal.job.sbatch_options import GPU_GRES, rivals_of
from hpcfrugal.job.slurm_time import parse_slurm_time
from hpcfrugal.job.text_types import to_text

_BLANKS = " \t\v\f\r"
_MAGIC = "#SBATCH"
_OTHER_MAGICS = ("#PBS", "#BSUB", "#SLURM")
_PLACEHOLDER = "is it a placeholder that was not filled in?"
_AMOUNTS = frozenset(
    ("nodes", "ntasks", "ntasks-per-node", "cpus-per-task", "cpus-per-gpu", "mem", "mem-per-cpu", "mem-per-gpu")
)
_NAMES = frozenset(("account", "partition", "qos", "reservation"))
_NOT_IN_NAMES = frozenset("<>[]{}$")
"""What shells and templates would fill in, and sbatch does not."""
_IGNORE_PBS = "sbatch reads them: write them as #SBATCH lines, delete them, or add `#SBATCH --ignore-pbs`"
_PLAIN_FLAG = re.compile(r"[A-Za-z0-9_.,:/=%@+^~\[\]{}!*&|<>-]*\Z")
_OF_RESOURCES = frozenset({"gres", "tres-per-task"})
"""Options whose value is a list of resources, each of which may also be asked for by an option of its own."""
_CPU_OPTIONS = frozenset({"cpus-per-task", "cpus-per-gpu"})
_CPU_PART = re.compile(r"cpu[:=]\d+")
_COMPONENT = frozenset({"hetjob", "packjob"})
"""Words of a line after which the options of the next component of a heterogeneous job follow."""
_REFUSED = dict(SBATCH.refusals_in_script())


@dataclass(frozen=True, slots=True)
class Directives:
    """The directive lines as they stand, and their values by the keys of a job file; those of the first component where
    the job is heterogeneous.
    """

    lines: tuple[str, ...]
    values: dict[str, Any]
    problems: tuple[Problem, ...]


def quote_flag(flag: str) -> str:
    """Write one option for an ``#SBATCH`` line, so that sbatch reads back exactly ``flag``.

    sbatch splits such a line at white space, ends it at ``#``, and knows quotes and backslash (sbatch(1)).

    Raises:
        ValueError: the option contains a line break, which is not possible in a ``#SBATCH`` line.
    """
    if "\n" in flag or "\r" in flag:
        raise ValueError("can't contain a line break")
    if _PLAIN_FLAG.match(flag):
        return flag
    return '"' + flag.replace("\\", "\\\\").replace('"', '\\"') + '"'


def written(flag: Flag) -> str:
    """An option as a word of a ``#SBATCH`` line."""
    dashes = "--" if len(flag.name) > 1 else "-"
    return quote_flag(f"{dashes}{flag.name}" if flag.value is None else f"{dashes}{flag.name}={flag.value}")


@lru_cache(1000)
def split_words(text: str) -> tuple[str, ...]:
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
        word = [] if word is None else word
        word.append(char)
    if quote:
        raise ValueError(f"the quote {quote} is not closed")
    if word is not None:
        words.append("".join(word))
    return tuple(words)


def read_directives(text: str, where: str, given: Set[str] = frozenset()) -> Directives:
    """Read the directives of a batch script; ``where`` is its name in messages.

    ``given`` are options that the job file has set (see :func:`given_options`): they and their rivals are left out of
    the first component of the job.
    """
    lines: list[str] = []
    flags: list[Flag] = []
    problems: list[Problem] = []
    others: list[Problem] = []
    first, ignores_pbs = True, "ignore-pbs" in given
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line.startswith(_MAGIC):
            stripped = line.lstrip(_BLANKS)
            if stripped and not stripped.startswith("#"):
                break
            if line.startswith(_OTHER_MAGICS):
                magic = line.split(maxsplit=1)[0]
                others.append(Problem(f"{where}:{number}", f"{magic} lines are not read", _IGNORE_PBS))
            continue
        place = f"{where}:{number}"
        try:
            found = split_words(line[len(_MAGIC) :])
            # A comment behind the options may have any encoding.
            lines.append(_in_utf8(line, found))
        except ValueError as error:
            problems.append(Problem(place, str(error), "sbatch would refuse this line as well"))
            continue
        if _begins_component(found):
            first = False
            continue
        here, rest = SBATCH.split(found)
        if rest and all(SBATCH.known(flag.name) for flag in here):
            hint = "put a value that contains blanks in quotes; a comment begins with #"
            problems.append(Problem(place, f"{quoted_value(rest[0])} is not an option; sbatch refuses it", hint))
        for flag in here:
            if flag.name in _REFUSED:
                problems.append(Problem(place, f"--{flag.name} can't be used here", _REFUSED[flag.name]))
            elif flag.value is None and SBATCH.needs_value(flag.name):
                problems.append(Problem(place, f"--{flag.name} needs a value", "write it on the same line"))
            elif flag.value is not None and _is_refused(flag.name, flag.value):
                problems.append(
                    Problem(place, f"{quoted_value(flag.value)} is not a value of --{flag.name}", _PLACEHOLDER)
                )
        ignores_pbs = ignores_pbs or any(flag.name == "ignore-pbs" for flag in here)
        if first:
            kept = [left for flag in here if (left := _left_of(flag, given)) is not None]
            if kept != here:
                lines[-1:] = [f"{_MAGIC} {' '.join(map(written, kept))}"] if kept else []
            flags += kept
    if not ignores_pbs:
        problems += others
    return Directives(tuple(lines), _values_of(flags), tuple(problems))


def _is_refused(name: str, value: str) -> bool:
    """Whether sbatch refuses the value for certain: a wrong time limit, an amount or time without any digit, or a name
    that was to be filled in."""
    if name in _NAMES:
        return not _NOT_IN_NAMES.isdisjoint(value)
    if name in {"time", "time-min"}:
        try:
            parse_walltime(value)
        except ValueError:
            return value.strip().upper() not in {"UNLIMITED", "INFINITE", "-1"}
        return False
    if any(char.isdigit() for char in value):
        return False
    if name in {"begin", "deadline"}:
        try:
            parse_slurm_time(value)
        except ValueError:
            return True
        return False
    return name in _AMOUNTS


def given_options(data: Mapping[str, Any]) -> frozenset[str]:
    """The names of the options that a job file sets, by its keys or under `sbatch`; what is invalid counts as well."""
    flags = [Flag(option.name, str(value)) for key, option in SBATCH.keys.items()
             if (value := value_at(data, key)) is not None]  # fmt: skip
    if not isinstance(data.get("mail") or {}, Mapping):
        flags += [Flag("mail-type", None), Flag("mail-user", None)]
    try:
        flags += SBATCH.read(SBATCH.extra_flags(data.get("sbatch") or ()))
    except ValueError:
        pass  # the check of the job file reports it
    names = {flag.name for flag in flags}
    names |= {option.opposite for option in SBATCH.keys.values() if option.name in names and option.opposite}
    if any(flag.name in _OF_RESOURCES and any(map(is_gpu_gres, (flag.value or "").split(","))) for flag in flags):
        names.add(GPU_GRES)
    return frozenset(names)


def value_at(data: Any, key: str) -> Any:
    """The value of a key path (``resources.mem``) among plain values; None where there is none."""
    for part in key.split("."):
        data = data.get(part) if isinstance(data, Mapping) else None
    return data


def _left_of(flag: Flag, given: Set[str]) -> Flag | None:
    """What the options that the job file sets leave of one of the script's."""
    if flag.name in given or rivals_of(flag.name) & given:
        return None
    if flag.name not in _OF_RESOURCES or not flag.value:
        return flag
    gpus = rivals_of(GPU_GRES) | ({GPU_GRES} if flag.name == "tres-per-task" else set())
    parts = flag.value.split(",")
    if gpus & given:
        parts = [part for part in parts if not is_gpu_gres(part)]
    if _CPU_OPTIONS & given:
        parts = [part for part in parts if not _CPU_PART.fullmatch(part.strip())]
    if len(parts) == len(flag.value.split(",")):
        return flag
    return Flag(flag.name, ",".join(parts)) if parts else None


def _in_utf8(line: str, words: Sequence[str]) -> str:
    """The line, without a comment that is not UTF-8 text; raises ValueError if its options are not."""
    try:
        return to_text(line)
    except ValueError:
        return " ".join([_MAGIC, *(quote_flag(to_text(word)) for word in words)])


def _begins_component(words: Sequence[str]) -> bool:
    return bool(words) and words[0] in _COMPONENT


def components(lines: Sequence[str]) -> list[list[str]]:
    """#SBATCH lines that were found valid, by the component of a heterogeneous job whose options they are. From the
    second component on the first line is that which begins it.
    """
    found: list[list[str]] = [[]]
    for line in lines:
        if _begins_component(split_words(line.removeprefix(_MAGIC))):
            found.append([])
        found[-1].append(line)
    return found


def component_flags(lines: Sequence[str]) -> list[list[Flag]]:
    """The options in #SBATCH lines that were found valid, of each component of the job."""
    found: list[list[str]] = [[]]
    for line in lines:
        words = split_words(line.removeprefix(_MAGIC))
        if _begins_component(words):
            found.append([])
        else:
            found[-1] += words
    return [SBATCH.read(words) for words in found]


def directive_flags(lines: Sequence[str]) -> list[Flag]:
    """The options in #SBATCH lines that were found valid, of the first component of the job."""
    return component_flags(lines)[0]


def deadline_in(lines: Sequence[str]) -> datetime | None:
    """The script's own ``--deadline``; None if it has none, or one that sbatch would refuse."""
    values = [flag.value for flag in directive_flags(lines) if flag.name == "deadline" and flag.value]
    try:
        return parse_slurm_time(values[-1]) if values else None
    except ValueError:
        return None


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
        for other in rivals_of(flag.name) if flag.value else ():
            values.pop(SBATCH.key_of(other) or "", None)
        if value is not None:
            values[key] = value
    return values


def _read(key: str, text: str) -> Any:
    """A value as its key of the job file reads it; None for a form that only Slurm knows: the line itself is kept."""
    of = JOB_KEYS[key].of
    assert isinstance(of, ValueType)  # a section stands for no option
    try:
        return of.read(parse_slurm_time(text) if key == "schedule.earliest" else text)
    except ValueError:
        return None
