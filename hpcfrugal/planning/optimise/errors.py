"""Errors of the planner.

InputError
└── TooLate        the allowed time is shorter than the job
ForecastError
└── NotCovered     no window within the allowed time in which all intensities are known
"""

from __future__ import annotations

from datetime import datetime, timedelta

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import ForecastError, InputError, Problem
from hpcfrugal.core.format import timespan
from hpcfrugal.core.time import from_us, instant_us, is_in_datetime_range, iso, span_us


class TooLate(InputError):
    """No start lets the job end by its deadline."""

    def __init__(self, earliest: datetime, deadline: datetime, duration: timedelta) -> None:
        end = instant_us(earliest) + span_us(duration)
        hint = f"{iso(from_us(end))} is the earliest end" if is_in_datetime_range(end) else None
        what = f"{iso(deadline)} is too early for a run of {timespan(duration)} from {iso(earliest)}"
        super().__init__([Problem("deadline", what, hint)])


class NotCovered(ForecastError):
    """The series has gaps, starts too late or ends too early; see hpcfrugal.carbon.extension."""

    def __init__(self, series: CarbonSeries, earliest: datetime, deadline: datetime, duration: timedelta) -> None:
        super().__init__(
            f"the {series.kind} of {series.zone!r} ({iso(series.start)} to {iso(series.end)}) has no "
            f"{timespan(duration)} without a gap between {iso(earliest)} and {iso(deadline)}"
        )
