"""Recent waits in the queue, from the accounting database; cached for an hour in the user's cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from hpcfrugal.core.cache import Cache
from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.host import host_name
from hpcfrugal.planning.decide.time_budget import BudgetSpent, TimeBudget
from hpcfrugal.planning.optimise.waiting import PastWait
from hpcfrugal.slurm.accounting import StartedJobs

LOOKED_BACK = timedelta(days=2)
"""Two days and nights; more would make the query slow."""

KEPT = timedelta(hours=1)
FAILURE_KEPT = timedelta(minutes=10)
MOST_JOBS = 5000
"""The number of newest jobs that are kept."""


@dataclass(frozen=True, slots=True)
class PastWaits:
    """Waits of started jobs, or why they are unknown."""

    asked_at: datetime
    jobs: tuple[PastWait, ...] = ()
    problem: str | None = None


def past_waits(partition: str | None, now: datetime, folder: Path, budget: TimeBudget) -> PastWaits:
    """Waits of the jobs of all users in the last days, or of those that the site shows.

    ``partition`` may name several, separated by commas; None: all. ``folder`` is the cache.
    """
    cache = Cache(folder)
    # Login nodes of several clusters may share a home.
    key = {"host": host_name(), "slurm": os.environ.get("SLURM_CONF", ""), "partition": partition or ""}
    kept = cache.read(PastWaits, key)
    if kept is not None and timedelta() <= now - kept.asked_at < (KEPT if kept.problem is None else FAILURE_KEPT):
        return kept
    try:
        started = budget.ask(StartedJobs(now - LOOKED_BACK, now, partition))[-MOST_JOBS:]
        found = PastWaits(now, tuple(PastWait(job.partition, job.nodes, job.wait) for job in started))
    except BudgetSpent as error:
        return PastWaits(now, problem=error.message)  # not a property of this partition, so not cached
    except SetupError as error:
        found = PastWaits(now, problem=error.message)
    cache.write(key, found)
    return found
