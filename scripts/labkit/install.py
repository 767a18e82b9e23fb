"""The project in a virtual environment that the lab's users can reach."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from . import packages, paths
from .errors import LabError
from .shell import run

PYTHON = "/usr/bin/python3"


def install(project: Path) -> str:
    """Build a wheel of `project`, put it into the users' environment, and return its name. Raises LabError.

    The environment is made from the distribution's Python: one below /root is out of the users' reach.
    A second call replaces just the project, if that has changed, and its dependencies only where those have.
    """
    if not paths.STATE.exists():
        raise LabError("the lab is not up; run `scripts/lab up`")
    with (paths.STATE / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp, wanted = paths.VENV / "installed", _fingerprint(project)
        found = stamp.read_text(encoding="utf-8").splitlines() if stamp.exists() else []
        if found[:1] != [wanted]:
            stamp.unlink(missing_ok=True)
            found = [wanted, _install(project)]
            stamp.write_text("\n".join(found), encoding="utf-8")
        return found[1]


def _fingerprint(project: Path) -> str:
    """Of all files that a wheel is made from."""
    files = [project / "pyproject.toml"]
    files += [path for name in ("hpcfrugal", "templates") for path in sorted((project / name).rglob("*"))]
    digest = hashlib.sha256()
    for path in files:
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _install(project: Path) -> str:
    if not (paths.VENV / "bin" / "pip").exists():
        shutil.rmtree(paths.VENV, ignore_errors=True)
        if subprocess.run([PYTHON, "-c", "import ensurepip"], capture_output=True, check=False).returncode:
            packages.install(["python3-venv"])
        run([PYTHON, "-m", "venv", str(paths.VENV)])
    pip = [str(paths.VENV / "bin" / "pip"), "--disable-pip-version-check", "--quiet"]
    wheels = paths.STATE / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    env = dict(os.environ) | {"PIP_ROOT_USER_ACTION": "ignore"}
    run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(project)], env=env)
    (wheel,) = wheels.glob("*.whl")
    run([*pip, "install", "--no-deps", "--force-reinstall", str(wheel)], env=env)
    if subprocess.run([*pip, "check"], capture_output=True, check=False, env=env).returncode:
        run([*pip, "install", str(wheel)], env=env)
    return wheel.name
