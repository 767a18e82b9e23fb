"""A plan for one job: what was decided, from which inputs, and the expected outcome.

Each class is the record of its JSON. In ``run.json`` the plan is ``plan``: times are ISO 8601 in UTC, spans are
seconds, null is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.record import EMBEDDED, MAX_INT, Key, Range, codec

PLAN_SCHEMA = 1

Action = Literal["start-now", "wait", "segments"]

DurationBasis = Literal["history", "time limit", "assumption"]
"""Where an expected run time comes from: earlier runs of the job, a time limit, or neither."""

WaitBasis = Literal["past jobs", "start test"]
"""Where an expected wait comes from: accounting of similar jobs, or ``sbatch --test-only``, which is about now only."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A time in which the job is expected to run."""

    start_at: datetime
    end_at: datetime


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """When the job would start if it were not delayed, after ``wait`` in the queue."""

    start_at: datetime
    wait: Annotated[timedelta | None, Key("wait_s")] = None


@dataclass(frozen=True, slots=True)
class QueueWait:
    """The wait in the queue of a job that may start at any time; few jobs wait longer than ``most``."""

    expected: Annotated[timedelta | None, Key("expected_s")] = None
    most: Annotated[timedelta | None, Key("most_s")] = None
    source: str | None = None
    basis: WaitBasis | None = None


@dataclass(frozen=True, slots=True)
class BestStart:
    """The start with the least expected carbon without interruption, chosen or not."""

    start_at: datetime
    saving: float


@dataclass(frozen=True, slots=True)
class Expectation:
    """Mean intensities of a run now and as planned, in g CO2e per kWh of the run's energy, and grams.

    ``then`` includes the overhead of interruptions. ``forecast`` figures are those of the forecast itself, the others
    are corrected for its error. ``saving`` is a share of ``now``; ``band`` is the middle 80 % of its possible values.
    Grams are None if the power is unknown. They include the PUE, if that is known, but ``power_w`` does not.
    ``now_estimated``: the forecast has a gap at the soonest start, and ``now`` is estimated from the values around it.
    """

    now_g_per_kwh: float
    then_g_per_kwh: float
    now_forecast_g_per_kwh: float
    then_forecast_g_per_kwh: float
    saving: float
    band: Annotated[tuple[float, float], Range(-MAX_INT)]
    power_w: float | None = None
    power_source: str | None = None
    now_g: float | None = None
    then_g: float | None = None
    pue: float | None = None
    now_estimated: bool = False


@dataclass(frozen=True, slots=True)
class PlannedInterruptions:
    """Run time that each interruption takes: to write a checkpoint, and to restart from it."""

    checkpoint: Annotated[timedelta, Key("checkpoint_s")]
    restart: Annotated[timedelta, Key("restart_s")]


@dataclass(frozen=True, slots=True)
class GridForecast:
    """The forecast of a plan: its series, cut to the time that matters, and its age."""

    series: Annotated[CarbonSeries, Key("forecast")]
    provider: str
    issued_at: datetime
    age: Annotated[timedelta, Key("age_s")]
    stale: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """See the module. All times are aware.

    ``begin_at`` is the earliest start given to Slurm (None: at once, or ``schedule.earliest``), ``start_at`` the
    expected start after the wait in the queue, ``segments`` the times in which it runs if there are several.
    """

    policy: str
    decided_at: datetime
    action: Action
    reason: str
    zone: str | None
    signal: str
    duration: Annotated[timedelta | None, Key("duration_s")]
    duration_source: str | None
    duration_basis: DurationBasis | None
    limit: Annotated[timedelta | None, Key("limit_s")]
    start_at: datetime
    latest_start_at: datetime | None
    deadline_at: datetime | None
    counterfactual: Counterfactual
    wait: QueueWait
    expected: Expectation | None
    best: BestStart | None
    notes: tuple[str, ...]
    begin_at: datetime | None = None
    segments: tuple[PlannedRun, ...] = ()
    interruptions: PlannedInterruptions | None = None
    queue: str | None = None
    grid: Annotated[GridForecast | None, EMBEDDED] = None
    schema: int = PLAN_SCHEMA

    @property
    def runs(self) -> tuple[PlannedRun, ...]:
        """When it is expected to run; empty if its run time is unknown."""
        if self.segments:
            return self.segments
        return (PlannedRun(self.start_at, self.start_at + self.duration),) if self.duration is not None else ()

    @property
    def energy_kwh(self) -> float | None:
        """The expected energy of the data centre for the job; None if its power or run time is unknown."""
        if self.expected is None or self.expected.power_w is None or self.duration is None:
            return None
        return self.expected.power_w * (self.expected.pue or 1.0) / 1000 * (self.duration / timedelta(hours=1))

    def to_json(self) -> dict[str, Any]:
        """The ``plan`` of ``run.json``; its ``segments`` are ``runs``."""
        return codec(Plan).write(replace(self, segments=self.runs))
