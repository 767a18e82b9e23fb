"""``hpcfrugal cancel``."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from hpcfrugal.cli.options import job_ids
from hpcfrugal.cli.streams import echo, warn
from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.core.text import printable
from hpcfrugal.settings.config import load_config
from hpcfrugal.submission.backends import select_backend
from hpcfrugal.submission.tracked_jobs import foreign, pick, refresh, tracked_jobs


@click.command(name="cancel")
@job_ids(required=True)
def cancel_command(jobs: tuple[str, ...]) -> None:
    """Cancel jobs. Their energy until then stays in the ledger.

    JOB is a job id, 15_3 or 15_[1-3] for tasks of an array, a run id or its beginning or end, a job's name, or
    `latest`.
    """
    config = load_config()
    chosen = pick(tracked_jobs(config.spool, since=None, now=datetime.now(UTC)), jobs)
    backends = {name: select_backend(name, config) for name in sorted({job.backend for job in chosen})}
    problems = [
        Problem(job.run_dir.run_id, "sbatch did not answer, so the job id is unknown", "find it with `squeue --me`")
        for job in chosen
        if not job.job_id
    ]
    problems += [
        problem
        for name, backend in backends.items()
        for problem in foreign([job for job in chosen if job.backend == name], backend)
    ]
    if problems:
        raise InputError(problems)
    for trouble in refresh(chosen, backends.__getitem__):
        warn(trouble)
    for name, backend in backends.items():
        backend.cancel([job.label for job in chosen if job.backend == name and not job.over])
    for job in chosen:
        if job.over:
            echo(f"Job {job.label} has already ended ({printable(job.state)})")
        else:
            echo(f"Cancelled job {job.label}")
