"""CPU time of processes that are not the job's, on nodes that the job shares with no other job of Slurm.

A job may have work done by processes that are not its own: containers of a daemon, a database server. Nothing shows
for whom such a process worked, so its CPU time makes no figure incomplete, but a reader has to see it. On a node with
other jobs it is mostly theirs, and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from hpcfrugal.core.format import duration, percent
from hpcfrugal.ledger.parts import whole_nodes
from hpcfrugal.ledger.rows import JobRow, SessionRow
from hpcfrugal.ledger.scopes import ALONE
from hpcfrugal.report import notation
from hpcfrugal.report.field import Field, attributes, field
from hpcfrugal.spool.local_cluster import is_local

_LEAST_CPUS = 0.05
"""CPUs that other processes kept busy on average, from which they are noted. Daemons of a system need less."""


@dataclass(frozen=True, slots=True)
class OtherWork:
    """``cpu_us`` of other processes on a node are ``cpu_share`` of all there, from 0 to 1. ``included``: their energy
    is in the job's."""

    node: str
    cpu_us: int
    cpu_share: float
    included: bool

    @property
    def text(self) -> str:
        """A note on it, without the node's name."""
        time = f"{self.cpu_us / 1e6:,.0f} s" if self.cpu_us >= 10_000_000 else duration(self.cpu_us * 1000)
        used = f"other processes used {time} of CPU time, {percent(self.cpu_share)} of all"
        if self.included:
            return f"{used}; their energy is in this job's: docs/which-number.md"
        return f"{used}; their energy is not in this job's, even where they worked for it: docs/which-number.md"


OTHER_WORK_FIELDS: tuple[Field[OtherWork], ...] = (
    *attributes(notation.PLAIN, "node"),
    field("cpu_time_s", notation.SPAN, lambda one: one.cpu_us * 1000),
    *attributes(notation.PLAIN, "cpu_share", "included"),
)


def other_work(job: JobRow) -> list[OtherWork]:
    """What is to be noted, by node. Nothing of a node where one of the CPU times is not known."""
    whole = whole_nodes(job)
    by_node: dict[str, list[SessionRow]] = {}
    for session in job.sessions:
        if session.node in whole or is_local(job.cluster):
            by_node.setdefault(session.node, []).append(session)
    found = []
    for node, sessions in by_node.items():
        times = [(one.job_cpu_us, one.node_busy_us) for one in sessions]
        if any(job_us is None or busy_us is None for job_us, busy_us in times):
            continue
        busy_us = sum(busy_us or 0 for _, busy_us in times)
        other_us = max(0, busy_us - sum(job_us or 0 for job_us, _ in times))
        elapsed_us = sum(one.ended_boottime_ns - one.started_boottime_ns for one in sessions) // 1000
        if other_us > (1 - ALONE) * busy_us and other_us >= _LEAST_CPUS * elapsed_us:
            found.append(OtherWork(node, other_us, other_us / busy_us, node in whole))
    return found
