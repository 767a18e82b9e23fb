"""A channel of a job with a part of its energy by time. Pure functions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hpcfrugal.accounting.buckets import BUCKET_NS, EnergyByTime
from hpcfrugal.ledger.packed import pack
from hpcfrugal.ledger.rows import ChannelRow


def with_energy(row: ChannelRow, part: EnergyByTime) -> ChannelRow:
    """The channel with a part of its energy by time; sums over all of its time in proportion."""
    part.energy_uj, part.measured_ns = sum(part.energies_uj.values()), sum(part.measured.values())
    parts: dict[str, Any] = {
        name: None if (value := getattr(row, name)) is None else part_of(value, part.energy_uj, row.energy_uj or 0)
        for name in ("low_uj", "high_uj", "idle_uj")
    }
    first_ns = max(min(part.measured), row.first_wall_ns or 0)
    last_ns = max(part.measured) + BUCKET_NS
    last_ns = last_ns if row.last_wall_ns is None else min(last_ns, row.last_wall_ns)
    return replace(
        row,
        energy_uj=part.energy_uj,
        node_energy_uj=None,
        packed=pack(part, part.measured_ns, first_ns, last_ns),
        **parts,
    )


def part_of(whole: int, part: int, of: int) -> int:
    """A part of a whole in proportion, rounded down."""
    return whole * part // of if of else 0
