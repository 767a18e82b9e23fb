"""The part of pynvml that the sidecar takes along."""

from __future__ import annotations

import ast
from pathlib import Path

import pynvml

from hpcfrugal.spool.pynvml_subset import PYNVML_NAMES, pynvml_subset
from hpcfrugal.spool.zipapp import PACKAGE_DIR

SOURCE = Path(pynvml.__file__).read_text()


def definitions(source: str) -> dict[str, str]:
    """Each function and class with its syntax tree."""
    found = ast.parse(source).body
    return {node.name: ast.dump(node) for node in found if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


def test_functions_and_licence_are_nvidias() -> None:
    subset = pynvml_subset(SOURCE)
    assert definitions(subset).items() <= definitions(SOURCE).items()
    assert definitions(subset).keys() >= PYNVML_NAMES
    assert len(subset) < 40_000
    assert "Redistribution and use in source and binary forms" in subset


def test_each_global_name_is_defined() -> None:
    """Also those that a function looks up only when it runs."""
    module: dict[str, object] = {"__name__": "pynvml"}
    code = compile(pynvml_subset(SOURCE), "pynvml.py", "exec")
    exec(code, module)
    functions = [value for value in module.values() if getattr(value, "__module__", None) == "pynvml"]
    assert len(functions) > len(PYNVML_NAMES)
    whole = vars(pynvml).keys()
    used = {name for function in functions for name in _names(getattr(function, "__code__", None))}
    assert "_nvmlCheckReturn" in used
    assert used & whole <= module.keys()


def _names(code: object) -> set[str]:
    inner = [constant for constant in getattr(code, "co_consts", ()) if hasattr(constant, "co_names")]
    return set(getattr(code, "co_names", ())).union(*(_names(constant) for constant in inner))


def test_names_are_those_that_the_sidecar_uses() -> None:
    tree = ast.parse((PACKAGE_DIR / "sensors/nvml.py").read_text())
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {name for name in attributes if name.startswith(("nvml", "NVML"))} == PYNVML_NAMES


def test_definitions_of_any_form_are_found() -> None:
    """Nothing in the present pynvml is defined below an ``if`` or ``try``, but a later release may do so."""
    source = "try:\n    import x as helper\nexcept ImportError:\n    helper = None\n"
    source += "if helper:\n    def nvmlInit(): return helper\n"
    source += "def nvmlOther(): pass\nnvmlOther()\n"
    subset = pynvml_subset("# licence\n" + source)
    assert "nvmlInit" in subset
    assert "import x as helper" in subset
    assert "nvmlOther" not in subset
