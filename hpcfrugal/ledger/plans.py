"""What the ledger keeps of a run's plan (the counterfactual, the forecast), and whether it delayed a job.

The plan is in ``run.json``, which a user may have edited: what is not as it should be is None, and nothing fails.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Annotated, Any

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.carbon_signal import Signal
from hpcfrugal.core.errors import DataError
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import IsoTime, Key, Range, codec


@dataclass(frozen=True, slots=True)
class CounterfactualStart:
    """When the job would have started if submitted to start at once, the wait in the queue (``wait_s``) included."""

    start_ns: Annotated[int | None, IsoTime("start_at")] = None
    wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class ExpectedSaving:
    """The share of carbon that the plan expected to save against the counterfactual."""

    saving: float | None = None


@dataclass(frozen=True, slots=True)
class InterruptionCosts:
    """Run time that each interruption of a job in segments was planned to take, in seconds."""

    checkpoint_s: Annotated[float | None, Range(0)] = None
    restart_s: Annotated[float | None, Range(0)] = None


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A plan as it was at the submission. Times are nanoseconds since 1970-01-01T00:00Z, None is not known.

    ``forecast_json`` is the forecast that it was made on, for ``CarbonSeries.from_json``.
    """

    policy: str | None = None
    queue: str | None = None
    action: str | None = None
    zone: str | None = None
    signal: Signal = "average"
    provider: str | None = None
    issued_ns: Annotated[int | None, IsoTime("issued_at")] = None
    start_ns: Annotated[int | None, IsoTime("start_at")] = None
    counterfactual: CounterfactualStart = CounterfactualStart()
    expected: ExpectedSaving = ExpectedSaving()
    interruptions: InterruptionCosts = InterruptionCosts()
    forecast_json: Annotated[dict[str, Any] | None, Key("forecast")] = None

    @property
    def counterfactual_ns(self) -> int | None:
        """When the job would have started without waiting for low-carbon power."""
        return self.counterfactual.start_ns

    @property
    def expected_saving(self) -> float | None:
        return self.expected.saving

    @property
    def wait_ns(self) -> int:
        """The expected wait in the queue that is part of ``counterfactual_ns``."""
        return round((self.counterfactual.wait_s or 0.0) * 10**9)

    @property
    def forecast(self) -> CarbonSeries | None:
        """The forecast that it was made on; parsed on access, since most users of a plan do not need it."""
        if self.forecast_json is None:
            return None
        try:
            return CarbonSeries.from_json(self.forecast_json)
        except DataError:
            return None

    @property
    def on_forecast(self) -> bool:
        """Whether it was made on a forecast of some provider."""
        return self.forecast_json is not None and self.provider is not None and self.zone is not None


_SLACK_NS = 2 * 10**9  # Slurm's times are whole seconds, and a job that may start at once is started a moment later


@dataclass(frozen=True, slots=True)
class RunTimes:
    """The first of each time among a run's jobs (an array has several): submitted and able to start, as Slurm
    reports, and started, from the best source. Nanoseconds since 1970-01-01T00:00Z, None is not known.
    """

    submitted_ns: int | None
    eligible_ns: int | None
    started_ns: int | None


def run_times(connection: sqlite3.Connection, run: int) -> RunTimes:
    """The times of a run, all of its jobs included."""
    row = connection.execute(
        "SELECT min(submitted_wall_ns) FILTER (WHERE eligible_wall_ns NOT NULL), min(eligible_wall_ns),"
        " min(started_wall_ns) FROM jobs WHERE run = ?",
        (run,),
    ).fetchone()
    return RunTimes(*row)


def was_delayed(plan: PlanRow, times: RunTimes) -> bool:
    """Whether the job was given a later start than it could have had.

    In a queue that may happen after the submission, or be taken back, so the time at which Slurm made
    the job eligible goes before the plan. Where that is unknown, the plan counts. A job in segments is delayed between
    them.
    """
    if plan.action == "segments":
        return True
    if plan.action == "start-now" and plan.queue is None:
        return False
    if times.eligible_ns is None or times.submitted_ns is None or plan.counterfactual_ns is None:
        return plan.action != "start-now"
    soonest_ns = max(times.submitted_ns, plan.counterfactual_ns - plan.wait_ns)
    return times.eligible_ns > soonest_ns + _SLACK_NS


def counterfactual_start(plan: PlanRow, times: RunTimes, started_ns: int, *, in_array: bool) -> int | None:
    """When a job that started at ``started_ns`` would have in the counterfactual; None where the plan does not say.

    Tasks of an array keep their distance from the first of them, since at once they would have run in turn alike.
    """
    if plan.counterfactual_ns is None or not in_array or times.started_ns is None:
        return plan.counterfactual_ns
    return plan.counterfactual_ns + max(0, started_ns - times.started_ns)


def plan_column(plan: Mapping[str, Any] | None) -> str | None:
    """The text that ``runs.plan`` keeps of the plan in ``run.json``."""
    if plan is None:
        return None
    return json.dumps({key: plan[key] for key in codec(PlanRow).keys if key in plan}, sort_keys=True)


def plan_of(column: str | None) -> PlanRow | None:
    """The plan in a column ``runs.plan``; None where the run has none."""
    if column is None:
        return None
    return codec(PlanRow).read(json.loads(column), [])
