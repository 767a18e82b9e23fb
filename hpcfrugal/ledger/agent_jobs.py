"""Jobs of the ledger get what node agents measured of them.

An agent has a job's number, or its SLUID, and its node. It is the attempt with this number that ran on the node at that
time, since numbers come again: after a requeue, and after years. The jobs with one number are made together, from the
rows of agents and of their own files alone, so that it does not matter which were read first.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

from hpcfrugal.core.quick import dataclass
from hpcfrugal.ledger.accounted import executions_of
from hpcfrugal.ledger.accounted_energy import SLURM_ENERGY, channels_of
from hpcfrugal.ledger.accounted_executions import is_same_execution, parts_of_execution
from hpcfrugal.ledger.agent_channels import AgentChannel, AgentLife, base_of, has_agents, settled
from hpcfrugal.ledger.agent_due import AGENT_DUE, SLURMS_ID
from hpcfrugal.ledger.agent_rows import AgentSessionRow
from hpcfrugal.ledger.clusters import NO_FIGURES, ClusterFigures, figures_of_clusters
from hpcfrugal.ledger.connection import LedgerConnection, transaction
from hpcfrugal.ledger.garbage import paused_collection
from hpcfrugal.ledger.packed import unpack_columns
from hpcfrugal.ledger.rows import AttemptRow, ChannelRow
from hpcfrugal.ledger.table import RowBatch
from hpcfrugal.ledger.tables import AGENT_JOBS, AGENT_SESSIONS, CHANNELS, JOBS, NODE_CHANNELS

_PER_TRANSACTION = 300

_SESSIONS_REMEMBERED = 2000

_CLOCKS_NS = 300 * 10**9
"""Clocks of nodes and of Slurm's controller may differ by so much."""

_FOREVER_NS = 2**63 - 1

_GIVEN = "SELECT value FROM json_each(?1)"


@dataclass(frozen=True, slots=True)
class _Seen:
    """A row of a job by an agent, the key of its file, and the job's id."""

    agent_file: int
    job_id: str
    life: AgentLife


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A job of the ledger, with its key."""

    job: int
    row: AttemptRow

    @property
    def span_ns(self) -> tuple[int, int | None] | None:
        """When it ran, up to None where it is not over; None where it has not started."""
        row = self.row
        if row.started_wall_ns is None:
            return None
        return row.started_wall_ns, row.ended_wall_ns if row.final else None

    def overlap_ns(self, seen: _Seen) -> int:
        """For how long the agent saw a job at the time of this one, up to the difference of clocks."""
        nodes, span_ns, job = self.row.nodes, self.span_ns, seen.life.job
        if span_ns is None or (nodes and seen.life.node not in nodes):
            return 0
        end_ns = _FOREVER_NS if span_ns[1] is None else span_ns[1] + _CLOCKS_NS
        return min(end_ns, job.last_wall_ns + 1) - max(span_ns[0] - _CLOCKS_NS, job.first_wall_ns)

    def distance_ns(self, seen: _Seen) -> int:
        """How far apart both begin."""
        return abs((self.row.started_wall_ns or 0) - seen.life.job.first_wall_ns)


@paused_collection()
def refresh_measured(connection: LedgerConnection) -> None:
    """Make the jobs that are due, in transactions of its own."""
    sessions, figures = _Sessions(connection), figures_of_clusters(connection)
    while True:
        with transaction(connection):
            if not _refresh_some(connection, sessions, figures):
                return


def _refresh_some(connection: LedgerConnection, sessions: _Sessions, figures: Mapping[str, ClusterFigures]) -> bool:
    query = f"SELECT job_id FROM {AGENT_DUE} ORDER BY job_id LIMIT ?"
    due = [job_id for (job_id,) in connection.execute(query, (_PER_TRANSACTION,))]
    if not due:
        return False
    attempts = {job_id: list(some) for job_id, some in groupby(_attempts(connection, due), lambda one: one.row.job_id)}
    lives: dict[int, list[AgentLife]] = {}
    for one in _seen(connection, due, sessions):
        found = _attempt_of(one, attempts.get(one.job_id, ()))
        _note(connection, one, None if found is None else found.job)
        if found is not None and one.life.is_measured:
            lives.setdefault(found.job, []).append(one.life)
    every = [attempt for some in attempts.values() for attempt in some]
    base = _base(connection, every, lives, figures)
    batch = RowBatch()
    for attempt in every:
        now, before = base[attempt.job]
        if attempt.span_ns is not None and attempt.job in lives:
            keep = not attempt.row.is_accounted_alone
            now = settled(now, lives[attempt.job], attempt.span_ns, keep=keep)
        _write(connection, batch, attempt.job, before, now)
    batch.write(connection)
    # Last, since what was written above may mark jobs again.
    connection.execute(f"DELETE FROM {AGENT_DUE} WHERE job_id <= ?", (due[-1],))
    return True


def _attempts(connection: LedgerConnection, job_ids: Sequence[str]) -> Iterator[_Attempt]:
    """The jobs with these numbers, in order; of several runs of one job the first comes first."""
    cursor = connection.cursor()
    cursor.row_factory = None
    for job, *row in cursor.execute(
        f"SELECT jobs.job, {', '.join(JOBS.selected)} FROM {JOBS.source} LEFT JOIN runs USING (run)"
        " WHERE jobs.job_id IN (SELECT value FROM json_each(?))"
        " ORDER BY jobs.job_id, runs.run_id, jobs.restart, jobs.submitted_wall_ns",
        (json.dumps(job_ids),),
    ):
        yield _Attempt(job, JOBS.record_of(row))


def _seen(connection: LedgerConnection, job_ids: Sequence[str], sessions: _Sessions) -> Iterator[_Seen]:
    """What agents saw of jobs with these numbers, in order."""
    cursor = connection.cursor()
    cursor.row_factory = None
    by_sluid = f"SELECT sluid FROM accounted_jobs WHERE job_id IN ({_GIVEN}) AND sluid NOT NULL"
    for agent_file, node, job_id, *row in cursor.execute(
        "SELECT agent_jobs.agent_file, nodes.name,"
        f" coalesce(agent_jobs.job_id, ({SLURMS_ID.format('agent_jobs.sluid')})) AS id,"
        f" {', '.join(AGENT_JOBS.selected)} FROM {AGENT_JOBS.source}"
        " JOIN agent_files USING (agent_file) JOIN nodes USING (node)"
        f" WHERE agent_jobs.job_id IN ({_GIVEN}) OR (agent_jobs.job_id IS NULL AND agent_jobs.sluid IN ({by_sluid}))"
        " ORDER BY id, nodes.name, agent_jobs.first_wall_ns, agent_files.name, session, agent_jobs.name",
        (json.dumps(job_ids),),
    ).fetchall():
        job = AGENT_JOBS.record_of(row)
        yield _Seen(agent_file, job_id, AgentLife(node, job, *sessions.of(agent_file, job.session)))


class _Sessions:
    """Sessions with their channels; those that were asked for last are remembered."""

    def __init__(self, connection: LedgerConnection) -> None:
        self._connection = connection
        self.of = lru_cache(_SESSIONS_REMEMBERED)(self._of)

    def _of(self, agent_file: int, session: int) -> tuple[AgentSessionRow, tuple[AgentChannel, ...]]:
        of_session = ("SELECT ?", (agent_file,), f"session = {session}")
        ((_, row),) = AGENT_SESSIONS.rows_of(self._connection, *of_session)
        channels = []
        for _, one in NODE_CHANNELS.rows_of(self._connection, *of_session):
            columns = unpack_columns(one.packed)
            missing = {bucket: time_ns for bucket, time_ns in columns[2].items() if time_ns} if columns else {}
            known = one.energy_uj is not None
            channels.append(AgentChannel(one.number, one.kind, known, one.contains, one.idle_power, missing))
        return row, tuple(channels)


def _attempt_of(seen: _Seen, attempts: Sequence[_Attempt]) -> _Attempt | None:
    """Which of the jobs with its number a job is that an agent saw; None where none ran at that time."""
    found = [one for one in attempts if one.overlap_ns(seen) > 0]
    return max(found, key=lambda one: (one.overlap_ns(seen), -one.distance_ns(seen)), default=None)


def _base(
    connection: LedgerConnection,
    attempts: Sequence[_Attempt],
    measured: Container[int],
    figures: Mapping[str, ClusterFigures],
) -> dict[int, tuple[list[ChannelRow], list[ChannelRow]]]:
    """Of each job its channels without agents, and as they are in the ledger. Slurm's own energy of a job that an agent
    ``measured`` does not count."""
    keys = ", ".join(str(one.job) for one in attempts)
    found = {job: [row for _, row in some] for job, some in groupby(CHANNELS.rows_of(connection, keys), itemgetter(0))}
    base = {one.job: (now := found.get(one.job, []), now) for one in attempts}
    modelled: list[_Attempt] = []
    for one in attempts:
        now = base[one.job][1]
        if not one.row.is_accounted_alone:
            base[one.job] = base_of(now), now
        elif has_agents(now) or (one.job in measured and any(row.source == SLURM_ENERGY for row in now)):
            modelled.append(one)
    executions = executions_of(connection, [one.row for one in modelled]) if modelled else {}
    for one in modelled:
        of_job = executions.get((one.row.cluster, one.row.job_id), [])
        same = next((execution for execution in of_job if is_same_execution(one.row, execution)), None)
        parts = () if same is None else parts_of_execution(same)
        of_cluster = figures.get(one.row.cluster, NO_FIGURES)
        if one.job in measured:
            of_cluster = replace(of_cluster, verdicts=None)
        base[one.job] = list(channels_of(parts, of_cluster, final=one.row.final)), base[one.job][1]
    return base


def _note(connection: LedgerConnection, seen: _Seen, job: int | None) -> None:
    """Note which job of the ledger it is."""
    row = seen.life.job
    if row.job != job:
        connection.execute(
            "UPDATE agent_jobs SET job = ? WHERE agent_file = ? AND session = ? AND name = ? AND first_ns = ?",
            (job, seen.agent_file, row.session, row.name, row.first_ns),
        )


def _write(
    connection: LedgerConnection,
    batch: RowBatch,
    job: int,
    before: Sequence[ChannelRow],
    now: Sequence[ChannelRow],
) -> None:
    """Write the channels of a job where they differ; its totals are due then."""
    order = [sorted(rows, key=lambda row: (row.node, row.channel, row.counted)) for rows in (before, now)]
    if order[0] == order[1]:
        return
    CHANNELS.delete(connection, job)
    for row in now:
        batch.add(CHANNELS, CHANNELS.values_of(row), job)
    connection.execute("INSERT OR IGNORE INTO totals_due VALUES (?)", (job,))


@dataclass(frozen=True, slots=True)
class AgentsSeen:
    """How many nodes have files of an agent, how many jobs the ledger has, how many of these an agent measured, and how
    many jobs agents saw that are none of them."""

    nodes: int
    jobs: int
    measured_jobs: int
    unknown_jobs: int


def agents_seen(connection: sqlite3.Connection) -> AgentsSeen:
    """What the ledger has from agents."""
    queries = (
        "SELECT count(DISTINCT node) FROM agent_files WHERE accepted",
        "SELECT count(*) FROM jobs",
        "SELECT count(DISTINCT job) FROM agent_jobs WHERE job NOT NULL",
        "SELECT count(DISTINCT coalesce(job_id, name)) FROM agent_jobs WHERE job IS NULL",
    )
    return AgentsSeen(*(int(connection.execute(query).fetchone()[0]) for query in queries))
