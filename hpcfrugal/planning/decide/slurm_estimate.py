"""Slurm's estimates for a job before its submission: its time limit, its expected start, the waits of similar jobs.

All requests run at the same time, together with the one for the forecast. Each has a time limit, and a missing answer
becomes a note of the plan. All jobs that one command plans share the time, see ``TimeBudget``.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.format import timespan
from hpcfrugal.job import JobSpec
from hpcfrugal.planning.decide.plan import QueueWait
from hpcfrugal.planning.decide.time_budget import TimeBudget
from hpcfrugal.planning.decide.wait_history import PastWaits, past_waits
from hpcfrugal.planning.optimise.waiting import waits_like
from hpcfrugal.slurm.partitions import PartitionsRequest
from hpcfrugal.slurm.queue import PendingReasons
from hpcfrugal.slurm.submission import ExpectedStart, StartTest

_REASONS_S = 1.0
_FAR_APART = 2.0
_FAR_APART_FROM = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class SlurmEstimate:
    """``limit`` is the time limit of the job, or the one that Slurm sets if the job has none; ``wait_now`` the expected
    wait of a job submitted now. None: unknown.
    """

    limit: timedelta | None = None
    limit_source: str = "time limit"
    wait_now: timedelta | None = None
    wait: QueueWait = field(default_factory=QueueWait)
    notes: tuple[str, ...] = ()


def without_queue(limit: timedelta | None) -> SlurmEstimate:
    """What is known of a job on a machine without Slurm: there it waits for no other."""
    nothing = timedelta(0)
    return SlurmEstimate(limit, wait_now=nothing, wait=QueueWait(nothing, nothing, "this machine has no queue"))


class SlurmQueries:
    """The requests about one job, which start at once; ``answers`` waits for them."""

    def __init__(
        self, spec: JobSpec, options: Sequence[str], now: datetime, cache: Path, time_budget: TimeBudget | None = None
    ) -> None:
        self._spec, self._now = spec, now
        self._budget = time_budget or TimeBudget()
        self._pool = ThreadPoolExecutor(max_workers=3)
        partition = spec.resources.partition
        self._start = self._pool.submit(self._budget.ask, StartTest(options))
        self._waits = self._pool.submit(past_waits, partition, now, cache / "waits", self._budget)
        self._limit: Future[timedelta | None] | None = None
        if spec.resources.time is None:
            self._limit = self._pool.submit(self._partition_limit, partition)

    def answers(self) -> SlurmEstimate:
        """The estimates that are known within the time budget."""
        start: ExpectedStart | None = None
        notes = []
        try:
            start = self._start.result()
        except SetupError as error:
            notes.append(f"expected start unknown: {error.message}")
        past: PastWaits = self._waits.result()
        if past.problem is not None:
            notes.append(f"usual wait unknown: {past.problem}")
        known = SlurmEstimate(self._spec.resources.time)
        if self._limit is not None:
            known = SlurmEstimate(self._limit.result(), "time limit of the partition")
        self._pool.shutdown()
        requested = (self._spec.resources.partition or "").partition(",")[0]
        partition = start.partition if start is not None and start.partition else requested
        wait_now = max(timedelta(), start.start_at - self._now) if start is not None else None
        waits = waits_like(past.jobs, partition, self._spec.resources.min_nodes or 1)
        if waits is None:
            if wait_now is not None:
                known = replace(known, wait=QueueWait(wait_now, wait_now, "sbatch --test-only", "start test"))
            return replace(known, wait_now=wait_now, notes=tuple(notes))
        usual, most = waits.quantile(0.5), waits.quantile(0.9)
        if wait_now is None:
            wait_now = usual
        elif wait_now > most and self._delayed_jobs_ahead(partition):
            # Slurm plans delayed jobs before one that may start now, and the counterfactual would too.
            notes.append(
                f"Slurm expects a wait of {timespan(wait_now)} now, behind jobs that are delayed until later;"
                f" planned with {timespan(most)}, which nine in ten similar jobs did not exceed"
            )
            wait_now = most
        elif _far_apart(usual, wait_now):
            notes.append(f"Slurm expects a wait of {timespan(wait_now)} now; similar jobs waited {timespan(usual)}")
        wait = QueueWait(usual, most, f"accounting, {len(waits.waits)} jobs of the same {waits.basis}", "past jobs")
        return replace(known, wait_now=wait_now, wait=wait, notes=tuple(notes))

    def _partition_limit(self, partition: str | None) -> timedelta | None:
        """The limit of a job without one. None if it is unknown which partition the job gets: several are named, or
        none is the default.
        """
        try:
            found = self._budget.ask(PartitionsRequest(partition))
        except SetupError:
            return None
        found = [one for one in found if partition is not None or one.default]
        return found[0].time_limit if len(found) == 1 else None

    def _delayed_jobs_ahead(self, partition: str) -> bool:
        """Whether pending jobs of a partition wait for their begin time, if the site lets users see that."""
        try:
            return "BeginTime" in self._budget.ask(PendingReasons(partition), _REASONS_S)
        except SetupError:
            return False


def _far_apart(one: timedelta, other: timedelta) -> bool:
    less, more = sorted((one, other))
    return more >= _FAR_APART_FROM and more >= _FAR_APART * less
