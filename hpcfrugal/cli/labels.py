"""``hpcfrugal tag`` and ``hpcfrugal forget``, and the names and tags of `hpcfrugal run`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcfrugal.cli.options import job_ids, split_tags
from hpcfrugal.cli.streams import echo
from hpcfrugal.core.errors import InputError, Problem, SetupError
from hpcfrugal.core.text import printable
from hpcfrugal.settings.config import load_config
from hpcfrugal.spool.job_names import short_job_id

if TYPE_CHECKING:
    from hpcfrugal.spool.documents import LabelsDocument
    from hpcfrugal.submission.tracked_jobs import TrackedJob

_LOCK_WAIT_S = 5.0


def checked_labels(name: str | None, tags: Sequence[str]) -> tuple[str | None, dict[str, str]]:
    """Name and tags by the rules of a job file. Raises InputError with everything that is wrong."""
    if name is None and not tags:
        return None, {}
    from hpcfrugal.job import job_from_mapping

    values = dict(split_tags(tags, "--tag"))
    try:
        spec = job_from_mapping({"command": "true", "name": name, "tags": values}, "")
    except InputError as error:
        options = {"name": "--name", "tags": "--tag"}
        raise InputError(
            replace(problem, where=options.get(problem.where.lstrip(": ").partition(".")[0], problem.where))
            for problem in error.problems
        ) from None
    return None if name is None else spec.name, spec.tags


@click.command(name="tag")
@click.argument("job", metavar="JOB")
@click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--name", metavar="NAME", help="Give the job this name.")
def tag_command(job: str, changes: tuple[str, ...], name: str | None) -> None:
    """Name or tag a job that exists; KEY= removes a tag.

    The change is kept in the job's run directory, and counts in every report from the next sync on. A job array has one
    name and one set of tags.

    \b
    hpcfrugal tag 4711 project=climate phase=training
    hpcfrugal tag latest --name baseline note=
    """
    if not changes and name is None:
        raise InputError.at("tag", "nothing to change", "write KEY=VALUE, KEY= to remove a tag, or --name NAME")
    pairs = dict(split_tags(changes, "tag"))
    name, kept = checked_labels(name, [f"{key}={value}" for key, value in pairs.items() if value])
    removed = [key for key, value in pairs.items() if not value]
    (found,) = _picked([job])

    def change(labels: LabelsDocument) -> LabelsDocument:
        tags = {**labels.tags, **dict.fromkeys(removed), **kept}
        return replace(labels, name=name or labels.name, tags=tags)

    _write(found, change)
    echo(f"Job {short_job_id(found.label)}: {', '.join(_changes(name, kept, removed))}")


def _changes(name: str | None, kept: dict[str, str], removed: Sequence[str]) -> list[str]:
    named = [] if name is None else [f"name {printable(name)}"]
    changes = [*(f"{key}={value}" for key, value in kept.items()), *(f"no {key}" for key in removed)]
    return [*named, *map(printable, changes)]


@click.command(name="forget")
@job_ids(required=True)
@click.option("--undo", is_flag=True, help="Let the jobs count again.")
def forget_command(jobs: tuple[str, ...], undo: bool) -> None:
    """Leave jobs out of all reports, such as trial runs that failed at once.

    No file is deleted, and --undo brings them back. A job array is forgotten as a whole. Their energy was used all the
    same: totals of a user or site that must be complete should keep them.
    """
    for job in _picked(jobs):
        if job.forgotten is not undo:
            echo(f"Job {short_job_id(job.label)} {'counts' if undo else 'was forgotten'} already")
            continue
        _write(job, lambda labels: replace(labels, forgotten=not undo))
        echo(f"Job {short_job_id(job.label)} {'counts again' if undo else 'no longer counts in reports'}")


def _picked(jobs: Sequence[str]) -> list[TrackedJob]:
    """The jobs that are meant. Raises InputError also for tasks of an array, whose files are those of the array."""
    from hpcfrugal.cli.chosen_jobs import own_jobs
    from hpcfrugal.submission.tracked_jobs import pick

    found = pick(own_jobs(load_config()), jobs)
    problems = [
        Problem(
            job.label, "is a part of a job array, which is named, tagged and forgotten as a whole", f"write {whole}"
        )
        for job in found
        if job.task is not None and (whole := short_job_id(job.job_id))
    ]
    if problems:
        raise InputError(problems)
    return found


def _write(job: TrackedJob, change: Callable[[LabelsDocument], LabelsDocument]) -> None:
    """Change the labels of a job's run. Raises SetupError if they cannot be read or written, or others change them."""
    from hpcfrugal.core.lock import LockHeld, take_lock

    path = job.run_dir.labels_json
    try:
        lock = take_lock(job.run_dir.labels_lock, _LOCK_WAIT_S)
    except LockHeld:
        raise SetupError(f"{path}: another command is changing it", hint="try again") from None
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}") from error
    with lock:
        _change(path, change)


def _change(path: Path, change: Callable[[LabelsDocument], LabelsDocument]) -> None:
    from hpcfrugal.core.safe_read import Unreadable, UnsafeFile
    from hpcfrugal.spool.documents import LabelsDocument, read_labels, write_document

    try:
        labels = read_labels(path, os.getuid())[0]
    except UnsafeFile as error:
        if not (isinstance(error, Unreadable) and isinstance(error.error, FileNotFoundError)):
            raise SetupError(f"{path}: {error}", hint="remove it to start with no labels") from error
        labels = LabelsDocument()
    try:
        write_document(path, change(labels))
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}") from error
