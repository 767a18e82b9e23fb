"""``hpcfrugal hold`` and ``hpcfrugal release``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import click

from hpcfrugal.cli.chosen_jobs import chosen_jobs
from hpcfrugal.cli.options import job_ids
from hpcfrugal.cli.streams import echo
from hpcfrugal.core.errors import InputError, Problem, SetupError
from hpcfrugal.core.text import plain, printable
from hpcfrugal.settings.config import load_config
from hpcfrugal.slurm.client import slurm_client
from hpcfrugal.slurm.updates import HoldJob, ReleaseJob, UpdateJob
from hpcfrugal.submission.tracked_jobs import TrackedJob


@click.command(name="hold")
@job_ids(required=True)
def hold_command(jobs: tuple[str, ...]) -> None:
    """Keep jobs in the queue from starting, until `hpcfrugal release`.

    JOB is as for `cancel`. A low-carbon queue leaves held jobs alone.
    """
    _change(jobs, lambda job: slurm_client().ask(HoldJob(job.label)), "is held")


@click.command(name="release")
@job_ids(required=True)
def release_command(jobs: tuple[str, ...]) -> None:
    """Let held jobs start, and planned ones as soon as there are free nodes.

    JOB is as for `cancel`. A job that is both held and planned keeps its planned start; release it again to start it
    at once.
    """
    _change(jobs, _release, "is released")


def _release(job: TrackedJob) -> str | None:
    if any(state.held for state in job.states):
        return slurm_client().ask(ReleaseJob(job.label))
    from hpcfrugal.queues.controller import release_job
    from hpcfrugal.queues.snapshot import read_snapshot

    queued = [one for one in read_snapshot(job_id=job.job_id) if one.waits]
    if queued:
        return release_job(replace(queued[0], job_id=job.label))
    return slurm_client().ask(UpdateJob(job.label, "now"))


def _change(wanted: Sequence[str], change: Callable[[TrackedJob], str | None], done: str) -> None:
    """Change jobs that wait in Slurm's queue. Raises SetupError where one could not be changed."""
    chosen, _ = chosen_jobs(load_config(), wanted)
    here = "is a job of this machine, which has no queue"
    if problems := [Problem(job.label, here, "`hpcfrugal cancel` ends it") for job in chosen if job.is_local]:
        raise InputError(problems)
    failed = False
    for job in chosen:
        pending = any(state.state == "PENDING" or state.held for state in job.states)
        why = change(job) if pending else f"does not wait ({printable(job.state)})"
        failed = failed or why is not None
        echo(f"Job {job.label} {done}" if why is None else f"Job {job.label}: {plain(why, 200)}")
    if failed:
        raise SetupError("not all jobs could be changed")
