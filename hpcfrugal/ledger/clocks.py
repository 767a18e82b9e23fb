"""Clocks of nodes that do not agree with Slurm's: the times at which a job drew its energy may then be wrong.

A sidecar runs no longer than its job. Where by its clock it started well before Slurm started the job, or ended well
after, one of the two clocks is wrong. Nothing is shifted, since it is not known which; energy and elapsed time do not
depend on it, but days and the grid's intensity at the time do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from hpcfrugal.core.quick import dataclass
from hpcfrugal.ledger.queries import JOBS_AND_RUNS, JobFilter, conditions
from hpcfrugal.ledger.rows import AttemptRow, ClockSkewRow, SessionRow

TOLERANCE_NS = 300 * 10**9
"""What is less may be Slurm's: it notes the end of a job before it has waited (``KillWait``) for its processes."""

_NS_PER_S = 10**9

_QUERY = """
SELECT jobs.job, runs.run_id, jobs.job_id, nodes.name, skew_ns
FROM {jobs} JOIN clock_skews ON clock_skews.job = jobs.job JOIN nodes ON nodes.node = clock_skews.node
WHERE {condition} ORDER BY runs.run_id, jobs.job_id, jobs.restart, nodes.name
"""


@dataclass(frozen=True, slots=True)
class Skew:
    """A job on a node whose clock was ahead of Slurm's by ``skew_ns``, or behind where it is negative."""

    job: int
    run_id: str
    job_id: str
    node: str
    skew_ns: int

    def __str__(self) -> str:
        seconds = abs(self.skew_ns) // _NS_PER_S
        days, rest = divmod(seconds, 86_400)
        span = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
        span = f"{days} d {span}" if days else span
        way = "behind" if self.skew_ns < 0 else "ahead of"
        return f"job {self.job_id} on {self.node}: the node's clock was {span} {way} Slurm's, or more"


def skews_of(job: AttemptRow, sessions: Sequence[SessionRow]) -> Iterator[ClockSkewRow]:
    """The nodes of a job whose clocks disagree with Slurm's."""
    started_ns, ended_ns = job.started_wall_ns, job.ended_wall_ns
    if job.elapsed_source != "slurm" or started_ns is None or ended_ns is None:
        return
    for node in sorted({session.node for session in sessions}):
        own = [session for session in sessions if session.node == node]
        early_ns = min(session.started_wall_ns for session in own) - started_ns
        late_ns = max(session.ended_wall_ns for session in own) - ended_ns
        if early_ns < -TOLERANCE_NS or late_ns > TOLERANCE_NS:
            yield ClockSkewRow(node, early_ns if early_ns < -TOLERANCE_NS else late_ns)


def skews(connection: sqlite3.Connection, wanted: JobFilter | None = None) -> Iterator[Skew]:
    """Every job that fits, and node, of which the clocks disagree, in the order of their keys."""
    condition, values = conditions(wanted or JobFilter())
    for row in connection.execute(_QUERY.format(jobs=JOBS_AND_RUNS, condition=condition), values):
        yield Skew(*row)
