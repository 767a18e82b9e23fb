"""The contract of a client of Slurm, by its commands; `scripts/pyslurm-lab` runs it for pyslurm too."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Lab

pytestmark = pytest.mark.lab

CONTRACT = Path(__file__).resolve().parents[1] / "slurm/contract.py"


def test_slurms_commands_keep_the_contract(lab: Lab) -> None:
    lab.install()
    words = ["bash", "-c", 'cd "$(mktemp -d)" && python -c "$0" . --commands', CONTRACT.read_text(encoding="utf-8")]
    done = lab.exec(words, user="bob", check=False)
    names = ("options", "refusal", "query", "array", "start_time", "hold", "nodes")
    assert (done.returncode, done.stdout.splitlines()) == (0, [f"{name}: ok" for name in names]), done.stderr
