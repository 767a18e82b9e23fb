"""Idle energy of a component of a node, divided among its channels.

A site configures idle power per component, while a component has a channel for each package. In each interval the idle
energy is divided among the channels in proportion to their energy, so no channel has more idle energy than energy, and
the parts sum exactly to the whole.
"""

from __future__ import annotations

from collections.abc import Sequence


def steady_energy_uj(power_uw: int, span_ns: int) -> int:
    """Energy of a constant power in microwatts over ``span_ns``, rounded down. uW x ns = 1e-15 J."""
    return power_uw * span_ns // 10**9


def divide_idle(idle_uj: int, energies_uj: Sequence[int | None]) -> tuple[int, ...]:
    """The idle energy of each channel of a component with ``idle_uj`` in an interval.

    None is a channel without a reading: an equal part of the idle energy is assumed to be its own, and its result is 0.
    No channel gets more than its energy.
    """
    read = [energy_uj for energy_uj in energies_uj if energy_uj is not None]
    if not read:
        return (0,) * len(energies_uj)
    if len(energies_uj) == 1:
        return (min(idle_uj, read[0]),)
    total_uj = sum(read)
    idle_uj = min(idle_uj * len(read) // len(energies_uj), total_uj)
    parts: list[int] = []
    upto_uj = given_uj = 0
    for energy_uj in energies_uj:
        upto_uj += energy_uj or 0
        # Differences of a rounded running sum: each is its exact value rounded up or down, and they sum to the whole.
        edge_uj = idle_uj * upto_uj // total_uj if total_uj else 0
        parts.append(edge_uj - given_uj)
        given_uj = edge_uj
    return tuple(parts)
