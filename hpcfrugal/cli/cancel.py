"""``hpcfrugal cancel``."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from hpcfrugal.cli.streams import say
from hpcfrugal.core.errors import InputError
from hpcfrugal.core.text import printable
from hpcfrugal.settings.config import load_config
from hpcfrugal.submit.backends import select
from hpcfrugal.submit.tracked_jobs import foreign, pick, refresh, tracked_jobs


@click.command()
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
def cancel(jobs: tuple[str, ...]) -> None:
    """Cancel jobs by job id or run id. What was measured until then stays in the ledger."""
    config = load_config()
    chosen = pick(tracked_jobs(config.spool, since=None, now=datetime.now(UTC)), jobs)
    backends = {name: select(name, config) for name in sorted({job.backend for job in chosen})}
    problems = [
        problem
        for name, backend in backends.items()
        for problem in foreign([job for job in chosen if job.backend == name], backend)
    ]
    if problems:
        raise InputError(problems)
    for trouble in refresh(chosen, backends.__getitem__):
        say(f"warning: {printable(trouble)}", err=True)
    for name, backend in backends.items():
        backend.cancel([job.job_id for job in chosen if job.backend == name and not job.over])
    for job in chosen:
        if job.over:
            click.echo(f"Job {job.job_id} is over already ({printable(job.state)})")
        else:
            click.echo(f"Cancelled job {job.job_id}")
