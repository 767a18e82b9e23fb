"""The time of a job by Slurm, for its channels: samples in a user's spool may last longer than the job did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hpcfrugal.accounting.buckets import EnergyByTime
from hpcfrugal.ledger.agent_channels import base_of
from hpcfrugal.ledger.agent_due import mark_if_measured
from hpcfrugal.ledger.channel_part import part_of, with_energy
from hpcfrugal.ledger.clocks import TOLERANCE_NS
from hpcfrugal.ledger.connection import LedgerConnection
from hpcfrugal.ledger.rows import ChannelRow
from hpcfrugal.ledger.table import RowBatch
from hpcfrugal.ledger.tables import CHANNELS

TOO_LONG = "what was read for longer than the job lasted does not count"


def shortened(rows: Iterable[ChannelRow], length_ns: int) -> list[ChannelRow]:
    """Channels by a job's samples, each without what was read later than ``length_ns`` after the first reading on its
    node, the time that the job lasted by Slurm; up to the difference of clocks. Not by the times themselves: a node's
    clock may be wrong by any time."""
    rows = list(rows)
    first: dict[str, int] = {}
    for row in rows:
        if row.first_wall_ns is not None:
            first[row.node] = min(row.first_wall_ns, first.get(row.node, row.first_wall_ns))
    return [_until(row, first[row.node] + length_ns) if row.node in first else row for row in rows]


def _until(row: ChannelRow, until_ns: int) -> ChannelRow:
    if row.last_wall_ns is None or row.last_wall_ns <= until_ns + TOLERANCE_NS or row.energy_uj is None:
        return row
    kept = EnergyByTime()
    for known in row.buckets:
        start_ns = known.start_ns
        left_ns = min(known.measured_ns, max(0, until_ns - max(start_ns, row.first_wall_ns or 0)))
        if left_ns or not kept.measured:
            kept.energies_uj[start_ns] = part_of(known.energy_uj, left_ns, known.measured_ns)
            kept.measured[start_ns] = left_ns
    return replace(with_energy(row, kept), reason="; ".join(filter(None, [row.reason, TOO_LONG])))


def shorten(connection: LedgerConnection, batch: RowBatch, job: int, job_id: str, length_ns: int) -> None:
    """Shorten the channels of a job in the ledger, where its samples last longer than it did; what agents measured of
    it is due then."""
    base = base_of(row for _, row in CHANNELS.rows_of(connection, str(job)))
    now = shortened(base, length_ns)
    if now == base:
        return
    CHANNELS.delete(connection, job)
    for row in now:
        batch.add(CHANNELS, CHANNELS.values_of(row), job)
    mark_if_measured(connection, job_id)
    connection.execute("INSERT OR IGNORE INTO totals_due VALUES (?)", (job,))
