"""The lab's daemons: what each is called, how it starts, and whether it still lives."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import paths, process
from .errors import LabError

BASE_ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "SLURM_CONF": str(paths.SLURM_CONF)}


@dataclass(frozen=True)
class Daemon:
    """A program that stays in the foreground; the lab keeps its pid and its output."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start it unless it runs. Raises LabError where the program isn't there."""
        if self.process() is not None:
            return
        with (paths.LOG / f"{self.name}.out").open("ab") as log:
            try:
                child = subprocess.Popen(
                    self.argv,
                    env=BASE_ENV | dict(self.env),
                    cwd=paths.STATE,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as error:
                raise LabError(f"{self.name}: {error}") from error
        # The child outlives this program on purpose; without this, Popen's destructor warns about it.
        child.returncode = 0
        started = process.find(child.pid)
        if started is None:
            raise LabError(f"{self.name} ended at once; see {paths.LOG}/{self.name}.out")
        _pid_file(self.name).write_text(json.dumps([started.pid, started.started_ticks]), encoding="utf-8")

    def process(self) -> process.Process | None:
        """The running process, or None."""
        return running(self.name)

    def require(self) -> None:
        """Raises LabError with the end of its output where it is not running."""
        if self.process() is None:
            output = (paths.LOG / f"{self.name}.out").read_text(encoding="utf-8", errors="replace")
            raise LabError(f"{self.name} is not running. Its last words:\n{output[-1500:]}")


def running(name: str) -> process.Process | None:
    """The process that was started under this name, if it lives."""
    try:
        pid, ticks = json.loads(_pid_file(name).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    known = process.Process(pid, ticks)
    return known if known.alive else None


def started_names() -> list[str]:
    """Names of all daemons that this lab has started."""
    return sorted(name.removesuffix(".pid") for name in os.listdir(paths.PIDS)) if paths.PIDS.is_dir() else []


def stop(names: list[str], grace_s: float) -> None:
    """End the daemons of these names together."""
    process.end([found for name in names if (found := running(name))], grace_s)


def _pid_file(name: str) -> Path:
    return paths.PIDS / f"{name}.pid"
