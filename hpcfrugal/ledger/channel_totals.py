"""Sums of one channel of a node of a job, over all sessions of the sidecar there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from hpcfrugal.accounting.attribution import Attribution
from hpcfrugal.accounting.buckets import EnergyByTime, EnergyCurve
from hpcfrugal.core.quick import dataclass
from hpcfrugal.ledger.readings import ChannelKey


@dataclass(slots=True)
class ChannelTotals:
    """Sums of one channel over all sessions of one node.

    ``idle_power`` says with which figure, and ``idle_uj`` is how much of the job's energy is its part of the node's
    idle energy; both are None where none is included. ``sensor_gap_ns`` is how long it gave nothing, though it gave
    energy before or after; None where that is no more than a few samples. ``is_part``: it is unknown beside other parts
    of its component that were read, so that no model replaces it. ``low_uj`` and ``high_uj``: the range of a modelled
    energy in which 90 % of the true ones are expected, or of one whose edges are uncertain. ``node_uj`` is what was
    read, in ``node_ns`` of measured time; ``assumed_ns`` as in ``SampleRecord``, of all sessions.
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
    assumed_ns: int = 0
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

    def to_json(self) -> list[Any]:
        """What sums up over records, to go on with."""
        job = self.job
        by_time = [list(job.energies_uj), list(job.energies_uj.values()), list(job.measured.values())]
        return [job.energy_uj, job.measured_ns, job.parted, *by_time, self.node_uj, self.node_ns, self.first]

    def go_on(self, data: Sequence[Any]) -> None:
        """Go on from the sums of ``to_json``."""
        energy_uj, measured_ns, parted, starts_ns, energies_uj, measured, self.node_uj, self.node_ns, first = data
        by_time = (dict(zip(starts_ns, values, strict=True)) for values in (energies_uj, measured))
        self.job = EnergyByTime(energy_uj, measured_ns, parted, *by_time)
        self.first = tuple(first)


class TotalsByName(dict[str, ChannelTotals]):
    """The sums of the channels of a node so far, by the name of the channel; ``before`` are those to go on from."""

    def __init__(self, before: Mapping[str, Sequence[Any]] | None = None) -> None:
        super().__init__()
        self._before = before or {}

    def of(self, key: ChannelKey, **attributes: Any) -> ChannelTotals:
        """Those of a channel, which has these attributes where it is a new one."""
        name = str(key)
        sums = self.get(name)
        if sums is None:
            sums = self[name] = ChannelTotals(key, **attributes)
            if name in self._before:
                sums.go_on(self._before[name])
        return sums


@dataclass(frozen=True, slots=True)
class SumsBefore:
    """What is summed up over the records before those at hand: by channel, and ``busy_ns`` of the CPU's model."""

    channels: Mapping[str, Sequence[Any]]
    busy_ns: int


@dataclass(frozen=True, slots=True)
class NodeTotals:
    """All channels of one file, and what in it could not be used; ``busy_ns`` is that of the CPU's model."""

    channels: tuple[ChannelTotals, ...]
    problems: tuple[str, ...]
    busy_ns: int = 0
