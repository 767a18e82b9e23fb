"""Small carbon series for tests, counted in minutes of one day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hpcfrugal.carbon.series import CarbonSeries

DAY = datetime(2026, 3, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def at(minute: float) -> datetime:
    """An instant of the day."""
    return DAY + minute * MINUTE


def series_of(values: Sequence[float | None], step: float = 30, **fields: object) -> CarbonSeries:
    """Slots of ``step`` minutes from the day's first on; a forecast of zone GB unless told otherwise."""
    told: dict[str, object] = {"zone": "GB", "signal": "average", "kind": "forecast", **fields}
    return CarbonSeries.from_values(DAY, step * MINUTE, values, **told)  # type: ignore[arg-type]


def minutes(moment: datetime) -> float:
    """How far into the day an instant is."""
    return (moment - DAY) / MINUTE
