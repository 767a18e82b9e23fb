"""Jobs that were given the energy of the same node or GPU at the same time. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hpcfrugal.ledger.rows import ChannelRow, JobRow
from hpcfrugal.report.summary import JobSummary

NodePart = tuple[str, str, str]
"""Boot id, else cluster; node; component or GPU UUID.

Jobs of one boot id, of Slurm or local, ran on the same node.
"""


@dataclass(frozen=True, slots=True)
class NodeTime:
    """A time in which a job was given all energy of a component of a node, or of a GPU.

    Time since boot where the boot id is known, else wall clock time, which may have been set.
    """

    part: NodePart
    start_ns: int
    end_ns: int
    job: int
    job_id: str


def whole_nodes(summary: JobSummary) -> list[NodeTime]:
    """Times of each component of each node that the job has ``exclusive`` energy of, and of each GPU that it held."""
    job = summary.job
    spans: dict[tuple[NodePart, int], tuple[int, int]] = {}
    for channel in summary.counted:
        part = channel.component if channel.attribution.is_whole_node else channel.gpu_uuid
        if part is None or not channel.attribution.is_whole:
            continue
        for where, session, start_ns, end_ns in _spans(job, channel):
            place = (where, channel.node, part)
            old = spans.get((place, session), (start_ns, end_ns))
            spans[place, session] = (min(old[0], start_ns), max(old[1], end_ns))
    return [NodeTime(place, start_ns, end_ns, job.job, job.job_id) for (place, _), (start_ns, end_ns) in spans.items()]


def _spans(job: JobRow, channel: ChannelRow) -> Iterator[tuple[str, int, int, int]]:
    """When a channel was read: (boot, number, from, to) for each sidecar session, else (cluster, 0, from, to)."""
    first_ns, last_ns = channel.first_wall_ns, channel.last_wall_ns
    if first_ns is None or last_ns is None:
        return
    own = [session for session in job.sessions if session.node == channel.node]
    if not own or any(session.boot_id is None for session in own):
        yield job.cluster, 0, first_ns, last_ns
        return
    for session in own:
        # A channel may be read in a part of a session only, and in another one not at all.
        start_ns, end_ns = max(first_ns, session.started_wall_ns), min(last_ns, session.ended_wall_ns)
        if start_ns < end_ns:
            since_boot_ns = session.started_boottime_ns - session.started_wall_ns
            yield str(session.boot_id), session.session, start_ns + since_boot_ns, end_ns + since_boot_ns


def overlapping(times: Iterable[NodeTime]) -> list[str]:
    """Ids of jobs that were given the same energy at the same time, in order.

    In the order of their starts, each time is compared with the earlier one that ends last: a time that overlaps any
    earlier one overlaps that one, and both are marked. Every other overlapping time is marked by the same comparison.
    """
    found: set[str] = set()
    latest: dict[NodePart, NodeTime] = {}
    real = (time for time in times if time.start_ns < time.end_ns)
    for time in sorted(real, key=lambda time: (time.start_ns, time.end_ns, time.job)):
        before = latest.get(time.part)
        if before is not None and time.start_ns < before.end_ns:
            found |= {before.job_id, time.job_id}
        if before is None or time.end_ns > before.end_ns:
            latest[time.part] = time
    return sorted(found, key=lambda job_id: (len(job_id), job_id))
