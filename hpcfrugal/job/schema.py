"""The JSON Schema of a job file, with which editors complete and check it."""

from __future__ import annotations

import copy
from typing import Any

from hpcfrugal.job.container import Container
from hpcfrugal.job.energy import Energy
from hpcfrugal.job.mail import Mail
from hpcfrugal.job.model import JobSpec
from hpcfrugal.job.resources import Resources
from hpcfrugal.job.schedule import Interruptible, Schedule
from hpcfrugal.job.section import JobSection
from hpcfrugal.job.text_types import TEXT_SCHEMA

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_SWITCH = {"enum": [True, False, "on", "off", "yes", "no", "true", "false"]}
_EVENTS = {"type": ["string", "array"], "minLength": 1, "items": {"type": "string"}}
_SECTIONS: tuple[type[JobSection], ...] = (Container, Energy, Interruptible, Mail, Resources, Schedule)


def job_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a job file, in the forms that people write."""
    # The types' own schemas are shared objects, so the changes below are made on a copy.
    schema = copy.deepcopy(JobSpec.model_json_schema(mode="validation"))
    schema["properties"].pop("directives")
    _finish(schema, JobSpec, {"energy": _SWITCH, "container": TEXT_SCHEMA, "modules": TEXT_SCHEMA, "mail": _EVENTS})
    for section in _SECTIONS:
        short_forms = {"interruptible": _SWITCH} if section is Schedule else {}
        _finish(schema["$defs"][section.__name__], section, short_forms)
        schema["$defs"][section.__name__]["type"] = ["object", "null"]
    schema["oneOf"] = [{"required": ["command"]}, {"required": ["script"]}]
    schema["title"] = "hpcfrugal job file"
    return {"$schema": SCHEMA_DIALECT, **schema}


def _finish(schema: dict[str, Any], section: type[JobSection], short_forms: dict[str, dict[str, Any]]) -> None:
    """Add to each key its short forms, the empty value, and its default as one would write it."""
    defaults = section.model_construct().model_dump(mode="json")
    for name, entry in schema["properties"].items():
        about = {key: entry.pop(key) for key in ("description", "examples") if key in entry}
        default = defaults.get(name)
        if isinstance(default, bool | int | float) or (isinstance(default, str) and default):
            about["default"] = default
        for dropped in ("title", "default"):
            entry.pop(dropped, None)
        forms = entry.pop("anyOf", None) or [entry]
        if name in short_forms:
            forms.append(short_forms[name])
        if len(forms) == 1 and "$ref" in forms[0]:
            # A plain reference, so that editors mark the mistake within and not the whole section.
            schema["properties"][name] = {**about, **forms[0]}
            continue
        if {"type": "null"} not in forms:
            forms.append({"type": "null"})
        schema["properties"][name] = {**about, "anyOf": forms}
