"""A server of intensities, and settings that lead to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_grid import Grid
from provider_asker import Asker

import hpcfrugal.settings.config


@pytest.fixture
def grid() -> Iterator[Grid]:
    server = Grid()
    yield server
    server.stop()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without settings, in a process without proxies."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    (home / ".config/hpcfrugal").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(hpcfrugal.settings.config, "SITE_DIR", tmp_path / "etc")
    return home


@pytest.fixture
def asker(grid: Grid) -> Asker:
    return Asker(grid)
