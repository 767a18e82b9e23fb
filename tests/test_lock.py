"""The lock file holds what pyproject.toml asks for, and what contributors read is what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def locked() -> list[Requirement]:
    """One for each release in the lock file; a line that ends in a backslash has its hashes below it."""
    return [
        Requirement(line.rstrip("\\"))
        for line in (TOP / "requirements-dev.txt").read_text().splitlines()
        if not line.startswith(("#", " "))
    ]


def test_the_lock_file_holds_one_release_of_each_requirement_for_each_python() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    wanted = [Requirement(text) for text in project["project"]["dependencies"] + project["dependency-groups"]["dev"]]
    assert len(wanted) > 20
    found = locked()
    for python in PYTHONS:
        machine = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
        there = [one for one in found if one.marker is None or one.marker.evaluate(machine)]
        for requirement in wanted:
            name = canonicalize_name(requirement.name)
            (one,) = [each for each in there if canonicalize_name(each.name) == name]
            (release,) = one.specifier
            assert release.operator == "=="
            assert requirement.specifier.contains(release.version), requirement


def test_every_release_in_the_lock_file_has_its_hashes() -> None:
    text = (TOP / "requirements-dev.txt").read_text()
    entries = re.split(r"\n(?=[a-z])", text)[1:]
    assert len(entries) == len(locked()) > 40
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_every_script_is_in_the_contributing_guide() -> None:
    text = (TOP / "CONTRIBUTING.md").read_text()
    scripts = [path for path in (TOP / "scripts").iterdir() if path.is_file() and not path.suffix]
    assert len(scripts) >= 4
    for path in scripts:
        assert f"`scripts/{path.name}`" in text


def test_hooks_before_a_commit_run_tools_of_the_lock_file() -> None:
    hooks = [
        hook
        for repo in yaml.safe_load((TOP / ".pre-commit-config.yaml").read_text())["repos"]
        for hook in repo["hooks"]
    ]
    assert len(hooks) >= 3
    names = {one.name for one in locked()}
    for hook in hooks:
        tool = hook["entry"].split()[0]
        assert tool.startswith(".venv/bin/")
        assert {Path(tool).name, f"{Path(tool).name}-py"} & names
