"""The program's own models without plugins of pydantic, for which it would look into every installed package."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_LOADER = "pydantic.plugin._loader"


class _NoPlugins(ModuleType):
    """In place of pydantic's module that loads them; for any other name of that, it is imported after all."""

    def get_plugins(self) -> tuple[()]:
        """None."""
        return ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(_LOADER) is self:
            del sys.modules[_LOADER]
        return getattr(import_module(_LOADER), name)


def load_no_plugins() -> None:
    """Have pydantic load no plugins in this process, unless it has begun already.

    It reads the entry points of all packages, which takes a tenth of the time of `submit` where there are few of them.
    Its variable PYDANTIC_DISABLE_PLUGINS would reach the user's own programs as well.
    """
    sys.modules.setdefault(_LOADER, _NoPlugins(_LOADER))
