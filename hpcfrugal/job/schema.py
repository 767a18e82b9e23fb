"""The JSON Schema of a job file, with which editors complete and check it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from hpcfrugal.core.section import Section, SectionKey, ValueType, keys_below
from hpcfrugal.job.model import JobSpec
from hpcfrugal.job.text_types import TEXT_SCHEMA

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_SWITCH = {"enum": [True, False, "on", "off", "yes", "no", "true", "false"]}
_SHORT_FORMS: Mapping[str, Mapping[str, Any]] = {
    "energy": _SWITCH,
    "interruptible": _SWITCH,
    "container": TEXT_SCHEMA,
    "modules": TEXT_SCHEMA,
    "mail": {"type": ["string", "array"], "minLength": 1, "items": {"type": "string"}},
}
"""What may stand in place of a mapping, or of a list, by the name of the key."""


def job_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a job file, in the forms that people write."""
    sections = {inner.__name__: inner for _, key in keys_below(JobSpec) if (inner := key.section) is not None}
    return {
        "$schema": SCHEMA_DIALECT,
        "$defs": {name: _of_section(sections[name], ["object", "null"]) for name in sorted(sections)},
        **_of_section(JobSpec, "object"),
        "oneOf": [{"required": ["command"]}, {"required": ["script"]}],
        "title": "hpcfrugal job file",
    }


def _of_section(section: type[Section], kind: str | list[str]) -> dict[str, Any]:
    keys = {name: key for name, key in section.known_keys.items() if name != "directives"}
    needed = [name for name, key in keys.items() if key.required]
    return {
        "title": section.__name__,
        "description": inspect.getdoc(section),
        "type": kind,
        "properties": {name: _of_key(name, key) for name, key in keys.items()},
        "additionalProperties": False,
        **({"required": needed} if needed else {}),
    }


def _of_key(name: str, key: SectionKey) -> dict[str, Any]:
    """A key with its short forms, the empty value, and its default as one would write it."""
    about: dict[str, Any] = {"description": key.description, "examples": list(key.examples)}
    default = None if key.required or key.default is None else key.to_json(key.default)
    if isinstance(default, bool | int | float) or (isinstance(default, str) and default):
        about["default"] = default
    if isinstance(key.of, ValueType):
        schema = key.of.schema or {}
        forms = [*schema.get("anyOf", [schema])]
    else:
        forms = [{"$ref": f"#/$defs/{key.of.__name__}"}]
    forms += [_SHORT_FORMS[name]] if name in _SHORT_FORMS else []
    if len(forms) == 1 and "$ref" in forms[0]:
        # A plain reference, so that editors mark the mistake within and not the whole section.
        return {**about, **forms[0]}
    return {**about, "anyOf": [*forms, {"type": "null"}]}
