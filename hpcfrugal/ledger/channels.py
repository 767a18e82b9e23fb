"""The channels of a node of a job as rows, with their energy in buckets of time."""

from __future__ import annotations

from hpcfrugal.core.record import assemble
from hpcfrugal.ledger.channel_totals import NodeTotals
from hpcfrugal.ledger.packed import pack
from hpcfrugal.ledger.rows import ChannelRow


def channel_rows(node: str, totals: NodeTotals) -> list[ChannelRow]:
    """The channels of a node of a job, with their energy by time.

    Columns that are named like attributes of ``ChannelTotals`` are these.
    """
    rows = []
    for channel in totals.channels:
        first, last = channel.first or (None, None), channel.last or (None, None)
        known = channel.energy_uj is not None
        row = assemble(
            ChannelRow,
            channel,
            channel.key,
            node=node,
            packed=pack(channel.by_time, channel.measured_ns, first[1], last[1]),
            channel=str(channel.key),
            quality=channel.quality if known else "unknown",
            idle_uj=channel.idle_uj if known else None,
            first_boottime_ns=None,
            last_boottime_ns=None,
            max_mw=None if channel.max_w is None else round(channel.max_w * 1000),
        )
        rows.append(row)
    return rows
