"""Recent waits in the queue, from the accounting database; cached for an hour in the user's cache."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.record import InvalidRecord, Range, codec
from hpcfrugal.planning.decide.time_budget import BudgetSpent, TimeBudget
from hpcfrugal.planning.optimise.waiting import PastWait
from hpcfrugal.slurm.accounting import StartedJobs
from hpcfrugal.spool import read_json, write_json_atomic

LOOKED_BACK = timedelta(days=2)
"""Two days and nights; more would make the query slow."""

KEPT = timedelta(hours=1)
FAILURE_KEPT = timedelta(minutes=10)
MOST_JOBS = 5000
"""The number of newest jobs that are kept."""

_SCHEMA = 2


@dataclass(frozen=True, slots=True)
class PastWaits:
    """Waits of started jobs, or why they are unknown."""

    jobs: tuple[PastWait, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Cached:
    """A cached answer."""

    schema: Annotated[int, Range(_SCHEMA, _SCHEMA)]
    asked_at: datetime
    waits: PastWaits


def past_waits(
    partition: str | None,
    now: datetime,
    folder: Path,
    budget: TimeBudget,
    *,
    environ: Mapping[str, str] = os.environ,
) -> PastWaits:
    """Waits of the jobs of all users in the last days, as far as the site shows them.

    ``partition`` may name several, separated by commas; None: all. ``folder`` is the cache.
    """
    # Login nodes of several clusters may share a home.
    where = [socket.gethostname(), environ.get("SLURM_CONF", ""), partition or ""]
    path = folder / f"{hashlib.sha256(repr(where).encode()).hexdigest()[:32]}.json"
    if (kept := _kept(path, now)) is not None:
        return kept
    try:
        started = budget.ask(StartedJobs(now - LOOKED_BACK, now, partition))[-MOST_JOBS:]
        found = PastWaits(tuple(PastWait(job.partition, job.nodes, job.wait) for job in started))
    except BudgetSpent as error:
        return PastWaits(problem=error.message)  # not a property of this partition, so not cached
    except SetupError as error:
        found = PastWaits(problem=error.message)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json_atomic(path, codec(_Cached).write(_Cached(_SCHEMA, now, found)))
    except OSError:
        return found  # the next command queries again
    return found


def _kept(path: Path, now: datetime) -> PastWaits | None:
    """A cached answer, if it is still valid."""
    problems: list[str] = []
    try:
        cached = codec(_Cached).read(read_json(path) or {}, problems)
    except InvalidRecord:
        return None
    valid = KEPT if cached.waits.problem is None else FAILURE_KEPT
    return cached.waits if not problems and timedelta() <= now - cached.asked_at < valid else None
