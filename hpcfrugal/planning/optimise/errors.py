"""What a planner refuses.

InputError
└── TooLate        the time allowed is shorter than the job
ForecastError
└── NotCovered     no place within the time allowed where the intensities are known throughout
"""

from __future__ import annotations

from datetime import datetime, timedelta

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import ForecastError, InputError, Problem
from hpcfrugal.core.time import from_us, instant_us, is_in_datetime_range, iso, span_us


class TooLate(InputError):
    """The job can't end by its deadline, whenever it starts."""

    def __init__(self, earliest: datetime, deadline: datetime, duration: timedelta) -> None:
        end = instant_us(earliest) + span_us(duration)
        hint = f"{iso(from_us(end))} is the earliest end" if is_in_datetime_range(end) else None
        what = f"{iso(deadline)} leaves no room for {duration} from {iso(earliest)} on"
        super().__init__([Problem("deadline", what, hint)])


class NotCovered(ForecastError):
    """The series has gaps, begins too late or ends too early for any plan; see hpcfrugal.carbon.extension."""

    def __init__(self, series: CarbonSeries, earliest: datetime, deadline: datetime, duration: timedelta) -> None:
        super().__init__(
            f"the {series.kind} of {series.zone!r} ({iso(series.start)} to {iso(series.end)}) tells of no {duration} "
            f"in a row between {iso(earliest)} and {iso(deadline)}"
        )
