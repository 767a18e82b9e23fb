"""The site's settings file that `hpcfrugal site init` writes: what Slurm has of the nodes, and marked guesses.

Only ``[site]`` is in force as it is written. Figures of a node class come before what is read on a node, so a guess of
them would make energies worse: each class is a comment until somebody takes the # away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpcfrugal.accounting.model import design_power, server_class
from hpcfrugal.accounting.tables import cpu_tdp
from hpcfrugal.core.format import count, size
from hpcfrugal.core.text import plain
from hpcfrugal.core.units import compress_nodelist
from hpcfrugal.slurm.nodes import NodeHardware
from hpcfrugal.spool.agent_records import AgentHeader
from hpcfrugal.spool.layout import LEDGER_DIR, PUBLISHED_DIR, USERS_DIR

_MIB = 2**20

_FILE = """\
# Settings of hpcfrugal for all users of the cluster {cluster}, by `hpcfrugal site init`.
# Check each line with "guess:", then delete that comment. A line that begins with # is not in force.
# All settings are in docs/configuration.md. `hpcfrugal doctor` shows those in force, and the mistakes in this file.

# Run directories of users where operators can read them, such as for homes that root cannot read; else in their homes.
# spool = {user_spools}

[site]
cluster = {quoted_cluster}
spool = {spool}{spool_guess}
operators = {operators}{operators_guess}
ledger = {ledger}
published = {published}
# energy_price = 0.25  # of a kWh, for the cost in reports
# currency = "EUR"
# managers = {{ACCOUNT = ["USER"]}}  # beside the coordinators of accounts in Slurm

[carbon]
# Slurm has neither. Without a zone there is no CO2e, without a PUE it leaves out cooling and power supply.
# zone = "FR"
# pue = 1.2

# Node classes: nodes that are alike. A table comes before what is read on a node, so take the # away only from figures
# that you have measured or looked up.
"""

_CLASS = """
# {nodes}: {what}
# [nodes.{quoted_nodes}]
# idle_power_w = {{cpu = {idle_w:.4g}}}  # guess: {idle_share:g} of tdp_w; measure it on an empty node
# tdp_w = {tdp_w:.4g}  # guess: {source}
{cpu}# cpus = {cpus}
# embodied_kg = [LOW, HIGH]  # CO2e of making a node: look it up at the vendor; needs lifetime_years, embodied_source
# source = "guess of hpcfrugal site init"
"""


@dataclass(frozen=True, slots=True, order=True)
class _Kind:
    """What the nodes of a class have in common; "" and 0 where it is not known."""

    cpu_model: str
    cpus: int
    cores: int
    memory_mib: int
    gres: str
    features: str


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """What the file is made from. ``agents`` are headers of node agents, by node. What was not given is a guess."""

    cluster: str
    spool: Path
    spool_given: bool
    operators: str
    operators_given: bool
    nodes: Mapping[str, NodeHardware]
    agents: Mapping[str, AgentHeader]


def site_file(facts: SiteFacts) -> str:
    """The text of the file."""
    text = _FILE.format(
        cluster=plain(facts.cluster),
        quoted_cluster=_quoted(facts.cluster),
        user_spools=_quoted(str(facts.spool / USERS_DIR / "%u")),
        spool=_quoted(str(facts.spool)),
        spool_guess="" if facts.spool_given else "  # guess: on a file system that all nodes and you see",
        operators=_quoted(facts.operators),
        ledger=_quoted(str(facts.spool / LEDGER_DIR / "ledger.db")),
        published=_quoted(str(facts.spool / PUBLISHED_DIR)),
        operators_guess="" if facts.operators_given else "  # guess: group that may read the energy of all jobs",
    )
    return text + "".join(_class(kind, names) for kind, names in node_classes(facts).items())


def node_classes(facts: SiteFacts) -> dict[_Kind, list[str]]:
    """The nodes that are alike, largest classes first."""
    found: dict[_Kind, list[str]] = {}
    for name, node in facts.nodes.items():
        agent = facts.agents.get(name)
        kind = _Kind(
            (agent.cpu_model if agent is not None else None) or "",
            node.cpus,
            (agent.cores_node if agent is not None else None) or node.cores or 0,
            node.memory_mib or 0,
            node.gres or "",
            node.features or "",
        )
        found.setdefault(kind, []).append(name)
    return dict(sorted(found.items(), key=lambda one: (-len(one[1]), one[0])))


def _class(kind: _Kind, names: list[str]) -> str:
    nodes = compress_nodelist(names)
    cores = kind.cores or kind.cpus
    design = design_power(cpu_tdp(), kind.cpu_model or None, cores)
    share = server_class(kind.cpu_model).idle / 1000
    tdp_w = design.power_uw / 1e6
    what = [count(len(names), "node"), count(kind.cpus, "CPU"), *([count(kind.cores, "core")] if kind.cores else [])]
    what += [size(kind.memory_mib * _MIB)] if kind.memory_mib else []
    what += [one for one in (kind.gres, kind.features, kind.cpu_model or "model of the CPU unknown") if one]
    return _CLASS.format(
        nodes=plain(nodes, 200),
        quoted_nodes=_quoted(nodes),
        what=plain(", ".join(what), 300),
        idle_w=tdp_w * share,
        idle_share=share,
        tdp_w=tdp_w,
        cpus=kind.cpus,
        cpu=f"# cpu = {_quoted(kind.cpu_model)}\n" if kind.cpu_model else "",
        source=plain(design.source, 200),
    )


def _quoted(text: str) -> str:
    """A basic string of TOML, which JSON's strings without escaped letters are too."""
    import json

    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
