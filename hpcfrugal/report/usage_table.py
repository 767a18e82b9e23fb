"""The table of what a job used beside energy, one line a node."""

from __future__ import annotations

from hpcfrugal.core.text import UNKNOWN, duration, plain
from hpcfrugal.report.text import percent
from hpcfrugal.report.text_table import Column, TextTable
from hpcfrugal.report.usage import COUNTERS, JobUsage, NodeUsage

_BINARY = (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10))


def usage_table(usage: JobUsage) -> TextTable:
    """One line a node and, of several, their sum; counters only where they were asked for."""
    counted = any(node.sums[name] is not None for node in usage.nodes for name in COUNTERS)
    with_gpus = any(node.gpu_utilisation is not None for node in usage.nodes)
    columns = [
        Column("Node", "word"),
        Column("CPU time"),
        Column("Memory mean"),
        Column("Peak"),
        Column("Faults", drop=3),
        Column("Major", drop=2),
        Column("Read", drop=5),
        Column("Written", drop=4),
    ]
    if with_gpus:
        columns.append(Column("GPU use"))
    if counted:
        columns += [Column("Instructions", drop=7), Column("Cache misses", drop=6)]
    grid = TextTable(columns)
    rows = [*usage.nodes, *([usage.total] if len(usage.nodes) > 1 else [])]
    for node in rows:
        cells = _cells(node)
        if with_gpus:
            cells.append(UNKNOWN if node.gpu_utilisation is None else percent(node.gpu_utilisation))
        if counted:
            cells += [_number(node.sums[name]) for name in ("instructions", "cache_misses")]
        grid.add(cells, style="" if node.node else "bold")
    return grid


def _cells(node: NodeUsage) -> list[str]:
    sums = node.sums
    more = "≥ " if node.io_partial else ""
    return [
        plain(node.node, 24) or "all",
        UNKNOWN if node.cpu_us is None else duration(node.cpu_us * 1000),
        size(node.memory_mean_b),
        size(node.memory_peak_b),
        _number(sums["page_faults_minor"]),
        _number(sums["page_faults_major"]),
        size(sums["io_read_b"], more),
        size(sums["io_write_b"], more),
    ]


def _number(count: int | None) -> str:
    return UNKNOWN if count is None else f"{count:,}"


def size(amount_b: int | None, before: str = "") -> str:
    """Bytes in a unit of powers of two; ``before`` stands before a known one."""
    if amount_b is None:
        return UNKNOWN
    for unit, bits in _BINARY:
        if amount_b >= 1 << bits:
            return f"{before}{amount_b / (1 << bits):,.1f} {unit}"
    return f"{before}{amount_b} B"
