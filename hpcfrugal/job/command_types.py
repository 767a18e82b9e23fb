"""Types of the keys that say what a job runs, in which environment, and with which labels."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hpcfrugal.core.section import Fault, Faults, ValueType
from hpcfrugal.core.text import quoted_value
from hpcfrugal.job.text_types import TEXT_KINDS, TEXT_SCHEMA, Lines, to_choice, to_line, to_list, to_text

PHASES = ("training", "inference", "preprocessing", "evaluation", "simulation", "analysis")
"""Phases with a name of their own in reports; any other text is accepted too."""

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEMPLATE = re.compile(r"[a-z0-9_-]{1,64}")


def _texts_by_name(value: object, what: str, check_name: Callable[[object], str]) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a mapping of {what}")
    found: dict[str, str] = {}
    faults: list[Fault] = []
    for key, entry in value.items():
        try:
            found[check_name(key)] = to_value(entry)
        except ValueError as error:
            faults.append(Fault((str(key),), str(error)))
    if faults:
        raise Faults(*faults)
    return found


def to_value(entry: object) -> str:
    """The text of one value. `KEY:` without a value is the empty text, as `KEY=` is in a shell."""
    if isinstance(entry, bool):
        return str(entry).lower()
    return "" if entry is None else to_text(entry)


def to_env_name(value: object) -> str:
    """The name of an environment variable."""
    text = to_text(value)
    if not _ENV_NAME.fullmatch(text):
        raise ValueError(
            f"{quoted_value(text)} is not a valid name of an environment variable; use letters, digits and `_`"
        )
    return text


def _to_env(value: object) -> dict[str, str]:
    return _texts_by_name(value, "names to values, such as {OMP_NUM_THREADS: 4}", to_env_name)


def _to_tags(value: object) -> dict[str, str]:
    return _texts_by_name(value, "names to texts, such as {project: climate}", to_line)


def _to_words(words: Sequence[str]) -> str:
    """One command of these words. A list of commands, as other programs take it, begins with no program."""
    if words and " " in words[0].strip() and not words[0].startswith(("/", ".")):
        what = f"{quoted_value(words[0])} is not a program; a list is the words of one command"
        raise Faults(Fault((0,), what, "write several commands as text, each on a line of its own"))
    return shlex.join(words)


def _to_command(value: object, join: Callable[[Sequence[str]], str] = _to_words) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = join(to_list(value, to_text))
    text = to_text(value)
    if not text.strip():
        raise ValueError("is empty; write a command, such as `python train.py`")
    return text


def is_python_file(command: str) -> bool:
    """Whether a shell command is what torchrun takes: a Python file or a module (``-m``) with its arguments, after its
    own options, with redirections at most, and no further line, list or pipe.
    """
    text = re.sub(r"[<>]&|&>", ">", command.strip().replace("\\\n", " "))
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace = " \t\r"
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError:
        return False  # a quote is not closed: bash reports it
    if any(word and set(word) <= set(";&|\n") for word in words):
        return False
    return bool(words) and (words[0].startswith("-") or words[0].endswith(".py"))


def python_file_as_program(command: str) -> str | None:
    """A Python file, without its directory, that one of several commands names in place of a program."""
    found = None if is_python_file(command) else re.search(r"(?:^|[;&|])\s*([\w.-]+\.py)(?!\S)", command, re.MULTILINE)
    return found and found[1]


def _to_template(value: object) -> str:
    text = to_text(value)
    if not _TEMPLATE.fullmatch(text):
        raise ValueError(f"{quoted_value(text)} is not a valid name of a template; write for example mpi or torchrun")
    return text


def _to_modules(value: object) -> tuple[str, ...]:
    """One module needs no list."""
    return to_list([value] if isinstance(value, str) and len(value.split()) == 1 else value, to_line)


def _to_directives(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError("must be a list of #SBATCH lines")
    lines = []
    for line in value:
        text = to_text(line)
        if not text.startswith("#SBATCH") or "\n" in text or "\r" in text:
            raise ValueError(f"{quoted_value(line)} is not a #SBATCH line")
        lines.append(text)
    return tuple(lines)


def _to_export(value: object) -> str:
    return to_choice(value, ("all", "none")).upper()


_PLAIN = {"type": [*TEXT_KINDS, "null"]}

_TEXT_OR_LIST = {"anyOf": [TEXT_SCHEMA, {"type": "array", "items": TEXT_SCHEMA, "minItems": 1}]}
CommandText = ValueType(_to_command, _TEXT_OR_LIST)
ShellLines = ValueType(lambda value: _to_command(value, "\n".join), _TEXT_OR_LIST)
Export = ValueType(_to_export, {"enum": ["all", "none", "ALL", "NONE"]})
Template = ValueType(_to_template, {"type": "string", "pattern": "^[a-z0-9_-]{1,64}$"})
Modules = ValueType(_to_modules, Lines.schema)
Environment = ValueType(
    _to_env,
    {
        "type": "object",
        "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
        "additionalProperties": _PLAIN,
    },
)
Tags = ValueType(
    _to_tags,
    {
        "type": "object",
        "properties": {
            "project": {**_PLAIN, "description": "Project that reports group by."},
            "phase": {
                "anyOf": [{"enum": list(PHASES)}, _PLAIN],
                "description": "What the run is for.",
            },
        },
        "additionalProperties": _PLAIN,
    },
)
EXTRA_FLAGS_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "array", "items": {"type": "string", "pattern": "^-"}},
        {"type": "object", "additionalProperties": _PLAIN},
    ]
}
DirectiveLines = ValueType(_to_directives)
