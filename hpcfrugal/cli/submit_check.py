"""``hpcfrugal submit --check``: have Slurm check jobs without submitting them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from hpcfrugal.cli.streams import echo
from hpcfrugal.core.errors import InputError, Problem, SetupError
from hpcfrugal.core.text import printable
from hpcfrugal.job.backend import Backend
from hpcfrugal.slurm.client import slurm_client
from hpcfrugal.slurm.submission import ScriptTest
from hpcfrugal.submission import Prepared


def check_with_slurm(jobs: Sequence[Prepared], backend: Backend) -> None:
    """Run `sbatch --test-only` on each job, and print when it would start.

    Raises:
        InputError: Slurm would refuse some of the jobs.
        SetupError: there is no Slurm.
    """
    if backend.name == "local":
        raise SetupError("--check needs Slurm, which this machine does not have", hint="--dry-run shows the script")
    problems = []
    for job in jobs:
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "script.sbatch"
            script.write_bytes(job.rendered.data)
            try:
                found = slurm_client().ask(ScriptTest(job.arguments, script))
            except SetupError as error:
                problems.append(Problem(str(job.source), error.message))
                continue
        where = f" in partition {found.partition}" if found.partition is not None else ""
        echo(f"{printable(str(job.source))}: Slurm accepts it, to start at {found.start_at.astimezone():%F %T}{where}")
    if problems:
        raise InputError(problems)
