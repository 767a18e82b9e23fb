"""``hpcfrugal report``: energy and CO2e per job, in groups and over a period, from the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcfrugal.accounting.green_algorithms import METHOD
from hpcfrugal.cli.ledger_options import ledger_choice
from hpcfrugal.cli.options import check_exclusive, split_tags, tag_option
from hpcfrugal.cli.report_options import energy_unit_option, format_options, given_period, period_options
from hpcfrugal.cli.streams import echo, echo_note
from hpcfrugal.core.errors import CollectedProblems, InputError
from hpcfrugal.core.format import EnergyUnit
from hpcfrugal.core.text import plain
from hpcfrugal.ledger.clocks import skews
from hpcfrugal.ledger.due import Defaults
from hpcfrugal.ledger.groups import GROUPINGS
from hpcfrugal.ledger.queries import JobFilter, count_jobs, find_jobs, runs_named
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.report.cost import Tariff
from hpcfrugal.report.formats import DATA_FORMATS, TEXT, write_report
from hpcfrugal.report.group_keys import checked_groupings
from hpcfrugal.report.jobs import LATEST, JobsReport
from hpcfrugal.report.period import Period
from hpcfrugal.settings.config import Config, load_config
from hpcfrugal.spool.job_names import several_jobs, short_job_id

if TYPE_CHECKING:
    import sqlite3

    from rich.console import Console

    from hpcfrugal.report.savings import SavingsReport
    from hpcfrugal.report.view import Report

_SKEWS_NAMED = 3


@click.command(name="report")
@click.argument("job", required=False)
@click.option(
    "--job",
    "job_option",
    metavar="JOB",
    help="A job id, an array's id, 15_3, a run id or its beginning or end, a job's name, or latest.",
)
@period_options
@click.option("--user", metavar="NAME", help="Only jobs of this user.")
@click.option("--project", metavar="NAME", help="Only jobs with this project in their tags.")
@tag_option("Only jobs with this tag. Repeatable.")
@click.option(
    "--by",
    metavar="WHAT[,WHAT]",
    multiple=True,
    help=f"In groups by one or two of {', '.join(GROUPINGS)} and tag:KEY.",
)
@click.option("--all", "every", is_flag=True, help=f"List every job, not only the latest {LATEST}.")
@click.option("--nodes", "by_node", is_flag=True, help="Report nodes: energy as read, energy of jobs, and the rest.")
@click.option("--savings", "as_savings", is_flag=True, help="Report what timing has saved, by actual carbon intensity.")
@click.option(
    "--method",
    type=click.Choice([METHOD]),
    help="Report jobs by another method, from Slurm's accounting and figures in the settings.",
)
@energy_unit_option
@format_options
@click.option(
    "--sync/--no-sync",
    "sync_first",
    default=None,
    help="Bring the ledger up to date first, or not. Default: --sync, or --no-sync with a ledger that is named.",
)
@ledger_choice
def report_command(
    job: str | None,
    job_option: str | None,
    since: str | None,
    until: str | None,
    month: str | None,
    user: str | None,
    project: str | None,
    tags: tuple[str, ...],
    by: tuple[str, ...],
    every: bool,
    by_node: bool,
    as_savings: bool,
    method: str | None,
    unit: EnergyUnit | None,
    form: str | None,
    sync_first: bool | None,
    ledger_path: Path | None,
) -> None:
    """Report energy and CO2e: of a period in all and of its latest jobs, or in groups.

    The totals have what was used in the period; a job is listed in the period in which it started. Measured and
    modelled energy are shown separately; what is unknown is named and never counted as zero. With JOB, everything about
    that job, whenever it ran.
    """
    mistakes = CollectedProblems()
    with mistakes.noted():
        if job is not None and job_option is not None and job != job_option:
            raise InputError.at("--job", "names another job than the argument JOB")
    job = job or job_option
    keys: tuple[str, ...] = ()
    pairs: list[tuple[str, str]] = []
    span = Period()
    with mistakes.noted():
        keys = checked_groupings(tuple(key for text in by for key in text.split(",")), "--by")
    with mistakes.noted():
        pairs = [*([] if project is None else [("project", project)]), *split_tags(tags, "--tag")]
    with mistakes.noted():
        span = given_period(since, until, month, everything=job is not None)
    given = {"JOB": job, "--user": user, "--project": project, "--tag": tags or None, "--by": by or None}
    for option, is_set, excluded in (
        ("--by", bool(by), {"--all": every}),
        ("--unit", unit is not None, {f"--{form}": form in DATA_FORMATS, "--savings": as_savings}),
        ("--savings", as_savings, {"--by": bool(by), "--nodes": by_node, "--all": every}),
        ("--method", method is not None, {"--by": bool(by), "--nodes": by_node, "--savings": as_savings}),
        ("--nodes", by_node, {name: one is not None for name, one in given.items()} | {"--all": every}),
    ):
        with mistakes.noted():
            check_exclusive(option, excluded if is_set else {})
    mistakes.refuse()
    config = load_config()
    unit = unit or config.energy_unit
    path = ledger_path or config.ledger
    synced = sync_first or (sync_first is None and ledger_path is None)
    if synced:
        from hpcfrugal.cli.sync import sync_to_read

        sync_to_read(path, config)
    if by_node:
        show_report(_nodes(path, config.spool, span, unit), form)
        return
    wanted = JobFilter(
        since_ns=span.since_ns,
        until_ns=span.until_ns,
        jobs=() if job is None else (job,),
        user=user,
        tags=tuple(pairs),
    )
    with open_ledger(path) as connection:
        if job is not None and not count_jobs(connection, wanted):
            wanted = replace(wanted, jobs=_run_meant(connection, job))
            if not wanted.jobs or not count_jobs(connection, wanted):
                raise _no_such_job(job, config, None if synced else _filled_by(path, config))
        if as_savings:
            savings = _savings(connection, wanted, Defaults.of_settings(config), span)
            show_report(savings, form)
            _note_files(savings, config)
            return
        if method is not None:
            show_report(_by_method(connection, wanted, span, config, every=every, unit=unit), form)
            return
        _note_clocks(connection, wanted)
        if_none = "No jobs in this period."
        if not synced:
            if_none += f" `{_filled_by(path, config)}` brings the ledger up to date."
        named = job is not None
        found = JobsReport(
            connection, span, wanted, keys, every or named, named, if_none, unit, Tariff.of_settings(config.site)
        )
        if form in DATA_FORMATS and not keys and not found.every and found.listed > LATEST:
            echo_note(f"the latest {LATEST} of {found.listed:,} jobs; --all writes them all")
        show_report(found, form)


def _by_method(
    connection: sqlite3.Connection, wanted: JobFilter, span: Period, config: Config, *, every: bool, unit: EnergyUnit
) -> Report:
    from hpcfrugal.report.method import MethodReport
    from hpcfrugal.report.method_settings import read_green_algorithms

    return MethodReport(connection, span, wanted, read_green_algorithms(config), config.carbon.pue, every, unit)


def show_report(report: Report, form: str | None) -> None:
    """Print a report in one of the formats, by None as text."""
    write_report(report, form or TEXT, _Terminal())


class _Terminal:
    """Standard output."""

    def write(self, text: str) -> None:
        echo(text, nl=False)

    def console(self) -> Console:
        from hpcfrugal.cli.console import console

        return console()


def show_jobs(job_ids: Sequence[str], config: Config, form: str | None = None) -> None:
    """Print the report of these jobs: in full for a few, else as a list. Raises what ``open_ledger`` raises."""
    with open_ledger(config.ledger) as connection:
        wanted = JobFilter(jobs=tuple(job_ids))
        report = JobsReport(
            connection,
            Period(),
            wanted,
            every=True,
            detailed=True,
            unit=config.energy_unit,
            tariff=Tariff.of_settings(config.site),
        )
        show_report(report, form)


def _run_meant(connection: sqlite3.Connection, text: str) -> tuple[str, ...]:
    """The run whose name, or part of the run id, is ``text``, or the task of it that stands behind a ``_``. Raises
    InputError if there are several.
    """
    runs, (base, _, task) = runs_named(connection, text), text.rpartition("_")
    named = {run.run_id: run.job_id for run in runs}
    if not runs and base and task.isdigit():
        runs = runs_named(connection, base)
        named = {f"{run.job_id}_{task}": f"{run.job_id}_{task}" for run in runs}
    if len(runs) > 1:
        raise InputError([several_jobs(text, list(named.values()))])
    return tuple(named)


def _filled_by(path: Path, config: Config) -> str:
    """The command that brings a ledger up to date."""
    site = config.site
    if path == site.ledger:
        return "hpcfrugal site sync"
    published = site.published is not None and path.is_relative_to(site.published)
    return "hpcfrugal site publish" if published else "hpcfrugal ledger sync"


def _no_such_job(text: str, config: Config, filled_by: str | None) -> InputError:
    """The mistake that the ledger has no such job, or that its user has made it forget it. ``filled_by``: the command
    that has not been run to bring it up to date."""
    from hpcfrugal.cli.chosen_jobs import own_jobs
    from hpcfrugal.submission.tracked_jobs import jobs_meant

    meant = jobs_meant(own_jobs(config), text)
    forgotten = [job.job_id or job.run_dir.run_id for job in meant if job.forgotten]
    where = plain(text, 80)
    if forgotten:
        undo = f"`hpcfrugal forget --undo {short_job_id(forgotten[-1])}` brings it back"
        return InputError.at(where, "was forgotten, so it is in no report", undo)
    hint = "see `hpcfrugal report --since all --all`" if filled_by is None else f"run `{filled_by}` first"
    return InputError.at(where, "is not a job in the ledger", hint)


def _note_clocks(connection: sqlite3.Connection, wanted: JobFilter) -> None:
    """Name the jobs whose energy may have a wrong time."""
    found = list(skews(connection, wanted))
    for one in found[:_SKEWS_NAMED]:
        echo_note(f"{plain(str(one), 200)}: its times, days and CO2e may be wrong")
    if len(found) > _SKEWS_NAMED:
        echo_note(f"the same for {len(found) - _SKEWS_NAMED} more; `hpcfrugal ledger check` lists them")


def _note_files(found: SavingsReport, config: Config) -> None:
    """Name the files in which actual intensities are missing: their providers have no more than what is written."""
    from hpcfrugal.carbon.providers.file import FileSettings
    from hpcfrugal.carbon.settings import read_providers

    tables = config.tables("forecasts")
    for name in sorted({one.awaited for one in found.found if one.awaited is not None} & tables.keys()):
        with suppress(InputError):  # doctor shows the mistakes of a table
            if isinstance(settings := read_providers({name: tables[name]})[name], FileSettings):
                where = plain(str(settings.path), 400)
                echo_note(f"{name}: write the actual intensities to {where}, then run `hpcfrugal ledger sync`")


def _savings(connection: sqlite3.Connection, wanted: JobFilter, defaults: Defaults, span: Period) -> SavingsReport:
    """The savings of these jobs with all of their attempts, also those that started outside the period."""
    from hpcfrugal.ledger.savings import savings
    from hpcfrugal.report.savings import SavingsReport

    jobs = find_jobs(connection, wanted)
    if any(row.restart or row.state != "COMPLETED" for row in jobs):
        named = {(row.run_id, row.job_id) for row in jobs}
        every = find_jobs(connection, replace(wanted, since_ns=None, until_ns=None))
        jobs = [row for row in every if (row.run_id, row.job_id) in named]
    return SavingsReport(span, savings(connection, jobs, defaults))


def _nodes(path: Path, spool: Path, span: Period, unit: EnergyUnit) -> Report:
    from hpcfrugal.ledger.nodes import find_nodes
    from hpcfrugal.report.nodes import NodesReport

    with open_ledger(path) as connection:
        return NodesReport(span, find_nodes(connection, spool, span.since_ns, span.until_ns), unit)
