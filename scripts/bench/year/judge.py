"""What a policy made of a year, by actual intensities and runtimes; and what whoever knew all would have made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from year.cluster import MAX_DELAY_S, Entry
from year.forecasts import Forecasts, Values
from year.grids import SLOT_S
from year.jobs import Job

from hpcfrugal.planning.optimise.capacity import Capacity, CapacityJob, plan_capacity
from hpcfrugal.planning.optimise.window import plan_window


@dataclass(frozen=True, slots=True)
class Verdict:
    """``carbon`` is in nodes * s * g/kWh; waits in hours; ``missed`` are jobs that started after their latest start."""

    carbon: float
    missed: int
    wait_mean_h: float
    wait_p90_h: float
    wait_most_h: float
    most_nodes: int
    moves_per_job: float


class Judge:
    """Integrates the actual intensity over the time that each job really ran."""

    def __init__(self, forecasts: Forecasts, jobs: Sequence[Job]) -> None:
        self._forecasts, self._jobs = forecasts, jobs
        self._edges = np.arange(len(forecasts.actual) + 1) * SLOT_S
        self._spent = np.concatenate(([0.0], np.cumsum(forecasts.actual) * SLOT_S))
        self._nodes = np.array([job.nodes for job in jobs])
        self._submit = np.array([job.submit_s for job in jobs])
        self._run = np.array([job.run_s for job in jobs])

    def of(self, entries: Sequence[Entry]) -> Verdict:
        """Of a simulated year, with the jobs in the order of their submission."""
        starts = [entry.start_s for entry in entries]
        assert None not in starts
        return self.of_starts(np.array(starts, dtype=np.float64), sum(entry.moves for entry in entries))

    def of_starts(self, start: Values, moves: int = 0) -> Verdict:
        """Of starts in seconds after the beginning of the year."""
        assert (start >= self._submit).all()
        spent = np.interp(start + self._run, self._edges, self._spent) - np.interp(start, self._edges, self._spent)
        wait = start - self._submit
        return Verdict(
            carbon=float(spent @ self._nodes),
            missed=int((wait > MAX_DELAY_S).sum()),
            wait_mean_h=float(wait.mean()) / 3600,
            wait_p90_h=float(np.quantile(wait, 0.9)) / 3600,
            wait_most_h=float(wait.max()) / 3600,
            most_nodes=most_at_once(start, self._run, self._nodes),
            moves_per_job=moves / len(self._jobs),
        )

    def clairvoyant(self) -> Verdict:
        """Each job at the best of all its starts, capacity aside: no policy can save more."""
        start, series = self._forecasts.start, self._forecasts.whole()
        starts = []
        for job in self._jobs:
            earliest, run = _at(start, job.submit_s), timedelta(seconds=job.run_s)
            window = plan_window(series, earliest, earliest + timedelta(seconds=MAX_DELAY_S) + run, run)
            starts.append((window.start_at - start) / timedelta(seconds=1))
        return self.of_starts(np.array(starts))

    def clairvoyant_within(self, capacity: int) -> tuple[Verdict, float]:
        """All jobs of the year planned at once, on actual intensities and runtimes; and a bound that none is below.

        The bound is on carbon, as in the verdict. Starts lie on a grid of 5 minutes.
        """
        start = self._forecasts.start
        wanted = [
            CapacityJob(
                str(job.number), job.nodes, timedelta(seconds=job.run_s), _at(start, job.submit_s),
                _at(start, job.submit_s + MAX_DELAY_S + job.run_s),
            )
            for job in self._jobs
        ]  # fmt: skip
        plan = plan_capacity(self._forecasts.whole(), wanted, Capacity.from_steps([(start, capacity)]))
        assert all(one.mark is None for one in plan.placements)
        starts = [(one.start_at - start) / timedelta(seconds=1) for one in plan.placements]
        return self.of_starts(np.array(starts)), plan.lower_bound


def _at(start: datetime, seconds: int) -> datetime:
    return start + timedelta(seconds=seconds)


def most_at_once(start: Values, run: Values, nodes: Values) -> int:
    """Nodes in use at the busiest instant; at one instant ends come before starts."""
    moments = np.concatenate((start, start + run))
    changes = np.concatenate((nodes, -nodes))
    return int(np.cumsum(changes[np.lexsort((changes, moments))]).max())
