"""docs/job-file.md against the model: its tables are made from it (run this file to write them anew)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hpcfrugal.job import job_schema, load_job
from hpcfrugal.job.sbatch_flags import OWNED, why_refused

DOC = Path(__file__).parents[2] / "docs" / "job-file.md"
TABLES = {
    "keys": None,
    "resources": "Resources",
    "container": "Container",
    "energy": "Energy",
    "schedule": "Schedule",
    "interruptible": "Interruptible",
}
BLOCK = re.compile(r"<!-- table: (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)


def example(value: Any) -> str:
    """A value as one would write it in the file, on one line."""
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value, ensure_ascii=False)}`".replace('"', "")


def table(name: str) -> str:
    """One table of the reference, from the schema."""
    if name == "refused":
        rows = [(f"`--{flag}`", why_refused(flag)) for flag in sorted(OWNED)]
        lines = ["| option | instead |", "|---|---|", *(f"| {flag} | {why} |" for flag, why in rows)]
    else:
        schema = job_schema()
        section = schema if TABLES[name] is None else schema["$defs"][TABLES[name]]
        lines = ["| key | what it says | examples | default |", "|---|---|---|---|"]
        for key, entry in section["properties"].items():
            shown = ", ".join(example(value) for value in entry["examples"]).replace("|", "\\|")
            default = f"`{str(entry['default']).lower()}`" if "default" in entry else ""
            if key == "signal" and "default" in entry:
                default = f"`{entry['default']}`"
            lines.append(f"| `{key}` | {entry['description']} | {shown} | {default} |")
    return "\n".join(lines) + "\n"


def test_each_table_is_the_models() -> None:
    found = dict(BLOCK.findall(DOC.read_text()))
    assert set(found) == {*TABLES, "refused"}
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


def test_it_tells_editors_where_the_schema_is() -> None:
    assert "# yaml-language-server: $schema=" in DOC.read_text()


if __name__ == "__main__":
    DOC.write_text(
        BLOCK.sub(lambda block: f"<!-- table: {block[1]} -->\n{table(block[1])}<!-- end -->", DOC.read_text())
    )
