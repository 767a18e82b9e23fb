"""What the ledger keeps of a run's plan, and what it says: the counterfactual, the forecast, what was expected.

The plan is in ``run.json``, which a user may have edited: what is not as it should be is None, and nothing fails.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpcfrugal.carbon.series import CarbonSeries, Signal
from hpcfrugal.errors import DataError
from hpcfrugal.spool.fields import Fields

_KEPT = (
    "policy", "queue", "action", "zone", "signal", "provider", "issued_at", "start_at", "counterfactual", "expected",
    "forecast",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A plan as it was at the submission. Times are nanoseconds since 1970-01-01T00:00Z, None is not known.

    ``counterfactual_ns`` is when the job would have started if submitted to start at once, the wait in the queue
    included; ``expected_saving`` the share of carbon that the plan expected to save against that.
    """

    action: str | None
    zone: str | None
    signal: Signal
    provider: str | None
    issued_ns: int | None
    counterfactual_ns: int | None
    expected_saving: float | None
    forecast_told: object

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
    )
