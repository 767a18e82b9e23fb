"""The records of what is computed of a job: its totals, and what it used by day."""

from __future__ import annotations

from typing import Annotated

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import EMBEDDED
from hpcfrugal.ledger.interned import PLACE, MaybeText, Node
from hpcfrugal.ledger.sums import EnergySums


@dataclass(frozen=True, slots=True)
class CarbonPlace:
    """Where a job's energy counts, for its CO2e.

    ``zone`` is the grid zone and ``pue`` the data centre's power usage effectiveness: the run's own, or those of the
    settings at the last sync, as ``*_source`` states (``run`` or ``settings``). A PUE of None with a source differs by
    month. ``provider`` is the one whose actual intensities were used.
    """

    zone: str | None
    zone_source: str | None
    pue: float | None
    pue_source: str | None
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class JobTotalsRow:
    """All that a job used. ``first_ns`` to ``last_ns`` is the time in which it counts.

    ``known``: any of its energy is known; ``complete``: no part of it is unknown, ``unknown`` names those that are.
    ``scope`` and ``idle_power`` as in ``parts``; ``shared``: it has a share of a node's energy, ``lacks_idle``: the
    node's idle power is not included in one. ``gpus`` is how many it held.
    """

    first_ns: int
    last_ns: int
    not_started: bool
    known: bool
    complete: bool
    unknown: tuple[str, ...] | None
    scope: MaybeText
    idle_power: MaybeText
    shared: bool
    lacks_idle: bool
    gpus: int | None
    place: Annotated[CarbonPlace, EMBEDDED, PLACE]
    sums: Annotated[EnergySums, EMBEDDED]


NO_TOTALS = JobTotalsRow(
    *(0, 0), not_started=False, known=False, complete=False, unknown=None, scope=None, idle_power=None, shared=False,
    lacks_idle=False, gpus=None, place=CarbonPlace(None, None, None, None), sums=EnergySums(),
)  # fmt: skip
"""Before anything is computed."""


@dataclass(frozen=True, slots=True)
class JobDayRow:
    """A UTC day, counted since 1970, on which a job counts; ``first``: no day before does. ``elapsed_ns`` is the job's
    own time on it."""

    day: int
    first: bool
    elapsed_ns: int | None


@dataclass(frozen=True, slots=True)
class JobEnergyRow:
    """What a component of a node of a job used on a UTC day. The flags, as those of a job, are the same on all days."""

    day: int
    node: Node
    component: str
    known: bool
    shared: bool
    lacks_idle: bool
    sums: Annotated[EnergySums, EMBEDDED]
