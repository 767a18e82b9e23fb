"""The policies that are compared. Those that plan call the functions of hpcfrugal's queues, and decide nothing alone.

``Replanning`` does what `hpcfrugal submit --queue` and `hpcfrugal queue run` do: ``place`` for each new job, ``replan``
for all in each round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from year.cluster import MAX_DELAY_S, Cluster, Entry
from year.forecasts import Forecasts
from year.grids import SLOT_S

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.planning.decide.history import FEWEST_RUNS, MOST_RUNS
from hpcfrugal.planning.optimise.shrinkage import DEFAULT_ERROR, ErrorGrowth
from hpcfrugal.queues.replan import place, replan
from hpcfrugal.queues.settings import Queue


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Every job as soon as it is submitted: the baseline."""

    def submitted(self, cluster: Cluster, entry: Entry) -> int:
        return entry.job.submit_s

    def round(self, cluster: Cluster) -> None:
        return


Expected = Callable[[Cluster, Entry], "int | None"]
"""How long a job that is being submitted is expected to run, in seconds; None where that is not known."""


def by_limit(cluster: Cluster, entry: Entry) -> int | None:
    """Nothing is known but the limit."""
    return None


def by_history(cluster: Cluster, entry: Entry) -> int | None:
    """The mean of the newest jobs of its kind that have ended, as many as count for `hpcfrugal submit`.

    Of a kind with too short a history: the share of its limit that all ended jobs together used of theirs.
    """
    like = cluster.ended.get(entry.job.kind, [])[-MOST_RUNS:]
    if len(like) >= FEWEST_RUNS:
        return round(sum(like) / len(like))
    return round(entry.job.limit_s * cluster.ran_s / cluster.asked_s) if cluster.asked_s else None


def by_oracle(cluster: Cluster, entry: Entry) -> int | None:
    """What it will take."""
    return entry.job.run_s


@dataclass(slots=True)
class Replanning:
    """By the newest of what ``issued`` gives for a slot.

    ``again``: all are planned anew in each round; else each job once, when it is submitted. Without ``error`` the
    forecast is taken as exact.
    """

    queue: Queue
    issued: Callable[[int], CarbonSeries]
    expected: Expected
    again: bool = True
    error: ErrorGrowth | None = DEFAULT_ERROR
    _slot: int = -1
    _series: CarbonSeries | None = None

    def submitted(self, cluster: Cluster, entry: Entry) -> int:
        entry.run_s = self.expected(cluster, entry)
        now = cluster.at(cluster.now_s)
        found = place(self.queue, cluster.queue(), cluster.queued(entry), self._newest(cluster), now, self.error)
        return cluster.seconds(found.start_at)

    def round(self, cluster: Cluster) -> None:
        if not self.again:
            return
        now = cluster.at(cluster.now_s)
        for plan in replan(self.queue, cluster.queue(), self._newest(cluster), now, self.error):
            if plan.moved:
                cluster.move(cluster.waiting[int(plan.job.job_id)], cluster.seconds(plan.start_at))

    def _newest(self, cluster: Cluster) -> CarbonSeries:
        slot = cluster.now_s // SLOT_S
        if self._series is None or slot != self._slot:
            self._slot, self._series = slot, self.issued(slot)
        return self._series


@dataclass(frozen=True, slots=True)
class Threshold:
    """Start when the present intensity is within the lowest ``share`` of the last week's, else at the latest start."""

    forecasts: Forecasts
    share: float

    def submitted(self, cluster: Cluster, entry: Entry) -> int:
        return cluster.now_s if self._low(cluster) else cluster.now_s + MAX_DELAY_S

    def round(self, cluster: Cluster) -> None:
        low = self._low(cluster)
        for entry in cluster.waiting.values():
            if low and entry.begin_s > cluster.now_s:
                cluster.move(entry, cluster.now_s)
            elif not low and entry.begin_s <= cluster.now_s < entry.latest_s:
                # It found no node while it was clean.
                cluster.move(entry, entry.latest_s)

    def _low(self, cluster: Cluster) -> bool:
        slot = cluster.now_s // SLOT_S
        return bool(self.forecasts.actual[slot] <= self.forecasts.quantile_of_last_week(slot, self.share))
