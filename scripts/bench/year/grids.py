"""Years of carbon intensity made from documented statistics, one kind of grid each; half-hourly means in g/kWh.

The statistics are those of real grids from 20 December 2019 to 9 January 2021, computed from the data set of Wiesner et
al., "Let's Wait Awhile" (Middleware '21, github.com/dos-group/lets-wait-awhile at 5e0d155: data/gb_ci.csv, ger_ci.csv
and fr_ci.csv; generation by ENTSO-E, life-cycle factors by the IPCC). That repository states no licence, so its data
isn't part of this one; what was computed from it is in ``TOLD`` below, and ``statistics`` computes the same of a
made year.

A year is the mean, the mean course of a day (larger in winter or in summer), the days of a week, and three random
processes with exponential memory: the season, the weather of some days, and what changes within a day. They are
averaged over some half-hours where the real ones are smoother from one to the next.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

# A Monday, so that the days of the week are plain; no other meaning.
START = datetime(2024, 1, 1, tzinfo=UTC)
SLOT_S = 1800
A_DAY = 48


@dataclass(frozen=True, slots=True)
class Grid:
    """``course`` is the deviation at each full hour (UTC), ``week`` that of each day from Monday on, in g/kWh.

    ``winter`` is by how much more of the course there is on 1 January than on average (negative: in summer). A
    process is (standard deviation in g/kWh, hours of memory); ``smooth`` is over how many half-hours they are averaged.
    """

    words: str
    mean: float
    least: float
    course: tuple[int, ...]
    week: tuple[float, ...]
    winter: float
    processes: tuple[tuple[float, float], ...]
    smooth: int


GRIDS = {
    "GB": Grid(
        "much wind (Great Britain)", 214.5, 40.0,
        (-30, -29, -33, -34, -34, -28, -11, 4, 9, 7, 3, 0, 1, 1, 3, 8, 22, 34, 39, 39, 32, 21, -1, -21),
        (2.3, 14.3, 20.3, 19.2, 5.1, -32.1, -29.3), 0.35,
        ((16.0, 720.0), (52.0, 40.0), (27.0, 6.0)), 1,
    ),
    "DE": Grid(
        "wind, sun and coal (Germany)", 315.2, 80.0,
        (-6, -10, -10, -4, 6, 13, 13, 4, -9, -23, -32, -37, -36, -30, -18, -1, 16, 31, 36, 34, 27, 22, 11, 1),
        (9.5, 18.7, 24.8, 22.8, 15.1, -35.4, -55.8), -0.35,
        ((62.0, 720.0), (76.0, 40.0), (30.0, 6.0)), 5,
    ),
    "FR": Grid(
        "nearly flat (France)", 56.7, 15.0,
        (-3, -4, -5, -5, -3, -1, 1, 2, 2, 2, 3, 2, 2, 1, 1, 0, 1, 1, 1, 0, 0, 1, 0, -2),
        (0.5, 3.7, 4.5, 3.8, 2.0, -6.5, -8.0), 0.0,
        ((15.0, 720.0), (10.0, 50.0), (3.0, 6.0)), 4,
    ),
}  # fmt: skip

# Of the real years: mean, standard deviation of the daily means and within the days, of the step from one half-hour to
# the next, correlation of daily means one and two days apart.
TOLD = {
    "GB": (214.5, 53.9, 37.5, 13.4, 0.64, 0.25),
    "DE": (315.2, 100.6, 45.1, 8.2, 0.75, 0.53),
    "FR": (56.7, 18.7, 5.7, 1.6, 0.87, 0.74),
}
NAMES = ("mean", "sd of daily means", "sd within days", "sd of steps", "correlation after 1 day", "after 2 days")


def made(grid: Grid, days: int, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Half-hours of so many days from START on, the same for the same seed."""
    draw = np.random.default_rng([seed, 1])
    count = days * A_DAY
    slots = np.arange(count)
    hours = np.append(grid.course, grid.course[0]) - np.mean(grid.course)
    course = np.interp(slots % A_DAY / 2, np.arange(25), hours)
    values = grid.mean + course * (1 + grid.winter * np.cos(2 * np.pi * slots / A_DAY / 365))
    values += np.array(grid.week)[slots // A_DAY % 7] - np.mean(grid.week)
    for sd, hours_of_memory in grid.processes:
        noise = with_memory(draw, count + grid.smooth - 1, hours_of_memory)
        values += sd * np.convolve(noise, np.ones(grid.smooth) / grid.smooth, "valid")
    return np.round(np.maximum(grid.least, values), 1)


def with_memory(draw: np.random.Generator, count: int, hours: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A process of variance 1 whose correlation falls by e in so many hours."""
    keep = math.exp(-SLOT_S / 3600 / hours)
    steps = draw.standard_normal(count)
    steps[1:] *= math.sqrt(1 - keep * keep)
    value, values = 0.0, []
    for step in steps.tolist():
        value = keep * value + step
        values.append(value)
    return np.array(values)


def read(path: Path) -> tuple[datetime, np.ndarray[Any, np.dtype[np.float64]]]:
    """Half-hourly means of a CSV file with a header: time (UTC where no zone is given), and g/kWh until the next time.

    Returns when the first begins. Lines without a figure are taken to last as the one before.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in list(csv.reader(file))[1:] if len(row) > 1 and row[1]]
    moments = [datetime.fromisoformat(row[0]) for row in rows]
    at_s = np.array([(one if one.tzinfo else one.replace(tzinfo=UTC)).timestamp() for one in moments])
    spent = np.concatenate(([0.0], np.cumsum(np.array([float(row[1]) for row in rows])[:-1] * np.diff(at_s))))
    first = math.ceil(at_s[0] / 86400) * 86400
    edges = np.arange(first, at_s[-1] + 1, SLOT_S)
    values = np.diff(np.interp(edges, at_s, spent)) / SLOT_S
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=first), np.round(values, 1)


def statistics(values: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, ...]:
    """What NAMES says, of a series of whole days (the rest is left out)."""
    days = values[: len(values) // A_DAY * A_DAY].reshape(-1, A_DAY)
    means = days.mean(axis=1)
    lags = [float(np.corrcoef(means[:-lag], means[lag:])[0, 1]) if len(means) > lag + 2 else math.nan for lag in (1, 2)]
    return (
        float(values.mean()),
        float(means.std()),
        float((days - means[:, None]).std()),
        float(np.diff(values).std()),
        *lags,
    )
