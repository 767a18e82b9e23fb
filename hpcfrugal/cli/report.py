"""``hpcfrugal report``: energy per job, per user and over a period, from the ledger."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.core.text import plain
from hpcfrugal.ledger.clocks import skews
from hpcfrugal.ledger.footprints import Defaults, footprints
from hpcfrugal.ledger.queries import DayRow, JobFilter, energy_by_day, find_jobs
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.report import export, period, summary
from hpcfrugal.report.text import iso
from hpcfrugal.settings.config import Config, load_config

if TYPE_CHECKING:
    import sqlite3

    from hpcfrugal.ledger.rows import JobRow

_DEFAULT_PERIOD = "30d"
_DETAILS_AT_MOST = 3
_SKEWS_NAMED = 3
_CUTS = ("job", *summary.GROUPINGS, "component", "day")


@click.command(name="report")
@click.argument("job", required=False)
@click.option("--job", "job_option", metavar="JOB", help="A job id, an array's id, 15_3, or a run id.")
@click.option("--since", metavar="TIME", help="2026-11-21, 2026-11, 7d, 24h, 2w or 'all'; UTC. Default: 30d.")
@click.option("--until", metavar="TIME", help="Up to the end of that day or month, or up to that time; UTC.")
@click.option("--month", metavar="YYYY-MM", help="That month: the same as --since and --until with it.")
@click.option("--user", metavar="NAME", help="Only jobs of this user.")
@click.option("--project", metavar="NAME", help="Only jobs with this project in their tags.")
@click.option("--tag", "tags", metavar="KEY=VALUE", multiple=True, help="Only jobs with this tag. Repeatable.")
@click.option("--by", default="job", metavar="WHAT", help=f"{', '.join(_CUTS)} or tag:KEY.")
@click.option("--nodes", "by_node", is_flag=True, help="Nodes: what was read, what went to jobs, and the rest.")
@click.option("--savings", "as_savings", is_flag=True, help="What timing saved, by the actual carbon intensity.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every channel of every job.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, one line a job or group.")
@click.option(
    "--sync/--no-sync",
    "sync_first",
    default=None,
    help="Bring the ledger up to date first, or not. Default: --sync, --no-sync where --ledger names another ledger.",
)
@click.option("--ledger", "ledger_path", type=click.Path(path_type=Path), help="The ledger to read.")
def report(
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
    as_json: bool,
    as_csv: bool,
    sync_first: bool | None,
    ledger_path: Path | None,
) -> None:
    """Report energy and CO2e per job, or over a period by user, project, component or day.

    A job counts in the period in which it started. Measured and modelled energy stand apart; what is unknown is
    named and never counted as zero. With JOB, everything about that job, whenever it ran.
    """
    if job is not None and job_option is not None and job != job_option:
        raise InputError.at("--job", "two different jobs are named")
    if as_json and as_csv:
        raise InputError.at("--csv", "cannot be combined with --json")
    if by not in _CUTS and (not by.startswith("tag:") or by == "tag:"):
        raise InputError.at("--by", f"unknown: {by[:40]!r}", f"use {', '.join(_CUTS)} or tag:KEY")
    if as_savings:
        _refuse_beside_savings(by, by_node, as_csv)
    if by_node:
        _refuse_beside_nodes(job or job_option, user, project, tags, by, as_csv)
    config = load_config()
    defaults = Defaults(config.carbon.zone, config.carbon.pue)
    path = ledger_path or config.ledger
    synced = sync_first or (sync_first is None and ledger_path is None)
    if synced:
        from hpcfrugal.cli.ledger import sync_to_read

        sync_to_read(path, config)
    job = job or job_option
    since_at, until_at = _period(since, until, month, everything=job is not None)
    if by_node:
        _report_nodes(path, config.spool, since_at, until_at, as_json=as_json)
        return
    wanted = JobFilter(
        since_ns=None if since_at is None else period.to_wall_ns(since_at),
        until_ns=None if until_at is None else period.to_wall_ns(until_at),
        jobs=() if job is None else (job,),
        user=user,
        tags=_tags(tags, project),
    )
    with open_ledger(path) as connection:
        jobs = find_jobs(connection, wanted)
        if as_savings:
            _report_savings(
                _whole(connection, jobs, wanted), defaults, connection, (since_at, until_at), as_json=as_json
            )
            return
        _warn_of_clocks(connection, jobs)
        days = energy_by_day(connection, jobs) if by == "day" else []
        found = footprints(connection, jobs, defaults)
    if job is not None and not jobs:
        hint = "`hpcfrugal status --all` lists your jobs" if synced else "run `hpcfrugal ledger sync` first"
        raise InputError.at("JOB", f"the ledger has no job {job[:80]!r}", hint)
    summaries = [summary.summarise(row, found[row.key]) for row in jobs]
    groups = _groups(summaries, days, by)
    if as_json:
        _print_json(summaries, groups, by, since_at, until_at)
    elif as_csv:
        text = export.jobs_csv(summaries) if by == "job" else export.groups_csv(groups, by)
        click.echo(text, nl=False)
    elif summaries:
        _print(summaries, groups, by, alone=job is not None)
    else:
        click.echo(
            "No jobs in this period." + ("" if synced else " `hpcfrugal ledger sync` brings the ledger up to date.")
        )


def _warn_of_clocks(connection: sqlite3.Connection, jobs: Sequence[JobRow]) -> None:
    """Say of which of these jobs it is not sure when they drew their energy."""
    named = {(row.run_id, row.job_id, row.restart) for row in jobs}
    found = [one for one in skews(connection) if (one.run_id, one.job_id, one.restart) in named]
    for one in found[:_SKEWS_NAMED]:
        click.echo(f"note: {plain(str(one), 200)}: its times, days and grams may be wrong", err=True)
    if len(found) > _SKEWS_NAMED:
        more = len(found) - _SKEWS_NAMED
        click.echo(f"note: the same of {more} more; `hpcfrugal ledger check` lists them", err=True)


def _refuse_beside_nodes(
    job: str | None, user: str | None, project: str | None, tags: Sequence[str], by: str, as_csv: bool
) -> None:
    given = {
        "JOB": job is not None, "--user": user is not None, "--project": project is not None, "--tag": bool(tags),
        "--by": by != "job", "--csv": as_csv,
    }  # fmt: skip
    wrong = [Problem(option, "cannot be combined with --nodes") for option, there in given.items() if there]
    if wrong:
        raise InputError(wrong)


def _refuse_beside_savings(by: str, by_node: bool, as_csv: bool) -> None:
    given = {"--by": by != "job", "--nodes": by_node, "--csv": as_csv}
    wrong = [Problem(option, "cannot be combined with --savings") for option, there in given.items() if there]
    if wrong:
        raise InputError(wrong)


def _whole(connection: sqlite3.Connection, jobs: Sequence[JobRow], wanted: JobFilter) -> Sequence[JobRow]:
    """These jobs with all of their attempts, which save or lose together, also those that began outside the period."""
    if not any(row.restart or row.state != "COMPLETED" for row in jobs):
        return jobs
    named = {(row.run_id, row.job_id) for row in jobs}
    every = find_jobs(connection, replace(wanted, since_ns=None, until_ns=None))
    return [row for row in every if (row.run_id, row.job_id) in named]


def _report_savings(
    jobs: Sequence[JobRow],
    defaults: Defaults,
    connection: sqlite3.Connection,
    span: tuple[datetime | None, datetime | None],
    *,
    as_json: bool,
) -> None:
    from hpcfrugal.ledger.savings import savings

    found = savings(connection, jobs, defaults)
    if as_json:
        from hpcfrugal.report.savings import savings_json

        document = savings_json(found, {"since": _at(span[0]), "until": _at(span[1])})
        click.echo(json.dumps(document, indent=2, allow_nan=False))
        return
    from hpcfrugal.cli.console import console
    from hpcfrugal.report.savings import savings_table

    if found:
        console().print(savings_table(found), crop=False)
    else:
        click.echo("No jobs in this period.")


def _report_nodes(
    path: Path, spool: Path, since_at: datetime | None, until_at: datetime | None, *, as_json: bool
) -> None:
    from hpcfrugal.ledger.nodes import find_nodes

    since_ns, until_ns = (None if at is None else period.to_wall_ns(at) for at in (since_at, until_at))
    with open_ledger(path) as connection:
        found = find_nodes(connection, spool, since_ns, until_ns)
    if as_json:
        from hpcfrugal.report.nodes import nodes_json

        document = nodes_json(found, {"since": _at(since_at), "until": _at(until_at)})
        click.echo(json.dumps(document, indent=2, allow_nan=False))
        return
    from hpcfrugal.cli.console import console
    from hpcfrugal.report.node_tables import no_nodes, nodes_table

    console().print(nodes_table(found) if found.nodes else no_nodes(found), crop=False)


def print_jobs(job_ids: Sequence[str], config: Config, *, as_json: bool) -> None:
    """Print the report of these jobs: in full for a few, else as a list. Raises what ``open_ledger`` raises."""
    with open_ledger(config.ledger) as connection:
        jobs = find_jobs(connection, JobFilter(jobs=tuple(job_ids)))
        found = footprints(connection, jobs, Defaults(config.carbon.zone, config.carbon.pue))
    summaries = [summary.summarise(row, found[row.key]) for row in jobs]
    if as_json:
        _print_json(summaries, [], "job", None, None)
    else:
        _print(summaries, [], "job", alone=True)


def _print_json(
    summaries: Sequence[summary.JobSummary],
    groups: Sequence[summary.Group],
    by: str,
    since_at: datetime | None,
    until_at: datetime | None,
) -> None:
    span = {"since": _at(since_at), "until": _at(until_at)}
    document = export.report_json(summaries, summary.whole(summaries), by, groups, span)
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def _at(when: datetime | None) -> str | None:
    return None if when is None else iso(period.to_wall_ns(when))


def _period(
    since: str | None, until: str | None, month: str | None, *, everything: bool
) -> tuple[datetime | None, datetime | None]:
    if month is not None:
        if since is not None or until is not None:
            raise InputError.at("--month", "cannot be combined with --since and --until")
        return period.month(month)
    now = datetime.now(UTC)
    if since is None:
        since = "all" if everything or until is not None else _DEFAULT_PERIOD
    since_at = None if since == "all" else period.since(since, now)
    until_at = None if until is None else period.until(until, now)
    if since_at is not None and until_at is not None and until_at <= since_at:
        raise InputError.at("--until", "lies before --since")
    return since_at, until_at


def _tags(tags: Sequence[str], project: str | None) -> tuple[tuple[str, str], ...]:
    found = [] if project is None else [("project", project)]
    for tag in tags:
        key, equals, value = tag.partition("=")
        if not key or not equals:
            raise InputError.at("--tag", f"not KEY=VALUE: {tag[:40]!r}")
        found.append((key, value))
    return tuple(found)


def _groups(summaries: Sequence[summary.JobSummary], days: Sequence[DayRow], by: str) -> list[summary.Group]:
    if by == "job":
        return []
    if by == "component":
        return summary.group_by_component(summaries)
    if by == "day":
        return summary.group_by_day(days, _day_name, [one.footprint for one in summaries if one.footprint is not None])
    return summary.group_by(summaries, by)


def _day_name(day_s: int) -> str:
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=day_s):%Y-%m-%d}"


def _print(summaries: Sequence[summary.JobSummary], groups: Sequence[summary.Group], by: str, *, alone: bool) -> None:
    from hpcfrugal.cli.console import console
    from hpcfrugal.report import tables

    out = console()
    totals = summary.whole(summaries)
    if by != "job":
        out.print(tables.groups_table(groups, totals, by), crop=False)
    elif alone and len(summaries) <= _DETAILS_AT_MOST:
        for position, one in enumerate(summaries):
            out.print(*([""] if position else []), tables.job_detail(one), sep="\n", crop=False)
    else:
        out.print(tables.jobs_table(summaries, totals), crop=False)
