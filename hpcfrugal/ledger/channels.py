"""The channels of a node of a job as rows, with their energy in buckets of time."""

from __future__ import annotations

import sqlite3
from typing import Any

from hpcfrugal.ledger.channel_totals import NodeTotals
from hpcfrugal.ledger.jobs import insert


def write_channels(
    connection: sqlite3.Connection, key: dict[str, Any], account: NodeTotals, *, since_boot: bool = True
) -> None:
    """Insert the channels of a node of a job, and their energy by time, under ``key``.

    Where the file does not count its time from the node's boot (``since_boot`` False), that time is left out.
    """
    for channel in account.channels:
        first, last = channel.first or (None, None), channel.last or (None, None)
        known = channel.energy_uj is not None
        insert(
            connection,
            "channels",
            {
                **key,
                "channel": str(channel.key),
                "component": channel.key.component,
                "domain": channel.key.domain,
                "source": channel.key.source,
                "quality": channel.quality if known else "unknown",
                "boundary": channel.boundary,
                "scope": channel.scope,
                "counted": int(channel.counted),
                "attribution": channel.attribution,
                "detail": channel.detail,
                "gpu_uuid": channel.gpu_uuid,
                "inputs": channel.inputs,
                "idle_power": channel.idle_power,
                "idle_uj": channel.idle_uj if known else None,
                "reason": channel.reason,
                "energy_uj": channel.energy_uj,
                "node_energy_uj": channel.node_energy_uj,
                "measured_ns": channel.measured_ns,
                "errors": channel.errors,
                "first_boottime_ns": first[0] if since_boot else None,
                "last_boottime_ns": last[0] if since_boot else None,
                "first_wall_ns": first[1],
                "last_wall_ns": last[1],
                "max_w": channel.max_w,
                "resets": channel.resets,
                "gaps": channel.gaps,
                "unread_ns": channel.unread_ns,
            },
        )
        connection.executemany(
            "INSERT INTO energy VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *key.values(), str(channel.key), start_ns // 10**9,
                    bucket.energy_uj, bucket.node_energy_uj, bucket.measured_ns,
                )
                for start_ns, bucket in channel.buckets().items()
            ],
        )  # fmt: skip
