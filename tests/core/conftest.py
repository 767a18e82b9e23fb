"""A server of JSON, asked by a process without proxies."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from fake_grid import Grid


@pytest.fixture
def grid() -> Iterator[Grid]:
    server = Grid()
    yield server
    server.stop()


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
