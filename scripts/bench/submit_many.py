"""The part of the `submit` benchmark with many jobs: one process of hpcfrugal beside a loop of sbatch.

All jobs are held, so that none starts and takes the processor; they are cancelled after each way. That makes slurmctld
slower for minutes, not least as ext4 passes over the inodes of files that were just deleted: with a command that starts
it anew before each way, all ways have the same conditions.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OPTIONS = "nodes: 1, ntasks: 1, cpus_per_task: 1, mem: 50M, time: '1', hold: true"
SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name} --output=/dev/null --nodes=1 --ntasks=1 --cpus-per-task=1 --mem=50M --time=1 --hold
true
"""
BARE_LOOP = """\
import sys
import pyslurm
count, name = int(sys.argv[1]), sys.argv[2]
for _ in range(count):
    pyslurm.JobSubmitDescription(
        name=name, script="job.sh", standard_output="/dev/null", nodes=1, ntasks=1, cpus_per_task=1,
        memory_per_node="50M", time_limit=1, priority=0,
    ).submit()
"""
"""The least that submissions by pyslurm take: one after the other, with nothing kept of them."""

ROUNDS = 2
"""Of each, the faster one counts: what disturbs only makes it slower."""


def measure(folder: Path, count: int, program: str, before: str | None) -> dict[str, Any]:
    """Seconds of each way. ``before`` is a command of the shell that is run before each."""
    name = folder.name
    (folder / "job.sh").write_text(SCRIPT.format(name=name))
    files = []
    for number in range(count):
        files.append(f"{number}.yaml")
        (folder / files[-1]).write_text(f"name: {name}\ncommand: 'true'\noutput: /dev/null\nresources: {{{OPTIONS}}}\n")
    environ = dict(os.environ) | {
        "HPCFRUGAL_SPOOL": str(folder / "spool"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
    start = ["sh", "-c", before or "true"]
    subprocess.run(start, stdout=sys.stderr, check=True)  # only of a Slurm that runs it is known whether pyslurm fits
    why_not = _why_not_pyslurm()
    ways: dict[str, tuple[Sequence[str], Mapping[str, str]]] = {
        "a loop of sbatch": (["bash", "-c", f"for i in {{1..{count}}}; do sbatch --parsable job.sh; done"], environ),
        # Within a job, whose variables pyslurm would pass on, sbatch is used.
        "submit by sbatch": ([program, "submit", *files], {**environ, "SLURM_JOB_ID": "1"}),
    }
    if why_not is None:
        ways["submit by pyslurm"] = ([program, "submit", *files], environ)
        ways["a loop of pyslurm"] = ([sys.executable, "-c", BARE_LOOP, str(count), name], environ)
    cancel = ["scancel", f"--name={name}"]
    seconds: dict[str, float] = {}
    for _ in range(ROUNDS):
        for way, (argv, variables) in ways.items():
            subprocess.run(start, stdout=sys.stderr, check=True)
            begun = time.perf_counter()
            subprocess.run(argv, cwd=folder, env=variables, stdout=subprocess.DEVNULL, check=True)
            seconds[way] = min(seconds.get(way, 1e9), time.perf_counter() - begun)
            if before is None:
                subprocess.run(cancel, check=True)
    subprocess.run(cancel, check=True)
    slurm = subprocess.run(["sbatch", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {"seconds": seconds, "why_not_pyslurm": why_not, "slurm": slurm}


def _why_not_pyslurm() -> str | None:
    from hpcfrugal.slurm.pyslurm_probe import why_not_pyslurm

    return why_not_pyslurm()


def main() -> None:
    """Measure and print one line of JSON."""
    parameters = json.loads(sys.argv[1])
    folder = Path(tempfile.mkdtemp(prefix="hpcfrugal-bench-", dir=Path.home()))
    try:
        print(json.dumps(measure(folder, parameters["jobs"], parameters["program"], parameters["before"])))
    finally:
        shutil.rmtree(folder)


main()
