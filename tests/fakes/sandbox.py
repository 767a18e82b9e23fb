"""A home of its own in which the real program runs, as a user's shell would start it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import started

from hpcfrugal.job.backend import SubmittedRun
from hpcfrugal.local.backend import Local
from hpcfrugal.local.pid_file import read_pid
from hpcfrugal.spool import RunDir
from hpcfrugal.spool.job_state import JobState

PROGRAM = (sys.executable, "-m", "hpcfrugal")


class Result(NamedTuple):
    code: int
    out: str
    err: str


class Sandbox:
    """Empty HOME and working directory; no settings, no ledger, no Slurm unless a test puts one there."""

    def __init__(self, folder: Path, program: Sequence[str] = PROGRAM) -> None:
        self.program = tuple(program)
        self.home = folder / "home"
        self.work = folder / "work"
        self.home.mkdir()
        self.work.mkdir()
        self.env = {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HPCFRUGAL_BACKEND": "local",
            **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
        }
        if self.program == PROGRAM and started.takes(self.env):
            started.start()

    @property
    def spool(self) -> Path:
        return self.home / ".local/share/hpcfrugal/spool"

    @property
    def ledger(self) -> Path:
        return self.home / ".local/share/hpcfrugal/ledger.db"

    def run(self, *argv: str | Path, env: Mapping[str, str] | None = None, timeout_s: float = 60) -> Result:
        """Run the program to its end, its output in pipes."""
        whole = self.env | dict(env or {})
        if self.program == PROGRAM and started.takes(whole):
            code, out, err = started.run([*map(str, argv)], whole, self.work, timeout_s)
            return Result(code, out.decode(errors="replace"), err.decode(errors="replace"))
        done = subprocess.run(
            [*self.program, *map(str, argv)],
            cwd=self.work,
            env=whole,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def ok(self, *argv: str | Path, env: Mapping[str, str] | None = None) -> str:
        """The output of a run that must succeed."""
        result = self.run(*argv, env=env)
        assert result.code == 0, result
        return result.out

    def write(self, name: str, text: str) -> Path:
        path = self.work / name
        path.write_text(text)
        return path

    def settings(self, text: str) -> Path:
        """The user's settings file, with this text."""
        path = self.home / ".config/hpcfrugal/config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def job(self, command: str, file: str = "job.yaml", **more: Any) -> Path:
        """A job file; JSON is YAML, and quotes whatever a test puts into it."""
        return self.write(file, json.dumps({"command": command, **more}))

    def submit(self, command: str, **more: Any) -> tuple[str, Path]:
        """Submit a job of this machine; returns its id and its run directory."""
        told = json.loads(self.ok("submit", "--json", self.job(command, **more)))
        return told["job_id"], Path(told["run_dir"])

    def states(self, job_id: str) -> list[JobState]:
        """What the local backend says of a job and its tasks, without a program started for each look."""
        spool = Path(self.env.get("HPCFRUGAL_SPOOL", self.spool))
        return [*Local(spool).states([SubmittedRun(RunDir.of(spool, job_id).path, job_id)]).runs[job_id].states]

    def state(self, job_id: str) -> str:
        """That of a job which is no array."""
        (state,) = self.states(job_id)
        return state.state

    def wait_over(self, job_id: str) -> str:
        """The state of a job at its end."""
        wait_until(lambda: self.state(job_id) not in {"PENDING", "RUNNING"})
        return self.state(job_id)


def wait_until(condition: Callable[[], object], timeout_s: float = 20) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def batch_pid(run_dir: Path) -> int:
    """The process of a local job's batch script."""
    return int((run_dir / f"{run_dir.name}.0.pid").read_text().split()[0])


def group_is_gone(pid: int) -> bool:
    """Whether no process of this group is left but zombies, which only their parent can remove."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text(errors="replace").rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(group) == pid and state not in "ZX":
            return False
    return True


def end_jobs(spool: Path) -> None:
    """End whatever jobs a test left running, by the process ids in their run directories."""
    starters = [pid for path in spool.glob("*/*/local.pid") if (pid := read_pid(path)) is not None]
    for pid in starters:
        os.kill(pid, signal.SIGKILL)
    for path in spool.glob("*/*/*.0.pid"):
        if (pid := read_pid(path)) is not None:
            os.killpg(pid, signal.SIGKILL)
