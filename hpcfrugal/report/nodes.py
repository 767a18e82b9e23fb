"""Nodes over a period as a table and as JSON: what was read, what went to jobs, and the rest that closes the sum."""

from __future__ import annotations

from typing import Any

from hpcfrugal.accounting.balance import Balance
from hpcfrugal.ledger.nodes import NodeChannel, NodesFound, NodeSum
from hpcfrugal.report.export import joules, seconds
from hpcfrugal.report.text import iso

SCHEMA_VERSION = 1


def nodes_json(found: NodesFound, period: dict[str, str | None]) -> dict[str, Any]:
    """The whole report. Energies are there in joules and, so that sums close exactly, as integer microjoules."""
    return {
        "schema": SCHEMA_VERSION,
        "period": period,
        "nodes": [_node(total) for total in found.nodes],
        "missing": list(found.missing),
        "sampled_jobs": found.sampled_jobs,
    }


def _node(total: NodeSum) -> dict[str, Any]:
    return {
        "cluster": total.cluster,
        "node": total.node,
        "first_reading_at": iso(total.first_wall_ns),
        "last_reading_at": iso(total.last_wall_ns),
        "sampled_jobs": len(total.jobs),
        **_sums(total.total),
        "channels": [_channel(channel) for _, channel in sorted(total.channels.items())],
    }


def _channel(channel: NodeChannel) -> dict[str, Any]:
    sums = channel.sum
    return {
        "component": channel.component,
        "domain": channel.domain,
        "source": channel.source,
        "quality": channel.quality,
        "boundary": channel.boundary,
        "counted": channel.counted,
        "idle_power": _idle(channel),
        **_sums(sums),
        "read_s": seconds(sums.covered_ns),
        "measured_s": seconds(sums.measured_ns),
        "jobs": [
            {
                "run_id": run_id,
                "job_id": job_id,
                "restart": restart,
                "energy_uj": share.energy_uj,
                "dynamic_j": joules(share.dynamic_uj),
                "idle_j": joules(share.idle_uj),
            }
            for (run_id, job_id, restart), share in sorted(sums.shares.items())
        ],
        "jobs_without_share": [
            {"run_id": run_id, "job_id": job_id, "restart": restart} for run_id, job_id, restart in sorted(sums.unknown)
        ],
    }


def _idle(channel: NodeChannel) -> str | None:
    """None for a GPU, which is its holder's whole and has no idle power of its own."""
    if channel.component == "gpu":
        return None
    if channel.idle_known:
        return "partly included" if channel.idle_lacking else "included"
    return "not included"


def _sums(sums: Balance) -> dict[str, Any]:
    return {
        "energy_j": joules(sums.energy_uj),
        "to_jobs_j": joules(sums.jobs_uj),
        "rest_j": joules(sums.residual_uj),
        "energy_uj": sums.energy_uj,
        "to_jobs_uj": sums.jobs_uj,
        "rest_uj": sums.residual_uj,
    }
