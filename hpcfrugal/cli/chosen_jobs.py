"""The jobs of the user, and those that the commands which change jobs are given, with their present state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from hpcfrugal.cli.streams import warn
from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.job.backend import Backend
from hpcfrugal.settings.config import Config
from hpcfrugal.submission.backends import select_backend
from hpcfrugal.submission.tracked_jobs import TrackedJob, foreign, pick, refresh, tracked_jobs


def own_jobs(config: Config, since: timedelta | None = None) -> list[TrackedJob]:
    """The jobs of the spool of the settings, and of those that it was before, as far as the ledger has them; as
    ``tracked_jobs``."""
    from hpcfrugal.ledger.spools import own_spools

    return tracked_jobs(own_spools(config.ledger, config.spool), since=since, now=datetime.now(UTC))


def chosen_jobs(config: Config, wanted: Sequence[str]) -> tuple[list[TrackedJob], Mapping[str, Backend]]:
    """The jobs that are meant, and their backends by name. Warns of a backend that does not answer.

    Raises:
        InputError: every text that means no job or several, and every job that cannot be changed from here.
    """
    chosen = pick(own_jobs(config), wanted)
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
    return chosen, backends
