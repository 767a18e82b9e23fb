"""Who may import whom, and what a command loads."""

from __future__ import annotations

import ast
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
from sandbox import Sandbox

import hpcfrugal

PACKAGE = Path(hpcfrugal.__file__).parent

# Every room of the package and the rooms it may import, besides itself. A new room has to be entered here.
# "(package)" is hpcfrugal/__init__.py, which holds the version.
ALLOWED: dict[str, set[str]] = {
    "(package)": set(),
    "__main__": {"cli"},
    # the ground
    "errors": set(),
    "units": set(),
    "text": set(),
    "user": set(),
    # pure
    "accounting": set(),
    "jobspec": {"errors", "units"},
    "options": {"jobspec", "units"},
    "planner": {"carbon", "errors"},
    "render": {"(package)", "errors", "jobspec"},
    # data and settings
    "config": {"errors"},
    "data": {"accounting"},
    "idle_power": {"config", "errors", "units"},
    "keys": {"config", "errors", "units"},
    "spool": {"text", "user"},
    "carbon": {"(package)", "accounting", "config", "data", "errors", "keys", "spool", "units"},
    # what runs on a node, and the file it travels in
    "sidecar": set(),
    "bundle": {"pynvml_cut"},
    "pynvml_cut": set(),
    # adapters
    "backends": {"config", "errors", "idle_power", "spool", "units"},
    "doctor": {"backends", "config", "errors", "ledger", "meters", "render", "sidecar", "text"},
    "jobs": {"backends", "errors", "spool"},
    "ledger": {"accounting", "carbon", "data", "errors", "spool"},
    "live": {"spool"},
    "local_run": {"(package)", "backends", "bundle", "config", "errors", "spool", "user"},
    "meters": {"config", "errors", "keys", "spool"},
    "planning": {
        "accounting", "backends", "carbon", "config", "data", "errors", "jobspec", "ledger", "planner", "spool", "text",
        "units", "user",
    },
    "queues": {"backends", "carbon", "config", "errors", "keys", "jobspec", "planner", "planning", "units", "user"},
    "report": {"accounting", "errors", "ledger", "text"},
    "submission": {
        "(package)", "backends", "bundle", "config", "errors", "jobspec", "options", "planning", "queues", "render",
        "spool", "user",
    },
    # on top
    "cli": {
        "(package)", "backends", "carbon", "config", "doctor", "errors", "idle_power", "jobs", "jobspec", "ledger",
        "live", "local_run", "meters", "options", "planning", "queues", "report", "spool", "submission", "text",
        "units", "user",
    },
}  # fmt: skip

# Single modules of which less is allowed than of their room.
NARROWER: dict[str, set[str]] = {
    "backends.base": set(),
    "backends.commands": {"errors"},
    "backends.local": {"backends.base", "backends.local_job", "backends.output", "errors", "spool"},
    "backends.local_job": {"spool"},
    "backends.nodes": {"backends.slurm_cli", "idle_power", "spool"},
    "backends.slurm_cli": {"backends.base", "backends.commands", "errors", "units"},
    "carbon.extension": {"carbon.instants", "carbon.series", "errors"},
    "carbon.instants": set(),
    "carbon.picture": {"carbon.instants", "carbon.series"},
    "carbon.readings": {"carbon.instants", "carbon.series", "errors"},
    "carbon.series": {"carbon.instants", "errors"},
    "ledger.filesystem": set(),
    # The planner is pure: of the carbon room it sees the series, and no provider, cache or setting.
    **{
        f"planner.{name}": {"carbon.extension", "carbon.instants", "carbon.series", "errors", "planner"}
        for name in ("belief", "capacity", "errors", "pareto", "segment_grid", "segments", "window", "windows")
    },
    "planning.bounds": {"carbon", "errors", "jobspec", "text"},
    "planning.decision": {"carbon", "errors", "planner"},
    "planning.plan": {"carbon"},
    "planning.words": {"planning.plan", "text"},
    "report.grid": {"text"},
    "report.text": {"text"},
}


@cache
def modules() -> dict[str, Path]:
    """Every module's dotted name below the package, with its file; "" is the package itself."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
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


def room(name: str) -> str:
    return name.split(".")[0] or "(package)"


def test_every_room_is_in_the_table() -> None:
    assert {room(name) for name in modules()} == set(ALLOWED)
    assert set(NARROWER) <= set(modules())


def test_the_reader_of_imports_sees_all_forms(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(
        "import hpcfrugal.units\nfrom hpcfrugal import errors, __version__\nimport os\n"
        "def f():\n    from hpcfrugal.spool import RunDir\n    from . import base\n    from ..config import Config\n"
    )
    assert list(imported("backends.x", path)) == ["units", "errors", "", "spool", "backends.base", "config"]


@pytest.mark.parametrize(("name", "path"), [pytest.param(*one, id=one[0] or "(package)") for one in modules().items()])
def test_imports_run_one_way(name: str, path: Path) -> None:
    others = {other for other in imported(name, path) if room(other) != room(name)}
    beyond = {other for other in others if room(other) not in ALLOWED[room(name)]}
    assert not beyond, f"{name} imports {beyond}"
    if name in NARROWER:
        beyond = {
            other for other in imported(name, path) if other not in NARROWER[name] and room(other) not in NARROWER[name]
        }
        assert not beyond, f"{name} imports {beyond}"


def test_the_table_allows_nothing_that_nobody_needs() -> None:
    used: dict[str, set[str]] = {name: set() for name in ALLOWED}
    for name, path in modules().items():
        used[room(name)] |= {room(other) for other in imported(name, path)} - {room(name)}
    assert {name: ALLOWED[name] - used[name] for name in ALLOWED if ALLOWED[name] - used[name]} == {}


def test_there_are_no_circles_between_rooms() -> None:
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way, name))
        if name not in done:
            for other in ALLOWED[name]:
                visit(other, (*way, name))
            done.add(name)

    for name in ALLOWED:
        visit(name, ())


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
ROOT = {"cli.root", "cli.streams"}


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


def test_a_plan_loads_only_what_it_needs(box: Sandbox) -> None:
    put_command(box, "sbatch", "echo 17")
    for name in ("sacct", "scontrol"):
        put_command(box, name, "echo 'ClusterName             = c1'")
    job = box.job("true", schedule={"max_delay": "1h", "zone": "XX"}, resources={"time": "10"})
    loaded = loaded_by(box, "submit", "--backend", "slurm_cli", job)
    assert "hpcfrugal.planning.job_plan" in loaded
    # Nobody serves that zone, so nobody is asked; and without a ledger no database is opened.
    assert not of((*HEAVY, "submitit"), loaded)


def test_submit_to_this_machine_is_light(box: Sandbox) -> None:
    loaded = loaded_by(box, "submit", "--backend", "local", box.job("true"))
    assert len(list(box.spool.glob("*/*/submitted.json"))) == 1
    assert not of(HEAVY, loaded)


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
