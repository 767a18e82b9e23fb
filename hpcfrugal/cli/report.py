"""``hpcfrugal report``: energy and CO2e per job, in groups and over a period, from the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcfrugal.cli.options import check_exclusive, format_options, ledger_option, period_options
from hpcfrugal.cli.streams import echo, echo_note
from hpcfrugal.core.errors import InputError
from hpcfrugal.core.text import plain
from hpcfrugal.ledger.clocks import skews
from hpcfrugal.ledger.footprints import Defaults, footprints
from hpcfrugal.ledger.queries import JobFilter, energy_by_day, find_jobs, runs_named
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.report.formats import render
from hpcfrugal.report.group import GROUPINGS
from hpcfrugal.report.jobs import JobsReport
from hpcfrugal.report.period import Period, period
from hpcfrugal.report.summary import summarise
from hpcfrugal.settings.config import Config, load_config

if TYPE_CHECKING:
    import sqlite3

    from hpcfrugal.ledger.rows import JobRow
    from hpcfrugal.report.view import Report

_SKEWS_NAMED = 3
_GROUPINGS = ("job", *GROUPINGS, "component", "day")


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
@click.option("--tag", "tags", metavar="KEY=VALUE", multiple=True, help="Only jobs with this tag. Repeatable.")
@click.option("--by", default="job", metavar="WHAT", help=f"{', '.join(_GROUPINGS)} or tag:KEY.")
@click.option("--nodes", "by_node", is_flag=True, help="Nodes: energy that was read, energy of jobs, and the rest.")
@click.option("--savings", "as_savings", is_flag=True, help="What timing saved, by the actual carbon intensity.")
@format_options
@click.option(
    "--sync/--no-sync",
    "sync_first",
    default=None,
    help="Bring the ledger up to date first, or not. Default: --sync, or --no-sync with --ledger.",
)
@ledger_option
def report_command(
    job: str | None,
    job_option: str | None,
    since: str | None,
    until: str | None,
    month: str | None,
    user: str | None,
    project: str | None,
    tags: tuple[str, ...],
    by: str,
    by_node: bool,
    as_savings: bool,
    form: str | None,
    sync_first: bool | None,
    ledger_path: Path | None,
) -> None:
    """Report energy and CO2e per job, or over a period by user, project, component or day.

    A job counts in the period in which it started. Measured and modelled energy are shown separately; what is unknown
    is named and never counted as zero. With JOB, everything about that job, whenever it ran.
    """
    if job is not None and job_option is not None and job != job_option:
        raise InputError.at("--job", "two different jobs are named")
    job = job or job_option
    if by not in _GROUPINGS and (not by.startswith("tag:") or by == "tag:"):
        raise InputError.at("--by", f"unknown grouping {by[:40]!r}", f"use {', '.join(_GROUPINGS)} or tag:KEY")
    if as_savings:
        check_exclusive("--savings", {"--by": by != "job", "--nodes": by_node})
    if by_node:
        given = {"JOB": job, "--user": user, "--project": project, "--tag": tags or None}
        check_exclusive("--nodes", {**{name: one is not None for name, one in given.items()}, "--by": by != "job"})
    config = load_config()
    path = ledger_path or config.ledger
    synced = sync_first or (sync_first is None and ledger_path is None)
    if synced:
        from hpcfrugal.cli.sync import sync_to_read

        sync_to_read(path, config)
    span = period(since, until, month, everything=job is not None)
    if by_node:
        show_report(_nodes(path, config.spool, span), form)
        return
    wanted = JobFilter(
        since_ns=span.since_ns,
        until_ns=span.until_ns,
        jobs=() if job is None else (job,),
        user=user,
        tags=_tags(tags, project),
    )
    defaults = Defaults(config.carbon.zone, config.carbon.pue)
    with open_ledger(path) as connection:
        jobs = find_jobs(connection, wanted)
        if job is not None and not jobs:
            wanted = replace(wanted, jobs=_run_meant(connection, job))
            jobs = find_jobs(connection, wanted) if wanted.jobs else []
        if as_savings:
            show_report(_savings(connection, jobs, wanted, defaults, span), form)
            return
        _note_clocks(connection, jobs)
        days = energy_by_day(jobs) if by == "day" else []
        found = footprints(connection, jobs, defaults)
    if job is not None and not jobs:
        hint = "`hpcfrugal status --all` lists your jobs" if synced else "run `hpcfrugal ledger sync` first"
        raise InputError.at("JOB", f"the ledger has no job {job[:80]!r}", hint)
    summaries = [summarise(row, found[row.job]) for row in jobs]
    advice = "" if synced else " `hpcfrugal ledger sync` brings the ledger up to date."
    show_report(JobsReport(span, summaries, by, days, job is not None, f"No jobs in this period.{advice}"), form)


def show_report(report: Report, form: str | None) -> None:
    """Print a report in one of the formats, or by None as text."""
    if form is not None:
        echo(render(report, form), nl=False)
        return
    from hpcfrugal.cli.console import console
    from hpcfrugal.report.formats.text_blocks import renderable

    console().print(renderable(report.blocks()), crop=False)


def jobs_report(job_ids: Sequence[str], ledger: Path, config: Config) -> JobsReport:
    """The report of these jobs: in full for a few, else as a list. Raises what ``open_ledger`` raises."""
    with open_ledger(ledger) as connection:
        jobs = find_jobs(connection, JobFilter(jobs=tuple(job_ids)))
        found = footprints(connection, jobs, Defaults(config.carbon.zone, config.carbon.pue))
    return JobsReport(Period(), [summarise(row, found[row.job]) for row in jobs], detailed=True)


def _run_meant(connection: sqlite3.Connection, text: str) -> tuple[str, ...]:
    """The run whose name, or beginning or end of the run id, is ``text``. Raises InputError if there are several."""
    runs = runs_named(connection, text)
    if len(runs) > 1:
        raise InputError.at("JOB", f"{text[:80]!r} means {len(runs)} runs, the last of them {', '.join(runs[-3:])}")
    return tuple(runs)


def _note_clocks(connection: sqlite3.Connection, jobs: Sequence[JobRow]) -> None:
    """Name the jobs whose energy may have a wrong time."""
    named = {row.job for row in jobs}
    found = [one for one in skews(connection) if one.job in named]
    for one in found[:_SKEWS_NAMED]:
        echo_note(f"{plain(str(one), 200)}: its times, days and CO2e may be wrong")
    if len(found) > _SKEWS_NAMED:
        echo_note(f"the same for {len(found) - _SKEWS_NAMED} more; `hpcfrugal ledger check` lists them")


def _savings(
    connection: sqlite3.Connection, jobs: Sequence[JobRow], wanted: JobFilter, defaults: Defaults, span: Period
) -> Report:
    """The savings of these jobs with all of their attempts, also those that started outside the period."""
    from hpcfrugal.ledger.savings import savings
    from hpcfrugal.report.savings import SavingsReport

    if any(row.restart or row.state != "COMPLETED" for row in jobs):
        named = {(row.run_id, row.job_id) for row in jobs}
        every = find_jobs(connection, replace(wanted, since_ns=None, until_ns=None))
        jobs = [row for row in every if (row.run_id, row.job_id) in named]
    return SavingsReport(span, savings(connection, jobs, defaults))


def _nodes(path: Path, spool: Path, span: Period) -> Report:
    from hpcfrugal.ledger.nodes import find_nodes
    from hpcfrugal.report.nodes import NodesReport

    with open_ledger(path) as connection:
        return NodesReport(span, find_nodes(connection, spool, span.since_ns, span.until_ns))


def _tags(tags: Sequence[str], project: str | None) -> tuple[tuple[str, str], ...]:
    found = [] if project is None else [("project", project)]
    for tag in tags:
        key, equals, value = tag.partition("=")
        if not key or not equals:
            raise InputError.at("--tag", f"not KEY=VALUE: {tag[:40]!r}")
        found.append((key, value))
    return tuple(found)
