"""Imports modules from byte code that is part of ``__main__`` itself.

zipimport opens its file twice for each module; on a parallel file system, at the start of a job on a thousand
nodes, fifty opens matter. The builder of the zipapp puts this text and the code of all modules into
``__main__.pyc``; a Python of another release ignores that and imports the sources beside it.
"""

from __future__ import annotations

import marshal
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


class Embedded:
    """Finder and loader of ``modules``: name to (whether it is a package, marshalled code)."""

    def __init__(self, modules: dict[str, tuple[bool, bytes]]) -> None:
        self._modules = modules

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The module's spec, None for a module that is not here (see ``importlib.abc.MetaPathFinder``)."""
        found = self._modules.get(name)
        if found is None:
            return None
        return ModuleSpec(name, self, origin="embedded", is_package=found[0])  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """None: the usual module object will do."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code, once."""
        code = marshal.loads(self._modules.pop(module.__name__)[1])
        exec(code, module.__dict__)
