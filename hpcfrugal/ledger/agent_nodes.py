"""What the agents of nodes read over a period, and the part of each job, as channels of the nodes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import field

from hpcfrugal.accounting.balance import AttemptName, Balance, EnergyShare
from hpcfrugal.accounting.buckets import BUCKET_NS
from hpcfrugal.core.quick import dataclass
from hpcfrugal.ledger.agent_channels import SOURCE
from hpcfrugal.ledger.agent_rows import AgentJobRow, AgentSessionRow, NodeChannelRow
from hpcfrugal.ledger.channel_part import part_of
from hpcfrugal.ledger.clusters import figures_of_clusters
from hpcfrugal.ledger.node_sums import NodeChannel, NodeSum
from hpcfrugal.ledger.packed import unpack_columns
from hpcfrugal.ledger.tables import AGENT_JOBS, AGENT_SESSIONS, NODE_CHANNELS

MaybeSpan = tuple[int | None, int | None]
"""From an instant to another, in ns; None: without an end on that side."""

_FILES = """
SELECT DISTINCT nodes.name, agent_file FROM agent_sessions JOIN agent_files USING (agent_file) JOIN nodes USING (node)
WHERE divided AND started_wall_ns + lasted_ns > coalesce(?, 0) AND started_wall_ns < coalesce(?, started_wall_ns + 1)
ORDER BY nodes.name, agent_files.name, agent_file
"""
_ATTEMPTS = """
SELECT agent_jobs.session, agent_jobs.name, first_ns, coalesce(runs.run_id, ''), jobs.job_id, jobs.restart
FROM agent_jobs JOIN jobs USING (job) LEFT JOIN runs USING (run) WHERE agent_file = ?
"""


@dataclass(slots=True)
class AgentNode:
    """A node with an agent: its channels by name, its jobs, and when it was read of each component."""

    cluster: str
    channels: dict[tuple[str, str, str], NodeChannel] = field(default_factory=dict)
    jobs: set[AttemptName] = field(default_factory=set)
    read: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def add_to(self, total: NodeSum) -> None:
        """Count it in."""
        total.channels |= self.channels
        total.jobs |= self.jobs
        for spans in self.read.values():
            for span in spans:
                total.note_reading(*span)


def agents_of_nodes(connection: sqlite3.Connection, span: MaybeSpan) -> dict[str, AgentNode]:
    """The nodes whose agents divided their energy in a time, by name. The part of a bucket of 300 s is by time."""
    clusters = {node: name for name, one in figures_of_clusters(connection).items() for node in one.class_by_node}
    found: dict[str, AgentNode] = {}
    for node, agent_file in connection.execute(_FILES, span).fetchall():
        one = found.setdefault(node, AgentNode(clusters.get(node, "")))
        attempts = {
            (session, name, first_ns): (run_id, job_id, restart)
            for session, name, first_ns, run_id, job_id, restart in connection.execute(_ATTEMPTS, (agent_file,))
        }
        of_file = ("?", (agent_file,))
        jobs: dict[int, list[AgentJobRow]] = {}
        for _, job in AGENT_JOBS.rows_of(connection, *of_file):
            jobs.setdefault(job.session, []).append(job)
        channels: dict[int, list[NodeChannelRow]] = {}
        for _, channel in NODE_CHANNELS.rows_of(connection, *of_file):
            channels.setdefault(channel.session, []).append(channel)
        for _, session in AGENT_SESSIONS.rows_of(connection, *of_file):
            start_ns = max(session.started_wall_ns, session.started_wall_ns if span[0] is None else span[0])
            end_ns = min(session.ended_wall_ns, session.ended_wall_ns if span[1] is None else span[1])
            if session.divided and end_ns > start_ns:
                part = _Part(session, start_ns, end_ns)
                own = [
                    (attempts.get((job.session, job.name, job.first_ns)), job) for job in jobs.get(session.session, ())
                ]
                _add_session(one, part, channels.get(session.session, ()), own)
    return found


@dataclass(frozen=True, slots=True)
class _Part:
    """The part of a session that lies in the period."""

    session: AgentSessionRow
    start_ns: int
    end_ns: int

    def has(self, job: AgentJobRow) -> bool:
        """Whether the job was on the node in it."""
        return job.first_wall_ns < self.end_ns and self.start_ns < job.last_wall_ns

    def of(self, amounts: Mapping[int, int]) -> int:
        """What lies in it, of amounts by bucket."""
        if (self.start_ns, self.end_ns) == (self.session.started_wall_ns, self.session.ended_wall_ns):
            return sum(amounts.values())
        return sum(self._in_bucket(bucket, amount) for bucket, amount in amounts.items())

    def _in_bucket(self, bucket: int, amount: int) -> int:
        first_ns, last_ns = (
            max(bucket, self.session.started_wall_ns),
            min(bucket + BUCKET_NS, self.session.ended_wall_ns),
        )
        inside_ns = min(last_ns, self.end_ns) - max(first_ns, self.start_ns)
        return amount if inside_ns >= last_ns - first_ns else part_of(amount, max(0, inside_ns), last_ns - first_ns)


def _add_session(
    one: AgentNode,
    part: _Part,
    channels: Sequence[NodeChannelRow],
    jobs: Sequence[tuple[AttemptName | None, AgentJobRow]],
) -> None:
    energies = [(attempt or ("", job.job_id or job.name, 0), job, unpack_columns(job.packed)) for attempt, job in jobs]
    one.jobs.update(attempt for attempt, job, _ in energies if part.has(job))
    for channel in channels:
        if channel.energy_uj is None:
            continue
        kind, number = channel.kind, channel.number
        name = (kind.component, kind.gpu_uuid or kind.domain, SOURCE)
        known = one.channels.setdefault(
            name, NodeChannel(kind.component, kind.domain, SOURCE, kind.boundary, kind.quality, kind.counted)
        )
        known.idle_known = known.idle_known or channel.idle_power is not None
        known.idle_lacking = known.idle_lacking or channel.idle_power is None
        energy, _, unread = unpack_columns(channel.packed) or ({}, {}, {})
        found = Balance(part.of(energy), covered_ns=part.end_ns - part.start_ns)
        found.measured_ns = found.covered_ns - part.of(unread)
        for attempt, job, columns in energies:
            job_uj = part.of(columns[number]) if columns else 0
            if job_uj:
                whole_uj, idle_uj = sum(columns[number].values()), json.loads(job.idle_uj or "null")
                own_idle_uj = part_of(idle_uj[number], job_uj, whole_uj) if idle_uj else 0
                found.give(attempt, EnergyShare(job_uj - own_idle_uj, own_idle_uj))
                one.jobs.add(attempt)
        found.residual_uj = found.energy_uj - found.jobs_uj
        known.sum.merge(found)
        for component in {kind.component, *channel.contains}:
            one.read.setdefault(component, []).append((part.start_ns, part.end_ns))
