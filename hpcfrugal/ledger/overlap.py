"""Jobs that were given the energy of the same node or GPU at the same time, so that a sum of both has it twice.

Which of the jobs of a day overlap with any other is kept with the roll-up of the day. Which of those that a sum has
overlap with each other is found when it is made.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from hpcfrugal.accounting.attribution import Attribution
from hpcfrugal.core.quick import dataclass
from hpcfrugal.ledger.parts import COMPONENTS

OVERLAP_SCHEMA = ("CREATE TABLE overlaps (day INTEGER, job INTEGER, PRIMARY KEY (day, job)) WITHOUT ROWID",)

NodePart = tuple[int | str, int, str]
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


class _Session(NamedTuple):
    """A session of the sidecar, by its boot id as a key of texts."""

    session: int
    boot: int | None
    start_ns: int
    end_ns: int
    since_boot_ns: int


def _in(values: Iterable[object]) -> str:
    return ", ".join(f"'{value}'" for value in values)


_WHOLE = [kind for kind in Attribution if kind.is_whole]
_HELD = f"""
SELECT channels.job, channels.node, jobs.cluster,
    CASE WHEN attribution IN ({_in(kind for kind in _WHOLE if kind.is_whole_node)}) THEN component ELSE gpu_uuid END,
    first_wall_ns, first_wall_ns + lasted_ns AS last_wall_ns
FROM channels JOIN channel_kinds USING (kind) JOIN jobs USING (job)
WHERE counted AND component IN ({_in(COMPONENTS)}) AND attribution IN ({_in(_WHOLE)}) AND energy_uj NOT NULL
    AND first_wall_ns NOT NULL AND lasted_ns NOT NULL AND channels.job IN ({{jobs}})
"""
_SESSIONS = """
SELECT job, node, session, boot_id, started_wall_ns, started_wall_ns + lasted_ns,
    started_boottime_ns - started_wall_ns
FROM sidecar_sessions WHERE job IN ({jobs})
"""


def node_times(connection: sqlite3.Connection, jobs: str, values: Sequence[int] = ()) -> list[NodeTime]:
    """Times of each component of each node that jobs have all energy of, and of each GPU that they held.

    ``jobs`` is SQL that selects their keys.
    """
    cursor = connection.cursor()
    cursor.row_factory = None
    sessions: dict[tuple[int, int], list[_Session]] = {}
    for job, node, *session in cursor.execute(_SESSIONS.format(jobs=jobs), values):
        sessions.setdefault((job, node), []).append(_Session(*session))
    spans: dict[tuple[NodePart, int, int], tuple[int, int]] = {}
    for job, node, cluster, part, first_ns, last_ns in cursor.execute(_HELD.format(jobs=jobs), values):
        if part is None:
            continue
        for where, session, start_ns, end_ns in _spans(sessions.get((job, node), ()), cluster, first_ns, last_ns):
            place = (where, node, part)
            old = spans.get((place, session, job), (start_ns, end_ns))
            spans[place, session, job] = (min(old[0], start_ns), max(old[1], end_ns))
    return [NodeTime(place, *span, job) for (place, _, job), span in spans.items()]


def _spans(
    sessions: Sequence[_Session], cluster: int, first_ns: int, last_ns: int
) -> Iterator[tuple[int | str, int, int, int]]:
    """When a channel was read: (boot, number, from, to) for each sidecar session, else (cluster, 0, from, to)."""
    if not sessions or any(session.boot is None for session in sessions):
        yield f"cluster {cluster}", 0, first_ns, last_ns
        return
    for one in sessions:
        # A channel may be read in a part of a session only, and in another one not at all.
        start_ns, end_ns = max(first_ns, one.start_ns), min(last_ns, one.end_ns)
        if start_ns < end_ns:
            yield one.boot or 0, one.session, start_ns + one.since_boot_ns, end_ns + one.since_boot_ns


def overlapping(times: Iterable[NodeTime]) -> set[int]:
    """The jobs that were given the same energy at the same time.

    In the order of their starts, each time is compared with the earlier one that ends last: a time that overlaps any
    earlier one overlaps that one, and both are marked. Every other overlapping time is marked by the same comparison.
    """
    found: set[int] = set()
    latest: dict[NodePart, NodeTime] = {}
    real = (time for time in times if time.start_ns < time.end_ns)
    for time in sorted(real, key=lambda time: (time.start_ns, time.end_ns, time.job)):
        before = latest.get(time.part)
        if before is not None and time.start_ns < before.end_ns:
            found |= {before.job, time.job}
        if before is None or time.end_ns > before.end_ns:
            latest[time.part] = time
    return found


def note_overlaps(connection: sqlite3.Connection, day: int) -> None:
    """Keep which jobs of a day overlap; nothing is kept of it yet."""
    connection.executemany("INSERT INTO overlaps VALUES (?, ?)", [(day, job) for job in overlaps_of(connection, day)])


def overlaps_of(connection: sqlite3.Connection, day: int) -> set[int]:
    """The jobs of a day that overlap with another one of it."""
    return overlapping(node_times(connection, "SELECT job FROM job_days WHERE day = ?", (day,)))
