"""A year of carbon intensity for benchmarks: made from documented statistics, or read from a file.

The statistics are those of Great Britain from 20 December 2019 to 9 January 2021, computed from half-hourly means of
the data set of Wiesner et al., "Let's Wait Awhile" (Middleware '21, github.com/dos-group/lets-wait-awhile,
data/gb_ci.csv: generation by ENTSO-E, life-cycle factors by the IPCC): mean 214 g/kWh, standard deviation 66 (54 of the
daily means, 38 within the day), correlation of daily means one day apart 0.63, of half-hours 0.98, least 64, and the
mean course of a day in DAY. That repository states no licence, so its data isn't part of this one.
"""

from __future__ import annotations

import csv
import math
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from hpcfrugal.carbon.series import CarbonSeries

START = datetime(2026, 1, 1, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)
SLOTS = 365 * 48

MEAN, LEAST = 214.0, 40.0
# Deviation from the mean at each full hour of the day, g/kWh.
DAY = (
    -30, -29, -33, -34, -34, -28, -11, 4, 9, 7, 3, 0, 1, 1, 3, 8, 22, 34, 39, 39, 32, 21, -1, -21,
)  # fmt: skip
# A slow process for the weather, with the correlation of daily means, and a fast one within the day: (sd, hours).
SLOW, FAST = (56.0, 24 / -math.log(0.63)), (27.0, 5.0)


def made(seed: int = 1) -> CarbonSeries:
    """A year of half-hours from START on, the same for the same seed."""
    draw = random.Random(seed)
    slow, fast = draw.gauss(0, SLOW[0]), draw.gauss(0, FAST[0])
    centred = [level - sum(DAY) / len(DAY) for level in DAY]
    values = []
    for slot in range(SLOTS):
        hour, half = divmod(slot % 48, 2)
        course = (centred[hour] + centred[(hour + half) % 24]) / 2
        values.append(max(LEAST, round(MEAN + course + slow + fast, 1)))
        slow, fast = _next(draw, slow, *SLOW), _next(draw, fast, *FAST)
    return CarbonSeries.from_values(
        START, HALF_HOUR, values, zone="GB-like", signal="average", kind="actual", provider="bench"
    )


def _next(draw: random.Random, value: float, sd: float, hours: float) -> float:
    keep = math.exp(-0.5 / hours)
    return keep * value + sd * math.sqrt(1 - keep * keep) * draw.gauss(0, 1)


def read(path: Path) -> CarbonSeries:
    """The series of a CSV file with a header: time (UTC where no zone is given) and g/kWh, each until the next time."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(_instant(row[0]), float(row[1])) for row in list(csv.reader(file))[1:]]
    slots = pairwise(rows)
    return CarbonSeries.from_intervals(
        ((begin, end, value) for (begin, value), (end, _) in slots),
        zone=path.stem, signal="average", kind="actual", provider="file",
    )  # fmt: skip


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def statistics_of(series: CarbonSeries) -> dict[str, float]:
    """What a reader needs to judge whether the series is like a real one."""
    whole = series.mean(series.start, series.end)
    assert whole is not None
    days, inside = [], []
    moment = series.start
    while moment + timedelta(days=1) <= series.end:
        mean = series.mean(moment, moment + timedelta(days=1))
        assert mean is not None
        days.append(mean)
        levels = (series.mean(moment + n * HALF_HOUR, moment + (n + 1) * HALF_HOUR) for n in range(48))
        inside.extend(level - mean for level in levels if level is not None)
        moment += timedelta(days=1)
    centre = sum(days) / len(days)
    variance = sum((day - centre) ** 2 for day in days) / len(days)
    lagged = sum((a - centre) * (b - centre) for a, b in pairwise(days)) / (len(days) - 1)
    return {
        "mean": round(whole, 1),
        "least": min(value for value in series.values if value is not None),
        "sd_of_daily_means": round(math.sqrt(variance), 1),
        "sd_within_days": round(math.sqrt(sum(one * one for one in inside) / len(inside)), 1),
        "correlation_of_daily_means": round(lagged / variance, 2),
    }
