"""The program's models have no plugins of pydantic, and pydantic's own loader can still be imported."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from hpcfrugal.cli.plugins import load_no_plugins

_LOADER = "pydantic.plugin._loader"


def test_pydantic_asks_the_module_that_is_put_in_place_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    own = import_module(_LOADER)
    monkeypatch.delitem(sys.modules, _LOADER)
    load_no_plugins()
    put = sys.modules[_LOADER]
    assert put is not own
    assert put.get_plugins() == ()
    assert put.PYDANTIC_ENTRY_POINT_GROUP == "pydantic"
    assert sys.modules[_LOADER] is not put


def test_a_loader_that_is_in_use_stays() -> None:
    own = import_module(_LOADER)
    load_no_plugins()
    assert sys.modules[_LOADER] is own
