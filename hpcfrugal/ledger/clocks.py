"""Clocks of nodes that do not agree with Slurm's: the times at which a job drew its energy may then be wrong.

A sidecar runs no longer than its job. Where by its clock it started well before Slurm started the job, or ended well
after, one of the two clocks is wrong. Nothing is shifted, since it is not known which; energy and elapsed time do not
depend on it, but days and the grid's intensity at the time do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

TOLERANCE_NS = 300 * 10**9
"""What is less may be Slurm's: it notes the end of a job before it has waited (``KillWait``) for its processes."""

_NS_PER_S = 10**9

_QUERY = """
SELECT jobs.job, runs.run_id, jobs.job_id, nodes.name AS node,
    min(sidecar_sessions.started_wall_ns) - jobs.started_wall_ns AS early_ns,
    max(sidecar_sessions.ended_wall_ns) - jobs.ended_wall_ns AS late_ns
FROM sidecar_sessions JOIN jobs USING (job) JOIN runs USING (run) JOIN nodes USING (node)
WHERE jobs.elapsed_source = (SELECT text FROM texts WHERE name = 'slurm')
GROUP BY jobs.job, nodes.node
HAVING early_ns < -:tolerance OR late_ns > :tolerance
ORDER BY runs.run_id, jobs.job_id, jobs.restart, nodes.name
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


def skews(connection: sqlite3.Connection) -> Iterator[Skew]:
    """Every job and node of which the clocks disagree, in the order of their keys."""
    for row in connection.execute(_QUERY, {"tolerance": TOLERANCE_NS}):
        by_ns = row["early_ns"] if row["early_ns"] < -TOLERANCE_NS else row["late_ns"]
        yield Skew(row["job"], row["run_id"], row["job_id"], row["node"], by_ns)
