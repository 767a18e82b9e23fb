"""The JSON Schema: structure, agreement with the reader, and the command that prints it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from hpcfrugal.cli.schema import schema_command
from hpcfrugal.job import job_from_mapping
from hpcfrugal.job.model import JobSpec
from hpcfrugal.job.problems import key_paths
from hpcfrugal.job.schema import job_schema
from hpcfrugal.job.yaml_source import read_yaml

SCHEMA = job_schema()
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
UNDERSTOOD = {
    "$schema", "$defs", "$ref", "title", "description", "examples", "default", "type", "enum", "anyOf", "oneOf",
    "required", "properties", "additionalProperties", "propertyNames", "items", "minItems", "pattern", "minLength",
    "maxLength", "minimum", "maximum", "exclusiveMinimum",
}  # fmt: skip


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value satisfies a schema, for the keywords that ours uses; any other keyword is an error."""
    assert set(schema) <= UNDERSTOOD
    if "$ref" in schema and not fits(value, SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")]):
        return False
    if "type" in schema:
        kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        if not any(
            isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool)) for kind in kinds
        ):
            return False
    checks = [
        "enum" not in schema or any(value == one and type(value) is type(one) for one in schema["enum"]),
        "anyOf" not in schema or any(fits(value, one) for one in schema["anyOf"]),
        "oneOf" not in schema or sum(fits(value, one) for one in schema["oneOf"]) == 1,
    ]
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties", True)
        checks += [key in value for key in schema.get("required", [])]
        checks += [fits(key, schema.get("propertyNames", {})) for key in value]
        for key, entry in value.items():
            if key in properties:
                checks.append(fits(entry, properties[key]))
            else:
                checks.append(fits(entry, others) if isinstance(others, dict) else others)
    elif isinstance(value, list):
        checks += [fits(entry, schema.get("items", {})) for entry in value]
        checks.append(len(value) >= schema.get("minItems", 0))
    elif isinstance(value, str):
        checks.append(re.search(schema.get("pattern", ""), value) is not None)
        checks.append(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        checks.append(schema.get("minimum", value) <= value <= schema.get("maximum", value))
        checks.append("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
    return all(checks)


def entries() -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """Each key path of the model with its place in the schema."""
    found = []
    for path in key_paths():
        node = SCHEMA
        for part in path:
            if "properties" not in node:
                forms = [form["$ref"] for form in node.get("anyOf", [node]) if "$ref" in form]
                node = SCHEMA["$defs"][forms[0].removeprefix("#/$defs/")]
            node = node["properties"][part]
        found.append((tuple(map(str, path)), node))
    return found


def placed(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The smallest job file that gives this key this value."""
    job: dict[str, Any] = {"command": "x"}
    node = job
    for part in path[:-1]:
        node = node.setdefault(part, {"image": "x.sif"} if part == "container" else {})
    node[path[-1]] = value
    if path in {("script",), ("args",)}:
        del job["command"]
        job.setdefault("script", "x.sh")
    if path == ("schedule", "policy"):
        node["max_delay"] = "1h"
    return job


def test_it_is_a_schema_of_this_draft_and_the_same_each_time() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert job_schema() == SCHEMA
    assert SCHEMA["additionalProperties"] is False
    assert "directives" not in SCHEMA["properties"]
    assert set(SCHEMA["properties"]) == set(JobSpec.known_keys) - {"directives"}


@pytest.mark.parametrize(
    ("path", "entry"), entries(), ids=lambda value: ".".join(value) if isinstance(value, tuple) else ""
)
def test_each_key_is_described_with_examples_that_satisfy_schema_and_reader(
    path: tuple[str, ...], entry: dict[str, Any]
) -> None:
    assert entry["description"].endswith((".", "}"))
    assert entry["examples"]
    for example in entry["examples"]:
        job = placed(path, example)
        assert fits(job, SCHEMA), job
        job_from_mapping(job)
    if "default" in entry:
        job = placed(path, entry["default"])
        assert fits(job, SCHEMA)
        node: Any = job_from_mapping(job).to_json()
        for part in path:
            node = node[part]
        assert node == entry["default"]


@pytest.mark.parametrize(
    "text",
    [
        "command: x\nenergy: off\n",
        "command: x\nenergy: {enabled: no}\n",
        "command: x\nenergy:\n",
        "command: x\nresources: {time: 30, mem: 4000, nodes: 2-4, gpus: a100:2, partition: [a, b], exclusive: yes}\n",
        "command: x\nresources: {time: '1:30:00', account: 1234}\n",
        "command: [python, 3]\nenv: {A: 1, B: true, C: }\n",
        "command: x\nschedule: {interruptible: yes, max_delay: 12h, min_saving: 5 %}\n",
        "command: x\ncontainer: x.sif\nmodules: gcc\n",
        "script: x.sh\nargs: [1, a]\nsbatch: {nice: 100, contiguous: true}\n",
        "command: x\ntags: {phase: odd, run: 7}\n",
        "command: x\nexport: NONE\nresources: {nodes: '2', ntasks: '4', mem: '64G'}\n",
        "command: x\nschedule: {budget_g: '250', min_saving: '0.05', max_delay: '1h'}\n",
        "command: x\nmatrix: {lr: ['1', 2], max_running: '4'}\n",
    ],
)
def test_forms_that_people_write_satisfy_it(text: str) -> None:
    # An editor that reads YAML 1.1 hands `off` to the schema as false, one that reads YAML 1.2 as text.
    assert fits(yaml.safe_load(text), SCHEMA)
    job_from_mapping(yaml.safe_load(text))
    job_from_mapping(read_yaml(text, "job.yaml").value)


@pytest.mark.parametrize(
    "text",
    [
        "command: true\n",
        "command: [echo, yes, 1]\n",
        "command: x\nname: no\n",
        "command: x\nschedule: {zone: NO, queue: on}\n",
        "command: x\nresources: {partition: [on, off], account: yes}\nmodules: [yes]\n",
    ],
)
def test_words_that_editors_take_for_truth_values_satisfy_it_too(text: str) -> None:
    assert fits(yaml.safe_load(text), SCHEMA)
    job_from_mapping(read_yaml(text, "job.yaml").value)


@pytest.mark.parametrize(
    "job",
    [
        {},
        {"command": "x", "script": "y"},
        {"command": "x", "nmae": "y"},
        {"command": "x", "resources": {"tmie": 1}},
        {"command": "x", "resources": {"time": "soon"}},
        {"command": "x", "resources": {"mem": "lots"}},
        {"command": "x", "energy": "never"},
        {"command": "x", "schedule": {"policy": "green"}},
        {"command": "x", "sbatch": ["foo"]},
        {"command": "x", "env": {"A B": 1}},
        {"command": "x", "container": {"nv": True}},
        {"command": ["a", ["b"]]},
    ],
)
def test_mistakes_do_not_satisfy_it(job: dict[str, Any]) -> None:
    assert not fits(job, SCHEMA)


def test_the_command_prints_it() -> None:
    result = CliRunner().invoke(schema_command, [])
    assert result.exit_code == 0
    assert json.loads(result.output) == SCHEMA
    assert result.output.startswith('{\n  "$schema"')


def test_examples_of_the_project_satisfy_it() -> None:
    folder = Path(__file__).parents[2] / "examples"
    examples = list(folder.glob("*.yaml"))
    assert examples
    for path in examples:
        assert fits(yaml.safe_load(path.read_text()), SCHEMA), path.name
