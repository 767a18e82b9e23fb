"""The part of the `submit` benchmark that runs as a user of the lab: submits in turns and times each command.

All jobs depend on one that is held, so none of them starts and takes the processor from the next round. At the
end all are cancelled and the files removed.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

WARM_UP_ROUNDS = 2
PACKAGES = ("hpcfrugal", "click", "jinja2", "pydantic", "pydantic-core", "PyYAML")

LIBRARIES = "click, jinja2, pydantic, yaml"

JOB_FILE = """\
name: bench
command: "true"
output: /dev/null
resources: {{nodes: 1, ntasks: 1, cpus_per_task: 1, mem: 50M, time: "1", dependency: "afterany:{anchor}"}}
"""
SCRIPT = """\
#!/bin/bash
#SBATCH --job-name=bench --output=/dev/null --nodes=1 --ntasks=1 --cpus-per-task=1 --mem=50M --time=1
#SBATCH --dependency=afterany:{anchor}
true
"""


class Jobs:
    """The jobs made so far, in a directory of their own."""

    def __init__(self, folder: Path) -> None:
        self.ids: list[str] = []
        self.folder = folder
        self.environ = dict(os.environ) | {
            "HPCFRUGAL_SPOOL": str(folder / "spool"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_CONFIG_HOME": str(folder / "config"),
        }

    def submit(self, argv: Sequence[str]) -> tuple[dict[str, float], str]:
        """Wall and CPU seconds of a command and all its children, and its stderr; notes the job that it made."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=self.folder, env=self.environ)
        wall_s = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stderr}")
        self.ids += [word for word in done.stdout.replace(";", " ").split() if word.isdigit()]
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"wall_s": wall_s, "cpu_s": cpu_s}, done.stderr

    def cancel(self) -> None:
        """Cancel all of them and wait for up to 20 s until Slurm has let go of them."""
        if not self.ids:
            return
        subprocess.run(["scancel", *self.ids], check=False)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            left = subprocess.run(
                ["squeue", "--noheader", "-j", ",".join(self.ids)], capture_output=True, text=True, check=False
            )
            if not left.stdout.strip():
                return
            time.sleep(0.2)


def measure(jobs: Jobs, rounds: int, programs: dict[str, str], import_runs: int) -> dict[str, Any]:
    """All figures, unreduced."""
    held = ["sbatch", "--parsable", "--hold", "--time=1", "--mem=50M", "--output=/dev/null", "--wrap", "true"]
    jobs.submit(held)
    anchor = jobs.ids[0]
    (jobs.folder / "job.yaml").write_text(JOB_FILE.format(anchor=anchor), encoding="utf-8")
    (jobs.folder / "job.sh").write_text(SCRIPT.format(anchor=anchor), encoding="utf-8")
    python = sys.executable
    commands = {name: [path, "submit", "job.yaml"] for name, path in programs.items()}
    commands["sbatch"] = ["sbatch", "--parsable", "job.sh"]
    commands["the interpreter alone"] = [python, "-c", "pass"]
    commands[f"importing {LIBRARIES}"] = [python, "-c", f"import {LIBRARIES}"]
    # A user's first submit also builds the sidecar's file, which the cache then keeps.
    first_s = jobs.submit(commands["hpcfrugal"])[0]["wall_s"]
    for _ in range(WARM_UP_ROUNDS):
        for argv in commands.values():
            jobs.submit(argv)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    order = list(commands)
    for _ in range(rounds):
        for name in order:
            runs[name].append(jobs.submit(commands[name])[0])
        order.reverse()  # so that none always follows the same one
    traced = [python, "-X", "importtime", *commands["hpcfrugal"]]
    texts = [jobs.submit(traced)[1] for _ in range(import_runs)]
    return {
        "first_submit_s": first_s,
        "runs": runs,
        "imports": breakdown(texts),
        "slurm": subprocess.run(["sbatch", "--version"], capture_output=True, text=True, check=True).stdout.strip(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }


def breakdown(texts: Sequence[str]) -> dict[str, Any]:
    """Own import time by top-level package, each the median of several runs, the ten largest first."""
    tables = [_own_us(text) for text in texts]
    names = {name for table in tables for name in table[0]}

    def middle(values: list[int]) -> int:
        return sorted(values)[len(values) // 2]

    own_us = {name: middle([table.get(name, 0) for table, _ in tables]) for name in names}
    top = sorted(own_us.items(), key=lambda item: -item[1])
    return {
        "modules": middle([count for _, count in tables]),
        "total_ms": middle([sum(table.values()) for table, _ in tables]) / 1e3,
        "top": [[_labelled(name), us / 1e3] for name, us in top[:10]]
        + [[f"{len(top) - 10} others", sum(us for _, us in top[10:]) / 1e3]],
    }


def _labelled(name: str) -> str:
    return f"{name} (standard)" if name in sys.stdlib_module_names else name


def _own_us(text: str) -> tuple[dict[str, int], int]:
    table: dict[str, int] = {}
    count = 0
    for line in text.splitlines():
        if not line.startswith("import time:") or "self [us]" in line:
            continue
        own, _, name = line.removeprefix("import time:").split("|")
        top = name.strip().partition(".")[0]
        table[top] = table.get(top, 0) + int(own)
        count += 1
    return table, count


def main() -> None:
    """Measure and print one line of JSON."""
    parameters = json.loads(sys.argv[1])
    folder = Path(tempfile.mkdtemp(prefix="hpcfrugal-bench-", dir=Path.home()))
    jobs = Jobs(folder)
    try:
        result = measure(jobs, parameters["rounds"], parameters["programs"], parameters["import_runs"])
    finally:
        jobs.cancel()
        shutil.rmtree(folder)
    print(json.dumps(result))


main()
