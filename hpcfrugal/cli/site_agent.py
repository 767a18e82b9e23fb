"""``hpcfrugal site agent``: starts the node agent, shows what it sees, or prints its systemd unit."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpcfrugal.cli.options import FILE, NumberRange, check_exclusive, json_option
from hpcfrugal.cli.streams import echo, echo_json
from hpcfrugal.core.errors import InputError
from hpcfrugal.core.host import this_host
from hpcfrugal.settings.config import load_config
from hpcfrugal.sidecar.sensors.base import PUBLISHED

if TYPE_CHECKING:
    from hpcfrugal.spool.agent_files import AgentSession

_INTERVAL_S = 1.0
_RECORD_S = 60.0
_PUBLISH_STEP_S = 10.0


@click.command(name="agent")
@click.option(
    "--spool", type=FILE, help="The site's spool; the files go into its folder agents/NODE.  [default: site.spool]"
)
@click.option("--node", help="This node's name in Slurm.  [default: the short host name]")
@click.option(
    "--interval", type=NumberRange(0.1, 60), default=_INTERVAL_S, help="Seconds between samples.  [default: 1]"
)
@click.option("--record", type=NumberRange(1, 3600), default=_RECORD_S, help="Seconds between records.  [default: 60]")
@click.option("--group", metavar="NAME", help="Group that may read the files.  [default: site.operators]")
@click.option("--no-publish", is_flag=True, help=f"Do not publish the node's counters in {PUBLISHED}.")
@click.option(
    "--publish-step",
    type=NumberRange(1, 600),
    default=_PUBLISH_STEP_S,
    help="Seconds between two of them.  [default: 10]",
)
@click.option("--once", is_flag=True, help="Sample for one interval, print node and jobs, and exit.")
@click.option("--unit", is_flag=True, help="Print the systemd unit of the agent with these options, and exit.")
@json_option("With --once, print JSON.")
def agent_command(
    spool: Path | None,
    node: str | None,
    interval: float,
    record: float,
    group: str | None,
    no_publish: bool,
    publish_step: float,
    once: bool,
    unit: bool,
    as_json: bool,
) -> None:
    """Measure this node and divide its energy among all of its jobs, whoever submitted them, until it is stopped.

    Run it as root on each compute node, by the unit that --unit prints. Every minute it appends the energy of the node,
    of each job, and the rest to a file of the day. It publishes the counters of the node every 10 s, so that users who
    may not read the sensors have measured energy too.

    \b
    hpcfrugal site agent --once                          what can be read, and which jobs are found
    hpcfrugal site agent --spool /shared/hpcfrugal --group operators
    hpcfrugal site agent --spool /shared/hpcfrugal --unit > /etc/systemd/system/hpcfrugal-agent.service
    """
    check_exclusive("--unit", {"--once": unit and once})
    if as_json and not once:
        raise InputError.at("--json", "is for --once")
    if not once and (spool is None or group is None):
        site = load_config().site
        spool, group = spool or site.spool, group or site.operators
    if spool is None and not once:
        raise InputError.at("--spool", "is missing", "the site's spool, such as --spool /shared/hpcfrugal")
    if unit:
        from hpcfrugal.cli.unit import agent_unit

        assert spool is not None
        step = None if no_publish else publish_step
        words = agent_options(spool.absolute(), group, node, interval, record, publish_step=step)
        echo(agent_unit(words, spool.absolute()).rstrip("\n"))
        return
    options = ["--interval", f"{interval:g}", "--record", f"{record:g}"]
    gid = None if group is None else gid_of(group, "--group")
    if not no_publish and not once:
        options += ["--publish", PUBLISHED, "--publish-step", f"{publish_step:g}"]
    name = node or this_host()
    options += _node_options(name)
    if once:
        _show_once(name, options, as_json=as_json)
    else:
        from hpcfrugal.local.node_agent import become_agent

        assert spool is not None
        become_agent(spool.absolute(), name, options, gid)


def agent_options(
    spool: Path,
    group: str | None,
    node: str | None = None,
    interval_s: float = _INTERVAL_S,
    record_s: float = _RECORD_S,
    *,
    publish_step: float | None = _PUBLISH_STEP_S,
) -> list[str]:
    """The options with which the unit starts the agent; ``publish_step`` None: it does not publish."""
    words = ["--spool", str(spool), "--interval", f"{interval_s:g}", "--record", f"{record_s:g}"]
    words += ["--node", node] if node else []
    words += ["--group", group] if group else []
    return words + (["--no-publish"] if publish_step is None else ["--publish-step", f"{publish_step:g}"])


def _node_options(node: str) -> list[str]:
    """The agent's options for the idle power and the CPUs that the settings give for a node. Raises InputError."""
    from hpcfrugal.settings.idle_power import read_idle_powers

    known = read_idle_powers(load_config().tables("nodes")).get(node)
    if known is None:
        return []
    options = [] if known.cpus is None else ["--slurm-cpus", str(known.cpus)]
    if not known.power_uw:
        return options
    powers = ",".join(f"{component}={power_uw}" for component, power_uw in known.power_uw)
    return [*options, "--idle-power-uw", powers, "--idle-source", known.source]


def gid_of(group: str, option: str) -> int:
    """The id of a group that an option names. Raises InputError where there is no such group."""
    import grp

    try:
        return grp.getgrnam(group).gr_gid
    except (KeyError, ValueError):
        raise InputError.at(option, f"there is no group {group!r} on this machine") from None


def _show_once(node: str, options: Sequence[str], *, as_json: bool) -> None:
    """Sample for an interval and show it. Exit code 1 where nothing was read."""
    from hpcfrugal.local.node_agent import sample_once

    session, has_energy = sample_once(node, options)
    found = _seen(session)
    if as_json:
        echo_json(found)
    else:
        _print(found)
    sys.exit(0 if has_energy else 1)


def _seen(session: AgentSession) -> dict[str, Any]:
    """What was seen in one interval, in watts of the counted channels."""
    header, last = session.header, session.latest
    span_s = 0.0 if last is None else (last.boottime_ns - header.boottime_ns) / 1e9
    channels = [index for index, channel in enumerate(header.channels) if channel.counted]

    def watts(energies_uj: Sequence[int | None] | None) -> float | None:
        known = [energies_uj[index] for index in channels] if energies_uj else []
        if not span_s or not known or None in known:
            return None
        return round(sum(energy_uj or 0 for energy_uj in known) / 1e6 / span_s, 3)

    return {
        "node": header.node,
        "seconds": round(span_s, 3),
        "cpu_time_source": header.cpu_time_source,
        "channels": [
            {"component": channel.component, "domain": channel.domain, "source": channel.source}
            for channel in (header.channels[index] for index in channels)
        ],
        "absent": [{"component": one.component, "source": one.source, "reason": one.reason} for one in header.absent],
        "node_w": watts(None if last is None else last.energy_uj),
        "rest_w": watts(None if last is None else last.rest_uj),
        "jobs": [
            {"job_id": job.job_id, "sluid": job.sluid, "uid": job.uid, "power_w": watts(job.energy_uj)}
            for _, job in sorted(session.jobs().items())
        ],
    }


def _print(found: dict[str, Any]) -> None:
    from hpcfrugal.core.format import count
    from hpcfrugal.core.text import plain

    def watts(value: float | None) -> str:
        return "unknown" if value is None else f"{value:.1f} W"

    echo(f"{plain(found['node'])}: {watts(found['node_w'])} over {found['seconds']:.1f} s")
    for channel in found["channels"]:
        echo(f"  {channel['component']} {plain(channel['domain'])} by {plain(channel['source'])}")
    for absent in found["absent"]:
        echo(f"  not read: {absent['component']} by {plain(absent['source'])}: {plain(absent['reason'], 200)}")
    source = found["cpu_time_source"] or "nothing"
    echo(f"{count(len(found['jobs']), 'job')}, CPU times from {plain(source)}")
    for job in found["jobs"]:
        name = plain(job["job_id"] or job["sluid"])
        user = "unknown user" if job["uid"] is None else f"uid {job['uid']}"
        echo(f"  {name} ({user}): {watts(job['power_w'])}")
    echo(f"  rest: {watts(found['rest_w'])}")
