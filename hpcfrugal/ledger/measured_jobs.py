"""Energy of jobs that this program measured, to compare Slurm's figures and the model with."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import NamedTuple

from hpcfrugal.accounting.buckets import BUCKET_NS
from hpcfrugal.ledger.accounted_energy import SLURM_ENERGY
from hpcfrugal.ledger.agent_channels import SOURCE as AGENT
from hpcfrugal.ledger.agent_rows import NodeChannelRow
from hpcfrugal.ledger.packed import unpack_columns
from hpcfrugal.ledger.rows import JobRow
from hpcfrugal.ledger.tables import AGENT_SESSIONS, NODE_CHANNELS

LEAST_COVERAGE = 0.9
"""Of a job that was measured for a smaller part of its time, the rest is not extrapolated."""

LEAST_NS = 60 * 10**9
"""In shorter jobs the edges, which readings and Slurm put at different instants, are too large a part."""


_LEAST_BUCKETS_NS = 6 * BUCKET_NS


class MeasuredEnergy(NamedTuple):
    """Microjoules, and the boundary that they are of."""

    energy_uj: int
    boundary: str


def is_by_slurm(connection: sqlite3.Connection, job: JobRow) -> bool:
    """Whether any energy that counts of a job is Slurm's own figure."""
    query = "SELECT 1 FROM channels JOIN channel_kinds USING (kind) WHERE job = ? AND source = ? AND counted LIMIT 1"
    return connection.execute(query, (job.job, SLURM_ENERGY)).fetchone() is not None


_OF_USER = "SELECT 1 FROM jobs JOIN runs USING (run) JOIN spools USING (spool) WHERE job = ? AND spools.user NOT NULL"


def is_of_users_run(connection: sqlite3.Connection, job: JobRow) -> bool:
    """Whether a job is of a run in the spool of a site's user. What such a run measured could be anything, and must not
    change the figures of others: only agents are to be compared with."""
    return connection.execute(_OF_USER, (job.job,)).fetchone() is not None


def is_by_users_run(connection: sqlite3.Connection, job: JobRow) -> bool:
    """Whether any energy that counts of such a job is what the run measured, or is modelled by it."""
    query = "SELECT 1 FROM channels JOIN channel_kinds USING (kind) WHERE job = ? AND source != ? AND counted LIMIT 1"
    return is_of_users_run(connection, job) and connection.execute(query, (job.job, AGENT)).fetchone() is not None


def measured_components(job: JobRow, components: Collection[str]) -> int | None:
    """The energy of these components of a job, over all of its time; None where any of it was not measured.

    Of components that are missing in the job, as the memory is where the processor's sensor includes it, there is none.
    """
    own = [row.sums for row in job.energy if row.component in components]
    if not own or any(sums.lacking or sums.modelled_uj is not None or sums.measured_uj is None for sums in own):
        return None
    covered_ns, elapsed_ns = sum(sums.covered_ns for sums in own), sum(sums.elapsed_ns for sums in own)
    if not job.elapsed_ns or job.elapsed_ns < LEAST_NS or covered_ns < LEAST_COVERAGE * elapsed_ns:
        return None
    return sum(sums.measured_uj or 0 for sums in own) * elapsed_ns // covered_ns or None


_OF_NODES = f"""
SELECT source, sum(energy_uj), count(DISTINCT node), sum(coalesce(lasted_ns, 0) - unmeasured_ns)
FROM channels JOIN channel_kinds USING (kind)
WHERE job = ? AND component = 'node' AND quality = 'measured' AND source != '{SLURM_ENERGY}' AND energy_uj NOT NULL
GROUP BY source ORDER BY 4 DESC, 1
"""


def measured_node(connection: sqlite3.Connection, job: JobRow) -> MeasuredEnergy | None:
    """The energy of a job's whole nodes by a sensor or meter of them, else that of their components together; None
    where neither was measured for all of its time."""
    for _, energy_uj, nodes, measured_ns in connection.execute(_OF_NODES, (job.job,)):
        whole_ns = (job.elapsed_ns or 0) * len(job.nodes)
        if whole_ns >= LEAST_NS and nodes == len(job.nodes) and measured_ns >= LEAST_COVERAGE * whole_ns:
            return MeasuredEnergy(energy_uj * whole_ns // min(measured_ns, whole_ns), "node")
    if any(row.component == "node" for row in job.energy):
        return None
    energy_uj = measured_components(job, {row.component for row in job.energy})
    return None if energy_uj is None else MeasuredEnergy(energy_uj, "components")


_AGENT_FILES = """
SELECT agent_file FROM agent_files JOIN agent_sessions USING (agent_file) JOIN nodes USING (node)
WHERE nodes.name = ? AND started_wall_ns < ? AND started_wall_ns + lasted_ns > ? GROUP BY 1 ORDER BY 1
"""


def read_by_agents(
    connection: sqlite3.Connection, job: JobRow, components: Collection[str] | None
) -> MeasuredEnergy | None:
    """The energy of these components (None: of the whole nodes, else of all components) of a job's nodes in its time,
    by their agents: that of the job and the rest.

    Energy by time is known for each 300 s, so that of shorter jobs is not: None, as where an agent lacks a part.
    """
    start_ns, end_ns = job.started_wall_ns or 0, job.ended_wall_ns or 0
    if end_ns - start_ns < _LEAST_BUCKETS_NS or not job.nodes:
        return None
    sums: dict[str, int] = {}
    read_ns: dict[str, int] = {}
    for node in job.nodes:
        for (agent_file,) in connection.execute(_AGENT_FILES, (node, end_ns, start_ns)).fetchall():
            sessions = {row.session: row for _, row in AGENT_SESSIONS.rows_of(connection, "?", (agent_file,))}
            channels: dict[tuple[int, str], list[NodeChannelRow]] = {}
            for _, channel in NODE_CHANNELS.rows_of(connection, "?", (agent_file,)):
                kind = channel.kind
                if kind.boundary == "node" or (kind.counted and (components is None or kind.component in components)):
                    channels.setdefault((channel.session, kind.boundary), []).append(channel)
            for (session, boundary), some in channels.items():
                row = sessions[session]
                span_ns = max(start_ns, row.started_wall_ns), min(end_ns, row.ended_wall_ns)
                if span_ns[1] > span_ns[0]:
                    read_ns[boundary] = read_ns.get(boundary, 0) + span_ns[1] - span_ns[0]
                    used = some[:1] if boundary == "node" else some
                    sums[boundary] = sums.get(boundary, 0) + sum(
                        _within(channel, (row.started_wall_ns, row.ended_wall_ns), span_ns) for channel in used
                    )
    whole_ns = (end_ns - start_ns) * len(job.nodes)
    for boundary in ("node", "components") if components is None else ("components",):
        if sums.get(boundary) and read_ns[boundary] >= LEAST_COVERAGE * whole_ns:
            return MeasuredEnergy(sums[boundary] * whole_ns // read_ns[boundary], boundary)
    return None


def _within(channel: NodeChannelRow, session_ns: tuple[int, int], span_ns: tuple[int, int]) -> int:
    """The energy of a channel in a span of its session; that of a bucket is divided by time."""
    columns = unpack_columns(channel.packed)
    whole = 0
    for bucket_ns, energy_uj in columns[0].items() if columns else ():
        bounds_ns = max(bucket_ns, session_ns[0]), min(bucket_ns + BUCKET_NS, session_ns[1])
        part_ns = min(bounds_ns[1], span_ns[1]) - max(bounds_ns[0], span_ns[0])
        if part_ns > 0:
            whole += energy_uj * part_ns // (bounds_ns[1] - bounds_ns[0])
    return whole
