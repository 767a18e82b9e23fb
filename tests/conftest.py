"""Fixtures for all tests: a home of its own to run the program in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FAKES = str(Path(__file__).resolve().parent / "fakes")
if FAKES not in sys.path:
    sys.path.insert(0, FAKES)

from sandbox import Sandbox, end_jobs  # noqa: E402


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Sandbox]:
    sandbox = Sandbox(tmp_path)
    yield sandbox
    end_jobs(sandbox.spool)
