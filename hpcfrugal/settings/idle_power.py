"""What nodes draw when they do nothing, as a site or a user knows it: the tables ``[nodes."n[1-4]"]`` of the settings.

    [nodes."n[1-4]"]
    idle_power_w = {cpu = 60.0, dram = 8.0}   # per node; also node = 120.0, for meters of the whole node
    source = "wattmeter, empty nodes, 2026-03"

The name is a list of nodes in Slurm's form. Nothing is read from here twice: what is known when a job is over is kept
with its samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpcfrugal.core.errors import InputError, Problem, did_you_mean
from hpcfrugal.core.units import compress_nodelist, expand_nodelist
from hpcfrugal.settings.config import ConfigEntry

COMPONENTS = ("cpu", "dram", "node")
"""Parts with an idle power. A GPU is its holder's whole; ``node`` is what a meter of the whole node reads."""

MAX_POWER_W = 1e6
_MAX_SOURCE_CHARACTERS = 200
_KEYS = ("idle_power_w", "source")
_EXAMPLE = "{cpu = 60.0, dram = 8.0}"


@dataclass(frozen=True, slots=True)
class IdlePower:
    """Idle power of one node in microwatts by component, and where the figures are from, in words."""

    power_uw: tuple[tuple[str, int], ...]
    source: str


def idle_powers(entries: Mapping[str, ConfigEntry]) -> dict[str, IdlePower]:
    """The idle power of each node that the settings name.

    Raises:
        InputError: an entry is wrong, or two name the same node; every problem at once.
    """
    problems: list[Problem] = []
    found: dict[str, IdlePower] = {}
    owners: dict[str, ConfigEntry] = {}
    for entry in entries.values():
        power = _read(entry, problems)
        nodes = _nodes(entry, problems)
        twice: dict[str, list[str]] = {}
        for node in nodes:
            if (other := owners.setdefault(node, entry)) is not entry:
                twice.setdefault(other.origin, []).append(node)
        problems.extend(
            Problem(entry.origin, f"names nodes that {origin} names too: {_some(again)}", "name each node once")
            for origin, again in twice.items()
        )
        if power is not None:
            found.update(dict.fromkeys(nodes, power))
    if problems:
        raise InputError(problems)
    return found


def _some(nodes: list[str]) -> str:
    text = compress_nodelist(nodes)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _nodes(entry: ConfigEntry, problems: list[Problem]) -> list[str]:
    try:
        nodes = list(dict.fromkeys(expand_nodelist(entry.name)))
    except ValueError as error:
        problems.append(Problem(entry.origin, str(error).rstrip(".")))
        return []
    if not nodes:
        problems.append(Problem(entry.origin, "names no node", 'write the nodes in quotes: [nodes."n[1-4]"]'))
    return nodes


def _read(entry: ConfigEntry, problems: list[Problem]) -> IdlePower | None:
    before = len(problems)
    for key in entry.values:
        if key not in _KEYS:
            problems.append(Problem(f"{entry.origin}.{key}", "is not a setting of a node", did_you_mean(key, _KEYS)))
    powers = _powers(f"{entry.origin}.idle_power_w", entry.values.get("idle_power_w"), problems)
    source = entry.values.get("source", entry.origin[:_MAX_SOURCE_CHARACTERS])
    if not isinstance(source, str) or not 0 < len(source.strip()) <= _MAX_SOURCE_CHARACTERS:
        wanted = f"needs a text of at most {_MAX_SOURCE_CHARACTERS} characters"
        problems.append(Problem(f"{entry.origin}.source", wanted, "say where the figures are from"))
        return None
    return None if len(problems) > before else IdlePower(powers, source.strip())


def _powers(where: str, value: Any, problems: list[Problem]) -> tuple[tuple[str, int], ...]:
    if not isinstance(value, dict) or not value:
        problems.append(Problem(where, "needs watts for each component of a node", f"write {_EXAMPLE}"))
        return ()
    found = []
    for component, power_w in value.items():
        if component not in COMPONENTS:
            known = f"known: {', '.join(COMPONENTS)}"
            problems.append(Problem(f"{where}.{component}", "is not a component with idle power", known))
        elif isinstance(power_w, bool) or not isinstance(power_w, int | float) or not _sane(power_w):
            problems.append(
                Problem(f"{where}.{component}", f"needs watts above 0, at most {MAX_POWER_W:g}", f"write {_EXAMPLE}")
            )
        else:
            found.append((component, round(power_w * 1e6)))
    return tuple(sorted(found))


def _sane(power_w: float) -> bool:
    # Whole microwatts are kept. Neither infinity nor nan lies between these.
    return 1e-6 <= power_w <= MAX_POWER_W
