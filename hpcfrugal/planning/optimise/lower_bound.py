"""A lower bound on the cost of every packing, and the prices for capacity that belong to it.

With a price per unit and step instead of the capacity limits, each task chooses its start on its own. For any prices
that are not negative, the total cost of the tasks, less the value of the capacity, is a lower bound on the cost of
every packing (weak duality). The largest such bound is the optimum of the linear programme with a variable for each
task and start, since each task's own problem has whole solutions (Fisher, The Lagrangian relaxation
method for solving integer programming problems, Management Science 27, 1981). Prices move along the excess of demand
with the step length of Polyak (USSR Computational Mathematics and Mathematical Physics 9, 1969), smoothed over rounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpcfrugal.planning.optimise.free_capacity import Floats, PlacementChoice, Task, Timeline

# The share of the last direction in the next, and the rounds without a gain after which steps are halved.
_SMOOTH, _HALVED_AFTER = 0.6, 4


def raised(timeline: Timeline, placed: Sequence[PlacementChoice], upper: float, rounds: int) -> Floats:
    """Prices with a high bound, after ``rounds`` rounds; ``upper`` is the cost of some packing."""
    prices = np.zeros(len(timeline.capacity))
    best, best_prices, push, stale = -np.inf, prices, 1.0, 0
    direction = np.zeros_like(prices)
    for _ in range(rounds):
        bound, usage = relaxed(timeline, placed, prices)
        if bound > best:
            best, best_prices, stale = bound, prices, 0
        else:
            stale += 1
        if stale == _HALVED_AFTER:
            push, stale = push / 2, 0
            prices, direction = best_prices, np.zeros_like(prices)
            continue
        slope = usage - timeline.capacity
        slope = np.where((prices <= 0) & (slope < 0), 0.0, slope)
        direction = slope + _SMOOTH * direction
        norm = float(direction @ direction)
        if norm == 0 or upper <= bound:
            break
        prices = np.maximum(0.0, prices + push * (upper - bound) / norm * direction)
    return best_prices


def lower_bound(timeline: Timeline, placed: Sequence[PlacementChoice], prices: Floats) -> float:
    """The bound at given prices, or the cost of all tasks at their best starts if that is higher."""
    return max(relaxed(timeline, placed, prices)[0], sum(choice.least for choice in placed))


def relaxed(timeline: Timeline, placed: Sequence[PlacementChoice], prices: Floats) -> tuple[float, Floats]:
    """The bound at given prices, and the demand of the tasks in each step."""
    paid = np.concatenate(([0.0], np.cumsum(prices)))
    by_steps: dict[int, Floats] = {}
    change = np.zeros(len(prices) + 1)
    value = 0.0
    for choice in placed:
        task = choice.task
        over = by_steps.get(task.steps)
        if over is None:
            over = by_steps[task.steps] = paid[task.steps :] - paid[: -task.steps]
        costs = over[task.first : task.last + 1] * task.width
        costs += choice.costs
        where = int(costs.argmin())
        value += float(costs[where])
        change[task.first + where] += task.width
        change[task.first + where + task.steps] -= task.width
    return value - float(prices @ timeline.capacity), np.cumsum(change)[:-1]


def priced(choice: PlacementChoice, paid: Floats) -> Floats:
    """The costs of a task's starts, with prices summed up to each edge in ``paid``."""
    task: Task = choice.task
    low, high = task.first, task.last + 1
    return choice.costs + task.width * (paid[low + task.steps : high + task.steps] - paid[low:high])
