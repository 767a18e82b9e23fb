"""What the benchmarks share: running a part of them as a user of the lab, statistics, and the machine in words."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parent
PROJECT = BENCH.parent.parent
LAB = PROJECT / "scripts" / "lab"
LAB_VENV = Path("/var/lib/hpcfrugal-lab/venv")


class BenchError(Exception):
    """A measurement that could not be made; the text says why."""


def lab(words: Sequence[str]) -> str:
    """Output of one subcommand of scripts/lab. Raises BenchError; its own errors go to stderr as they are."""
    done = subprocess.run([str(LAB), *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise BenchError(f"scripts/lab {words[0]} ended with {done.returncode}")
    return done.stdout


def inside(part: str, parameters: dict[str, Any], *, venv: Path, user: str, node: str | None = None) -> dict[str, Any]:
    """Run the file ``part`` of this folder as ``user`` in the lab, in one process; returns what it prints as JSON.

    The text of the file is handed over, because a checkout need not lie where the users can read it. The
    part times its commands itself, so entering the lab is in no figure. ``others_cpus`` is added: how many
    processors were busy with anything else meanwhile, Slurm's daemons included. Raises BenchError.
    """
    words = ["exec", "--user", user, *(["--node", node] if node else [])]
    source = (BENCH / part).read_text(encoding="utf-8")
    others = Others()
    answer = lab([*words, "--", str(venv / "bin" / "python"), "-I", "-c", source, json.dumps(parameters)])
    result: dict[str, Any] = json.loads(answer.splitlines()[-1])
    result["others_cpus"] = others.cpus()
    return result


class Others:
    """How busy the machine is, from now on, with anything that this process did not start and wait for."""

    def __init__(self) -> None:
        self._started_s, self._busy_s, self._own_s = time.monotonic(), _busy_s(), _own_s()

    def cpus(self) -> float:
        """Processors that were busy with it until now, on average."""
        others_s = (_busy_s() - self._busy_s) - (_own_s() - self._own_s)
        return round(max(0.0, others_s / (time.monotonic() - self._started_s)), 2)


def _busy_s() -> float:
    """CPU seconds of the whole machine but for idle and waiting for disks (proc_stat(5)), guests counted once."""
    fields = [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    """CPU seconds of all that this process has run and waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of both."""
    parser.add_argument("--user", default="bob", help="user of the lab; default: bob")
    parser.add_argument(
        "--venv",
        type=Path,
        default=LAB_VENV,
        help="environment with hpcfrugal, in reach of that user; default: the lab's",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def need_lab(venv: Path) -> None:
    """Raises BenchError where there is no healthy lab, or no hpcfrugal for its users in ``venv``."""
    if os.geteuid() != 0:
        raise BenchError("the lab needs root")
    done = subprocess.run([str(LAB), "status"], capture_output=True, check=False)
    if done.returncode:
        raise BenchError("the lab is not up, or not healthy: scripts/lab up")
    if not (venv / "bin" / "hpcfrugal").exists():
        raise BenchError(f"there is no hpcfrugal in {venv}; for the lab's users: scripts/lab install")


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def percentile_90(values: Sequence[float]) -> float:
    """The 90th percentile, by nearest rank: a value that was measured."""
    ordered = sorted(values)
    return ordered[-(-9 * len(ordered) // 10) - 1]


def machine() -> dict[str, Any]:
    """When, where, how and on what: what a figure is worth nothing without."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["scripts/bench/" + Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": _commit(),
        "cpus": os.cpu_count(),
        "cpu_model": _first("/proc/cpuinfo", "model name", ":"),
        "system": _first("/etc/os-release", "PRETTY_NAME", "=").strip('"'),
        "kernel": platform.release(),
        "python": f"Python {platform.python_version()}",
        "load_1min": round(os.getloadavg()[0], 2),
    }


def circumstances(venv: Path) -> dict[str, Any]:
    """The same with the lab, and with the environment that is measured instead of this one."""
    return {
        **machine(),
        "venv": str(venv),
        "installed_is_this_checkout": _installed(venv) == _sources(PROJECT / "hpcfrugal"),
        "python": subprocess.run(
            [str(venv / "bin" / "python"), "--version"], capture_output=True, text=True, check=True
        ).stdout.strip(),
        "slurm": lab(["exec", "--", "sbatch", "--version"]).strip(),
        "jobs_in_lab": len(lab(["exec", "--", "squeue", "--noheader"]).splitlines()),
    }


def show_circumstances(found: dict[str, Any]) -> None:
    """The same, for reading, with what else was going on."""
    print(f"{found['at']}  {found['command']}")
    print(
        f"{found['system']}, Linux {found['kernel']}, {found['cpus']} CPUs ({found['cpu_model']}), {found['python']}, "
        f"{found['slurm']}, load {found['load_1min']}, {found['jobs_in_lab']} jobs in the lab"
    )
    same = "as in" if found["installed_is_this_checkout"] else "NOT as in"
    print(f"hpcfrugal in {found['venv']}: {same} this checkout (at {found['commit']})")
    print(f"busy with other things meanwhile: {found['others_cpus']:.2f} of {found['cpus']} CPUs\n")


def _commit() -> str:
    """The commit, and whether what is measured differs from it."""
    git = ["git", "-C", str(PROJECT)]
    done = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if done.returncode:
        return "no commit"
    same = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "hpcfrugal", "templates"], check=False)
    return done.stdout.strip() + (" and changes" if same.returncode else "")


def _first(path: str, key: str, separator: str) -> str:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(separator)
        if name.strip() == key:
            return value.strip()
    return "unknown"


def _installed(venv: Path) -> dict[str, bytes]:
    folders = sorted(venv.glob("lib/python3*/site-packages/hpcfrugal"))
    return _sources(folders[0]) if folders else {}


def _sources(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.py"))}
