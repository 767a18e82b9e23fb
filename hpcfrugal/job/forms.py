"""The field types that a job's sections are made of: a reader, a form for JSON, and a JSON Schema each.

The schemas describe what people write (a time as a number or as text), not the one form that is kept.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from hpcfrugal.core.units import format_duration, format_walltime
from hpcfrugal.job.fields import (
    MAX_NAME_CHARS,
    array_of,
    count_of,
    duration_of,
    gpus_of,
    joined_of,
    line_of,
    list_of,
    memory_of,
    moment_of,
    name_of,
    nodes_of,
    path_of,
    positive_of,
    seconds_of,
    share_of,
    switch_of,
    text_of,
    walltime_of,
)


def _schema(kind: str | list[str], **more: object) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, **more})


# A job file's `name: no` is the text that stands there; an editor that reads YAML sees a truth value in it.
_TEXT_KINDS = ["string", "number", "boolean"]
TEXT_SCHEMA = {"type": _TEXT_KINDS, "minLength": 1}
_DURATION_SCHEMA = {"type": "string", "pattern": r"^[0-9P]"}

Text = Annotated[str, BeforeValidator(text_of), _schema(_TEXT_KINDS)]
Line = Annotated[str, BeforeValidator(line_of), WithJsonSchema(TEXT_SCHEMA)]
Name = Annotated[str, BeforeValidator(name_of), _schema(_TEXT_KINDS, minLength=1, maxLength=MAX_NAME_CHARS)]
FilePath = Annotated[str, BeforeValidator(path_of), WithJsonSchema(TEXT_SCHEMA)]
Joined = Annotated[
    str,
    BeforeValidator(joined_of),
    WithJsonSchema({"anyOf": [TEXT_SCHEMA, {"type": "array", "items": {"type": _TEXT_KINDS}}]}),
]
Switch = Annotated[
    bool,
    BeforeValidator(switch_of),
    WithJsonSchema({"enum": [True, False, "true", "false", "yes", "no", "on", "off"]}),
]
Count = Annotated[int, BeforeValidator(count_of), _schema("integer", minimum=1)]
Positive = Annotated[float, BeforeValidator(positive_of), _schema("number", exclusiveMinimum=0)]
Share = Annotated[
    float,
    BeforeValidator(share_of),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^\s*[0-9.]+\s*%\s*$"},
            ]
        }
    ),
]
Walltime = Annotated[
    timedelta,
    BeforeValidator(walltime_of),
    PlainSerializer(format_walltime, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": r"^([0-9]+-)?[0-9]+(:[0-9]+){0,2}$"},
            ]
        }
    ),
]
Memory = Annotated[
    str,
    BeforeValidator(memory_of),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*([KMGTkmgt]([iI]?[bB])?)?$"},
            ]
        }
    ),
]
Duration = Annotated[
    timedelta,
    BeforeValidator(duration_of),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema(_DURATION_SCHEMA),
]
Seconds = Annotated[
    timedelta,
    BeforeValidator(seconds_of),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, _DURATION_SCHEMA]}),
]
Moment = Annotated[
    datetime,
    BeforeValidator(moment_of),
    PlainSerializer(datetime.isoformat, return_type=str, when_used="json"),
    _schema("string", pattern=r"^\d{4}-\d{2}-\d{2}[T ]\d{2}"),
]
Nodes = Annotated[
    int | str,
    BeforeValidator(nodes_of),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^[0-9]+(-[0-9]+)?$"}]}
    ),
]
Gpus = Annotated[
    str,
    BeforeValidator(gpus_of),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"[0-9]$"}]}),
]
ArrayIndices = Annotated[
    str,
    BeforeValidator(array_of),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^[0-9][0-9,:%-]*$"}]}),
]
Lines = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: list_of(value, line_of)),
    WithJsonSchema({"type": "array", "items": TEXT_SCHEMA}),
]
Texts = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: list_of(value, text_of)),
    WithJsonSchema({"type": "array", "items": {"type": _TEXT_KINDS}}),
]
