"""Recent waits in the queue, from the accounting database; cached for an hour in the user's cache."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.time import iso, parse_iso
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

_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class PastWaits:
    """Waits of started jobs, or why they are unknown."""

    jobs: tuple[PastWait, ...] = ()
    problem: str | None = None


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
    document: dict[str, Any] = {"schema": _SCHEMA, "asked_at": iso(now), "problem": found.problem}
    document["jobs"] = [[job.partition, job.size, int(job.wait.total_seconds())] for job in found.jobs]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json_atomic(path, document)
    except OSError:
        return found  # the next command queries again
    return found


def _kept(path: Path, now: datetime) -> PastWaits | None:
    """A cached answer, if it is still valid."""
    document = read_json(path)
    if document is None or document.get("schema") != _SCHEMA:
        return None
    try:
        age = now - parse_iso(document["asked_at"])
        problem = document["problem"]
        rows = document["jobs"]
        jobs = tuple(PastWait(str(name), int(size), timedelta(seconds=wait_s)) for name, size, wait_s in rows)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not isinstance(problem, str | None) or any(job.size < 1 or job.wait < timedelta() for job in jobs):
        return None
    valid = KEPT if problem is None else FAILURE_KEPT
    return PastWaits(jobs, problem) if timedelta() <= age < valid else None
