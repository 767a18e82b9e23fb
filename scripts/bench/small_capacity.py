"""Small sets of jobs that share a capacity, each with the optimum by HiGHS (scipy, which is in the dev group)."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.planning.optimise.capacity import Capacity, CapacityJob, CapacityPlan, plan_capacity

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class SmallJob:
    """``slots`` long; it starts in slot ``first`` to ``last``."""

    width: int
    slots: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class SmallCase:
    """``levels`` are g/kWh of slots of an hour; the capacity is constant."""

    levels: tuple[int, ...]
    capacity: int
    jobs: tuple[SmallJob, ...]

    def planned(self) -> CapacityPlan:
        """By hpcfrugal."""
        series = CarbonSeries.from_values(
            START, HOUR, list(self.levels), zone="made", signal="average", kind="forecast"
        )
        jobs = [
            CapacityJob(
                str(number),
                one.width,
                one.slots * HOUR,
                START + one.first * HOUR,
                START + (one.last + one.slots) * HOUR,
            )
            for number, one in enumerate(self.jobs)
        ]
        return plan_capacity(series, jobs, Capacity.from_steps([(START, self.capacity)]), step=HOUR)

    def optimum(self) -> float | None:
        """By HiGHS, in the unit of ``CapacityPlan.cost``; None if the jobs do not fit."""
        spent = np.concatenate(([0], np.cumsum(self.levels))) * 3600.0
        starts = [(number, slot) for number, one in enumerate(self.jobs) for slot in range(one.first, one.last + 1)]
        costs = np.zeros(len(starts))
        once, used = np.zeros((len(self.jobs), len(starts))), np.zeros((len(self.levels), len(starts)))
        for column, (number, slot) in enumerate(starts):
            one = self.jobs[number]
            costs[column] = one.width * (spent[slot + one.slots] - spent[slot])
            once[number, column] = 1
            used[slot : slot + one.slots, column] = one.width
        found = milp(
            costs,
            constraints=[LinearConstraint(once, 1, 1), LinearConstraint(used, ub=self.capacity)],
            integrality=np.ones(len(starts)),
            bounds=Bounds(0, 1),
            options={"mip_rel_gap": 0},
        )
        return float(found.fun) if found.success else None


def cases(count: int, most_jobs: int = 8, most_slots: int = 12, seed: int = 1) -> Iterator[SmallCase]:
    """Random ones, the same for the same seed."""
    draw = random.Random(seed)
    for _ in range(count):
        slots, capacity = draw.randint(4, most_slots), draw.randint(1, 4)
        levels = tuple(draw.randint(50, 500) for _ in range(slots))
        jobs = []
        for _ in range(draw.randint(2, most_jobs)):
            length = draw.randint(1, max(1, slots // 3))
            first = draw.randint(0, slots - length)
            jobs.append(SmallJob(draw.randint(1, capacity), length, first, draw.randint(first, slots - length)))
        yield SmallCase(levels, capacity, tuple(jobs))


def measured(count: int) -> dict[str, Any]:
    """How many of the cases that fit lose a job, and how far the costs of the others are above the optimum."""
    lost, gaps, took = 0, [], []
    for case in cases(count):
        best = case.optimum()
        began = time.perf_counter()
        plan = case.planned()
        took.append(time.perf_counter() - began)
        if best is None:
            continue
        if any(one.mark for one in plan.placements):
            lost += 1
        else:
            gaps.append(plan.cost / best - 1)
    return {
        "cases": count,
        "fit": lost + len(gaps),
        "lose_a_job": lost,
        "gaps": {f"above {share:.1%}": sum(gap > share for gap in gaps) for share in (1e-6, 0.001, 0.01, 0.05, 0.2)},
        "largest_gap": max(gaps),
        "mean_s": sum(took) / count,
        "most_s": max(took),
    }
