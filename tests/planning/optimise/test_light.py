"""What `submit` needs for one job loads no numpy."""

from __future__ import annotations

import subprocess
import sys

ONE_JOB = """
import sys
from datetime import UTC, datetime, timedelta
from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.planning.optimise import pareto, plan_segments, plan_window, runtimes, shrinkage, waiting
from hpcfrugal.planning.decide.decision import Question, decide
day, hour = datetime(2026, 3, 2, tzinfo=UTC), timedelta(hours=1)
series = CarbonSeries.from_values(day, hour, range(24), zone="GB", signal="average", kind="forecast", issued_at=day)
plan_window(series, day, series.end, hour)
plan_segments(series, day, series.end, hour)
decide(series, Question(day, series.end - hour, runtimes.Runtimes.certain(hour), error=shrinkage.ErrorGrowth()))
pareto.pareto_front(series, day, series.end, hour)
waiting.waits_like([], "p", 1)
print("numpy" in sys.modules)
plan_segments(series, day, series.end, hour, checkpoint=hour / 60)
print("numpy" in sys.modules)
"""


def test_only_interruptions_that_cost_something_need_numpy() -> None:
    done = subprocess.run([sys.executable, "-c", ONE_JOB], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
