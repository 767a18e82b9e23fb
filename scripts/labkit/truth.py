"""The true energy of a node over an interval, from the closed form and never from the counters."""

from __future__ import annotations

import time
from decimal import Decimal, InvalidOperation

from . import hardware, waveform
from .errors import LabError


def energy_uj(node: str, from_ns: int, to_ns: int, clock: str) -> dict[str, int]:
    """True microjoules of every domain of `node` in [from_ns, to_ns] on `clock` (wall | boottime).

    Wall times are moved to boottime by the present difference of the two clocks: good while nobody steps the
    wall clock in between. Raises LabError for an unknown node or an interval that runs backwards.
    """
    if node not in hardware.NODES:
        raise LabError(f"no node {node!r}; there are {', '.join(hardware.NODES)}")
    if to_ns < from_ns:
        raise LabError("T1 is before T0")
    shift = wall_minus_boottime_ns() if clock == "wall" else 0
    if from_ns - shift < 0:
        raise LabError(f"T0 is before this machine's start; is it a time of the {clock} clock?")
    return {
        d.name: waveform.domain_energy_uj(d, to_ns - shift) - waveform.domain_energy_uj(d, from_ns - shift)
        for d in hardware.domains_of(node)
    }


def wall_minus_boottime_ns() -> int:
    """CLOCK_REALTIME minus CLOCK_BOOTTIME now, from the tightest of a few readings."""
    best = (1 << 62, 0)
    for _ in range(20):
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        wall = time.clock_gettime_ns(time.CLOCK_REALTIME)
        after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        best = min(best, (after - before, wall - (before + after) // 2))
    return best[1]


def seconds_to_ns(text: str) -> int:
    """Decimal seconds to whole nanoseconds, exactly. Raises LabError for anything else."""
    try:
        scaled = Decimal(text).scaleb(9)
        whole = int(scaled)
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise LabError(f"{text!r} is not a time in seconds") from error
    if whole != scaled:
        raise LabError(f"{text!r} is finer than a nanosecond")
    return whole
