"""Tasks, the grid of steps on which they are placed, and its free capacity."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"
Integers: TypeAlias = "NDArray[np.int64]"


@dataclass(frozen=True, slots=True)
class Timeline:
    """The grid: its first instant and its step in us, and the units of capacity in each step.

    ``spent`` is the intensity summed up to each edge (g/kWh * s); ``unknown`` marks the steps in which it is unknown.
    """

    start: int
    step: int
    capacity: Integers
    spent: Floats
    unknown: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Task:
    """A job that may start in steps ``first`` to ``last``, and uses ``width`` for ``steps`` steps, only ``part`` of the
    last.

    A task off the grid has ``part`` None, one possible start, and its cost per weight in ``fixed``.
    """

    index: int
    width: int
    weight: float
    first: int
    last: int
    steps: int
    part: float | None
    fixed: float | None


@dataclass(slots=True)
class PlacementChoice:
    """A task with the cost of each start: ``costs[i]`` is that of ``first + i``, infinite if unknown."""

    task: Task
    costs: Floats
    least: float
    start: int | None = None

    @classmethod
    def of(cls, timeline: Timeline, task: Task) -> PlacementChoice:
        costs = _costs(timeline, task)
        return cls(task, costs, float(costs.min()))

    @property
    def cost(self) -> float:
        """The cost at its start."""
        assert self.start is not None
        return float(self.costs[self.start - self.task.first])

    @property
    def regret(self) -> float:
        """The excess of the cost at its start over that at its best start."""
        return self.cost - self.least


@dataclass(slots=True)
class FreeCapacity:
    """The free units of capacity in each step."""

    units: Integers

    def take(self, task: Task, start: int) -> None:
        self.units[start : start + task.steps] -= task.width

    def give_back(self, task: Task, start: int) -> None:
        self.units[start : start + task.steps] += task.width

    def best(self, task: Task, costs: Floats) -> int | None:
        """The cheapest start with enough free capacity, the earliest of equal ones; None if there is none."""
        least = int(costs.argmin())
        if costs[least] == np.inf:
            return None
        start = task.first + least
        if int(self.units[start : start + task.steps].min()) >= task.width:
            return start
        full = self.units[task.first : task.last + task.steps] < task.width
        count = np.concatenate(([0], np.cumsum(full)))
        masked = np.where(count[task.steps :] == count[: -task.steps], costs, np.inf)
        least = int(masked.argmin())
        return None if masked[least] == np.inf else task.first + least

    def place(self, choice: PlacementChoice, costs: Floats) -> bool:
        """Give a task its best start by ``costs``; False if there is none."""
        choice.start = self.best(choice.task, costs)
        if choice.start is not None:
            self.take(choice.task, choice.start)
        return choice.start is not None


def total(choices: Iterable[PlacementChoice]) -> float:
    """The cost of all placed tasks."""
    return float(sum(choice.cost for choice in choices if choice.start is not None))


def _costs(timeline: Timeline, task: Task) -> Floats:
    spent = timeline.spent
    low, high, steps = task.first, task.last + 1, task.steps
    if task.part is None:
        assert task.fixed is not None
        costs = np.full(1, task.fixed)
    else:
        before_last = spent[low + steps - 1 : high + steps - 1]
        costs = before_last + task.part * (spent[low + steps : high + steps] - before_last) - spent[low:high]
    unknown = timeline.unknown[low : high + steps - 1]
    if unknown.any():
        count = np.concatenate(([0], np.cumsum(unknown)))
        costs = np.where(count[steps:] == count[:-steps], costs, np.inf)
    return task.weight * costs
