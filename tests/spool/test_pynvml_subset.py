"""The part of pynvml that travels: the library's own code, and all that the sidecar asks of it."""

from __future__ import annotations

import ast

from hpcfrugal.spool import pynvml_subset, zipapp


def test_slim_pynvml_is_the_library_s_own_code() -> None:
    """Each function that is kept is the same, statement by statement, and each that the sidecar uses is kept."""
    spec = zipapp._pynvml_path()
    whole = {
        node.name: ast.dump(node)
        for node in ast.parse(spec.read_text()).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }
    source = pynvml_subset.slim_pynvml(spec.read_text())
    slim = {
        node.name: ast.dump(node)
        for node in ast.parse(source).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }
    assert {name: whole[name] for name in slim} == slim
    assert slim.keys() >= pynvml_subset.PYNVML_NAMES
    assert len(source) < 40_000
    assert "Redistribution and use in source and binary forms" in source


def test_sidecar_uses_no_other_name_of_pynvml() -> None:
    used = {
        node.attr
        for node in ast.walk(ast.parse((zipapp.PACKAGE_DIR / "sensors/nvml.py").read_text()))
        if isinstance(node, ast.Attribute) and node.attr.startswith(("nvml", "NVML"))
    }
    assert used == pynvml_subset.PYNVML_NAMES


def test_unfamiliar_pynvml_is_kept_whole() -> None:
    source = "from elsewhere import nvmlInit\n\ndef nvmlShutdown():\n    return missing_helper()\n"
    assert pynvml_subset.slim_pynvml(source) == source
