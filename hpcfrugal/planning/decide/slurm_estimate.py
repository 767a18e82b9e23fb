"""What Slurm says of a job before it is submitted: its time limit, when it could start now, how long others waited.

The questions are asked at once, beside the one for the forecast, and each is given up after ``TIMEOUT_S``: a plan does
without what is not known, and says so. That is the time for all jobs that one command plans, so that a controller that
hangs is waited for once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.text import duration
from hpcfrugal.core.units import parse_walltime
from hpcfrugal.job import JobSpec
from hpcfrugal.planning.decide.wait_history import PastWaits, past_waits
from hpcfrugal.planning.optimise.waiting import Waits, waits_like
from hpcfrugal.slurm import commands

TIMEOUT_S = 2.5
_LEAST_S = 0.25  # what is answered within it costs none of the time: a Slurm that is well tells it of each job
_PUT_OFF_S = 1.0
_SILENT = "{} took too long before, and is not asked again"
_T = TypeVar("_T")

# "sbatch: Job 17 to start at 2026-11-21T08:48:15 using 1 processors on nodes n1 in partition batch", which sbatch
# logs for --test-only (slurm_job_will_run in Slurm's src/api/allocate.c).
_WILL_RUN = re.compile(
    r"Job \d+ to start at (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d) using \d+ processors on nodes \S+(?: in partition (\S+))?"
)
# These would only delay what is asked about, or belong to the real submission.
_NOT_TESTED = ("--begin", "--dependency", "--output", "--error", "--array")

_FAR_APART = 2.0
_FAR_APART_FROM = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class SlurmEstimate:
    """``wait_now`` is the wait of a job submitted now, ``wait`` of one that may start at another time, ``wait_most``
    one that few pass. None: not known. ``limit`` is the time limit that Slurm will set where the job names none.
    """

    limit: timedelta | None = None
    limit_source: str | None = None
    wait_now: timedelta | None = None
    wait: timedelta | None = None
    wait_most: timedelta | None = None
    wait_source: str | None = None
    notes: tuple[str, ...] = ()


class TimeBudget:
    """How long one command still waits for each of Slurm's commands, however many jobs it asks about."""

    def __init__(self) -> None:
        self._left_s: dict[str, float] = {}

    def left_s(self, command: str) -> float | None:
        """Seconds; None where it is not to be asked again."""
        left_s = self._left_s.get(command, TIMEOUT_S)
        return left_s if left_s >= _LEAST_S else None

    def ask(self, command: str, ask: Callable[[float | None], _T]) -> _T:
        """What ``ask`` returns, given the seconds that are left; they are fewer afterwards if it took long."""
        left_s = self.left_s(command)
        begun = time.monotonic()
        answer = ask(left_s)
        took_s = time.monotonic() - begun
        if left_s is not None and took_s > _LEAST_S:
            self._left_s[command] = left_s - took_s
        return answer


class SlurmQueries:
    """Slurm's answers about one job on their way; ``answers`` waits for them."""

    def __init__(
        self, spec: JobSpec, options: Sequence[str], now: datetime, cache: Path, time_budget: TimeBudget | None = None
    ) -> None:
        self._spec, self._now = spec, now
        self._time_budget = time_budget or TimeBudget()
        self._pool = ThreadPoolExecutor(max_workers=3)
        partition = spec.resources.partition

        def waits(timeout_s: float | None) -> PastWaits:
            return past_waits(partition, now, cache / "waits", timeout_s=timeout_s)

        self._test = self._pool.submit(self._time_budget.ask, "sbatch", partial(_test_only, options))
        self._waits = self._pool.submit(self._time_budget.ask, "sacct", waits)
        self._limit: Future[timedelta | None] | None = None
        if spec.resources.time is None:
            self._limit = self._pool.submit(self._time_budget.ask, "scontrol", partial(_partition_limit, partition))

    def answers(self) -> SlurmEstimate:
        """What is known within ``TIMEOUT_S`` of the start."""
        starts, test_problem = self._test.result()
        past = self._waits.result()
        limit, limit_source = self._spec.resources.time, "time limit"
        if self._limit is not None:
            limit, limit_source = self._limit.result(), "time limit of the partition"
        self._pool.shutdown()
        start_at, tested_partition = starts or (None, None)
        partition = tested_partition or (self._spec.resources.partition or "").partition(",")[0]
        wait_now = max(timedelta(), start_at - self._now) if start_at is not None else None
        waits = waits_like(past.jobs, partition, self._spec.resources.min_nodes or 1)
        known = SlurmEstimate(
            limit=limit,
            limit_source=limit_source if limit is not None else None,
            wait_now=wait_now,
            notes=_notes(test_problem, past, waits, wait_now),
        )
        if waits is None:
            source = "sbatch --test-only" if wait_now is not None else None
            return replace(known, wait=wait_now, wait_most=wait_now, wait_source=source)
        usual, most = waits.quantile(0.5), waits.quantile(0.9)
        notes = known.notes
        if wait_now is None:
            wait_now = usual
        elif wait_now > most and self._time_budget.ask("squeue", partial(_some_are_put_off, partition)):
            # Slurm counts these as if they stood before a job that may start now; then so would the counterfactual.
            notes = (
                f"Slurm says that it would wait {_told(wait_now)} now, behind jobs that are put off until later;"
                f" taken are {_told(most)}, which nine in ten jobs like it did not pass",
            )
            wait_now = most
        return replace(
            known,
            wait_now=wait_now,
            wait=usual,
            wait_most=most,
            wait_source=f"sacct, {len(waits.waits)} jobs of the same {waits.basis}",
            notes=notes,
        )


def _notes(
    test_problem: str | None, past: PastWaits, waits: Waits | None, wait_now: timedelta | None
) -> tuple[str, ...]:
    notes = []
    if test_problem is not None:
        notes.append(f"when it could start now is not known: {test_problem}")
    if past.problem is not None:
        notes.append(f"how long jobs wait is not known: {past.problem}")
    if waits is not None and wait_now is not None:
        usual = waits.quantile(0.5)
        less, more = sorted((usual, wait_now))
        if more >= _FAR_APART_FROM and more >= _FAR_APART * less:
            notes.append(f"Slurm says that it would wait {_told(wait_now)} now; jobs like it waited {_told(usual)}")
    return tuple(notes)


def _told(span: timedelta) -> str:
    return duration(span // timedelta(seconds=1) * 10**9)


def _test_only(
    options: Sequence[str], timeout_s: float | None
) -> tuple[tuple[datetime, str | None] | None, str | None]:
    """When Slurm says that the job would start, with the partition; or why it does not say."""
    if timeout_s is None:
        return None, _SILENT.format("sbatch")
    kept = [option for option in options if option.partition("=")[0] not in _NOT_TESTED]
    try:
        code, _, err = commands.run(["sbatch", "--test-only", *kept, "--wrap=:"], timeout_s=timeout_s)
    except SetupError as error:
        return None, error.message
    match = _WILL_RUN.search(err)
    if code != 0 or match is None:
        return None, f"sbatch --test-only: {commands.first_line(err)}"
    return (datetime.strptime(match[1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC), match[2]), None


def _some_are_put_off(partition: str, timeout_s: float | None) -> bool:
    """Whether pending jobs of a partition wait for their begin time, as far as the site lets them be seen."""
    if timeout_s is None:
        return False
    argv = ["squeue", "--noheader", "--states=PENDING", "--format=%r", f"--partition={partition}"]
    try:
        code, out, _ = commands.run(argv, timeout_s=min(timeout_s, _PUT_OFF_S))
    except SetupError:
        return False
    return code == 0 and "BeginTime" in out.split()


def _partition_limit(partition: str | None, timeout_s: float | None) -> timedelta | None:
    """The limit that a job without one has: the partition's default, else its most (slurm.conf(5), DefaultTime).

    Of several partitions, or where none is the default, None: which one the job gets is not known.
    """
    if timeout_s is None:
        return None
    argv = ["scontrol", "show", "partition", "--oneliner"]
    if partition is not None:
        argv.insert(3, partition)
    try:
        code, out, _ = commands.run(argv, timeout_s=timeout_s)
    except SetupError:
        return None
    rows = [dict(cell.partition("=")[::2] for cell in line.split()) for line in out.splitlines()]
    rows = [row for row in rows if partition is not None or row.get("Default") == "YES"]
    if code != 0 or len(rows) != 1:
        return None
    for key in ("DefaultTime", "MaxTime"):
        try:
            return parse_walltime(rows[0].get(key, ""))
        except ValueError:
            continue  # NONE or UNLIMITED
    return None
