"""The channels of a job by node agents, and what of its other channels still counts. Pure functions.

There is one rule: of a component of a node, what the agent measured counts for as long as it measured it. Of any other
channel of the same job, node and component only the rest of the time counts, bucket by bucket, in proportion to time.
A sidecar's channel is kept as it was read, and not counted; its remainder is a channel of its own. A model of what only
Slurm's accounting knows is reduced to its remainder.

The agent covers a job on a node from when its session began, or the job if that was later, until the session or the job
ended. What the node drew in the second before the agent first saw the job is in the rest of the node.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field, replace
from typing import Any

from hpcfrugal.accounting.attribution import Attribution
from hpcfrugal.accounting.buckets import BUCKET_NS, EnergyByTime
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import assemble
from hpcfrugal.ledger.agent_rows import AgentJobRow, AgentSessionRow, ChannelKind
from hpcfrugal.ledger.channel_part import part_of, with_energy
from hpcfrugal.ledger.fallbacks import IN_OTHER_GPUS
from hpcfrugal.ledger.packed import PackedBuckets, pack, unpack_columns
from hpcfrugal.ledger.parts import COMPONENTS
from hpcfrugal.ledger.readings import ChannelKey
from hpcfrugal.ledger.rows import ChannelRow
from hpcfrugal.ledger.session_accounts import Amounts

SOURCE = "agent"

_OF_AGENT = "/all-jobs"
_REMAINDER = "/remainder"
"""What is behind the name of a channel by an agent, and of the remainder of another one."""

_REPLACED = "the share by the node's agent counts"

_NEARLY = (99, 100)
"""A bucket, or a job, of which the agent read so much counts as read: sensors skip a sample now and then."""

_SLACK_NS = 2 * 10**9
"""Slurm's times are whole seconds."""


@dataclass(frozen=True, slots=True)
class AgentChannel:
    """A channel of a node in a session, and by bucket how long it was not read. ``known``: it was read at all.
    ``idle_power`` as in ``NodeChannelRow``."""

    number: int
    kind: ChannelKind
    known: bool
    contains: tuple[str, ...]
    idle_power: str | None
    missing: Amounts


@dataclass(frozen=True, slots=True)
class AgentLife:
    """What a job had of a node in a session."""

    node: str
    job: AgentJobRow
    session: AgentSessionRow
    channels: Sequence[AgentChannel]

    @property
    def is_measured(self) -> bool:
        """Whether energy of the node was read, and divided among jobs."""
        return self.session.divided and any(channel.known and channel.kind.counted for channel in self.channels)


@dataclass(slots=True)
class _Measured:
    """A channel over all sessions: energy and measured time by bucket, and when it was first and last read; ``whole``:
    it was read all the time between. ``idle_power`` are the figures that were divided by CPUs, None where none was, and
    ``idle_uj`` is the job's part of that."""

    kind: ChannelKind
    contains: tuple[str, ...]
    first_ns: int
    last_ns: int
    whole: bool = True
    by_time: EnergyByTime = field(default_factory=EnergyByTime)
    idle_power: list[str | None] = field(default_factory=list)
    idle_uj: int = 0

    def covers(self, row: ChannelRow) -> bool:
        """Whether it was read all the time in which another channel was."""
        first_ns, last_ns = row.first_wall_ns, row.last_wall_ns
        if first_ns is None or last_ns is None:
            return False
        return self.whole and self.first_ns <= first_ns and last_ns <= self.last_ns

    def row(self, node: str) -> ChannelRow:
        kind = self.kind
        key = ChannelKey(kind.component, kind.domain, SOURCE)
        figures = list(dict.fromkeys(self.idle_power))
        has_idle = None not in figures
        return assemble(
            ChannelRow,
            key,
            kind,
            node=node,
            packed=pack(self.by_time, self.by_time.measured_ns, self.first_ns, self.last_ns),
            channel=f"{key}{_OF_AGENT}",
            detail=kind.source,
            energy_uj=self.by_time.energy_uj,
            errors=0,
            idle_power=", ".join(filter(None, figures)) if has_idle else None,
            idle_uj=self.idle_uj if has_idle else None,
            **dict.fromkeys(_NOT_KNOWN),
        )


_NOT_KNOWN = (
    *("inputs", "reason", "low_uj", "high_uj", "node_energy_uj", "max_mw", "resets", "gaps", "sensor_gap_ns"),
    *("first_boottime_ns", "last_boottime_ns"),
)


def settled(
    base: Sequence[ChannelRow], lives: Iterable[AgentLife], span_ns: tuple[int, int | None], *, keep: bool
) -> list[ChannelRow]:
    """The channels of a job, of which ``base`` are those without agents. It ran in ``span_ns``, up to None where it is
    not over. ``keep``: those that are replaced stay, not counted."""
    by_node: dict[str, list[AgentLife]] = {}
    for life in lives:
        by_node.setdefault(life.node, []).append(life)
    measured = {node: _measured(some, span_ns) for node, some in by_node.items()}
    contained = {node: _contained(some) for node, some in by_node.items()}
    found = [channel.row(node) for node, channels in measured.items() for channel in channels]
    for row in base:
        replacing = _replacing(row, measured.get(row.node, ())) if row.counted else []
        rest: ChannelRow | None = row
        if replacing:
            rest = _remainder(row, replacing, span_ns)
        elif row.counted and row.energy_uj is not None and row.component in contained.get(row.node, ()):
            rest = _unknown(row)
        if rest is row:
            found.append(row)
            continue
        if keep:
            reason = "; ".join(filter(None, [row.reason, _REPLACED]))
            found.append(replace(row, counted=False, reason=reason))
        if rest is not None:
            found.append(replace(rest, channel=f"{rest.channel}{_REMAINDER}"))
    return sorted(found, key=lambda row: (row.node, row.channel))


def _contained(lives: Iterable[AgentLife]) -> set[str]:
    """The components whose energy is in the power of GPUs of the node, which go to the jobs that hold these."""
    channels = (channel for life in lives for channel in life.channels if channel.known and channel.kind.counted)
    return {component for channel in channels if channel.kind.component == "gpu" for component in channel.contains}


def _unknown(row: ChannelRow) -> ChannelRow:
    """In place of a channel whose energy is in the power of GPUs that the job does not hold."""
    none: dict[str, Any] = dict.fromkeys(
        ("energy_uj", "low_uj", "high_uj", "idle_uj", "idle_power", "node_energy_uj", "inputs")
    )
    return replace(
        row, quality="unknown", attribution=Attribution.NONE, reason=IN_OTHER_GPUS, packed=PackedBuckets(), **none
    )


def has_agents(rows: Iterable[ChannelRow]) -> bool:
    """Whether any of these channels is by an agent, or the remainder of another one."""
    return any(row.channel.endswith((_OF_AGENT, _REMAINDER)) for row in rows)


def base_of(rows: Iterable[ChannelRow]) -> list[ChannelRow]:
    """The channels of a job as its files have them, of rows as ``settled`` with ``keep`` made them."""
    return [_restored(row) for row in rows if not row.channel.endswith((_OF_AGENT, _REMAINDER))]


def _restored(row: ChannelRow) -> ChannelRow:
    if row.counted or row.reason is None or not row.reason.endswith(_REPLACED):
        return row
    reason = row.reason.removesuffix(_REPLACED).removesuffix("; ")
    return replace(row, counted=True, reason=reason or None)


def _measured(lives: Sequence[AgentLife], span_ns: tuple[int, int | None]) -> list[_Measured]:
    """The channels that were read of a node, over all sessions in which the job was there."""
    found: dict[tuple[str, str, str], _Measured] = {}
    ordered = sorted(lives, key=lambda life: (life.session.started_wall_ns, life.job.first_wall_ns, life.job.name))
    before_ns = 0
    for number, life in enumerate(ordered):
        is_last = number + 1 == len(ordered)
        start_ns = max(before_ns, min(max(span_ns[0], life.session.started_wall_ns), life.job.first_wall_ns))
        end_ns = _until(life, span_ns[1], is_last=is_last)
        before_ns = max(start_ns, end_ns)
        covered = dict(_overlaps(start_ns, end_ns))
        energies = unpack_columns(life.job.packed)
        idle_uj: list[int] = [] if life.job.idle_uj is None else json.loads(life.job.idle_uj)
        for channel in life.channels:
            energies_uj = energies[channel.number] if energies else {}
            is_shared = channel.kind.component != "gpu"
            if not channel.known or not (life.session.divided if is_shared else energies_uj):
                continue
            missing = channel.missing.keys() & covered.keys()
            measured = {**covered, **{at: max(0, covered[at] - channel.missing[at]) for at in missing}}
            name = (channel.kind.component, channel.kind.gpu_uuid or channel.kind.domain, channel.kind.boundary)
            sums = found.setdefault(name, _Measured(channel.kind, channel.contains, start_ns, start_ns))
            sums.whole = sums.whole and not missing and start_ns <= sums.last_ns
            sums.last_ns = max(sums.last_ns, end_ns)
            sums.idle_power.append(None if life.job.cpus is None else channel.idle_power)
            sums.idle_uj += idle_uj[channel.number] if idle_uj else 0
            _add(sums.by_time.energies_uj, energies_uj)
            _add(sums.by_time.measured, measured)
    for sums in found.values():
        both = sums.by_time
        for bucket in both.energies_uj.keys() ^ both.measured.keys():
            both.energies_uj.setdefault(bucket, 0)
            both.measured.setdefault(bucket, 0)
        both.energy_uj, both.measured_ns = sum(both.energies_uj.values()), sum(both.measured.values())
    return [sums for sums in found.values() if sums.by_time.measured_ns]


def _until(life: AgentLife, ended_ns: int | None, *, is_last: bool) -> int:
    """Until when the agent covers a job: after the agent saw it end, nothing on the node is the job's any more."""
    if ended_ns is None:
        return life.job.last_wall_ns
    if is_last and life.job.ended:
        return max(ended_ns, life.job.last_wall_ns)
    return max(min(ended_ns, life.session.ended_wall_ns), life.job.last_wall_ns)


def _add(sums: Amounts, more: Amounts) -> None:
    if not sums:
        sums.update(more)
        return
    for bucket, amount in more.items():
        sums[bucket] = sums.get(bucket, 0) + amount


def _overlaps(start_ns: int, end_ns: int) -> Iterator[tuple[int, int]]:
    """How much of each bucket lies in a time."""
    for bucket in range(start_ns - start_ns % BUCKET_NS, end_ns, BUCKET_NS):
        yield bucket, min(end_ns, bucket + BUCKET_NS) - max(start_ns, bucket)


def _replacing(row: ChannelRow, measured: Iterable[_Measured]) -> list[_Measured]:
    """The channels of the agent that read the same as ``row``: its own device or domain, else its component."""
    if row.component not in COMPONENTS:
        return []
    counted = [one for one in measured if one.kind.counted]
    of_component = [one for one in counted if one.kind.component == row.component]
    if not of_component:
        return [one for one in counted if row.component in one.contains]
    if row.gpu_uuid is not None:
        return [one for one in of_component if one.kind.gpu_uuid == row.gpu_uuid]
    return [one for one in of_component if one.kind.domain == row.domain] or of_component


def _remainder(row: ChannelRow, measured: Sequence[_Measured], span_ns: tuple[int, int | None]) -> ChannelRow | None:
    """What of a channel lies outside of the time that was measured: all (the same row), a part, or nothing."""
    if row.energy_uj is not None and any(one.covers(row) for one in measured):
        return None
    covered: dict[int, int] = {}
    for one in measured:
        for bucket, time_ns in one.by_time.measured.items():
            covered[bucket] = max(covered.get(bucket, 0), time_ns)
    if row.energy_uj is None:
        if span_ns[1] is None:
            return row
        length_ns = span_ns[1] - span_ns[0]
        return None if sum(covered.values()) + _SLACK_NS >= part_of(length_ns, *_NEARLY) else row
    rest = EnergyByTime()
    for known in row.buckets:
        start_ns, whole_ns = known.start_ns, known.measured_ns
        left_ns = whole_ns - covered.get(start_ns, 0)
        if left_ns > whole_ns - part_of(whole_ns, *_NEARLY):
            rest.energies_uj[start_ns] = part_of(known.energy_uj, left_ns, whole_ns)
            rest.measured[start_ns] = left_ns
    rest.energy_uj, rest.measured_ns = sum(rest.energies_uj.values()), sum(rest.measured.values())
    if rest.measured_ns == row.measured_ns:
        return row
    if not rest.measured_ns:
        return None
    return with_energy(row, rest)
