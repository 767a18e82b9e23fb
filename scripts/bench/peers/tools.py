"""The trackers that the `sensors` benchmark compares: their releases, environments, command lines and files."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PEERS = Path(__file__).resolve().parent
JOULES_PER_KWH = 3_600_000


@dataclass(frozen=True)
class Peer:
    """A tracker from PyPI: what pip installs, which adapter drives it, and what of its energy a file still tells.

    `kept` looks into the directory that it ran in, and returns joules or None."""

    requirement: str
    adapter: str
    kept: Callable[[Path], float | None]

    @property
    def version(self) -> str:
        """The pinned release."""
        return self.requirement.partition("==")[2]


def _codecarbon_kept(folder: Path) -> float | None:
    path = folder / "emissions.csv"
    if not path.exists():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return float(rows[-1]["energy_consumed"]) * JOULES_PER_KWH if rows else None


def _carbontracker_kept(folder: Path) -> float | None:
    text = "".join(path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("logs/*_output.log"))
    kwh = re.findall(r"Energy:\s+([0-9.]+) kWh", text)
    return float(kwh[-1]) * JOULES_PER_KWH if kwh else None


def _zeus_kept(folder: Path) -> float | None:
    path = folder / "zeus.csv"
    rows = path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else []
    return sum(map(float, rows[-1].split(",")[3:])) if rows else None


def _nothing_kept(folder: Path) -> float | None:
    return None


PEER_TOOLS: dict[str, Peer] = {
    "codecarbon": Peer("codecarbon==3.3.2", "with_codecarbon.py", _codecarbon_kept),
    "carbontracker": Peer("carbontracker==2.4.7", "with_carbontracker.py", _carbontracker_kept),
    "pyJoules": Peer("pyJoules[nvidia]==0.5.1", "with_pyjoules.py", _nothing_kept),
    "zeus": Peer("zeus==0.16.0", "with_zeus.py", _zeus_kept),
}
OURS = ("hpcfrugal", "hpcfrugal run")
"""The sidecar as a job's batch script starts it, and the command that wraps another."""

TOOLS = (*OURS, *PEER_TOOLS)


class InstallError(Exception):
    """An environment that could not be made; the text is pip's last line."""


def ensure(name: str, venvs: Path) -> None:
    """Make the environment of a peer, once for each pinned release. Raises InstallError."""
    make(venvs / name, (PEER_TOOLS[name].requirement,), PEER_TOOLS[name].requirement)


def ensure_checkout(venvs: Path, project: Path, stamp: str) -> Path:
    """An environment with this checkout as pip installs it, once for each `stamp`. Raises InstallError."""
    make(venvs / "hpcfrugal", ("--force-reinstall", "--no-deps", str(project)), stamp, before=(str(project),))
    return venvs / "hpcfrugal"


def make(venv: Path, words: Sequence[str], stamp: str, before: Sequence[str] = ()) -> None:
    """`pip install` into a venv of its own, unless it was made with the same stamp; a new one gets `before` first."""
    mark = venv / ".bench-installed"
    if mark.exists() and mark.read_text(encoding="utf-8") == stamp:
        return
    if not (venv / "bin" / "pip").exists():
        _run([sys.executable, "-m", "venv", str(venv)])
        if before:
            _pip(venv, before)
    _pip(venv, words)
    mark.write_text(stamp, encoding="utf-8")


def _pip(venv: Path, words: Sequence[str]) -> None:
    _run([str(venv / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *words])


def _run(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        raise InstallError(f"{Path(argv[0]).name} ended with {done.returncode}: {said[-1]}")
