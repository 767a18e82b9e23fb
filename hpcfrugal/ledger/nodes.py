"""Nodes over a period: what was read of each channel, how much of it went to known jobs, and the rest.

What agents read is in the ledger. What sidecars sampled is read from the sample files themselves, since the division
needs every record of every job that was on a node at the time; the ledger names the files. Files that are gone are
listed and not counted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path

from hpcfrugal.accounting.balance import AttemptName, ChannelReading, balance
from hpcfrugal.accounting.spans import joined
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.safe_read import Unreadable, UnsafeFile
from hpcfrugal.ledger.agent_channels import SOURCE as AGENT_SOURCE
from hpcfrugal.ledger.agent_nodes import MaybeSpan, agents_of_nodes
from hpcfrugal.ledger.node_readings import clip, readings_of
from hpcfrugal.ledger.node_sums import NodeChannel, NodeSum
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


@dataclass(frozen=True, slots=True)
class NodesFound:
    """Nodes in order, and ``run_id/name`` of sample files that could not be read, with the reason.

    ``sampled_jobs``: how many jobs were sampled in the period, with a sensor of the node or without one.
    ``with_agents``: nodes whose agents divided their energy among all jobs in the period.
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
    """All nodes of which something was read in ``since_ns <= t < until_ns`` (wall clock), by cluster and name.

    What a node's agent read of a component counts for as long as it did, what sidecars read for the rest of the time.

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
    agents = agents_of_nodes(connection, span)
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
            _add_boot(total, sessions, span, agents[node].read if node in agents else {})
    for node, agent in agents.items():
        named = sorted(key for key in found if key[1] == node)
        # The files of an agent do not name the cluster.
        key = named[0] if len(named) == 1 else (agent.cluster, node)
        agent.add_to(found.setdefault(key, NodeSum(*key)))
    for total in found.values():
        _settle(total)
    present = sorted((key for key, total in found.items() if total.channels), key=lambda key: (key[0], key[1]))
    jobs = {(row["run_id"], row["job_id"], row["restart"]) for row in rows}
    return NodesFound(tuple(found[key] for key in present), tuple(missing), len(jobs), tuple(agents))


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


def _add_boot(
    total: NodeSum, sessions: Sequence[_JobSession], span: MaybeSpan, by_agent: Mapping[str, Sequence[tuple[int, int]]]
) -> None:
    """Divide what all jobs of one boot of a node read, and count it in, without the wall times in which the agent read
    the component."""
    header = sessions[0].session.header
    # One clock for all of them: the wall clock may have been set between their headers, the time since boot was not.
    to_clock_ns = header.boottime_ns - header.wall_ns
    since_ns, until_ns = (None if at_ns is None else at_ns + to_clock_ns for at_ns in span)
    whole = [(since_ns, until_ns)]
    left = {
        component: list(
            _outside(whole[0], [(start_ns + to_clock_ns, end_ns + to_clock_ns) for start_ns, end_ns in spans])
        )
        for component, spans in by_agent.items()
    }
    read: dict[tuple[str, str, str], list[ChannelReading]] = {}
    for one in sessions:
        own = SessionReadings(one.session, one.facts)
        for index, reading in readings_of(own, one.job):
            key, channel = own.keys[index], own.channels[index]
            name = (key.component, channel.gpu_uuid or key.domain, key.source)
            for part in filter(None, (clip(reading, *within) for within in left.get(key.component, whole))):
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
                total.note_reading(
                    *(one.session.wall_of(at_ns) for at_ns in (part.energy.start_ns, part.energy.end_ns))
                )
    for name, parts in read.items():
        total.channels[name].sum.merge(balance(parts))


def _outside(span: MaybeSpan, others: Sequence[tuple[int, int]]) -> Iterator[MaybeSpan]:
    """What of a time lies outside of others."""
    at_ns, until_ns = span
    for start_ns, end_ns in joined(others):
        if at_ns is None or start_ns > at_ns:
            yield at_ns, start_ns
        at_ns = end_ns if at_ns is None else max(at_ns, end_ns)
    if at_ns is None or until_ns is None or at_ns < until_ns:
        yield at_ns, until_ns


def _settle(total: NodeSum) -> None:
    """Of several sources of one component, which would add the same energy twice, count the one that read longest.

    Each GPU has a source of its own: one may have an energy counter, and its neighbour only a power reading.
    """
    of_jobs = {name: channel for name, channel in total.channels.items() if channel.source != AGENT_SOURCE}
    longest: dict[tuple[str, str], tuple[int, str]] = {}

    def place(name: tuple[str, str, str]) -> tuple[str, str]:
        component, device, _ = name
        return component, device if component == "gpu" else ""

    for name, channel in of_jobs.items():
        if channel.counted:
            mine = (channel.sum.covered_ns, channel.source)
            longest[place(name)] = max(mine, longest.get(place(name), mine))
    for name, channel in of_jobs.items():
        channel.counted = channel.counted and longest[place(name)][1] == channel.source
