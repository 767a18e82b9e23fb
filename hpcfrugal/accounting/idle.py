"""Idle energy of a component of a node, divided among its channels.

Idle power is configured per component, but a component has a channel for each package. In each interval the idle energy
is divided among the channels in proportion to their energy. So no channel has more idle energy than energy, and the
sum of the parts is exactly the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import add, sub


def steady_energy_uj(power_uw: int, span_ns: int) -> int:
    """Energy of a constant power in microwatts over ``span_ns``, rounded down. uW x ns = 1e-15 J."""
    return power_uw * span_ns // 10**9


def divide_idle(idle_uj: Sequence[int], read_uj: Sequence[Sequence[int]], channels: int) -> list[list[int]]:
    """The idle energy of each channel that was read, by interval, of a component with ``idle_uj``.

    ``read_uj`` is the energy of these by interval. Of the component's ``channels`` the others were not read: an equal
    part of the idle energy is assumed to be theirs. No channel gets more than its energy.
    """
    if not read_uj:
        return []
    totals_uj = list(map(sum, zip(*read_uj, strict=True)))
    given_uj = [min(idle * len(read_uj) // channels, total) for idle, total in zip(idle_uj, totals_uj, strict=True)]
    parts: list[list[int]] = []
    before = [0] * len(totals_uj)
    for upto_uj in accumulate(read_uj, lambda done, energies: list(map(add, done, energies))):
        # Differences of a rounded running sum: each is its exact value rounded up or down, and their sum is the whole.
        edges = [
            given * upto // total if total else 0
            for given, upto, total in zip(given_uj, upto_uj, totals_uj, strict=True)
        ]
        parts.append(list(map(sub, edges, before)))
        before = edges
    return parts
