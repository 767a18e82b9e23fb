"""Dividing a node's energy among its jobs by their CPU time: the formula, for the ledger and for the node agent.

``accounting.attribution`` describes it. Everything is a column of integers; what stands at one place of all columns
belongs together, such as one interval or one counter, and does not depend on the rest.
"""

from __future__ import annotations

from operator import sub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Column = Sequence[int]
    """One integer for each interval or counter."""


def divide_energy(
    energy_uj: Column,
    node_busy_us: Column,
    node_cpus: Column,
    idle_uj: Column | None,
    uses: Sequence[tuple[Column | None, Column]],
) -> list[tuple[Column, Column] | None]:
    """Dynamic and idle energy in microjoules of each job, rounded down; None for a job of unknown CPU time.

    ``uses`` has each job's CPU time in microseconds (None: unknown) and its CPUs, an empty column where it has no part
    of the idle energy. ``idle_uj`` None: the node's idle power is not known. Raises ValueError for columns of different
    lengths.
    """
    if {len(column) for use in uses for column in use if column} - {len(energy_uj)}:
        raise ValueError("columns of different lengths")
    nothing = [0] * len(energy_uj)
    idle_uj = None if idle_uj is None else list(map(min, energy_uj, idle_uj))
    dynamic_uj = energy_uj if idle_uj is None else list(map(sub, energy_uj, idle_uj))
    busy_us = _most(node_busy_us, [cpu_us for cpu_us, _ in uses if cpu_us is not None])
    held = [cpus for _, cpus in uses if cpus] if idle_uj is not None and any(idle_uj) else []
    all_cpus = _most(node_cpus, held)
    found: list[tuple[Column, Column] | None] = []
    for cpu_us, cpus in uses:
        if cpu_us is None:
            found.append(None)
            continue
        idle = _parts(idle_uj, cpus, all_cpus) if idle_uj is not None and held and cpus else nothing
        found.append((_parts(dynamic_uj, cpu_us, busy_us), idle))
    return found


def _most(node: Column, jobs: Sequence[Column]) -> Column:
    """What the node has, or the sum of what its jobs have where that is more."""
    if not jobs:
        return node
    return list(map(max, node, jobs[0] if len(jobs) == 1 else map(sum, zip(*jobs))))  # noqa: B905


def _parts(wholes: Column, parts: Column, totals: Column) -> list[int]:
    """The part of each whole that each part is of its total, rounded down."""
    # all columns have one length, which strict= would check (not in Python 3.9)
    return [whole * part // total if total else 0 for whole, part, total in zip(wholes, parts, totals)]  # noqa: B905
