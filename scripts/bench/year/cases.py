"""The rows of the table: which policy, with what knowledge, under which capacity; and the year of all of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from year import cluster, forecasts, grids, jobs, policies
from year.judge import Judge, Verdict

from hpcfrugal.queues.settings import Queue

MANY = 10**6
# Days after the last submission in which jobs may still wait and run: 24 h each, and what a full cluster adds.
AFTER = 4
SHARES = (0.2, 0.3, 0.4, 0.5)
SETTINGS = Queue(name=cluster.QUEUE, capacity=((0, MANY),), max_delay=timedelta(seconds=cluster.MAX_DELAY_S))


@dataclass(frozen=True, slots=True)
class Year:
    """One grid, its forecasts and the jobs; ``peak`` is the most nodes at once where every job starts at once."""

    name: str
    forecasts: forecasts.Forecasts
    jobs: list[jobs.Job]
    judge: Judge
    baseline: Verdict

    @classmethod
    def made(cls, name: str, days: int, per_day: float, seed: int, file: Path | None = None) -> Year:
        """Of a kind of grid, or of the first ``days`` of a file (as many as it has)."""
        start: datetime = grids.START
        if file is None:
            actual = grids.made(grids.GRIDS[name], days + AFTER, seed)
        else:
            start, actual = grids.read(file)
            days = min(days, len(actual) // grids.A_DAY - AFTER)
            actual = actual[: (days + AFTER) * grids.A_DAY]
        told = forecasts.Forecasts.made(start, actual, seed)
        coming = jobs.made(days, per_day, seed)
        judge = Judge(told, coming)
        at_once = judge.of_starts(np.array([float(job.submit_s) for job in coming]))
        return cls(name, told, coming, judge, at_once)

    @property
    def peak(self) -> int:
        return self.baseline.most_nodes

    def about(self) -> dict[str, Any]:
        """What the year is like."""
        used = sum(job.nodes * job.run_s for job in self.jobs)
        return {
            "jobs": len(self.jobs),
            "days": len(self.forecasts.actual) // grids.A_DAY - AFTER,
            "statistics": dict(zip(grids.NAMES, grids.statistics(self.forecasts.actual), strict=True)),
            "error_sd": {f"{lead / 2:g} h": self.forecasts.realised(lead) for lead in (0, 12, 24, 48, 95)},
            "mean_run_h": float(np.mean([job.run_s for job in self.jobs])) / 3600,
            "share_of_limit_used": used / sum(job.nodes * job.limit_s for job in self.jobs),
            "mean_nodes": used / (len(self.forecasts.actual) * grids.SLOT_S),
            "baseline": asdict(self.baseline),
        }


AT_ITS_WORD = "re-planning at the forecast's word"
Made = Callable[[Year, Queue], cluster.Policy]

UNBOUND: dict[str, Made] = {
    "re-planning": lambda year, queue: policies.Replanning(queue, year.forecasts.issued, policies.by_history),
    AT_ITS_WORD: lambda year, queue: policies.Replanning(
        queue.changed(min_saving=0.0, hysteresis=0.0),
        year.forecasts.issued,
        policies.by_history,
        error=None,
    ),
    "plan once": lambda year, queue: policies.Replanning(
        queue, year.forecasts.issued, policies.by_history, again=False
    ),
    "re-planning on persistence": lambda year, queue: policies.Replanning(
        queue, year.forecasts.persistence, policies.by_history
    ),
    "re-planning, limits only": lambda year, queue: policies.Replanning(
        queue, year.forecasts.issued, policies.by_limit
    ),
    "re-planning, exact runtimes": lambda year, queue: policies.Replanning(
        queue, year.forecasts.issued, policies.by_oracle
    ),
    "re-planning, exact forecast": lambda year, queue: policies.Replanning(
        queue, year.forecasts.perfect, policies.by_history
    ),
}
THRESHOLD = "threshold"
BOUND = ("re-planning", "plan once", THRESHOLD)
IDEAL = "clairvoyant"


def cases() -> list[tuple[str, bool]]:
    """All (row, within the baseline's peak)."""
    free = [(name, False) for name in (IDEAL, *UNBOUND, THRESHOLD)]
    return free + [(name, True) for name in (IDEAL, *BOUND)]


def tried(year: Year, name: str, within: bool, every_s: int) -> dict[str, Any]:
    """One row: the verdict, with ``saving`` against the baseline and the seconds that it took."""
    began = time.perf_counter()
    more: dict[str, Any] = {}
    capacity = year.peak if within else MANY
    if name == IDEAL and within:
        verdict, bound = year.judge.clairvoyant_within(capacity)
        more["saving_at_most"] = 1 - bound / year.baseline.carbon
    elif name == IDEAL:
        verdict = year.judge.clairvoyant()
    elif name == THRESHOLD:
        verdict, more["share"] = _best_threshold(year, capacity, every_s)
    else:
        queue = SETTINGS.changed(capacity=((0, capacity),))
        verdict = _run(year, UNBOUND[name](year, queue), capacity, every_s)
    assert verdict.most_nodes <= capacity
    return {
        "row": name,
        "within_peak": within,
        **asdict(verdict),
        "saving": 1 - verdict.carbon / year.baseline.carbon,
        **more,
        "seconds": time.perf_counter() - began,
    }


def _run(year: Year, policy: cluster.Policy, capacity: int, every_s: int) -> Verdict:
    entries = cluster.Cluster(year.forecasts.start, capacity).run(year.jobs, policy, every_s)
    return year.judge.of(entries)


def _best_threshold(year: Year, capacity: int, every_s: int) -> tuple[Verdict, float]:
    """The share that turns out best in the whole year, which nobody knows beforehand."""
    tries = [(_run(year, policies.Threshold(year.forecasts, share), capacity, every_s), share) for share in SHARES]
    return min(tries, key=lambda one: one[0].carbon)
