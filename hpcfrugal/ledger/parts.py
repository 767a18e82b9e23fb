"""What a job's energy consists of: its nodes' components, what is unknown of each, and what it is the energy of.

Pure functions of a job with its channels and sessions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from hpcfrugal.accounting.attribution import Attribution
from hpcfrugal.core.quick import dataclass
from hpcfrugal.ledger.rows import ChannelRow, JobRow
from hpcfrugal.spool.local_cluster import is_local

if TYPE_CHECKING:
    from hpcfrugal.ledger.channel_totals import ChannelTotals

COMPONENTS = ("cpu", "dram", "gpu", "node")
"""What energy may count as: parts of the boundary ``components``, and the whole node in place of them where nothing but
Slurm measured it. A meter of the node is shown beside its parts and never added to them."""

_OF_EVERY_NODE = ("cpu", "dram")

IDLE_LACKING = "not included"
"""In place of the idle power in a job's shares, where the power of a node is not known."""

SHARE, NODE, MACHINE = "share of the node", "whole node", "whole machine"

SCOPES_BETWEEN = " and "
"""Between the scopes of a job whose nodes differ."""


@dataclass(frozen=True, slots=True)
class Part:
    """A component of a node of a job: its channels, and why a part of its energy is unknown or was unread for long.

    ``known``: any energy of it is. ``shares`` are the channels of which the job has a share by CPU time,
    ``lacks_idle``: the node's idle power is not included in one of them.
    """

    node: str
    component: str
    channels: tuple[ChannelRow, ...]
    unknown: tuple[str, ...]
    known: bool = field(init=False, repr=False)
    shares: tuple[ChannelRow, ...] = field(init=False, repr=False)
    lacks_idle: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        known = [one for one in self.channels if one.energy_uj is not None]
        shares = tuple([one for one in known if one.attribution.is_share])
        object.__setattr__(self, "known", bool(known))
        object.__setattr__(self, "shares", shares)
        object.__setattr__(self, "lacks_idle", None in [one.idle_power for one in shares])

    @property
    def complete(self) -> bool:
        """Whether no part of it is unknown. Shorter gaps only lower the coverage."""
        return self.known and not self.unknown

    def covered_ns(self, elapsed_ns: int) -> int:
        """Time of it that is covered.

        Sources follow one another in time (measured, and modelled in a later session), so their times add; the
        channels of one source run side by side (two packages), so theirs are averaged. GPUs are averaged over.
        """
        devices: dict[str | None, dict[str, list[int]]] = {}
        for channel in self.channels:
            by_source = devices.setdefault(channel.gpu_uuid, {})
            by_source.setdefault(channel.source, []).append(channel.measured_ns)
        if not devices:
            return 0
        covered = [
            min(sum(sum(times) // len(times) for times in by_source.values()), elapsed_ns)
            for by_source in devices.values()
        ]
        return sum(covered) // len(covered)


def boundary_of(components: Collection[str]) -> str:
    """The boundary of a sum of these components: ``components``, ``node``, or both where jobs differ."""
    if "node" not in components:
        return "components"
    return "node" if len(components) == 1 else "components and node"


def counted_channels(job: JobRow) -> list[ChannelRow]:
    """The channels with energy that counts, known or not."""
    return [channel for channel in job.channels if channel.counted and channel.component in COMPONENTS]


def parts_of(job: JobRow) -> list[Part]:
    """Every component of every node of a job, known or not.

    A job that was never sampled and never started has unknown energy and no nodes.
    """
    own = counted_channels(job)
    present = {channel.component for channel in own}
    by_part: dict[tuple[str, str], list[ChannelRow]] = {}
    for channel in own:
        by_part.setdefault((channel.node, channel.component), []).append(channel)
    included = _included(job)
    # A meter of the whole node does not show which components the sidecar found there.
    sampled = {channel.node for channel in job.channels if channel.boundary == "components"}
    unseen = _unseen_cpu_time(job)
    # Of a job without a run, the names of its nodes may not be known.
    nodes = job.nodes or tuple(sorted({channel.node for channel in own}))
    found = []
    for component in COMPONENTS:
        if component not in _OF_EVERY_NODE and component not in present:
            continue
        for node in nodes:
            channels = by_part.get((node, component), [])
            if not channels and (node, component) in included:
                continue
            # A sampled node may have no GPU; a node without samples may have had some, like the others.
            if channels or component in _OF_EVERY_NODE or node not in sampled:
                unknown = list(_unknown(node, component, channels))
                if component in _OF_EVERY_NODE and node in unseen:
                    unknown.append(f"{node} {component}: {unseen[node]}")
                found.append(Part(node, component, tuple(channels), tuple(unknown)))
        if not nodes and component in _OF_EVERY_NODE:
            found.append(Part("", component, (), (f"{component}: never sampled",)))
    return found


def _included(job: JobRow) -> set[tuple[str, str]]:
    """The nodes and components of which Slurm measured the energy, with others or the whole node: the model of them, or
    why there is none, stands aside."""
    if not job.is_accounted_alone:
        return set()
    aside = (one for one in job.channels if not one.counted and one.quality in ("modelled", "unknown"))
    return {(one.node, one.component) for one in aside}


def _unknown(node: str, component: str, channels: Sequence[ChannelRow]) -> Iterator[str]:
    if not channels:
        yield f"{node} {component}: no samples"
    for channel in channels:
        if is_lacking(channel):
            yield f"{node} {component} {channel.domain}: {channel.reason or 'no reading yet'}"


def is_lacking(channel: ChannelRow | ChannelTotals) -> bool:
    """Whether the energy of a channel is unknown, or it was not read for long. Shorter gaps only lower the coverage."""
    return channel.energy_uj is None or channel.sensor_gap_ns is not None


def _unseen_cpu_time(job: JobRow) -> dict[str, str]:
    """Why some of the job's CPU time was not seen, by the nodes of which it has a share by that."""
    reasons = [
        (session.node, session.use_reasons["cpu_time"]) for session in job.sessions if "cpu_time" in session.use_reasons
    ]
    seen = whole_nodes(job) | divided_by_agents(job) if reasons else set()
    return {node: reason for node, reason in reasons if node not in seen}


def divided_by_agents(job: JobRow) -> set[str]:
    """The nodes of which the share by an agent counts, for some of the time at least."""
    return {one.node for one in counted_channels(job) if one.attribution is Attribution.AGENT}


def whole_nodes(job: JobRow) -> set[str]:
    """The nodes of which all energy is the job's."""
    exclusive = {session.node for session in job.sessions if session.exclusive}
    exclusive |= {channel.node for channel in job.channels if channel.attribution.is_whole_node}
    return exclusive - divided_by_agents(job)


def scope_of(job: JobRow) -> str | None:
    """What a job's CPU and memory energy is the energy of, one scope unless its nodes differ; None where unknown.

    GPUs are counted whole in each of them.
    """
    exclusive = whole_nodes(job)
    nodes = {
        channel.node
        for channel in job.channels
        if channel.counted and channel.component in ("cpu", "dram", "node") and channel.energy_uj is not None
    }
    whole = MACHINE if is_local(job.cluster) else NODE
    return SCOPES_BETWEEN.join(sorted({whole if node in exclusive else SHARE for node in nodes})) or None


def idle_power_of(parts: Sequence[Part]) -> str | None:
    """The idle power that is in a job's shares, with its source, by component; None where nothing is a share."""
    if any(part.lacks_idle for part in parts):
        return IDLE_LACKING
    found: dict[str, list[str]] = {}
    for part in parts:
        for channel in part.shares:
            found.setdefault(part.component, []).append(channel.idle_power or "")
    known = "; ".join(f"{component} {', '.join(dict.fromkeys(texts))}" for component, texts in found.items())
    return f"known: {known}" if known else None


def not_started(job: JobRow) -> bool:
    """Whether a job is pending, or was cancelled before its start."""
    return job.started_wall_ns is None and not job.sessions
