"""Fixtures: a spool written by hand, and its ledger."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

FAKES = str(Path(__file__).resolve().parents[1] / "fakes")
if FAKES not in sys.path:
    sys.path.insert(0, FAKES)

from fake_spool import FakeSpool  # noqa: E402


@pytest.fixture
def spool(tmp_path: Path) -> FakeSpool:
    return FakeSpool(tmp_path)
