"""``hpcfrugal submit``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from hpcfrugal.cli.options import FILE, backend_option, check_exclusive, json_option
from hpcfrugal.cli.streams import echo, echo_note, echo_or_drop, warn
from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.core.text import printable
from hpcfrugal.job import naming_lines
from hpcfrugal.job.loader import is_script
from hpcfrugal.job.matrix import tasks_in_words
from hpcfrugal.settings.config import load_config
from hpcfrugal.slurm.environment import ignored_options
from hpcfrugal.submission import Prepared, Submission, SubmittedJob, prepare, submit_all
from hpcfrugal.submission.backends import select_backend


class _SubmitCommand(click.Command):
    """Takes what follows ``--`` as arguments of the script."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta[_SCRIPT_ARGUMENTS] = tuple(args[at + 1 :])
        return super().parse_args(ctx, args[:at])


_SCRIPT_ARGUMENTS = "hpcfrugal.submit.script_arguments"


@click.command("submit", cls=_SubmitCommand, options_metavar="[OPTIONS]")
@click.argument("jobs", nargs=-1, required=True, type=FILE, metavar="JOB... [-- ARGUMENT...]")
@click.option("--dry-run", is_flag=True, help="Print the exact script; submit nothing.")
@click.option("--check", is_flag=True, help="Have Slurm check the jobs (sbatch --test-only); submit nothing.")
@click.option("--now", "start_now", is_flag=True, help="Start as soon as possible, regardless of the carbon intensity.")
@click.option("--queue", help="Low-carbon queue to wait in; see `hpcfrugal queue list`.")
@click.option(
    "--wait", is_flag=True, help="Wait for the job, show its progress and its report, exit with its exit code."
)
@backend_option
@json_option("Print one JSON object per job.")
def submit_command(
    jobs: tuple[Path, ...], dry_run: bool, check: bool, start_now: bool, queue: str | None, wait: bool,
    backend: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Submit job files (job.yaml) or existing batch scripts (train.sh).

    All files are checked and planned before the first is submitted. A job whose schedule allows a delay is submitted
    with the start time of the lowest expected carbon intensity.

    \b
    hpcfrugal submit job.yaml
    hpcfrugal submit --wait job.yaml
    hpcfrugal submit --dry-run train.sh
    hpcfrugal submit train.sh -- config.yaml --epochs 10
    """
    if dry_run:
        check_exclusive("--dry-run", {"--json": as_json})
    config = load_config()
    chosen = select_backend(backend, config)
    arguments = click.get_current_context().meta[_SCRIPT_ARGUMENTS]
    if arguments and len(jobs) > 1:
        raise click.UsageError("the arguments after `--` are those of one script; submit one at a time")
    submission = Submission(chosen, config, start_now, queue, arguments)
    if check:
        from hpcfrugal.cli.submit_check import check_with_slurm

        check_with_slurm(_prepare_all(jobs, submission), chosen)
        return
    noted = set[str]()
    if dry_run:
        for job in _prepare_all(jobs, submission):
            echo(job.rendered.data, nl=False)
            _show_tasks(job, err=True)
            _show_plan(job, noted, err=True)
        return

    def announce(job: Prepared, result: SubmittedJob) -> None:
        _warn(job, result.warnings[len(job.warnings) :])
        if not (wait and as_json):
            _announce(job, result, noted, as_json=as_json)

    with chosen.for_many(len(jobs)) as submission.backend:
        prepared = _prepare_all(jobs, submission)
        if chosen.name != "local" and (ignored := ignored_options(os.environ)):
            warn(f"not passed to Slurm: {', '.join(ignored)}; write such options into the job file")
        for job in prepared:
            _warn(job, job.warnings)
        results = submit_all(prepared, submission.backend, announce)
    if wait:
        from hpcfrugal.cli.waiting import wait_for

        sys.exit(wait_for(list(zip(prepared, results, strict=True)), chosen, config, as_json=as_json))


def _warn(job: Prepared, warnings: Sequence[str]) -> None:
    for line in warnings:
        warn(f"{printable(str(job.source))}: {line}")


def _prepare_all(jobs: tuple[Path, ...], submission: Submission) -> list[Prepared]:
    prepared = []
    problems: list[Problem] = []
    hint = None
    for path in jobs:
        try:
            with naming_lines(path):
                prepared.append(prepare(path, submission))
        except InputError as error:
            problems += error.problems
            hint = hint or error.hint
            if path != jobs[0] and prepared and prepared[0].source == jobs[0] and is_script(jobs[0]):
                hint = f"if it is an argument of {jobs[0]}, write it after `--`: submit {jobs[0]} -- {path}"
    if problems:
        raise InputError(problems, hint=hint)
    return prepared


def _announce(job: Prepared, submitted: SubmittedJob, noted: set[str], *, as_json: bool) -> None:
    if as_json:
        echo_or_drop(json.dumps(submitted.to_json()))
        return
    line = f"Submitted job {submitted.job_id} on {submitted.cluster}"
    echo_or_drop(f"{line}\nOutput: {printable(str(submitted.output))}")
    _show_tasks(job, most=3)
    _show_plan(job, noted, err=False)


def _show_tasks(job: Prepared, most: int = 20, *, err: bool = False) -> None:
    """Print the parameters of the first tasks of a matrix."""
    if job.spec.matrix is not None:
        for line in tasks_in_words(job.spec.matrix, most):
            echo_or_drop(line, err=err)


def _show_plan(job: Prepared, noted: set[str], *, err: bool) -> None:
    """Print the decision on one line, and its assumptions and problems except those in ``noted``, which gets them."""
    if job.plan is None:
        return
    from hpcfrugal.planning.decide.wording import line

    echo_or_drop(line(job.plan), err=err)
    for text in job.plan.notes:
        if text not in noted:
            echo_note(text)
            noted.add(text)
