"""Nodes over a period: what was read of each channel, how much of it went to known jobs, and the rest.

The sample files themselves are read, since the division needs every record of every job that was on a node at the time;
the ledger names the files. Files that are gone are listed and not counted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path

from hpcfrugal.accounting.balance import AttemptName, Balance, ChannelReading, balance
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.safe_read import Unreadable, UnsafeFile
from hpcfrugal.ledger.node_readings import clip, readings_of
from hpcfrugal.ledger.readings import SessionReadings
from hpcfrugal.ledger.run_files import RunFiles
from hpcfrugal.ledger.spools import path_of
from hpcfrugal.spool.documents import NodeFacts
from hpcfrugal.spool.layout import JobKey, RunDir
from hpcfrugal.spool.local_cluster import is_local
from hpcfrugal.spool.sample_header import SampledNode
from hpcfrugal.spool.samples import read_samples
from hpcfrugal.spool.sidecar_session import SidecarSession

_RUNS_AT_ONCE = 64
"""So many runs have their files in memory at one time."""


@dataclass(slots=True)
class NodeChannel:
    """One counter of a node with its division. ``counted``: it is added up to the node's energy.

    ``idle_known`` and ``idle_lacking``: whether the idle power is known for some, and not for some, of what was read.
    """

    component: str
    domain: str
    source: str
    boundary: str
    quality: str
    counted: bool
    idle_known: bool = False
    idle_lacking: bool = False
    sum: Balance = field(default_factory=Balance)


@dataclass(slots=True)
class NodeSum:
    """A node over the period. ``jobs`` are all that were sampled on it in that time."""

    cluster: str
    node: str
    channels: dict[tuple[str, str, str], NodeChannel] = field(default_factory=dict)
    jobs: set[AttemptName] = field(default_factory=set)
    first_wall_ns: int | None = None
    last_wall_ns: int | None = None

    @property
    def total(self) -> Balance:
        """The sum of the channels that count."""
        total = Balance()
        for channel in self.channels.values():
            if channel.counted:
                total.merge(channel.sum)
        return total


@dataclass(frozen=True, slots=True)
class NodesFound:
    """Nodes in order, and ``run_id/name`` of sample files that could not be read, with the reason.

    ``sampled_jobs``: how many jobs were sampled in the period, with a sensor of the node or without one.
    ``with_agents``: nodes whose agents divided their energy among all jobs in the period, which is not in here.
    """

    nodes: tuple[NodeSum, ...]
    missing: tuple[str, ...]
    sampled_jobs: int = 0
    with_agents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _JobSession:
    """One session of one job on a node."""

    job: AttemptName
    cluster: str
    session: SidecarSession
    facts: NodeFacts | None


def find_nodes(
    connection: sqlite3.Connection, spool_root: Path, since_ns: int | None = None, until_ns: int | None = None
) -> NodesFound:
    """All nodes of which something was sampled in ``since_ns <= t < until_ns`` (wall clock), by cluster and name.

    The files of ``spool_root``, and of the other spools that the ledger was filled from, are read.
    """
    span = (since_ns, until_ns)
    roots = {path_of(spool_root): spool_root}
    rows = connection.execute(
        "SELECT DISTINCT nodes.name AS node, r.run, r.run_id, j.job_id, j.restart, r.uid, clusters.name AS cluster,"
        " spools.path"
        " FROM sidecar_sessions s JOIN jobs j USING (job) JOIN runs r USING (run) JOIN spools USING (spool)"
        " JOIN nodes USING (node)"
        " JOIN texts AS clusters ON clusters.text = j.cluster"
        " WHERE s.started_wall_ns + s.lasted_ns > coalesce(?, s.started_wall_ns + s.lasted_ns - 1)"
        " AND s.started_wall_ns < coalesce(?, s.started_wall_ns + 1)"
        " ORDER BY nodes.name, r.run_id, j.job_id, j.restart",
        span,
    ).fetchall()
    missing: list[str] = []
    facts = _facts_of_nodes(connection)
    found: dict[tuple[str, str], NodeSum] = {}
    for node, own in groupby(rows, key=lambda row: str(row["node"])):
        # One node at a time is held in memory, all of its jobs together.
        boots: dict[tuple[str, ...], list[_JobSession]] = {}
        for row in own:
            root = roots.get(row["path"], Path(row["path"]))
            for one in _sessions(facts, root, row, missing):
                # Without a boot id it is not known which files share a clock: such a file is divided by itself.
                boot_id = one.session.header.boot_id
                boots.setdefault((boot_id,) if boot_id else one.job[:2], []).append(one)
        for sessions in boots.values():
            cluster = min((one.cluster for one in sessions), key=lambda name: (is_local(name), name))
            total = found.setdefault((cluster, node), NodeSum(cluster, node))
            _add_boot(total, sessions, span)
    for total in found.values():
        _settle(total)
    present = sorted((key for key, total in found.items() if total.channels), key=lambda key: (key[0], key[1]))
    jobs = {(row["run_id"], row["job_id"], row["restart"]) for row in rows}
    agents = tuple(str(name) for (name,) in connection.execute(_WITH_AGENTS, span))
    return NodesFound(tuple(found[key] for key in present), tuple(missing), len(jobs), agents)


_WITH_AGENTS = """
SELECT DISTINCT nodes.name FROM agent_sessions JOIN agent_files USING (agent_file) JOIN nodes USING (node)
WHERE divided AND started_wall_ns + lasted_ns > coalesce(?, 0) AND started_wall_ns < coalesce(?, started_wall_ns + 1)
ORDER BY 1
"""


_FactsOf = Callable[[int, JobKey], Mapping[str, NodeFacts]]


def _facts_of_nodes(connection: sqlite3.Connection) -> _FactsOf:
    """What was kept of the nodes of a job, by run and job. Each document is parsed once, for all of the job's nodes."""

    @lru_cache(_RUNS_AT_ONCE)
    def files(run: int) -> RunFiles:
        return RunFiles.of(connection, run)

    return cache(lambda run, job: files(run).facts_of(job))


def _sessions(facts: _FactsOf, spool_root: Path, row: sqlite3.Row, missing: list[str]) -> Iterator[_JobSession]:
    job = JobKey(row["job_id"], row["restart"])
    try:
        path = RunDir.of(spool_root, row["run_id"]).samples(job.job_id, job.restart, row["node"])
        sessions = read_samples(path, row["uid"], SampledNode(row["run_id"], job, row["node"])).sessions
    except (OSError, UnsafeFile) as error:
        reason = str(error) if isinstance(error, UnsafeFile) else f"cannot be read: {error.strerror}"
        if isinstance(error, Unreadable) and isinstance(error.error, FileNotFoundError):
            reason = "not in the spool"
        missing.append(f"{row['run_id']}/{job.job_id}.{job.restart} on {row['node']}: {reason}")
        return
    attempt = (row["run_id"], job.job_id, job.restart)
    kept = facts(row["run"], job).get(row["node"])
    for session in sessions:
        yield _JobSession(attempt, row["cluster"], session, kept)


def _add_boot(total: NodeSum, sessions: Sequence[_JobSession], span: tuple[int | None, int | None]) -> None:
    """Divide what all jobs of one boot of a node read, and count it in."""
    header = sessions[0].session.header
    # One clock for all of them: the wall clock may have been set between their headers, the time since boot was not.
    since_ns, until_ns = (None if at_ns is None else at_ns - header.wall_ns + header.boottime_ns for at_ns in span)
    read: dict[tuple[str, str, str], list[ChannelReading]] = {}
    for one in sessions:
        own = SessionReadings(one.session, one.facts)
        for index, reading in readings_of(own, one.job):
            part = clip(reading, since_ns, until_ns)
            if part is None:
                continue
            key, channel = own.keys[index], own.channels[index]
            name = (key.component, channel.gpu_uuid or key.domain, key.source)
            read.setdefault(name, []).append(part)
            known = total.channels.setdefault(
                name,
                NodeChannel(
                    *(key.component, key.domain, key.source), channel.boundary, channel.quality, channel.counted
                ),
            )
            known.idle_known = known.idle_known or part.idle is not None
            known.idle_lacking = known.idle_lacking or part.idle is None
            total.jobs.add(one.job)
            first_ns, last_ns = (one.session.wall_of(at_ns) for at_ns in (part.energy.start_ns, part.energy.end_ns))
            total.first_wall_ns = min(first_ns, first_ns if total.first_wall_ns is None else total.first_wall_ns)
            total.last_wall_ns = max(last_ns, last_ns if total.last_wall_ns is None else total.last_wall_ns)
    for name, parts in read.items():
        total.channels[name].sum.merge(balance(parts))


def _settle(total: NodeSum) -> None:
    """Of several sources of one component, which would add the same energy twice, count the one that read longest.

    Each GPU has a source of its own: one may have an energy counter, and its neighbour only a power reading.
    """
    longest: dict[tuple[str, str], tuple[int, str]] = {}

    def place(name: tuple[str, str, str]) -> tuple[str, str]:
        component, device, _ = name
        return component, device if component == "gpu" else ""

    for name, channel in total.channels.items():
        if channel.counted:
            mine = (channel.sum.covered_ns, channel.source)
            longest[place(name)] = max(mine, longest.get(place(name), mine))
    for name, channel in total.channels.items():
        channel.counted = channel.counted and longest[place(name)][1] == channel.source
