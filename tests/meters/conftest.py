"""Fixtures: meters behind HTTP, and a spool."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_spool import FakeSpool
from meter_server import MeterServer


@pytest.fixture
def server() -> Iterator[MeterServer]:
    made = MeterServer()
    yield made
    made.close()


@pytest.fixture
def spool(tmp_path: Path) -> FakeSpool:
    return FakeSpool(tmp_path)
