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
    """A home without settings, in a process without proxies or credentials."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(
            ("HPCFRUGAL_", "ELECTRICITY", "WATTTIME", "ENTSOE", "EIA_")
        ):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    (home / ".config/hpcfrugal").mkdir(parents=True)
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(hpcfrugal.settings.config, "SITE_DIR", tmp_path / "etc")
    return home


@pytest.fixture
def asker(grid: Grid) -> Asker:
    return Asker(grid)
