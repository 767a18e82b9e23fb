"""What the ledger keeps of a run's plan, what it says (the counterfactual, the forecast), and whether it put a job off.

The plan is in ``run.json``, which a user may have edited: what is not as it should be is None, and nothing fails.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpcfrugal.carbon.series import CarbonSeries, Signal
from hpcfrugal.core.errors import DataError
from hpcfrugal.core.json_fields import Fields

_KEPT = (
    "policy", "queue", "action", "zone", "signal", "provider", "issued_at", "start_at", "counterfactual", "expected",
    "forecast",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A plan as it was at the submission. Times are nanoseconds since 1970-01-01T00:00Z, None is not known.

    ``counterfactual_ns`` is when the job would have started if submitted to start at once, the wait in the queue
    included, which is ``wait_ns``; ``expected_saving`` the share of carbon that the plan expected to save against that.
    """

    action: str | None
    zone: str | None
    signal: Signal
    provider: str | None
    issued_ns: int | None
    counterfactual_ns: int | None
    expected_saving: float | None
    forecast_told: object
    queue: str | None = None
    wait_ns: int = 0

    @property
    def forecast(self) -> CarbonSeries | None:
        """The forecast that it was made on; read when it is asked for, since most who want a plan do not."""
        if self.forecast_told is None:
            return None
        try:
            return CarbonSeries.from_json(self.forecast_told)
        except DataError:
            return None

    @property
    def on_forecast(self) -> bool:
        """Whether it was made on a forecast of some provider."""
        return self.forecast_told is not None and self.provider is not None and self.zone is not None


_SLACK_NS = 2 * 10**9  # Slurm's times are whole seconds, and a job that may start at once is looked at a moment later


@dataclass(frozen=True, slots=True)
class RunTimes:
    """The first of each time among a run's jobs (an array has several): submitted and able to start, as Slurm says,
    and started, by the best witness. Nanoseconds since 1970-01-01T00:00Z, None is not known.
    """

    submitted_ns: int | None
    eligible_ns: int | None
    started_ns: int | None


def run_times(connection: sqlite3.Connection, run_id: str) -> RunTimes:
    """The times of a run, whichever of its jobs are looked at."""
    rows = connection.execute(
        "SELECT content FROM files WHERE run_id = ? AND kind = 'slurm' AND accepted AND content IS NOT NULL", (run_id,)
    ).fetchall()
    told = [json.loads(content) for (content,) in rows]

    def first(key: str) -> int | None:
        return min((one[key] for one in told if one.get(key) is not None), default=None)

    (started_ns,) = connection.execute("SELECT min(started_wall_ns) FROM jobs WHERE run_id = ?", (run_id,)).fetchone()
    return RunTimes(first("submit_wall_ns"), first("eligible_wall_ns"), started_ns)


def was_put_off(plan: PlanRow, times: RunTimes) -> bool:
    """Whether Slurm was told to start the job later than it might have.

    In a queue that may happen after the submission, or be taken back, so Slurm's word on when the job could start goes
    before the plan. Where it says nothing, what was planned holds. A job in segments is put off between them.
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
    return json.dumps({key: plan[key] for key in _KEPT if key in plan}, sort_keys=True)


def plan_of(column: str | None) -> PlanRow | None:
    """The plan in a column ``runs.plan``; None where the run has none."""
    if column is None:
        return None
    fields = Fields(json.loads(column))
    counterfactual = Fields(fields.mapping("counterfactual") or {})
    expected = Fields(fields.mapping("expected") or {})
    signal = fields.text("signal")
    return PlanRow(
        action=fields.text("action"),
        zone=fields.text("zone"),
        signal="marginal" if signal == "marginal" else "average",
        provider=fields.text("provider"),
        issued_ns=fields.wall_ns("issued_at"),
        counterfactual_ns=counterfactual.wall_ns("start_at"),
        expected_saving=expected.number("saving"),
        forecast_told=fields.data.get("forecast"),
        queue=fields.text("queue"),
        wait_ns=round((counterfactual.number("wait_s") or 0.0) * 10**9),
    )
