"""The energy of nodes by day, closed: from the files of their agents, and from meters of the whole node."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from itertools import groupby

from hpcfrugal.accounting.closure import AgentSpan, NodeBalance, SuspendRule, WallSpan, close_node
from hpcfrugal.core.quick import dataclass
from hpcfrugal.ledger.agent_rows import NodeChannelRow
from hpcfrugal.ledger.clusters import figures_of_clusters
from hpcfrugal.ledger.due import DAY_NS
from hpcfrugal.ledger.packed import unpack_columns
from hpcfrugal.ledger.tables import AGENT_SESSIONS, NODE_CHANNELS

USUAL_SUSPEND_S = 600
"""SuspendTime in place of Slurm's, where that switches no node off."""


@dataclass(slots=True)
class NodeDay:
    """A node on a UTC day. ``balance`` is None of a node without an agent.

    ``boundary`` is that of the balance: ``components``, or ``node`` where the agent has no sensor of these. ``meter``
    is the meter of the whole node, or the agent's sensor of it, with its energy on the day, and in the time that the
    agent read components too (``beside_uj``). ``known_jobs_uj`` is the energy of jobs in the ledger, of a node without
    an agent.
    """

    node: str
    day: int
    balance: NodeBalance | None = None
    boundary: str = "components"
    meter: str | None = None
    meter_uj: int | None = None
    meter_ns: int = 0
    beside_uj: int | None = None
    known_jobs_uj: int | None = None
    spans: list[WallSpan] = field(default_factory=list)

    @property
    def node_uj(self) -> int:
        """The energy that is closed: by the agent, else by the meter."""
        return self.balance.node_uj if self.balance is not None else self.meter_uj or 0

    @property
    def jobs_uj(self) -> int:
        return self.balance.jobs_uj if self.balance is not None else self.known_jobs_uj or 0

    @property
    def idle_uj(self) -> int:
        return 0 if self.balance is None else self.balance.idle_uj

    @property
    def unattributed_uj(self) -> int:
        """What no job had beside jobs, or could not be divided; without an agent, all that no job of the ledger has."""
        return self.node_uj - self.jobs_uj - self.idle_uj

    @property
    def read_ns(self) -> int:
        return self.meter_ns if self.balance is None else self.balance.read_ns

    @property
    def ratio(self) -> float | None:
        """Components over the meter, in the time that both read."""
        known = self.balance is not None and self.boundary == "components" and self.beside_uj
        return self.balance.node_uj / self.beside_uj if known and self.balance and self.beside_uj else None


@dataclass(slots=True)
class ClosedNode:
    """A node over the period, by day."""

    node: str
    rule: SuspendRule
    has_rule: bool
    days: dict[int, NodeDay] = field(default_factory=dict)


_SESSIONS = """
SELECT nodes.name, agent_files.agent_file FROM agent_files JOIN nodes USING (node)
JOIN agent_sessions USING (agent_file)
WHERE started_wall_ns < ? AND started_wall_ns + lasted_ns > ? {}
GROUP BY 1, 2 ORDER BY 1, agent_files.name, 2
"""
_JOBS = "SELECT session, first_wall_ns, last_wall_ns FROM agent_jobs WHERE agent_file = ?"


def closed_nodes(
    connection: sqlite3.Connection, within: WallSpan, nodes: Sequence[str] | None = None, suspend_s: int | None = None
) -> dict[str, ClosedNode]:
    """The nodes that have agents in a time, in order; ``nodes`` None: all. ``suspend_s`` is in place of SuspendTime."""
    rules = _Rules(connection, suspend_s)
    marks = "" if nodes is None else f"AND nodes.name IN ({', '.join('?' * len(nodes))})"
    rows = connection.execute(_SESSIONS.format(marks), (within[1], within[0], *(nodes or ()))).fetchall()
    found: dict[str, ClosedNode] = {}
    for node, files in groupby(rows, key=lambda row: str(row[0])):
        one = found[node] = rules.node(node)
        spans: list[tuple[AgentSpan, str]] = []
        for _, agent_file in files:
            for span, boundary, sensor in _spans(connection, agent_file):
                spans.append((span, boundary))
                _add_sensor(one, span, sensor, within, boundary)
        # A node whose components were read at any time is closed by these alone.
        boundary = "components" if any(each == "components" for _, each in spans) else "node"
        own = [span for span, each in spans if each == boundary]
        for day, balance in close_node(own, one.rule, within).items():
            at = one.days.setdefault(day, NodeDay(node, day))
            at.balance, at.boundary = balance, boundary
        for span in own:
            for day in range(span.start_ns // DAY_NS, -(-span.end_ns // DAY_NS)):
                if day in one.days:
                    one.days[day].spans.append((span.start_ns, span.end_ns))
    return found


class _Rules:
    """When Slurm's power saving switches a node off, by the clusters that the ledger knows."""

    def __init__(self, connection: sqlite3.Connection, suspend_s: int | None) -> None:
        self._facts = [one.facts for one in figures_of_clusters(connection).values() if one.facts.cluster]
        self._classes = [facts.class_by_node() for facts in self._facts]
        self._suspend_s = suspend_s

    def node(self, name: str) -> ClosedNode:
        of = [facts for facts, classes in zip(self._facts, self._classes, strict=True) if name in classes]
        facts = of[0] if of else self._facts[0] if len(self._facts) == 1 else None
        usual = SuspendRule(USUAL_SUSPEND_S, 30, 60)
        if facts is not None:
            timeouts = facts.suspend_timeout_s, facts.resume_timeout_s
            usual = SuspendRule(facts.suspend_s or USUAL_SUSPEND_S, *timeouts)
        rule = usual if self._suspend_s is None else usual._replace(suspend_s=self._suspend_s)
        return ClosedNode(
            name, rule, self._suspend_s is not None or (facts is not None and facts.suspend_s is not None)
        )


_Sensor = tuple[str, Mapping[int, int]] | None


def _spans(connection: sqlite3.Connection, agent_file: int) -> Iterator[tuple[AgentSpan, str, _Sensor]]:
    """The sessions of a file, each with the boundary of its energy, and the sensor of the whole node if it has one."""
    jobs: dict[int, list[WallSpan]] = {}
    for session, first_ns, last_ns in connection.execute(_JOBS, (agent_file,)):
        jobs.setdefault(session, []).append((first_ns, last_ns))
    channels: dict[int, list[NodeChannelRow]] = {}
    for _, channel in NODE_CHANNELS.rows_of(connection, "?", (agent_file,)):
        if channel.energy_uj is not None:
            channels.setdefault(channel.session, []).append(channel)
    for _, session in AGENT_SESSIONS.rows_of(connection, "?", (agent_file,)):
        own = channels.get(session.session, [])
        parts = [one for one in own if one.kind.boundary == "components" and one.kind.counted]
        wholes = [one for one in own if one.kind.boundary == "node"]
        whole = max(wholes, key=lambda one: (one.measured_ns, one.kind.channel), default=None)
        used = parts or ([] if whole is None else [whole])
        if not used:
            continue
        energy, rest = _columns(used)
        span = AgentSpan(
            session.started_wall_ns, session.ended_wall_ns, session.divided, energy, rest, jobs.get(session.session, [])
        )
        sensor = None if whole is None else (whole.kind.source, _columns([whole])[0])
        yield span, "components" if parts else "node", sensor


def _columns(channels: Sequence[NodeChannelRow]) -> tuple[dict[int, int], dict[int, int]]:
    """Energy and rest by bucket, of several channels together."""
    energy: dict[int, int] = {}
    rest: dict[int, int] = {}
    for channel in channels:
        for sums, amounts in zip((energy, rest), unpack_columns(channel.packed), strict=False):
            for start_ns, amount in amounts.items():
                sums[start_ns] = sums.get(start_ns, 0) + amount
    return energy, rest


def _add_sensor(one: ClosedNode, span: AgentSpan, sensor: _Sensor, within: WallSpan, boundary: str) -> None:
    """Count the agent's sensor of the whole node as its meter."""
    if sensor is None:
        return
    name, energy = sensor
    for start_ns, amount in energy.items():
        if within[0] <= start_ns < within[1]:
            day = start_ns // DAY_NS
            at = one.days.setdefault(day, NodeDay(one.node, day))
            at.meter, at.meter_uj = name, (at.meter_uj or 0) + amount
            if boundary == "components":
                at.beside_uj = (at.beside_uj or 0) + amount
    for day in range(span.start_ns // DAY_NS, -(-span.end_ns // DAY_NS)):
        if day in one.days:
            start_ns, end_ns = max(span.start_ns, day * DAY_NS), min(span.end_ns, (day + 1) * DAY_NS)
            one.days[day].meter_ns += max(0, min(end_ns, within[1]) - max(start_ns, within[0]))


def first_known_ns(connection: sqlite3.Connection) -> int | None:
    """When the first agent or job of the ledger was; None where there is none."""
    (session_ns,) = connection.execute("SELECT min(started_wall_ns) FROM agent_sessions").fetchone()
    (day,) = connection.execute("SELECT min(day) FROM job_energy").fetchone()
    return min((each for each in (session_ns, None if day is None else day * DAY_NS) if each is not None), default=None)


_KNOWN = """
SELECT nodes.name, day, sum(coalesce(measured_uj, 0) + coalesce(modelled_uj, 0)) FROM job_energy JOIN nodes USING (node)
WHERE day BETWEEN ? AND ? GROUP BY 1, 2
"""


def known_jobs_uj(connection: sqlite3.Connection, within: WallSpan) -> dict[tuple[str, int], int]:
    """The energy that the jobs of the ledger have of each node on each day, measured or modelled."""
    days = within[0] // DAY_NS, (within[1] - 1) // DAY_NS
    return {(node, day): int(energy_uj) for node, day, energy_uj in connection.execute(_KNOWN, days)}


@dataclass(frozen=True, slots=True)
class MeteredDay:
    """What a meter read of a node on a day, and in the spans of its agent; None where it lacks a part of them."""

    meter: str
    energy_uj: int
    measured_ns: int
    beside_uj: int | None


def add_meters(
    nodes: dict[str, ClosedNode],
    metered: Mapping[tuple[str, int], MeteredDay],
    known: Mapping[tuple[str, int], int],
    connection: sqlite3.Connection,
    suspend_s: int | None = None,
) -> dict[str, ClosedNode]:
    """The nodes with what meters read, which comes before the agent's own sensor; those without an agent are added."""
    rules = _Rules(connection, suspend_s)
    for (node, day), read in metered.items():
        one = nodes.setdefault(node, rules.node(node))
        at = one.days.get(day) or NodeDay(node, day, boundary="node")
        jobs_uj = known.get((node, day), 0) if at.balance is None else None
        one.days[day] = replace(
            at,
            meter=read.meter,
            meter_uj=read.energy_uj,
            meter_ns=read.measured_ns,
            beside_uj=read.beside_uj,
            known_jobs_uj=jobs_uj,
        )
    return dict(sorted(nodes.items()))
