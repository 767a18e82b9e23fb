"""A plan for one job: what was decided, on what ground, and what is expected of it; and its form in ``run.json``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.time import iso

SCHEMA = 1

Action = Literal["start-now", "wait", "segments"]
Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Expectation:
    """Mean intensities of a run at once and as planned, in g CO2e per kWh of the run's energy, and grams.

    What a run in segments spends on stopping and starting again is in ``then``. ``forecast_*`` are the forecast's own
    figures; the others are what is to be believed of them. ``saving`` is a share of ``now``; ``band`` holds the
    middle 80 % of what it may come to. Grams are None where the power is not known; the PUE, where it is, is in
    them and not in ``power_w``.
    """

    now_g_per_kwh: float
    then_g_per_kwh: float
    now_forecast_g_per_kwh: float
    then_forecast_g_per_kwh: float
    saving: float
    band: tuple[float, float]
    power_w: float | None = None
    power_source: str | None = None
    now_g: float | None = None
    then_g: float | None = None
    pue: float | None = None


@dataclass(frozen=True, slots=True)
class GridForecast:
    """Whose forecast the plan was made on: the series, cut to the time that matters, and how old it was."""

    series: CarbonSeries
    provider: str
    issued_at: datetime
    age: timedelta
    stale: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """See the module. All times are aware.

    ``begin_at`` is when Slurm may start it at the earliest (None: at once, or as ``schedule.earliest`` says),
    ``start_at`` when it is expected to start after the wait in the queue, ``segments`` the times in which it runs where
    there are several. ``soonest_at`` is when it would start if it were not put off, after ``wait_now`` in the queue.
    ``best`` is the start of the least expected carbon with its saving where that was not taken.
    """

    policy: str
    decided_at: datetime
    action: Action
    reason: str
    zone: str | None
    signal: str
    duration: timedelta | None
    duration_source: str | None
    limit: timedelta | None
    begin_at: datetime | None
    start_at: datetime
    segments: tuple[Span, ...]
    latest_start_at: datetime | None
    deadline_at: datetime | None
    soonest_at: datetime
    wait_now: timedelta | None
    wait: timedelta | None
    wait_most: timedelta | None
    wait_source: str | None
    expected: Expectation | None
    best: tuple[datetime, float] | None
    grid: GridForecast | None
    notes: tuple[str, ...]
    queue: str | None = None

    @property
    def runs(self) -> tuple[Span, ...]:
        """When it is expected to run; nothing where its length is not known."""
        if self.segments:
            return self.segments
        return ((self.start_at, self.start_at + self.duration),) if self.duration is not None else ()

    @property
    def energy_kwh(self) -> float | None:
        """What the data centre is expected to draw for the job; None where its power or run time is not known."""
        if self.expected is None or self.expected.power_w is None or self.duration is None:
            return None
        return self.expected.power_w * (self.expected.pue or 1.0) / 1000 * (self.duration / timedelta(hours=1))

    def to_json(self) -> dict[str, Any]:
        """The JSON object that ``run.json`` keeps as ``plan``; times are ISO 8601 in UTC, null is not known."""
        grid, expected = self.grid, self.expected
        return {
            "schema": SCHEMA,
            "policy": self.policy,
            "queue": self.queue,
            "decided_at": iso(self.decided_at),
            "action": self.action,
            "reason": self.reason,
            "zone": self.zone,
            "signal": self.signal,
            "provider": grid.provider if grid else None,
            "issued_at": iso(grid.issued_at) if grid else None,
            "age_s": _seconds(grid.age) if grid else None,
            "stale": grid.stale if grid else None,
            "duration_s": _seconds(self.duration),
            "duration_source": self.duration_source,
            "limit_s": _seconds(self.limit),
            "begin_at": _iso(self.begin_at),
            "start_at": iso(self.start_at),
            "segments": [{"start_at": iso(start), "end_at": iso(end)} for start, end in self.runs],
            "latest_start_at": _iso(self.latest_start_at),
            "deadline_at": _iso(self.deadline_at),
            "counterfactual": {"start_at": iso(self.soonest_at), "wait_s": _seconds(self.wait_now)},
            "wait": {
                "expected_s": _seconds(self.wait),
                "most_s": _seconds(self.wait_most),
                "source": self.wait_source,
            },
            "expected": None if expected is None else _expected(expected),
            "best": None if self.best is None else {"start_at": iso(self.best[0]), "saving": self.best[1]},
            "forecast": grid.series.to_json() if grid else None,
            "notes": list(self.notes),
        }


def _expected(expected: Expectation) -> dict[str, Any]:
    return {
        "now_g_per_kwh": expected.now_g_per_kwh,
        "then_g_per_kwh": expected.then_g_per_kwh,
        "now_forecast_g_per_kwh": expected.now_forecast_g_per_kwh,
        "then_forecast_g_per_kwh": expected.then_forecast_g_per_kwh,
        "saving": expected.saving,
        "band": list(expected.band),
        "power_w": expected.power_w,
        "power_source": expected.power_source,
        "pue": expected.pue,
        "now_g": expected.now_g,
        "then_g": expected.then_g,
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)


def _seconds(span: timedelta | None) -> int | float | None:
    if span is None:
        return None
    seconds = span.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds
