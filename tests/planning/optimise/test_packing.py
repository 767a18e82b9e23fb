"""Moves of the packing: placing a task that did not fit, and exchanging starts for a gain."""

from __future__ import annotations

import numpy as np
import pytest

from hpcfrugal.planning.optimise.free_capacity import FreeCapacity, PlacementChoice, Task, total
from hpcfrugal.planning.optimise.packing import displace, search


def choice(index: int, costs: list[float], steps: int = 2, start: int | None = None) -> PlacementChoice:
    task = Task(index, 1, 1.0, 0, len(costs) - 1, steps, 1.0, None)
    return PlacementChoice(task, np.array(costs), min(costs), start)


def free_capacity(capacity: int, steps: int, placed: list[PlacementChoice]) -> FreeCapacity:
    free = FreeCapacity(np.full(steps, capacity, dtype=np.int64))
    for one in placed:
        assert one.start is not None
        free.take(one.task, one.start)
    return free


def test_a_task_moves_for_another_with_only_one_start() -> None:
    flexible, bound = choice(0, [1.0, 2.0, 3.0], start=0), choice(1, [5.0])
    free = free_capacity(1, 4, [flexible])
    assert displace(free, [flexible], [bound]) == [bound]
    assert (flexible.start, bound.start) == (2, 0)
    assert free.units.tolist() == [0, 0, 0, 0]


def test_where_no_task_can_move_all_starts_are_kept() -> None:
    first, second = choice(0, [1.0], start=0), choice(1, [5.0])
    free = free_capacity(1, 2, [first])
    assert displace(free, [first], [second]) == []
    assert (first.start, second.start) == (0, None)
    assert free.units.tolist() == [0, 0]


def test_starts_are_exchanged_for_a_gain_and_never_for_a_loss() -> None:
    light, heavy = choice(0, [1.0, 9.0, 2.0], start=0), choice(1, [10.0, 99.0, 90.0], start=2)
    free = free_capacity(1, 4, [light, heavy])
    search(free, [light, heavy])
    assert (light.start, heavy.start) == (2, 0)
    assert total([light, heavy]) == pytest.approx(12)
    assert free.units.tolist() == [0, 0, 0, 0]
    search(free, [light, heavy])
    assert (light.start, heavy.start) == (2, 0)
