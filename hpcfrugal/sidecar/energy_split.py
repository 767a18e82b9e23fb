"""Dividing a node's energy among its jobs by their CPU time: the formula, for the ledger and for the node agent.

Idle power is known for a component, which may have several channels; ``divide_idle`` divides its energy among these.

``accounting.attribution`` describes it. Everything is a column of integers; what stands at one place of all columns
belongs together, such as one interval or one counter, and does not depend on the rest.
"""

from __future__ import annotations

from itertools import accumulate
from operator import add, floordiv, ge, mul, sub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Protocol

    Column = Sequence[int]
    """One integer for each interval or counter."""

    class NodeChannel(Protocol):
        """A channel as a header describes it."""

        @property
        def component(self) -> str: ...
        @property
        def source(self) -> str: ...
        @property
        def boundary(self) -> str: ...
        @property
        def scope(self) -> str: ...
        @property
        def counted(self) -> bool: ...


IDLE_COMPONENTS = ("cpu", "dram", "node")
"""What has an idle power. A GPU belongs to one job as a whole."""


def idle_groups(channels: Iterable[tuple[int, NodeChannel]]) -> list[tuple[str, list[int]]]:
    """Components, each with the numbers of the channels among which its idle power is divided.

    These are the channels that are added up, whatever their sources, and those of each other source that reads the
    whole node beside them. A core or uncore lies within a package, whose idle power does not divide.
    """
    found: dict[tuple[str, str], list[int]] = {}
    for index, channel in channels:
        if channel.scope != "node" or channel.component not in IDLE_COMPONENTS:
            continue
        if channel.counted:
            found.setdefault((channel.component, ""), []).append(index)
        elif channel.boundary == "node":
            found.setdefault((channel.component, channel.source), []).append(index)
    return [(component, indices) for (component, _), indices in found.items()]


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
    idle_uj = None if idle_uj is None else _at_most(energy_uj, idle_uj)
    dynamic_uj = energy_uj if idle_uj is None else list(map(sub, energy_uj, idle_uj))
    busy_us = _most(node_busy_us, [cpu_us for cpu_us, _ in uses if cpu_us is not None])
    held = [cpus for _, cpus in uses if cpus] if idle_uj is not None and any(idle_uj) else []
    all_cpus = _most(node_cpus, held)
    by_cpus: dict[int, Column] = {}  # many jobs of a node hold as many CPUs, so that the agent gives one column for all
    found: list[tuple[Column, Column] | None] = []
    for cpu_us, cpus in uses:
        if cpu_us is None:
            found.append(None)
            continue
        idle: Column = nothing
        if idle_uj is not None and held and cpus:
            idle = by_cpus.get(id(cpus)) or by_cpus.setdefault(id(cpus), _parts(idle_uj, cpus, all_cpus))
        found.append((_parts(dynamic_uj, cpu_us, busy_us) if any(cpu_us) else nothing, idle))
    return found


def _most(node: Column, jobs: Sequence[Column]) -> Column:
    """What the node has, or the sum of what its jobs have where that is more."""
    if not jobs:
        return node
    total = jobs[0] if len(jobs) == 1 else list(map(sum, zip(*jobs)))  # noqa: B905
    return node if all(map(ge, node, total)) else list(map(max, node, total))


def _at_most(limits: Column, values: Column) -> Column:
    """Values, or their limits where these are less: nowhere in most columns, which is faster to find out."""
    return values if all(map(ge, limits, values)) else list(map(min, limits, values))


def _parts(wholes: Column, parts: Column, totals: Column) -> list[int]:
    """The part of each whole that each part is of its total, rounded down. No part is more than its total."""
    if not all(totals):
        totals = [total or 1 for total in totals]  # of nothing, of which the part is 0
    return list(map(floordiv, map(mul, wholes, parts), totals))


def steady_energies_uj(power_uw: int, spans_ns: Column) -> list[int]:
    """Energy of a constant power in microwatts over each of ``spans_ns``, rounded down. uW x ns = 1e-15 J."""
    return [power_uw * span_ns // 10**9 for span_ns in spans_ns]


def divide_idle(idle_uj: Column, read_uj: Sequence[Column], channels: int) -> list[Column]:
    """The idle energy of each channel that was read, by interval, of a component with ``idle_uj``.

    ``read_uj`` is the energy of these by interval, in proportion to which it is divided. Of the component's
    ``channels`` the others were not read: an equal part of the idle energy is assumed to be theirs. No channel gets
    more than its energy, and the parts are exactly the whole that is left then.
    """
    if not read_uj:
        return []
    *upto_uj, totals_uj = accumulate(read_uj, lambda done, energies: list(map(add, done, energies)))
    if len(read_uj) < channels:
        idle_uj = [idle * len(read_uj) // channels for idle in idle_uj]
    given_uj = _at_most(totals_uj, idle_uj)
    # Differences of a rounded running sum: each is its exact value rounded up or down, and their sum is the whole.
    edges = [*(_parts(given_uj, done, totals_uj) for done in upto_uj), given_uj]
    return [edges[0], *(list(map(sub, after, before)) for before, after in zip(edges, edges[1:]))]  # noqa: B905, RUF007
