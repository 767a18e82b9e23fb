"""Run by the Python of an environment that has CATS (PyPI: climate-aware-task-scheduler); imports nothing of hpcfrugal.

Reads one JSON object from standard input: ``step_s``, ``values`` (means of slots from ``start`` on) and ``jobs``, each
[start of the search in s after ``start``, minutes to run, minutes that the start may be put off]. With ``forecasts``
instead of ``values`` each job has a series of its own. Writes the starts it chose, in s after ``start``, and the
seconds that it took. CATS is given the 48 h of half-hours that its provider gives.
"""

import json
import sys
import time
from datetime import datetime, timedelta, timezone
from importlib.metadata import version

from cats.forecast import PointEstimate, WindowedForecast

HORIZON_S = 48 * 3600


def main() -> None:
    told = json.load(sys.stdin)
    zero = datetime(2026, 1, 1, tzinfo=timezone.utc)  # noqa: UP017  (CATS runs on older Pythons)
    step = told["step_s"]

    def points_of(values):
        return [PointEstimate(value, zero + timedelta(seconds=n * step)) for n, value in enumerate(values)]

    common = points_of(told.get("values", []))
    starts, took = [], 0.0
    for number, (begin_s, run_min, slack_min) in enumerate(told["jobs"]):
        points = points_of(told["forecasts"][number]) if "forecasts" in told else common
        first = begin_s // step
        data = points[first : first + HORIZON_S // step]
        began = time.perf_counter()
        windows = WindowedForecast(
            data, duration=run_min, start=zero + timedelta(seconds=begin_s), max_window_minutes=slack_min
        )
        best = min(windows)
        took += time.perf_counter() - began
        starts.append((best.start - zero).total_seconds())
    json.dump({"version": version("climate-aware-task-scheduler"), "starts_s": starts, "seconds": took}, sys.stdout)


main()
