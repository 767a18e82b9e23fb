"""Fixtures of the tests here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from compiled import kept

from hpcfrugal.job import render


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    render._environment.cache_clear()


@pytest.fixture(autouse=True, scope="package")
def _compiled_once() -> Iterator[None]:
    with kept():
        yield
