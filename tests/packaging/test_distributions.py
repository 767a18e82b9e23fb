"""The sdist and the wheel hold what they must, and what they install works from any directory."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path, PurePosixPath

import pytest
from sandbox import Sandbox

import hpcfrugal

pytestmark = pytest.mark.packaging

TOP = Path(__file__).resolve().parents[2]
TEMPLATES = {path.name for path in (TOP / "templates").iterdir()}


def run(*argv: str | Path) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, TOP)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of a new environment in which nothing but the wheel was asked for."""
    folder = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin/python", "-m", "pip", "install", "--disable-pip-version-check", "--quiet", wheel)
    return folder / "bin/hpcfrugal"


@pytest.fixture
def program(request: pytest.FixtureRequest) -> Path:
    """``hpcfrugal`` as installed from the wheel, or by ``pip install --editable``."""
    if request.param == "wheel":
        path: Path = request.getfixturevalue("installed")
        return path
    # The environment that the tests run in is an editable one; if it ever is not, this must not pass for one.
    told = json.loads(distribution("hpcfrugal").read_text("direct_url.json") or "{}")
    assert told["dir_info"]["editable"] is True
    assert Path(hpcfrugal.__file__).parent == TOP / "hpcfrugal"
    return Path(sys.executable).parent / "hpcfrugal"


both = pytest.mark.parametrize("program", ["wheel", "editable"], indirect=True)


def test_the_wheel_holds_what_it_must(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = next(archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    modules = {f"hpcfrugal/{path.relative_to(TOP / 'hpcfrugal')}" for path in (TOP / "hpcfrugal").rglob("*.py")}
    data = {
        f"hpcfrugal/accounting/tables/{path.name}"
        for path in (TOP / "hpcfrugal/accounting/tables").iterdir()
        if path.is_file()
    }
    templates = {f"hpcfrugal/_templates/{name}" for name in TEMPLATES}
    assert (len(modules) > 100, len(data) >= 4, len(templates) >= 8) == (True, True, True)
    wanted = modules | data | templates | {"hpcfrugal/py.typed"}
    assert wanted <= names
    rest = {name for name in names - wanted if ".dist-info/" not in name}
    assert rest == set()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert f"Version: {hpcfrugal.__version__}\n" in metadata
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata
    # What only the extra or the tests need does not come along.
    needs = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert not any(name in line for line in needs for name in ("pyslurm", "pytest", "mypy", "hypothesis"))


def test_the_sdist_holds_the_whole_project(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in archive.getnames()}
    assert {f"templates/{name}" for name in TEMPLATES} <= names
    for name in ("pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md", "scripts/test", "scripts/quickstart",
                 "scripts/lab", "docs/architecture.md", "examples/matmul.yaml", "tests/packaging/test_distributions.py",
                 "hpcfrugal/accounting/tables/cpu_tdp.csv", "hpcfrugal/py.typed"):  # fmt: skip
        assert name in names
    assert not any(part in name for name in names for part in ("__pycache__", ".venv", ".pyc"))


@both
def test_a_job_from_another_directory_with_an_empty_home(program: Path, box: Sandbox) -> None:
    box.program = (str(program),)
    result = box.run("submit", "--backend", "local", "--wait", "--json", box.job("echo hello; sleep 0.5; exit 3"))
    assert result.code == 3, result
    (job,) = json.loads(result.out)["jobs"]
    assert (job["name"], job["state"], job["exit_code"]) == ("job", "FAILED", 3)
    assert job["coverage"] > 0
    assert [path.read_text() for path in box.work.glob("local-*.out")] == ["hello\n"]
    assert job["run_id"][-8:] in box.ok("report")
    assert box.ok("--version") == f"hpcfrugal, version {hpcfrugal.__version__}\n"
    assert json.loads(box.ok("schema"))["properties"]["command"]
    assert str(box.spool) in box.run("doctor").out


@both
def test_every_template_is_found(program: Path, box: Sandbox) -> None:
    box.program = (str(program),)
    names = sorted(name.removesuffix(".sbatch.j2") for name in TEMPLATES if name.endswith(".sbatch.j2"))
    names.remove("base")
    assert names == ["array", "container", "mpi", "plain", "torchrun"]
    for name in names:
        job = box.job("true", template=name, **({"container": "my.sif"} if name == "container" else {}))
        script = box.ok("submit", "--backend", "slurm_cli", "--dry-run", job)
        assert script.startswith("#!/bin/bash\n")
        assert "--until-eof" in script
    assert f"known: {', '.join(names)})" in box.run("submit", "--dry-run", box.job("true", template="none")).err


@both
def test_templates_come_from_where_they_are_kept(program: Path, box: Sandbox) -> None:
    """An editable install reads the source tree's own, not a copy that was made when it was installed."""
    box.program = (str(program),)
    (finding,) = [
        one for one in json.loads(box.run("doctor", "--json").out)["findings"] if one["subject"] == "templates"
    ]
    if program.parent == Path(sys.executable).parent:
        assert f"(from {TOP / 'templates'})" in finding["found"]
    else:
        assert f"{program.parents[1]}/lib" in finding["found"]
        assert "hpcfrugal/_templates)" in finding["found"]


def test_it_works_as_a_module_too(box: Sandbox) -> None:
    box.program = (sys.executable, "-m", "hpcfrugal")
    assert box.ok("--version") == f"hpcfrugal, version {hpcfrugal.__version__}\n"
