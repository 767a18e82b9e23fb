"""The contract of a client of Slurm, by Slurm's commands; `scripts/pyslurm-lab` runs it for pyslurm too."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Lab
from .test_jobs import Alice

pytestmark = pytest.mark.lab

CONTRACT = Path(__file__).parents[1] / "slurm/contract.py"


def test_commands_keep_the_contract(lab: Lab) -> None:
    lab.install()
    alice = Alice(lab)
    alice.write("contract.py", CONTRACT.read_text())
    done = alice.run(f"{lab.state_dir}/venv/bin/python", "contract.py", str(alice.home), "--commands", check=False)
    names = ("options", "refusal", "query", "array", "start_time", "nodes")
    assert done.stdout.splitlines() == [f"{name}: ok" for name in names]
