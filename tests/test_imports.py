"""Who may import whom, and what a command loads."""

from __future__ import annotations

import ast
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
from sandbox import Sandbox

import hpcfrugal
from hpcfrugal.slurm.command import PROGRAMS

PACKAGE = Path(hpcfrugal.__file__).parent

# A package imports only from those before it.
ORDER = (
    "core", "settings", "sidecar", "spool", "accounting", "carbon", "meters", "job", "slurm", "ledger", "planning",
    "queues", "local", "submission", "report", "api", "doctor", "cli", "__main__",
)  # fmt: skip

# Modules and packages that may import even less than their place in the order allows, besides their own package.
NARROWER: dict[str, set[str]] = {
    "core": set(),
    "sidecar": set(),
    "accounting": {"core", "sidecar.energy_split"},
    "carbon.extension": {"carbon.series", "core"},
    "carbon.chart": {"carbon.series", "core"},
    "carbon.readings": {"carbon.series", "core"},
    "carbon.series": {"core"},
    "job.backend": {"core.quick", "spool.job_state"},
    "spool.job_state": {"core"},
    "slurm.client": {"core", "slurm.command", "slurm.environment"},
    "slurm.columns": {"core"},
    "slurm.command": {"core"},
    "slurm.environment": set(),
    # The optimisers are pure: of the carbon package they see the series, and no provider, cache or setting.
    "planning.optimise": {"accounting.spans", "carbon.extension", "carbon.series", "core", "planning.optimise"},
    "planning.decide.decision": {"carbon", "core", "planning.optimise"},
    "planning.decide.plan": {"carbon", "core"},
    # What a report says, apart from how it looks: each format sees the view alone.
    "report.view": {"core"},
    "report.notation": {"core", "report.view"},
    "report.field": {"core", "report.notation", "report.view"},
    "report.formats": {"core", "report.formats", "report.view"},
}


@cache
def modules() -> dict[str, Path]:
    """Every module's dotted name below the package, with its file; "" is the package itself."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    assert len(found) > 100
    return found


def imported(name: str, path: Path) -> Iterator[str]:
    """Dotted names below the package that a module imports, wherever in it the import stands."""
    home = name.split(".") if name else []
    package = home if path.name == "__init__.py" else home[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "hpcfrugal":
                    yield alias.name.removeprefix("hpcfrugal").removeprefix(".")
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            elif (node.module or "").split(".")[0] == "hpcfrugal":
                base = (node.module or "").split(".")[1:]
            else:
                continue
            stem = ".".join(part for part in base if part)
            for alias in node.names:
                whole = f"{stem}.{alias.name}" if stem else alias.name
                yield whole if whole in modules() else stem


def package(name: str) -> str:
    return name.split(".")[0]


def below(name: str, places: Iterable[str]) -> bool:
    """Whether a module is one of ``places`` or lies in one of them."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def test_every_package_has_a_place_in_the_order() -> None:
    assert {package(name) for name in modules() if name} == set(ORDER)
    assert set(NARROWER) <= set(modules())


def test_the_reader_of_imports_sees_all_forms(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(
        "import hpcfrugal.core.units\nfrom hpcfrugal import core, __version__\nimport os\n"
        "def f():\n    from hpcfrugal.spool import RunDir\n    from . import backend\n"
        "    from ..settings import config\n"
    )
    assert list(imported("slurm.x", path)) == [
        "core.units", "core", "", "spool", "slurm.backend", "settings.config",
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "path"), [pytest.param(*one, id=one[0] or "(package)") for one in modules().items()])
def test_imports_run_one_way(name: str, path: Path) -> None:
    # "" is hpcfrugal/__init__.py, which holds the version.
    others = {other for other in imported(name, path) if other and package(other) != package(name)}
    if name:
        later = {other for other in others if ORDER.index(package(other)) > ORDER.index(package(name))}
        assert not later, f"{name} imports {later}"
    for place, allowed in NARROWER.items():
        if below(name, [place]):
            beyond = {
                other
                for other in imported(name, path)
                if other and not below(other, allowed) and not below(other, [place])
            }
            assert not beyond, f"{name} imports {beyond}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    uses = {name: set(imported(name, path)) & set(modules()) - {name} for name, path in modules().items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way, name))
        if name not in done:
            for other in uses[name]:
                visit(other, (*way, name))
            done.add(name)

    for name in uses:
        visit(name, ())


# The few names that stand for the same thing in two places, or belong to the sidecar, a program of its own.
SHARED_NAMES = {"ENERGY", "Progress", "READ_TIMEOUT_S", "TEXT", "TYPE_CHECKING"}


def public_names(path: Path) -> Iterator[str]:
    """The public functions, classes and values that a module defines; type variables of one letter are left out."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        else:
            continue
        yield from (name for name in names if not name.startswith("_") and len(name) > 1)


def test_each_public_name_has_one_meaning() -> None:
    places: dict[str, list[str]] = {}
    for module, path in modules().items():
        for name in public_names(path):
            places.setdefault(name, []).append(module)
    assert len(places) > 1000
    assert {name: found for name, found in places.items() if len(set(found)) > 1 and name not in SHARED_NAMES} == {}


# What a command loads ---------------------------------------------------------------------------------------------

HEAVY = ("pandas", "numpy", "sqlite_utils", "sqlite3", "rich", "pynvml", "httpx")

_LOADED = """
import json, os, sys
from hpcfrugal.cli import main
try:
    main(sys.argv[2:])
except SystemExit as end:
    code = end.code
with open(sys.argv[1], "w") as file:
    json.dump({"code": code, "modules": sorted(sys.modules)}, file)
"""


def loaded_by(box: Sandbox, *argv: str | Path) -> set[str]:
    """The modules that are loaded when a command has done its work."""
    told = box.home / "loaded.json"
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, told, *argv],
        cwd=box.work, env=box.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    found = json.loads(told.read_text())
    assert found["code"] == 0, done.stderr
    return set(found["modules"])


def of(names: Iterable[str], loaded: set[str]) -> list[str]:
    return [name for name in names if name in loaded]


def put_command(box: Sandbox, name: str, text: str) -> None:
    """A command that comes first on the PATH."""
    folder = box.home / "bin"
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    if not box.env["PATH"].startswith(str(folder)):
        box.env["PATH"] = f"{folder}{os.pathsep}{box.env['PATH']}"


# What stands around every command.
ROOT = {"cli.root", "cli.streams", "cli.group"}


def test_help_imports_no_command(box: Sandbox) -> None:
    loaded = loaded_by(box, "--help")
    commands = {f"hpcfrugal.{name}" for name in modules() if name.startswith("cli.") and name not in ROOT}
    assert "hpcfrugal.cli.root" in loaded
    assert not commands & loaded
    assert not of((*HEAVY, "jinja2", "pydantic", "submitit", "yaml"), loaded)


def test_submit_to_slurm_is_light(box: Sandbox) -> None:
    put_command(box, "sbatch", "echo 17")
    put_command(box, "scontrol", "echo 'ClusterName             = c1'")
    loaded = loaded_by(box, "submit", "--backend", "slurm_cli", box.job("true"))
    assert len(list(box.spool.glob("*/*/submitted.json"))) == 1
    assert "jinja2" in loaded
    assert not of((*HEAVY, "submitit", "cloudpickle", "hpcfrugal.carbon", "hpcfrugal.planning"), loaded)
    # They take longer than all of `submit` itself; and each class of `dataclasses` takes half a millisecond.
    assert not of(("msgspec", "pydantic", "email", "importlib.metadata"), loaded)
    own = [path for name, path in modules().items() if f"hpcfrugal.{name}" in loaded]
    assert len(own) > 50
    slow = re.compile(r"^from dataclasses import .*\bdataclass\b", re.MULTILINE)
    assert [path for path in own if slow.search(path.read_text())] == []


def test_a_plan_loads_only_what_it_needs(box: Sandbox) -> None:
    put_command(box, "sbatch", "echo 17")
    for name in ("sacct", "scontrol"):
        put_command(box, name, "echo 'ClusterName             = c1'")
    job = box.job("true", schedule={"max_delay": "1h", "zone": "XX"}, resources={"time": "10"})
    loaded = loaded_by(box, "submit", "--backend", "slurm_cli", job)
    assert "hpcfrugal.planning.decide.job_plan" in loaded
    # Nobody serves that zone, so nobody is asked; and without a ledger no database is opened.
    assert not of((*HEAVY, "submitit"), loaded)


def test_submit_to_this_machine_is_light(box: Sandbox) -> None:
    loaded = loaded_by(box, "submit", "--backend", "local", box.job("true"))
    assert len(list(box.spool.glob("*/*/submitted.json"))) == 1
    assert not of(HEAVY, loaded)


@pytest.mark.slow
def test_a_second_sync_and_a_report_are_light(box: Sandbox) -> None:
    job_id, _ = box.submit("true")
    box.wait_over(job_id)
    box.ok("ledger", "sync")
    for argv in (("ledger", "sync"), ("report", "--json")):
        loaded = loaded_by(box, *argv)
        assert "sqlite3" in loaded
        assert not of(("pandas", "numpy", "sqlite_utils"), loaded), argv
    # Only a table for a reader needs rich.
    assert "rich" not in loaded_by(box, "report", "--json")
    assert not of(("pandas", "numpy", "sqlite_utils"), loaded_by(box, "report"))


# Who runs programs ------------------------------------------------------------------------------------------------

_SACCT = {"ledger.rows", "ledger.accounted_executions", "cli.ledger_import"}

# Slurm's commands are the business of one package; the others here run the user's command, ipmitool, mkdir and Python.
RUNS_PROGRAMS = {
    "slurm.command", "core.files", "ledger.run_readers", "local", "meters.ipmi_dcmi", "doctor.sensors", "sidecar",
}  # fmt: skip
PROGRAM_CALLS = ("subprocess", "os.system", "os.popen")


def names_of_programs(path: Path) -> set[str]:
    """Slurm's programs that a module names in a word of its own, as a command line has them."""
    texts = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
    return {text.rpartition("/")[2] for text in texts if isinstance(text, str)} & set(PROGRAMS)


@pytest.mark.parametrize(("name", "path"), [pytest.param(*one, id=one[0] or "(package)") for one in modules().items()])
def test_slurm_is_spoken_to_from_one_package(name: str, path: Path) -> None:
    if below(name, ["slurm"]):
        return
    # `sbatch` is a key of job files too, and a filter of templates; `sacct` is where a job in the ledger may be from.
    keys = {"sbatch"} if below(name, ["job", "queues.admission"]) else {"sacct"} if name in _SACCT else set()
    assert not names_of_programs(path) - keys
    if not below(name, RUNS_PROGRAMS):
        text = path.read_text()
        assert not [call for call in PROGRAM_CALLS if f"import {call}" in text or f"{call}(" in text]


def test_the_search_for_programs_finds_them(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text('"""Runs squeue."""\nrun(["squeue", "-h"])\nPATH = "/usr/bin/sacct"\n')
    assert names_of_programs(path) == {"squeue", "sacct"}
    assert names_of_programs(PACKAGE / "slurm/queue.py") == {"squeue"}
