"""Cuts out of pynvml's source what the sidecar uses of it, to travel in ``sidecar.pyz``.

pynvml is one file of 8000 lines, mostly for things that a sidecar never asks: loading all of it costs 25 ms
and 4 MB. Its functions in use are taken as they stand, with all that they refer to.
"""

from __future__ import annotations

from collections.abc import Iterator

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast

PYNVML_NAMES = frozenset(
    {
        "NVMLError",
        "nvmlDeviceGetCount",
        "nvmlDeviceGetDeviceHandleFromMigDeviceHandle",
        "nvmlDeviceGetHandleByIndex",
        "nvmlDeviceGetHandleByUUID",
        "nvmlDeviceGetMigMode",
        "nvmlDeviceGetName",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetTotalEnergyConsumption",
        "nvmlDeviceGetUUID",
        "nvmlDeviceGetUtilizationRates",
        "nvmlInit",
        "nvmlShutdown",
    }
)
"""All that the sidecar uses of pynvml; a test compares this with its source."""


def slim_pynvml(source: str) -> str:
    """``pynvml``'s source reduced to ``PYNVML_NAMES`` and what they refer to, its statements unchanged.

    Bare calls at module level go: they build a subclass per error code, and ``NVMLError.value`` says as
    much. Where a release is built so differently that the result would lack a name, all of it is kept.
    """
    import ast

    tree = ast.parse(source)
    wanted = set(PYNVML_NAMES)
    kept: set[int] = set()
    grown = True
    while grown:
        grown = False
        for index, statement in enumerate(tree.body):
            if index not in kept and _binds(statement) & wanted:
                kept.add(index)
                wanted |= _refers(statement)
                grown = True
    body: list[ast.stmt] = []
    for index, statement in enumerate(tree.body):
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            body.extend(_used_import(statement, wanted))
        elif index in kept:
            body.append(statement)
    bound = {name for statement in body for name in _binds(statement)}
    if not wanted - _builtin_names() - _star_names(body) <= bound:
        return source
    return _licence(source) + ast.unparse(ast.Module(body=body, type_ignores=[])) + "\n"


def _licence(source: str) -> str:
    """The comment lines that ``source`` opens with: its licence asks that they stay."""
    lines = source.splitlines(keepends=True)
    end = next((index for index, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "".join(lines[:end])


def _binds(statement: ast.stmt) -> set[str]:
    import ast

    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.If, ast.Try)):
        stores = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
        return {node.id for node in stores if isinstance(node.ctx, ast.Store)}
    return set()


def _refers(statement: ast.stmt) -> set[str]:
    import ast

    return {name for node in ast.walk(statement) for name in _names_of(node)} - _local_names(statement)


def _names_of(node: ast.AST) -> Iterator[str]:
    import ast

    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Global):
        yield from node.names


def _local_names(statement: ast.stmt) -> set[str]:
    """Names that a function makes for itself, which say nothing about the module."""
    import ast

    if not isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return set()
    made: set[str] = set()
    shared: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.arg):
            made.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            made.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.ExceptHandler)) and node.name:
            made.add(node.name)
        elif isinstance(node, ast.Global):
            shared.update(node.names)
    return made - shared


def _used_import(statement: ast.Import | ast.ImportFrom, wanted: set[str]) -> list[ast.stmt]:
    import ast

    names = [
        alias for alias in statement.names if alias.name == "*" or (alias.asname or alias.name).split(".")[0] in wanted
    ]
    if not names:
        return []
    if isinstance(statement, ast.ImportFrom):
        return [ast.ImportFrom(module=statement.module, names=names, level=statement.level)]
    return [ast.Import(names=names)]


def _builtin_names() -> set[str]:
    import builtins

    return {*dir(builtins), "__name__", "__file__"}


def _star_names(body: list[ast.stmt]) -> set[str]:
    """What ``from ctypes import *`` brings in."""
    import ast
    import importlib

    names: set[str] = set()
    for statement in body:
        if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*" and statement.module:
            names |= {name for name in vars(importlib.import_module(statement.module)) if name[0] != "_"}
    return names
