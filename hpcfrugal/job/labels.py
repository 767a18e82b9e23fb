"""The types of a job's own top-level keys: what it runs, in which environment, under which labels."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from hpcfrugal.job.fields import Fault, Faults, line_of, shown, text_of
from hpcfrugal.job.forms import TEXT_SCHEMA, Lines
from hpcfrugal.job.sbatch_flags import flags_of

PHASES = ("training", "inference", "preprocessing", "evaluation", "simulation", "analysis")
"""Phases that reports know by name; any other text is taken as well."""

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEMPLATE = re.compile(r"[a-z0-9_-]{1,64}")


def _texts_by_name(value: object, what: str, check_name: Callable[[object], str]) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a mapping of {what}")
    found: dict[str, str] = {}
    faults: list[Fault] = []
    for key, entry in value.items():
        try:
            name = check_name(key)
            # `KEY:` with nothing behind it is the empty text, as in a shell's `KEY=`.
            if isinstance(entry, bool):
                found[name] = str(entry).lower()
            else:
                found[name] = "" if entry is None else text_of(entry)
        except ValueError as error:
            faults.append(Fault((str(key),), str(error)))
    if faults:
        raise Faults(faults)
    return found


def _env_name_of(value: object) -> str:
    text = text_of(value)
    if not _ENV_NAME.fullmatch(text):
        raise ValueError(f"{shown(text)} can't name an environment variable; letters, digits and `_` are taken")
    return text


def _env_of(value: object) -> dict[str, str]:
    return _texts_by_name(value, "names to values, such as {OMP_NUM_THREADS: 4}", _env_name_of)


def _tags_of(value: object) -> dict[str, str]:
    return _texts_by_name(value, "names to texts, such as {project: climate}", line_of)


def _command_of(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        words: list[str] = [text_of(word) for word in value]
        value = shlex.join(words)
    text = text_of(value)
    if not text.strip():
        raise ValueError("is empty; write the line that you would type, such as `python train.py`")
    return text


def _template_of(value: object) -> str:
    text = text_of(value)
    if not _TEMPLATE.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a template's name; write for example gpu, mpi or torchrun")
    return text


def _modules_of(value: object) -> Any:
    """One module may stand without a list."""
    return [value] if isinstance(value, str) and len(value.split()) == 1 else value


def _directives_of(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError("must be a list of #SBATCH lines")
    lines = []
    for line in value:
        text = text_of(line)
        if not text.startswith("#SBATCH") or "\n" in text or "\r" in text:
            raise ValueError(f"{shown(line)} is not a #SBATCH line")
        lines.append(text)
    return tuple(lines)


_PLAIN = {"type": ["string", "number", "boolean", "null"]}

Command = Annotated[
    str,
    BeforeValidator(_command_of),
    WithJsonSchema(
        {
            "anyOf": [
                TEXT_SCHEMA,
                {"type": "array", "items": TEXT_SCHEMA, "minItems": 1},
            ]
        }
    ),
]
Template = Annotated[
    str,
    BeforeValidator(_template_of),
    WithJsonSchema({"type": "string", "pattern": "^[a-z0-9_-]{1,64}$"}),
]
Modules = Annotated[Lines, BeforeValidator(_modules_of)]
Environment = Annotated[
    dict[str, str],
    BeforeValidator(_env_of),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
            "additionalProperties": _PLAIN,
        }
    ),
]
Tags = Annotated[
    dict[str, str],
    BeforeValidator(_tags_of),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {
                "project": {**_PLAIN, "description": "Project that reports sum up by."},
                "phase": {
                    "anyOf": [{"enum": list(PHASES)}, _PLAIN],
                    "description": "What the run is for.",
                },
            },
            "additionalProperties": _PLAIN,
        }
    ),
]
ExtraFlags = Annotated[
    tuple[str, ...],
    BeforeValidator(flags_of),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string", "pattern": "^-"}},
                {"type": "object", "additionalProperties": _PLAIN},
            ]
        }
    ),
]
DirectiveLines = Annotated[tuple[str, ...], BeforeValidator(_directives_of)]
