"""``hpcfrugal site closure``: the energy of nodes, closed to their meters."""

from __future__ import annotations

import time
from pathlib import Path

import click

from hpcfrugal.cli.options import checked, site_ledger, site_spool
from hpcfrugal.cli.report_options import data_format_options, energy_unit_option, given_period, period_options
from hpcfrugal.core.format import EnergyUnit
from hpcfrugal.settings.config import load_config
from hpcfrugal.settings.values import nodes_of

_DAY_NS = 86_400 * 10**9


@click.command(name="closure")
@site_spool
@site_ledger
@period_options
@click.option(
    "--node",
    "nodes",
    metavar="NODES",
    callback=checked(nodes_of),
    help="Only these, such as n[1-4]: a row a day.",
)
@click.option("--no-meters", is_flag=True, help="Do not ask the power meters of the settings.")
@click.option("--refresh", is_flag=True, help="Ask meters again about days of which the spool has their answers.")
@click.option("--suspend-time", type=click.IntRange(1, 10**7), help="Seconds in place of Slurm's SuspendTime.")
@energy_unit_option
@data_format_options
def closure_command(
    spool: Path,
    ledger_path: Path,
    since: str | None,
    until: str | None,
    month: str | None,
    nodes: tuple[str, ...] | None,
    no_meters: bool,
    refresh: bool,
    suspend_time: int | None,
    unit: EnergyUnit | None,
    form: str | None,
) -> None:
    """Show what nodes drew, what jobs had of it, what was idle, and what nothing has, by whole days (UTC).

    The figures are those of the node agents in the ledger; of nodes without one, those of a power meter and of the jobs
    in the ledger. Where both read a node, its components are compared with the meter. A meter is asked once about a day
    that is over; its answer is kept in the spool.

    \b
    hpcfrugal site closure --month 2026-11
    hpcfrugal site closure --month 2026-11 --node n[1-4] --csv > closure.csv
    """
    from hpcfrugal.api.closing import closed_site
    from hpcfrugal.api.sync import TROUBLES_SHOWN
    from hpcfrugal.cli.report import show_report
    from hpcfrugal.cli.streams import warn
    from hpcfrugal.ledger.closure import first_known_ns
    from hpcfrugal.ledger.store import open_ledger
    from hpcfrugal.meters.daily import DailyReadings
    from hpcfrugal.meters.settings import read_meters
    from hpcfrugal.report.closure import ClosureReport

    config, now_ns = load_config(), time.time_ns()
    span = given_period(since, until, month)
    until_ns = min(now_ns, -(-(span.until_ns or now_ns) // _DAY_NS) * _DAY_NS)
    meters = [] if no_meters else list(read_meters(config.tables("meters")).values())
    readings = DailyReadings(spool, now_ns, refresh, [])
    with open_ledger(ledger_path) as connection:
        # Meters are asked by day: not since 1970.
        first_ns = span.since_ns if span.since_ns is not None else first_known_ns(connection)
        within = (0, 0) if first_ns is None else (first_ns - first_ns % _DAY_NS, until_ns)
        found = closed_site(connection, meters, readings, within, nodes, suspend_time)
    for line in readings.troubles[:TROUBLES_SHOWN]:
        warn(line)
    report = ClosureReport(span, found, until_ns, by_day=nodes is not None, unit=unit or config.energy_unit)
    show_report(report, form)
