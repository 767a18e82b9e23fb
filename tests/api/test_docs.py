"""docs/python.md: every example on it runs, in the order of the page and in one program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from sandbox import Sandbox

PAGE = Path(__file__).resolve().parents[2] / "docs/python.md"


@pytest.fixture
def output(box: Sandbox) -> str:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(blocks)],
        cwd=box.work,
        env=box.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_examples_run(box: Sandbox, output: str) -> None:
    (run_dir,) = box.spool.glob("2*/*")
    lines = output.splitlines()
    assert lines[0] == f"{run_dir.name} {run_dir.name} {box.work}/local-{run_dir.name}.out"
    assert lines[1].startswith("start-now ")
    assert "square" in output
    assert lines[-1] == ("<python>: resources.tme: there is no key 'tme' in `resources` (did you mean `time`?)")
