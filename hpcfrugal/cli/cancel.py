"""``hpcfrugal cancel``."""

from __future__ import annotations

import click

from hpcfrugal.cli.chosen_jobs import chosen_jobs
from hpcfrugal.cli.options import job_ids
from hpcfrugal.cli.streams import echo
from hpcfrugal.core.text import printable
from hpcfrugal.settings.config import load_config


@click.command(name="cancel")
@job_ids(required=True)
def cancel_command(jobs: tuple[str, ...]) -> None:
    """Cancel jobs. Their energy until then stays in the ledger.

    JOB is a job id, 15_3 or 15_[1-3] for tasks of an array, a run id or its beginning or end, a job's name, or
    `latest`.
    """
    chosen, backends = chosen_jobs(load_config(), jobs)
    for name, backend in backends.items():
        backend.cancel([job.label for job in chosen if job.backend == name and not job.over])
    for job in chosen:
        if job.over:
            echo(f"Job {job.label} has already ended ({printable(job.state)})")
        else:
            echo(f"Cancelled job {job.label}")
