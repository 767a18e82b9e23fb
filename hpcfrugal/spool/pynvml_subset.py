"""The part of pynvml that the sidecar uses: its functions as they stand, with all that they refer to.

pynvml (nvidia-ml-py) is one file of 8000 lines. Loading all of it on each node would cost 25 ms and 4 MiB (see
docs/measurements.md).
"""

from __future__ import annotations

import ast
import threading

PYNVML_NAMES = frozenset(
    {
        "NVMLError",
        "nvmlDeviceGetCount",
        "nvmlDeviceGetDeviceHandleFromMigDeviceHandle",
        "nvmlDeviceGetEnforcedPowerLimit",
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
"""All names of pynvml that the sidecar uses; a test compares them with its source."""


_PARSING = threading.Lock()
"""CPython 3.11 counts the depth of ``ast.parse`` for all threads together and may raise SystemError."""


def pynvml_subset(source: str) -> str:
    """pynvml's ``source`` reduced to ``PYNVML_NAMES`` and what they refer to, its licence included.

    Calls at module level are left out: they only make a subclass of NVMLError for each error code.
    """
    with _PARSING:
        tree = ast.parse(source)
    statements = [(statement, _defines(statement)) for statement in tree.body]
    wanted: set[str] = set()
    new = set(PYNVML_NAMES)
    while new:
        wanted |= new
        used = [node for statement, names in statements if names & new for node in ast.walk(statement)]
        new = {node.id for node in used if isinstance(node, ast.Name)} - wanted
    lines = source.splitlines(keepends=True)
    licence = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    body = [statement for statement, names in statements if names & wanted or "*" in names]
    return "".join(lines[:licence]) + ast.unparse(ast.Module(body, type_ignores=[])) + "\n"


def _defines(statement: ast.AST) -> set[str]:
    """The names that a statement defines in its module; ``*`` for a star import."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name for alias in statement.names}
    if isinstance(statement, ast.Name) and isinstance(statement.ctx, ast.Store):
        return {statement.id}
    return {name for child in ast.iter_child_nodes(statement) for name in _defines(child)}
