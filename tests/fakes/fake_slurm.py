"""Slurm's commands as scripts on the PATH: they print what a test wrote down for them, and log their calls."""

from __future__ import annotations

import json
from pathlib import Path

# Logs its arguments and the variables that could change its output, then answers.
_SCRIPT = """#!/bin/bash
call=$(printf '%s\\037' "$0" "$@" "TZ=$TZ"; printf '%s\\036' "${{SQUEUE_FORMAT-}}${{SACCT_FORMAT-}}"; echo .)
# Several commands run at once, and a long call takes more than one write.
exec 9>>'{log}'
flock 9
printf '%s' "${{call%.}}" >&9
exec 9>&-
cat '{folder}/{name}.err' >&2
cat '{folder}/{name}.out'
. '{folder}/{name}.then'
"""
_NAMES = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "sacctmgr")


class FakeSlurm:
    """A folder for the PATH. By default, every command prints nothing and ends with exit code 0."""

    def __init__(self, folder: Path, cluster: str = "c1") -> None:
        self.bin = folder / "bin"
        self._folder = folder / "answers"
        self._log = folder / "calls"
        self.bin.mkdir(parents=True)
        self._folder.mkdir()
        for name in _NAMES:
            path = self.bin / name
            path.write_text(_SCRIPT.format(log=self._log, folder=self._folder, name=name))
            path.chmod(0o755)
            self.answer(name)
        self.answer("scontrol", f"Configuration data\nClusterName             = {cluster}\n")

    def answer(self, name: str, out: str = "", *, err: str = "", code: int = 0, then: str = "") -> None:
        """What a command prints from now on; ``then`` is shell code that it runs last."""
        (self._folder / f"{name}.out").write_text(out)
        (self._folder / f"{name}.err").write_text(err)
        (self._folder / f"{name}.then").write_text(f"{then}\nexit {code}\n")

    def calls(self, name: str | None = None) -> list[list[str]]:
        """The arguments of every call so far, of one command or of all; the last two are its environment."""
        if not self._log.exists():
            return []
        calls = [call.split("\037") for call in self._log.read_text().split("\036")[:-1]]
        return [[*call[1:]] for call in calls if name is None or call[0].rpartition("/")[2] == name]

    def squeue(self, *rows: str) -> None:
        self.answer("squeue", "".join(f"{row}\n" for row in rows))

    def sacct(self, *rows: str) -> None:
        self.answer("sacct", "".join(f"{row}\n" for row in rows))


def sacct_row(
    raw: str,
    state: str,
    *,
    shown: str | None = None,
    code: str = "0:0",
    submit: str = "2026-11-21T10:00:00",
    start: str = "2026-11-21T10:00:01",
    end: str = "2026-11-21T10:01:01",
    nodes: str = "n[1-2]",
) -> str:
    """A line of ``sacct --parsable2`` in the columns that hpcfrugal asks for."""
    cells = (raw, shown or raw, state, code, submit, submit, start, end, "60", "batch", "proj", "normal", "alice", "8")
    return "|".join((*cells, nodes))


def squeue_row(
    raw: str,
    state: str,
    *,
    shown: str | None = None,
    base: str | None = None,
    task: str = "N/A",
    submit: str = "2026-11-21T10:00:00",
    start: str = "2026-11-21T10:00:01",
    end: str = "N/A",
    nodes: str = "n[1-2]",
    reason: str = "None",
    priority: int = 4294901747,
) -> str:
    """A line of ``squeue -o`` in the columns that hpcfrugal asks for."""
    shown = shown or (raw if base is None or task == "N/A" else f"{base}_{task}")
    cells = (raw, shown, task, state, submit, start, end, "batch", "proj", "normal", "alice", "8", str(priority))
    return "|".join((*cells, nodes, reason))


def job_ids(call: list[str]) -> list[str]:
    """The ids that a call of squeue or sacct asked for."""
    return call[call.index("-j") + 1].split(",")


def submitted(spool: Path) -> list[dict[str, str]]:
    """Every submitted.json of a spool."""
    return [json.loads(path.read_text()) for path in sorted(spool.glob("*/*/submitted.json"))]
