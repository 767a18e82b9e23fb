"""The channels of a node of a job as rows, with their energy in buckets of time."""

from __future__ import annotations

import sqlite3

from hpcfrugal.core.record import assemble
from hpcfrugal.ledger.channel_totals import NodeTotals
from hpcfrugal.ledger.rows import CHANNELS, ENERGY_BUCKETS, BucketRow, ChannelRow
from hpcfrugal.ledger.table import AttemptKey


def write_channels(
    connection: sqlite3.Connection, attempt: AttemptKey, node: str, totals: NodeTotals, *, since_boot: bool = True
) -> None:
    """Insert the channels of a node of a job, and their energy by time.

    Columns that are named like attributes of ``ChannelTotals`` are these. Where the file does not count its time from
    the node's boot (``since_boot`` False), that time is left out.
    """
    for channel in totals.channels:
        first, last = channel.first or (None, None), channel.last or (None, None)
        known = channel.energy_uj is not None
        name = str(channel.key)
        row = assemble(
            ChannelRow,
            channel,
            channel.key,
            node=node,
            channel=name,
            quality=channel.quality if known else "unknown",
            idle_uj=channel.idle_uj if known else None,
            first_boottime_ns=first[0] if since_boot else None,
            last_boottime_ns=last[0] if since_boot else None,
            first_wall_ns=first[1],
            last_wall_ns=last[1],
        )
        CHANNELS.insert(connection, row, attempt)
        ENERGY_BUCKETS.insert_all(
            connection,
            (
                BucketRow(node, name, start_ns // 10**9, bucket.energy_uj, bucket.node_energy_uj, bucket.measured_ns)
                for start_ns, bucket in channel.buckets().items()
            ),
            attempt,
        )
