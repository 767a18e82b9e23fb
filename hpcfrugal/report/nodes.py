"""The report of nodes over a period: energy that was read, energy of jobs, and the rest, which closes the sum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from hpcfrugal.accounting.balance import AttemptName, Balance
from hpcfrugal.core.format import EnergyUnit, count
from hpcfrugal.core.text import plain
from hpcfrugal.core.units import compress_nodelist
from hpcfrugal.ledger.node_sums import NodeChannel, NodeSum
from hpcfrugal.ledger.nodes import NodesFound
from hpcfrugal.report import notation
from hpcfrugal.report.field import Field, Rows, attributes, field, on, rows, scale, sheet, table, to_json
from hpcfrugal.report.job import COMPONENT_OF_CHANNEL, NOT_ADDED
from hpcfrugal.report.period import Period
from hpcfrugal.report.view import Block, Json, Note, Notes, Sheet, named, note

NODES_SCHEMA_VERSION = 1


class _JobShare(NamedTuple):
    job: AttemptName
    share: Any


_JOB_NAME_FIELDS: tuple[Field[AttemptName], ...] = (
    field("run_id", notation.PLAIN, lambda job: job[0] or None),
    field("job_id", notation.PLAIN, lambda job: job[1]),
    field("restart", notation.PLAIN, lambda job: job[2]),
)

_SHARE_FIELDS: tuple[Field[_JobShare], ...] = (
    *on(_JOB_NAME_FIELDS, lambda one: one.job),
    field("energy_uj", notation.PLAIN, lambda one: one.share.energy_uj),
    field("dynamic_j", notation.ENERGY, lambda one: one.share.dynamic_uj),
    field("idle_j", notation.ENERGY, lambda one: one.share.idle_uj),
)

_BALANCE_FIELDS: tuple[Field[Balance], ...] = (
    field("energy_j", notation.ENERGY, lambda sums: sums.energy_uj, csv=True, heading="Node [{energy}]"),
    field("to_jobs_j", notation.ENERGY, lambda sums: sums.jobs_uj, csv=True, heading="To jobs", drop=5),
    field("rest_j", notation.ENERGY, lambda sums: sums.residual_uj, csv=True, heading="Rest"),
    field("energy_kwh", notation.KILOWATT_HOURS, lambda sums: sums.energy_uj, json="", csv=True),
    field("to_jobs_kwh", notation.KILOWATT_HOURS, lambda sums: sums.jobs_uj, json="", csv=True),
    field("rest_kwh", notation.KILOWATT_HOURS, lambda sums: sums.residual_uj, json="", csv=True),
    field("energy_uj", notation.PLAIN, lambda sums: sums.energy_uj),
    field("to_jobs_uj", notation.PLAIN, lambda sums: sums.jobs_uj),
    field("rest_uj", notation.PLAIN, lambda sums: sums.residual_uj),
    field("job_count", notation.COUNT, lambda sums: len(sums.shares), json="", heading="Jobs", drop=4),
)
"""As exact integers too, so that the sums close."""


class _ChannelOfNode(NamedTuple):
    node: NodeSum
    channel: NodeChannel


def _channels(total: NodeSum) -> list[_ChannelOfNode]:
    return [_ChannelOfNode(total, channel) for _, channel in sorted(total.channels.items())]


def _idle_power(channel: NodeChannel) -> str | None:
    """None for a GPU, which belongs to one job as a whole."""
    if channel.component == "gpu":
        return None
    if channel.idle_known:
        return "partly included" if channel.idle_lacking else "included"
    return "not included"


_CHANNEL_FIELDS: tuple[Field[_ChannelOfNode], ...] = (
    field("cluster", notation.PLAIN, lambda one: one.node.cluster, json="", csv=True),
    field("node", notation.TEXT, lambda one: one.node.node, json="", csv=True, heading="Node", key=True),
    COMPONENT_OF_CHANNEL,
    field("domain", notation.TEXT, lambda one: one.channel.domain, csv=True, heading="Domain", drop=3, key=True),
    field("source", notation.WORD, lambda one: one.channel.source, csv=True, heading="Source", drop=2),
    *attributes(notation.PLAIN, "quality", "boundary", "counted", of="channel", csv=True),
    field("idle_power", notation.PLAIN, lambda one: _idle_power(one.channel), csv=True),
    *on(_BALANCE_FIELDS, lambda one: one.channel.sum),
    field("read_s", notation.SPAN, lambda one: one.channel.sum.covered_ns, csv=True, heading="Read for", drop=1),
    field("measured_s", notation.SPAN, lambda one: one.channel.sum.measured_ns),
    field(
        "jobs", rows(_SHARE_FIELDS), lambda one: [_JobShare(*each) for each in sorted(one.channel.sum.shares.items())]
    ),
    field("jobs_without_share", rows(_JOB_NAME_FIELDS), lambda one: sorted(one.channel.sum.unknown)),
)  # fmt: skip

_NODE_FIELDS: tuple[Field[NodeSum], ...] = (
    *attributes(notation.PLAIN, "cluster"),
    field("node", notation.TEXT, lambda total: total.node, heading="Node", key=True),
    field("component", notation.PLAIN, lambda total: "total", json="", heading="Component", key=True),
    field("first_reading_at", notation.TIME, lambda total: total.first_wall_ns),
    field("last_reading_at", notation.TIME, lambda total: total.last_wall_ns),
    field("sampled_jobs", notation.COUNT, lambda total: len(total.jobs)),
    *on(_BALANCE_FIELDS, lambda total: total.total),
    field("channels", rows(_CHANNEL_FIELDS), _channels),
)


@dataclass(frozen=True)
class NodesReport:
    """Nodes over a period. Columns and channels add up before rounding. ``unit`` is that of energies in the text."""

    period: Period
    found: NodesFound
    unit: EnergyUnit = "auto"

    def document(self) -> dict[str, Json]:
        """Each node with its channels, and the jobs of each."""
        return {
            "schema": NODES_SCHEMA_VERSION,
            "period": self.period.document(),
            "nodes": [to_json(_NODE_FIELDS, total) for total in self.found.nodes],
            "missing": list(self.found.missing),
            "sampled_jobs": self.found.sampled_jobs,
            "nodes_with_agents": list(self.found.with_agents),
        }

    def sheet(self) -> Sheet:
        """One row a channel of a node."""
        return sheet(_CHANNEL_FIELDS, [each for total in self.found.nodes for each in _channels(total)])

    def blocks(self) -> Iterator[Block]:
        """A table with a row for each channel and the total of each node."""
        if not self.found.nodes:
            yield Notes((*self._why_none(), *self._agents(), *self._missing()))
            return
        parts: list[Rows[Any]] = []
        for total in self.found.nodes:
            channels = Rows(
                _CHANNEL_FIELDS, _channels(total), lambda one: "" if one.channel.counted else "aside", apart=True
            )
            parts += [channels, Rows(_NODE_FIELDS, [total], "total")]
        yield table(_CHANNEL_FIELDS, parts, scale(parts, self.unit))
        yield Notes((*self._notes(), *self._agents(), *self._missing()))

    def _notes(self) -> Iterator[Note]:
        found = self.found
        yield note("Rest: idle and system, jobs without samples, and times in which a job's share is unknown.")
        if any(not channel.counted for node in found.nodes for channel in node.channels.values()):
            yield NOT_ADDED
        lacking = [plain(node.node, 24) for node in found.nodes if _lacks_idle(node)]
        if lacking:
            yield note(f"Idle power is not known for all jobs, so it is not separated everywhere: {named(lacking)}.")
        unknown = {job for node in found.nodes for one in node.channels.values() for job in one.sum.unknown}
        if unknown:
            yield note(f"{count(len(unknown), 'job')} with an unknown share, which is in the rest.")

    def _why_none(self) -> Iterator[Note]:
        found = self.found
        if not found.sampled_jobs:
            yield note("No node was sampled by a job in this period.")
            return
        text = f"No node energy is known in this period ({count(found.sampled_jobs, 'job')} with samples)."
        if len({name.partition(" on ")[0] for name in found.missing}) < found.sampled_jobs:
            text += " The samples contain no sensor readings; `hpcfrugal report` shows modelled energy."
        yield note(text)

    def _agents(self) -> Iterator[Note]:
        """Where the figures of agents count."""
        if self.found.with_agents:
            nodes = plain(compress_nodelist(self.found.with_agents), 200)
            yield note(
                f"Source agent: the agents of {nodes}, which have the energy of all jobs; what jobs with a sidecar read"
                " counts for the rest of the time. What was idle: `hpcfrugal site closure`."
            )

    def _missing(self) -> Iterator[Note]:
        missing = self.found.missing
        if missing:
            names = named([plain(name, 120) for name in missing], separator="; ")
            yield note(f"Not counted: {count(len(missing), 'sample file')}: {names}.", limit=1000)


def _lacks_idle(node: NodeSum) -> bool:
    return any(one.counted and one.component != "gpu" and one.idle_lacking for one in node.channels.values())
