"""The tables of docs/job-file.md follow from the model (run this file to write them again)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hpcfrugal.job import load_job
from hpcfrugal.job.model import SBATCH
from hpcfrugal.job.schema import job_schema

DOC = Path(__file__).parents[2] / "docs" / "job-file.md"
TABLES = {
    "keys": None,
    "resources": "Resources",
    "container": "Container",
    "mail": "Mail",
    "energy": "Energy",
    "schedule": "Schedule",
    "interruptible": "Interruptible",
}
ABOVE = {
    "keys": "",
    "resources": "resources.",
    "container": "container.",
    "mail": "mail.",
    "energy": "energy.",
    "schedule": "schedule.",
    "interruptible": "schedule.interruptible.",
}
REFUSALS = {"refused": SBATCH.refusals, "refused-in-script": SBATCH.refusals_in_script}
BLOCK = re.compile(r"<!-- table: (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)


def example(value: Any) -> str:
    """A value as one would write it in the file, on one line."""
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value, ensure_ascii=False)}`".replace('"', "")


def option_names(key: str) -> str:
    """The names of the option that a key stands for, as one would write them."""
    option = SBATCH.keys.get(key)
    if option is None:
        return ""
    names = [f"--{option.name}", *([f"--{option.opposite}"] if option.opposite else [])]
    return ", ".join(f"`{name}`" for name in [*names, *([f"-{option.short}"] if option.short else [])])


def table(name: str) -> str:
    """One table of the reference, from the schema."""
    if name in REFUSALS:
        lines = ["| option | why, and what to do instead |", "|---|---|"]
        lines += [f"| `--{option}` | {why} |" for option, why in REFUSALS[name]()]
    else:
        schema = job_schema()
        section = schema if TABLES[name] is None else schema["$defs"][TABLES[name]]
        above = ABOVE[name]
        keys = {f"{above}{key}": entry for key, entry in section["properties"].items()}
        with_options = any(key in SBATCH.keys for key in keys)
        lines = ["| key | meaning | examples | default |", "|---|---|---|---|"]
        if with_options:
            lines = ["| key | meaning | examples | default | sbatch |", "|---|---|---|---|---|"]
        for path, entry in keys.items():
            key = path.removeprefix(above)
            shown = ", ".join(example(value) for value in entry["examples"]).replace("|", "\\|")
            default = f"`{str(entry['default']).lower()}`" if "default" in entry else ""
            if key == "signal" and "default" in entry:
                default = f"`{entry['default']}`"
            option = f" {option_names(path)} |" if with_options else ""
            lines.append(f"| `{key}` | {entry['description']} | {shown} | {default} |{option}")
    return "\n".join(lines) + "\n"


def test_each_table_follows_from_the_model() -> None:
    found = dict(BLOCK.findall(DOC.read_text()))
    assert set(found) == {*TABLES, *REFUSALS}
    for name, text in found.items():
        assert text == table(name), f"write {DOC.name} anew: python {Path(__file__).name}"


def test_each_job_file_in_it_is_one(tmp_path: Path) -> None:
    (tmp_path / "train.sh").write_text("#!/bin/bash\nhostname\n")
    blocks = re.findall(r"```yaml\n(.*?)```", DOC.read_text(), re.DOTALL)
    assert len(blocks) >= 3
    for number, block in enumerate(blocks):
        path = tmp_path / f"job{number}.yaml"
        path.write_text(block)
        load_job(path)


def test_the_schema_is_named_for_editors() -> None:
    assert "# yaml-language-server: $schema=" in DOC.read_text()


if __name__ == "__main__":
    DOC.write_text(
        BLOCK.sub(lambda block: f"<!-- table: {block[1]} -->\n{table(block[1])}<!-- end -->", DOC.read_text())
    )
