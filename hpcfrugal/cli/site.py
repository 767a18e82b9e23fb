"""``hpcfrugal site``: services that an operator runs for all users of a site."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from hpcfrugal.cli.group import SuggestingGroup
from hpcfrugal.cli.options import NumberRange, checked, json_option
from hpcfrugal.cli.site_agent import agent_command
from hpcfrugal.cli.site_closure import closure_command
from hpcfrugal.cli.site_figures import audit_energy_command, calibrate_command
from hpcfrugal.cli.site_init import site_init_command
from hpcfrugal.cli.site_publish import publish_command
from hpcfrugal.cli.site_sync import site_sync_command
from hpcfrugal.cli.streams import echo, echo_json
from hpcfrugal.core.errors import InputError, SetupError
from hpcfrugal.settings.config import load_config
from hpcfrugal.settings.values import nodes_of

if TYPE_CHECKING:
    from hpcfrugal.meters.powerlog import LoggedMeter


@click.group(name="site", cls=SuggestingGroup)
def site_command() -> None:
    """Services for all users of a site: measure the energy of all jobs on a node, keep a ledger of all jobs."""


site_command.add_command(agent_command)
site_command.add_command(site_init_command)
site_command.add_command(publish_command)
site_command.add_command(audit_energy_command)
site_command.add_command(calibrate_command)
site_command.add_command(site_sync_command)
site_command.add_command(closure_command)


@site_command.command(name="power")
@click.argument("name")
@click.option("--once", is_flag=True, help="Read each node once, print its power, and exit.")
@click.option("--interval", type=NumberRange(0.1, 3600), help="Seconds between readings. Default: the meter's step.")
@click.option(
    "--node",
    "nodes",
    metavar="NODES",
    callback=checked(nodes_of),
    help="Only these nodes, such as n[1-4]. Default: all of the meter.",
)
@json_option("With --once, print JSON.")
def log_power(name: str, once: bool, interval: float | None, nodes: tuple[str, ...] | None, as_json: bool) -> None:
    """Read the power of nodes by IPMI or Redfish and append it to the meter's log, until it is stopped.

    NAME is a table [meters.NAME] of the settings whose kind is ipmi-dcmi or redfish. Without nodes in the settings,
    this machine is read, under its short host name. A failure is reported when it begins and when it ends.

    \b
    hpcfrugal site power dcmi --once     on a node, as root
    hpcfrugal site power bmc             on a machine in the management network, for all nodes
    """
    from hpcfrugal.core.format import count
    from hpcfrugal.core.stop import END, stop_noted
    from hpcfrugal.core.text import plain
    from hpcfrugal.meters.agent import Agent
    from hpcfrugal.meters.powerlog import LoggedMeter
    from hpcfrugal.meters.settings import read_meters

    tables = load_config().tables("meters")
    if name not in tables:
        known = ", ".join(plain(other) for other in tables) or "none"
        raise InputError.at("NAME", f"the settings have no meter {plain(name)!r}", f"meters: {known}")
    found = read_meters({name: tables[name]})[name]
    if not isinstance(found, LoggedMeter):
        raise InputError.at(
            "NAME", f"{found.source} meters are read at sync", "this command reads ipmi-dcmi and redfish meters"
        )

    def log(line: str) -> None:
        echo(f"{plain(name)}: {plain(line, 400)}", err=True)

    agent = Agent(found, _nodes(nodes, found), log)
    if once:
        readings = agent.once()
        found.close()
        if as_json:
            echo_json({"power_w": {node: readings.get(node) for node in agent.nodes}}, indent=None)
        else:
            for node, power_w in readings.items():
                echo(f"{plain(node)} {power_w:g} W")
        sys.exit(0 if len(readings) == len(agent.nodes) else 1)
    with stop_noted(*END) as stop:
        log(f"{count(len(agent.nodes), 'node')} into {found.log}")
        agent.run(interval or found.terms.step_ns / 1e9, stop.wait)
    found.close()


def _nodes(given: tuple[str, ...] | None, found: LoggedMeter) -> tuple[str, ...]:
    """The nodes to read: those given, else this machine if the meter can read no other, else those of the meter."""
    from hpcfrugal.core.host import short_name, this_host

    if given is not None:
        if found.is_local and len(given) > 1:
            raise InputError.at("--node", "names several nodes, but this meter reads only its own machine")
        return given
    if not found.is_local:
        return found.nodes or ()
    host = this_host()
    if found.nodes is None:
        return (host,)
    own = tuple(node for node in found.nodes if short_name(node) == host)
    if not own:
        raise SetupError(f"this machine, {host}, is not one of the meter's nodes", hint="if it is, name it with --node")
    return own[:1]
