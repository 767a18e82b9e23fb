"""The JSON Schema of a job file, so that editors complete and check it while it is written."""

from __future__ import annotations

from typing import Any

from hpcfrugal.jobspec.model import JobSpec

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def job_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of what a job file may hold, in the forms that people write."""
    schema = JobSpec.model_json_schema(mode="validation")
    schema["properties"].pop("directives")
    switch = {"enum": [True, False, "on", "off", "yes", "no", "true", "false"]}
    _also(schema["properties"], "energy", switch)
    _also(schema["properties"], "container", {"type": "string", "minLength": 1})
    _also(schema["properties"], "modules", {"type": "string", "minLength": 1})
    _also(schema["$defs"]["Schedule"]["properties"], "interruptible", switch)
    for section in (schema, *schema["$defs"].values()):
        for name, entry in section["properties"].items():
            # A key without a value is as if it were not there, and editors meet it while one is typing.
            _also(section["properties"], name, {"type": "null"})
            entry = section["properties"][name]
            entry.pop("title", None)
            if not isinstance(entry.get("default"), bool | int | str) or entry["default"] == "":
                entry.pop("default", None)  # only absence, which is no value that one would write
    schema["oneOf"] = [{"required": ["command"]}, {"required": ["script"]}]
    schema["title"] = "hpcfrugal job file"
    return {"$schema": SCHEMA_DIALECT, **schema}


def _also(properties: dict[str, Any], name: str, form: dict[str, Any]) -> None:
    """Let a key take one more form."""
    entry = properties[name]
    notes = {key: entry.pop(key) for key in ("description", "examples", "default", "title") if key in entry}
    forms = entry.pop("anyOf", None) or ([entry] if entry else [])
    if form not in forms:
        forms = [*forms, form]
    properties[name] = {**notes, "anyOf": forms}
