"""What jobs have of the emissions of making their nodes."""

from __future__ import annotations

from fractions import Fraction

from hpcfrugal.accounting.embodied import EmbodiedNodes, embodied_by_node
from hpcfrugal.ledger.rows import JobRow
from hpcfrugal.spool.local_cluster import is_local


def embodied_of(job: JobRow, classes: tuple[EmbodiedNodes, ...]) -> dict[str, tuple[int, int] | None]:
    """The ends of its emissions by node, in micrograms; None where they are unknown. Empty where the settings have none
    of any node."""
    if not classes:
        return {}
    known = embodied_by_node(classes)
    names = dict.fromkeys([*job.nodes, *(channel.node for channel in job.channels)])
    elapsed_ns = job.known_elapsed_ns
    return {
        node: known[node].of(_cpus(job, node, known[node], elapsed_ns), elapsed_ns) if node in known else None
        for node in names
    }


def _cpus(job: JobRow, node: str, of: EmbodiedNodes, elapsed_ns: int | None) -> int | Fraction | None:
    """The CPUs that a job held on a node: as the sidecar found, else an equal part of those that Slurm gave it. Of a
    job without an allocation those that it kept busy on average, as in its part of the node's energy."""
    sessions = [one for one in job.sessions if one.node == node]
    if any(one.exclusive for one in sessions):
        return of.cpus
    found = [one.cpus_alloc for one in sessions if one.cpus_alloc is not None]
    if found:
        return max(found)
    if job.alloc_cpus is not None:
        return Fraction(job.alloc_cpus, len(job.nodes)) if job.nodes else None
    busy_us = [one.job_cpu_us for one in sessions if one.job_cpu_us is not None]
    if not elapsed_ns or not busy_us or len(busy_us) < len(sessions) or not is_local(job.cluster):
        return None
    return Fraction(1000 * sum(busy_us), elapsed_ns)
