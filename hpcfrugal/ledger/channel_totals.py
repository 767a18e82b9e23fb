"""Sums of one channel of a node of a job, over all sessions of the sidecar there."""

from __future__ import annotations

from dataclasses import dataclass, field

from hpcfrugal.accounting.attribution import Attribution
from hpcfrugal.accounting.buckets import EnergyByTime, EnergyCurve
from hpcfrugal.ledger.readings import ChannelKey


@dataclass(slots=True)
class ChannelTotals:
    """Sums of one channel over all sessions of one node.

    ``idle_power`` says with which figure, and ``idle_uj`` is how much of the job's energy is its part of the node's
    idle energy; both are None where none is included. ``sensor_gap_ns`` is how long it gave nothing, though it gave
    energy before or after; None where that is no more than a few samples. ``is_part``: it is unknown beside other parts
    of its component that were read, so that no model replaces it. ``low_uj`` and ``high_uj``: the range of a modelled
    energy in which 90 % of the true ones are expected. ``node_uj`` is what was read, in ``node_ns`` of measured time.
    """

    key: ChannelKey
    quality: str
    boundary: str
    scope: str
    counted: bool
    attribution: Attribution
    detail: str | None = None
    gpu_uuid: str | None = None
    inputs: str | None = None
    idle_power: str | None = None
    idle_uj: int | None = None
    reason: str | None = None
    errors: int = 0
    max_w: float | None = None
    resets: int | None = None
    gaps: int | None = None
    job: EnergyByTime = field(default_factory=EnergyByTime)
    node_uj: int = 0
    node_ns: int = 0
    first: tuple[int, int] | None = None
    last: tuple[int, int] | None = None
    sensor_gap_ns: int | None = None
    is_part: bool = False
    low_uj: int | None = None
    high_uj: int | None = None

    @property
    def energy_uj(self) -> int | None:
        """The job's energy; None where no time was measured."""
        return self.job.energy_uj if self.job.measured_ns else None

    @property
    def node_energy_uj(self) -> int | None:
        """The energy as read, before attribution."""
        return self.node_uj if self.node_ns else None

    @property
    def measured_ns(self) -> int:
        return self.job.measured_ns

    @property
    def by_time(self) -> EnergyByTime:
        """The job's energy by bucket; empty where no time was measured."""
        return self.job if self.job.measured_ns else EnergyByTime()

    def note_curve(self, curve: EnergyCurve) -> None:
        """Note what was read, before attribution."""
        self.node_uj += curve.rise_uj
        self.node_ns += curve.rise_ns

    def note_readings(self, first: tuple[int, int], last: tuple[int, int]) -> None:
        """Note the (boottime, wall) of the first and last reading of a session."""
        self.first = self.first or first
        self.last = last


@dataclass(frozen=True, slots=True)
class NodeTotals:
    """All channels of one file, and what in it could not be used."""

    channels: tuple[ChannelTotals, ...]
    problems: tuple[str, ...]
