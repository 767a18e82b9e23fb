"""The grid's carbon intensity, looked up in the ledger by time."""

from __future__ import annotations

import sqlite3

from hpcfrugal.accounting.footprint import IntensityLevel


def intensity_providers(connection: sqlite3.Connection, zone: str, signal: str) -> list[str]:
    """The providers with figures of a zone, in order."""
    rows = connection.execute(
        "SELECT DISTINCT provider FROM intensity WHERE zone = ? AND signal = ? ORDER BY provider", (zone, signal)
    )
    return [provider for (provider,) in rows]


_BEST = """
SELECT start_ns, end_ns, g_per_kwh, settled, estimated_by, row_number() OVER (
    PARTITION BY start_ns ORDER BY settled DESC, fetched_ns DESC, g_per_kwh, end_ns
) AS place FROM intensity WHERE zone = ? AND signal = ? AND provider = ?
"""
"""The figures of a provider. Two spools may each have one for a time: a settled one counts, else the newest."""


def settled_gaps(connection: sqlite3.Connection, zone: str, signal: str, provider: str) -> list[tuple[int, int]]:
    """Times for which a provider has no figure and will have none, in order."""
    rows = connection.execute(
        f"SELECT start_ns, end_ns FROM ({_BEST}) WHERE place = 1 AND g_per_kwh IS NULL AND settled ORDER BY start_ns",
        (zone, signal, provider),
    )
    return [(start_ns, end_ns) for start_ns, end_ns in rows]


def intensities(connection: sqlite3.Connection, zone: str, signal: str, provider: str) -> list[IntensityLevel]:
    """All figures of one provider for a zone, in the order of time; a time without a figure is left out."""
    rows = connection.execute(
        f"SELECT start_ns, end_ns, g_per_kwh, settled, estimated_by FROM ({_BEST})"
        " WHERE place = 1 AND g_per_kwh IS NOT NULL ORDER BY start_ns",
        (zone, signal, provider),
    )
    return [
        IntensityLevel(start_ns, end_ns, level, bool(settled), "actual" if method is None else "estimated")
        for start_ns, end_ns, level, settled, method in rows
    ]
