"""What the energy of a job is the energy of: a share of its nodes, whole nodes, or the whole machine."""

from __future__ import annotations

from hpcfrugal.ledger.rows import JobRow

SHARE, NODE, MACHINE = "share of the node", "whole node", "whole machine"


def whole_nodes_of(job: JobRow) -> set[str]:
    """The nodes of which all energy is the job's."""
    exclusive = {session.node for session in job.sessions if session.exclusive}
    return exclusive | {channel.node for channel in job.channels if channel.attribution.is_whole_node}


def scopes_of(job: JobRow) -> tuple[str, ...]:
    """The scopes of a job's CPU and memory energy, one unless its nodes differ; empty where nothing is known.

    GPUs are counted whole in each of them.
    """
    exclusive = whole_nodes_of(job)
    nodes = {
        channel.node
        for channel in job.channels
        if channel.counted and channel.component in ("cpu", "dram") and channel.energy_uj is not None
    }
    whole = MACHINE if (job.cluster or "").startswith("local:") else NODE
    return tuple(sorted({whole if node in exclusive else SHARE for node in nodes}))
