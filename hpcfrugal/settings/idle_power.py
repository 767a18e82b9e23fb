"""Idle and design power of nodes, set by the site or the user: the tables ``[nodes."n[1-4]"]`` of the settings.

    [nodes."n[1-4]"]
    idle_power_w = {cpu = 60.0, dram = 8.0}   # watts per node; also node = 120.0, for meters of the whole node
    tdp_w = 450.0                             # thermal design power of all CPUs of the node, for the model
    cpu = "AMD EPYC 7763"                     # in place of tdp_w: the model of its CPUs, as in /proc/cpuinfo
    gpu = "A100-SXM4-80GB"                    # that of its GPUs, where Slurm does not name it
    source = "wattmeter, empty nodes, 2026-03"

The name is a list of nodes in Slurm's form. The figures in force when a job ends are stored with its samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.section import Fault, Faults, ValueType, optional, required
from hpcfrugal.core.units import compress_nodelist, expand_nodelist
from hpcfrugal.settings.origin import SettingOrigin
from hpcfrugal.settings.section import NamedSection, NamedTable, SettingsSection, read_table
from hpcfrugal.settings.values import SingleLine, integer, interval, number, text_of

MAX_POWER_W = 1e6
_MAX_SOURCE_CHARACTERS = 200
_EXAMPLE = "{cpu = 60.0, dram = 8.0}"
_EMBODIED = 'embodied_kg = [900, 2200], lifetime_years = 5, cpus = 128, embodied_source = "LCA of the vendor, 2024"'
_FIGURES = ("idle_power_w", "tdp_w", "cpu", "gpu", "embodied_kg")

Watts = number(1e-6, MAX_POWER_W)
"""Whole microwatts are kept."""


def _source_of(value: Any) -> str:
    text = text_of(value)
    if len(text) > _MAX_SOURCE_CHARACTERS:
        raise ValueError(f"needs a text of at most {_MAX_SOURCE_CHARACTERS} characters")
    return text


def _names_nodes(value: Any) -> str:
    if not expand_nodelist(value):
        raise Faults(Fault((), "names no node", 'write the nodes in quotes: [nodes."n[1-4]"]'))
    return str(value)


_Source = ValueType(_source_of)


class IdlePowerSettings(SettingsSection):
    """Watts by component. ``node`` is the reading of a meter of the whole node. GPUs are not divided, so need none."""

    what = "idle power"
    not_a_mapping = ("needs watts for each component of a node", f"for example {_EXAMPLE}")

    cpu: float | None = optional(Watts)
    dram: float | None = optional(Watts)
    node: float | None = optional(Watts)

    @classmethod
    def written_out(cls, values: Any) -> Any:
        """An empty table is none."""
        return values or False


class NodeSettings(NamedSection):
    """``[nodes."n[1-4]"]``."""

    what = "a node"

    name: str = required(ValueType(_names_nodes))
    idle_power_w: IdlePowerSettings | None = optional(IdlePowerSettings)
    tdp_w: float | None = optional(Watts)
    cpu: str | None = optional(SingleLine)
    gpu: str | None = optional(SingleLine)
    cpus: int | None = optional(integer(1, 1_000_000))
    embodied_kg: tuple[float, float] | None = optional(interval(0.001, 1e6))
    lifetime_years: float | None = optional(number(0.1, 50))
    embodied_source: str | None = optional(_Source)
    source: str | None = optional(_Source)

    def contradictions(self) -> list[Fault]:
        """No figure, or embodied carbon without what it is divided by."""
        of_embodied = {key: getattr(self, key) for key in ("embodied_kg", "lifetime_years", "cpus", "embodied_source")}
        if self.embodied_kg is not None and None in of_embodied.values():
            missing = ", ".join(key for key, value in of_embodied.items() if value is None)
            return [Fault((), f"has embodied_kg without {missing}", _EMBODIED)]
        if all(getattr(self, key) is None for key in _FIGURES):
            return [Fault((), "has neither idle_power_w nor tdp_w", f"idle_power_w = {_EXAMPLE}, tdp_w = 450")]
        return []


@dataclass(frozen=True, slots=True)
class IdlePower:
    """Idle power of one node in microwatts by component, and the source of the figures as text.

    ``tdp_uw`` is the thermal design power of all its CPUs, ``cpu`` and ``gpu`` are the models of its devices, ``cpus``
    is how many CPUs it has as Slurm counts them.
    """

    power_uw: tuple[tuple[str, int], ...]
    source: str
    tdp_uw: int | None = None
    cpu: str | None = None
    gpu: str | None = None
    cpus: int | None = None


def read_node_tables(tables: Mapping[str, NamedTable]) -> list[tuple[NamedTable, NodeSettings]]:
    """The tables of nodes.

    Raises:
        InputError: a table is wrong, or two name the same node; every problem at once.
    """
    problems: list[Problem] = []
    found: list[tuple[NamedTable, NodeSettings]] = []
    owners: dict[str, NamedTable] = {}
    for table in tables.values():
        section = read_table(NodeSettings, table, problems)
        if section is not None:
            found.append((table, section))
        twice: dict[str, list[str]] = {}
        for node in _nodes(table.name):
            if (other := owners.setdefault(node, table)) is not table:
                twice.setdefault(str(other.origin), []).append(node)
        problems.extend(
            Problem(str(table.origin), f"names nodes that {origin} names too: {_some(again)}", "name each node once")
            for origin, again in twice.items()
        )
    if problems:
        raise InputError(problems)
    return found


def read_idle_powers(tables: Mapping[str, NamedTable]) -> dict[str, IdlePower]:
    """The idle power of each node that the settings name. Raises as ``read_node_tables``."""
    found: dict[str, IdlePower] = {}
    for table, section in read_node_tables(tables):
        found.update(dict.fromkeys(_nodes(table.name), _idle_power(section, table.origin)))
    return found


def _idle_power(section: NodeSettings, origin: SettingOrigin) -> IdlePower:
    watts = section.idle_power_w.to_json() if section.idle_power_w is not None else {}
    power_uw = tuple(
        sorted((component, round(power_w * 1e6)) for component, power_w in watts.items() if power_w is not None)
    )
    # Without the line number: this goes into the ledger, and the file may change.
    source = section.source or f"{origin.source}: {origin.key}"[:_MAX_SOURCE_CHARACTERS]
    tdp_uw = None if section.tdp_w is None else round(section.tdp_w * 1e6)
    return IdlePower(power_uw, source, tdp_uw, section.cpu, section.gpu, section.cpus)


def _nodes(name: str) -> list[str]:
    """The nodes in the name of a table; none if it is invalid, which the check of the table reports."""
    try:
        return list(dict.fromkeys(expand_nodelist(name)))
    except ValueError:
        return []


def _some(nodes: list[str]) -> str:
    text = compress_nodelist(nodes)
    return text if len(text) <= 80 else f"{text[:79]}…"
