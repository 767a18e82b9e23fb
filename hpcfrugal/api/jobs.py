"""Jobs from Python: submitting and planning, as `hpcfrugal submit` and `hpcfrugal plan` do it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcfrugal.core.directories import working_directory
from hpcfrugal.core.errors import CollectedProblems, InputError
from hpcfrugal.core.text import quoted_value
from hpcfrugal.job import JobSpec, load_job, naming_lines
from hpcfrugal.job.loader import job_in_folder
from hpcfrugal.settings.config import BACKENDS, load_config
from hpcfrugal.submission import Submission, SubmittedJob, prepare_spec, preview, submit_all, submit_prepared
from hpcfrugal.submission.backends import select_backend

if TYPE_CHECKING:
    from hpcfrugal.planning.decide.plan import Plan

Job = str | os.PathLike[str] | Mapping[str, Any] | JobSpec
"""A job file or batch script by its path, the keys of a job file as a mapping, or a job that was loaded before."""

_FROM_PYTHON = Path("<python>")
"""What stands for the job file in messages and in ``run.json`` where there is none."""


def submit(
    job: Job,
    *,
    arguments: Sequence[str] = (),
    queue: str | None = None,
    now: bool = False,
    backend: str | None = None,
) -> SubmittedJob:
    """Check, plan and submit a job.

    Args:
        job: path of a job file or batch script, a mapping with the keys of a job file (relative paths start from the
            working directory), or a ``JobSpec``.
        arguments: arguments of a batch script, after those of its job file.
        queue: low-carbon queue to wait in, in place of that of the job.
        now: start as soon as possible, whatever the carbon intensity.
        backend: ``slurm_cli``, ``local`` or ``auto``; None is that of the settings.

    Raises:
        InputError: with everything that is wrong with the job or the settings.
        SetupError: Slurm refuses the job or does not answer, or the spool cannot be written.
        ForecastError: there is no forecast, and the job has ``require_forecast``.
    """
    submission = _submission(backend, queue, arguments=arguments, start_now=now)
    with _loaded(job) as (spec, source):
        prepared = prepare_spec(spec, source, submission)
    return submit_prepared(prepared, submission.backend)


def submit_many(
    jobs: Iterable[Job], *, queue: str | None = None, now: bool = False, backend: str | None = None
) -> list[SubmittedJob]:
    """Check, plan and submit jobs, all checked and planned before the first is submitted, and several at a time.

    Args:
        jobs, queue, now, backend: as for ``submit``.

    Raises:
        InputError: with everything that is wrong with any of the jobs; then none is submitted.
        SetupError: as for ``submit``. The error names the job and has a note on which others are submitted.
        ForecastError: as for ``submit``.
    """
    if isinstance(jobs, (JobSpec, Mapping, str, os.PathLike)):
        raise InputError.at("jobs", "is one job", "give a list of jobs, or call submit")
    jobs = [*jobs]
    submission = _submission(backend, queue, start_now=now)
    with submission.backend.for_many(len(jobs)) as for_many:
        submission.backend = for_many
        problems = CollectedProblems()
        prepared = []
        for number, job in enumerate(jobs, 1):
            with problems.noted(), _loaded(job, Path(f"<python, job {number}>")) as (spec, source):
                prepared.append(prepare_spec(spec, source, submission))
        problems.refuse()
        return submit_all(prepared, for_many)


def plan(job: Job, *, queue: str | None = None, backend: str | None = None, refresh: bool = False) -> Plan:
    """When a job would run if it were submitted now, and why. Submits nothing.

    Args:
        job, queue, backend: as for ``submit``.
        refresh: fetch the forecast even if a cached one is recent.

    Raises:
        InputError: with everything that is wrong with the job or the settings; its deadline has passed.
        ForecastError: there is no forecast, and the job has ``require_forecast``.
    """
    with _loaded(job) as (spec, source):
        return preview(spec, source, _submission(backend, queue), datetime.now(UTC), refresh=refresh)


def _submission(
    backend: str | None, queue: str | None, *, arguments: Sequence[str] = (), start_now: bool = False
) -> Submission:
    if backend is not None and backend not in BACKENDS:
        raise InputError.at("backend", f"unknown backend {quoted_value(backend)}", f"use {', '.join(BACKENDS)}")
    if isinstance(arguments, str):
        raise InputError.at("arguments", "is a text", "give a list of arguments")
    config = load_config()
    return Submission(select_backend(backend, config), config, start_now, queue, tuple(arguments))


@contextmanager
def _loaded(job: Job, source: Path = _FROM_PYTHON) -> Iterator[tuple[JobSpec, Path]]:
    """The job and its source, ``source`` where that is no file; an InputError within names the line of the key."""
    if isinstance(job, JobSpec):
        yield job, source
    elif isinstance(job, Mapping):
        yield job_in_folder(job, working_directory(), str(source)), source
    elif not isinstance(job, (str, os.PathLike)):
        raise InputError.at(str(source), f"is a {type(job).__name__}", "a job is a path, a mapping or a JobSpec")
    else:
        path = Path(job)
        with naming_lines(path):
            yield load_job(path), path
