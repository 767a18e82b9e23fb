"""``[meters.NAME]`` of the settings files as meters, every mistake of every table at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpcfrugal.core.errors import Problem
from hpcfrugal.meters.access import access_of
from hpcfrugal.meters.base import SECOND_NS, Meter, PowerSource, Terms
from hpcfrugal.meters.ipmi_dcmi import SOURCE as IPMI_DCMI
from hpcfrugal.meters.ipmi_dcmi import IpmiDcmi
from hpcfrugal.meters.kwollect import Kwollect
from hpcfrugal.meters.powerlog import PowerLog
from hpcfrugal.meters.prometheus import UNITS, Prometheus
from hpcfrugal.meters.redfish import SOURCE as REDFISH
from hpcfrugal.meters.redfish import Redfish
from hpcfrugal.settings.config import ConfigEntry
from hpcfrugal.settings.entries import Keys, read_entries

KINDS = ("prometheus", "kwollect", IPMI_DCMI, REDFISH)

_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
_STEP_NS = 10 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Configured:
    """A meter, and for those that an agent keeps a log of, what the agent asks and where it writes.

    ``here``: the source knows only the machine that it runs on. ``owner_uid``: whose the log has to be.
    """

    meter: Meter
    source: PowerSource | None = None
    log: Path | None = None
    here: bool = False
    owner_uid: int | None = None


def configured(entries: Mapping[str, ConfigEntry]) -> dict[str, Configured]:
    """The meters of the settings by name, in the order of the files.

    Raises:
        InputError: every mistake in every table.
    """
    return read_entries(entries, _one)


def _one(entry: ConfigEntry, problems: list[Problem]) -> Configured | None:
    """One table; None where something in it is wrong."""
    before = len(problems)
    if _NAME.fullmatch(entry.name) is None:
        problems.append(
            Problem(entry.origin[:200], "has a name that is no part of a file name", "letters, digits, _ -")
        )
    keys = Keys(entry, problems)
    kind = keys.choice("kind", KINDS)
    if kind is None:
        return None
    made = {"prometheus": _prometheus, "kwollect": _kwollect, IPMI_DCMI: _ipmi_dcmi, REDFISH: _redfish}[kind](keys)
    keys.finish("this kind of meter")
    return made if len(problems) == before else None


def _terms(keys: Keys) -> Terms:
    step_ns = keys.span_ns("step", _STEP_NS, 0.001, 3600)
    return Terms(
        step_ns=step_ns,
        max_gap_ns=keys.span_ns("max_gap", 3 * step_ns, 0.001, 86_400),
        max_power_w=keys.number("max_power_w", 20_000.0, 1, 10_000_000),
        settle_ns=keys.span_ns("settle", 600 * SECOND_NS, 0, 7 * 86_400),
    )


def _prometheus(keys: Keys) -> Configured | None:
    access = access_of(keys, "https://prometheus.example.org")
    query = keys.text("query", 'ipmi_dcmi_power_consumption_watts{instance="{node}"}')
    unit = keys.choice("unit", tuple(UNITS), "W")
    label = keys.text("node_label")
    nodes, cluster, terms = keys.nodes(), keys.text("cluster"), _terms(keys)
    if query is not None:
        wanted, other = ("{node}", "{nodes}") if label is None else ("{nodes}", "{node}")
        if wanted not in query or other in query:
            hint = '{node} for one node a query; {nodes} with node_label = "LABEL" for several'
            keys.wrong("query", f"needs {wanted} where the node's name goes, and no {other}", hint)
        if "`" in query:
            keys.wrong("query", "has a string in backticks, in which no name can be quoted", "use double quotes")
    if access is None or query is None or unit is None:
        return None
    return Configured(Prometheus(keys.entry.name, access, query, unit, label, nodes, cluster, terms))


def _kwollect(keys: Keys) -> Configured | None:
    access = access_of(keys, "https://api.grid5000.fr/stable/sites/lyon/metrics")
    metric = keys.text("metric") or "wattmetre_power_watt"
    unit = keys.choice("unit", tuple(UNITS), "W")
    nodes, cluster, terms = keys.nodes(), keys.text("cluster"), _terms(keys)
    if access is None or unit is None:
        return None
    return Configured(Kwollect(keys.entry.name, access, metric, unit, nodes, cluster, terms))


def _ipmi_dcmi(keys: Keys) -> Configured | None:
    timeout_s = keys.span_ns("timeout", 10 * SECOND_NS, 0.1, 300) / SECOND_NS
    command = keys.words("command")
    here = command is None or not any("{node}" in word for word in command)
    if not here and keys.raw("nodes") is None:
        keys.wrong("nodes", "is missing: boards to be asked", 'for example "n[1-100]"')
    return _kept(keys, IpmiDcmi(command, timeout_s), here=here)


def _redfish(keys: Keys) -> Configured | None:
    access = access_of(keys, "https://{node}-bmc", with_node=True)
    chassis, control = keys.text("chassis"), keys.index("power_control")
    if keys.raw("nodes") is None:
        keys.wrong("nodes", "is missing: boards to be asked", 'for example "n[1-100]"')
    if access is not None and "{node}" not in access.url:
        keys.wrong("url", "needs {node} where the node's name goes", "for example https://{node}-bmc")
    return None if access is None else _kept(keys, Redfish(access, chassis, control), here=False)


def _kept(keys: Keys, source: PowerSource, *, here: bool) -> Configured | None:
    """A meter whose samples an agent keeps in ``log``."""
    log, owner_uid = keys.path("log", "/var/lib/hpcfrugal/power"), _owner(keys)
    nodes, cluster, terms = keys.nodes(), keys.text("cluster"), _terms(keys)
    if log is None:
        return None
    meter = PowerLog(keys.entry.name, source.source, log, owner_uid, nodes, cluster, terms)
    return Configured(meter, source, log, here, owner_uid)


def _owner(keys: Keys) -> int:
    """The uid whose files count: root's unless the settings name another user."""
    value = keys.raw("owner")
    if value is None:
        return 0
    if type(value) is int and 0 <= value < 2**32:
        return value
    if isinstance(value, str):
        import pwd

        try:
            return pwd.getpwnam(value).pw_uid
        except (KeyError, ValueError):
            keys.wrong("owner", f"is no user of this machine: {value[:40]!r}")
            return 0
    keys.wrong("owner", "needs a user's name or number")
    return 0
