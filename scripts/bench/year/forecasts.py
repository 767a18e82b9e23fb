"""Forecasts as they are issued every half-hour of a year, with errors that grow with how far they look ahead.

A forecast issued in slot t says actual(s) * (1 + e(s, t)) of slot s. The error is the sum of what there is still to
learn: e(s, t) = x(s, t) + x(s, t + 1) + ... + x(s, s), and with each issue the first term is gone. The terms are normal
and independent from one issue to the next, and within one issue correlated by exp(-distance / MEMORY_H) between the
slots that it tells of. So successive forecasts agree for the most part, an issue that is too low at noon is too low at
one o'clock, and the error shrinks as the slot comes nearer. Its standard deviation is START at once and rises evenly
to END at 48 h. It has nothing to do with the actual value, so the forecast with the lowest value is too low on
average: nothing here makes it easier than it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from year.grids import A_DAY, SLOT_S

from hpcfrugal.carbon.series import CarbonSeries

START, END = 0.03, 0.20
HORIZON = 96
MEMORY_H = 6.0
# A forecast is never below this share of the actual value.
LEAST = 0.05
WEEK = 7 * A_DAY

Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Forecasts:
    """The actual half-hours from ``start`` on, and ``errors[s, lead]``: that of the issue ``lead`` slots before s."""

    start: datetime
    actual: Values
    errors: Values

    @classmethod
    def made(cls, start: datetime, actual: Values, seed: int, share: float = 1.0) -> Forecasts:
        """With errors of START to END times ``share``, the same for the same seed."""
        count = len(actual)
        sd = share * (START + (END - START) * np.arange(HORIZON) / HORIZON)
        learned = np.sqrt(np.diff(sd**2, prepend=0.0))
        draw = np.random.default_rng([seed, 2])
        # One issue is a row here: HORIZON slots from its own on. Long memory between slots, none between issues.
        keep = math.exp(-SLOT_S / 3600 / MEMORY_H)
        issues = draw.standard_normal((count, HORIZON))
        for lead in range(1, HORIZON):
            issues[:, lead] = keep * issues[:, lead - 1] + math.sqrt(1 - keep * keep) * issues[:, lead]
        issues *= learned
        errors = np.zeros((count, HORIZON))
        for lead in range(HORIZON):
            errors[lead:, lead] = issues[: count - lead, lead]
        return cls(start, actual, np.maximum(LEAST - 1, np.cumsum(errors, axis=1)))

    def realised(self, lead: int) -> float:
        """The standard deviation of (forecast / actual - 1) so many slots ahead."""
        return float(self.errors[lead:, lead].std())

    def issued(self, slot: int) -> CarbonSeries:
        """The newest one in a slot: from it on for 48 h."""
        leads = np.arange(min(HORIZON, len(self.actual) - slot))
        return self._series(slot, self.actual[slot : slot + HORIZON] * (1 + self.errors[slot + leads, leads]))

    def perfect(self, slot: int) -> CarbonSeries:
        """What comes, for as far as a forecast reaches."""
        return self._series(slot, self.actual[slot : slot + HORIZON])

    def persistence(self, slot: int) -> CarbonSeries:
        """That the next days are like the 24 h before; of the first day nothing is known before it, so it stands."""
        first = max(0, slot - A_DAY)
        return self._series(slot, np.resize(self.actual[first : first + A_DAY], HORIZON))

    def quantile_of_last_week(self, slot: int, share: float) -> float:
        """Of the actual half-hours of the 7 days up to this one, which is known."""
        return float(np.quantile(self.actual[max(0, slot - WEEK + 1) : slot + 1], share))

    def whole(self) -> CarbonSeries:
        """All that comes."""
        return self._series(0, self.actual)

    def _series(self, slot: int, values: Values) -> CarbonSeries:
        return CarbonSeries.from_values(
            self.start + slot * timedelta(seconds=SLOT_S),
            timedelta(seconds=SLOT_S),
            _tenths(values),
            zone="made",
            signal="average",
            kind="forecast",
            issued_at=self.start + slot * timedelta(seconds=SLOT_S),
        )


def _tenths(values: Values) -> Sequence[float]:
    rounded: list[float] = np.round(values, 1).tolist()
    return rounded
