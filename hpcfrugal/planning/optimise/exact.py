"""The best packing of a few tasks: a search that splits on conflicts, as for multi-agent paths.

At a node each task may use a part of its starts, and takes the cheapest. If these fit together, no packing of the node
is cheaper. Otherwise they use too much in some step, and in every packing one of the tasks there leaves that step free:
that gives a branch for each (Sharon, Stern, Felner and Sturtevant, Conflict-based search for optimal multi-agent
pathfinding, Artificial Intelligence 219, 2015). A node is left out if its bound is not below the cost of the best
packing so far. The bound is the sum of the cheapest starts, or that of the dual at its prices (see ``lower_bound``), if
that is higher. A task may also stay out, at a cost above that of all starts together: so most tasks are placed.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpcfrugal.planning.optimise.free_capacity import Floats, PlacementChoice, Timeline
from hpcfrugal.planning.optimise.lower_bound import priced

MOST_TASKS = 8
"""More tasks are left to the heuristics."""

MOST_NODES, MOST_WORK = 5_000, 5_000_000
"""Limits of the search: nodes, and nodes times the steps of the grid."""

_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class _Option:
    """The starts that one task may use at a node: costs, costs at the prices, and the least of both.

    ``start`` is None for a task that stays out.
    """

    costs: Floats
    paid: Floats
    start: int | None
    least: float
    least_paid: float

    @classmethod
    def of(cls, costs: Floats, paid: Floats, out: float) -> _Option:
        at = int(costs.argmin()) if len(costs) else None
        if at is None or costs[at] >= out:
            return cls(costs, paid, None, out, out)
        return cls(costs, paid, at, float(costs[at]), min(out, float(paid.min())))

    def without(self, first: int, last: int, out: float) -> _Option:
        """With no start in ``first`` to ``last``, as indexes."""
        costs, paid = self.costs.copy(), self.paid.copy()
        costs[max(0, first) : last + 1] = np.inf
        paid[max(0, first) : last + 1] = np.inf
        return _Option.of(costs, paid, out)


def place_best(timeline: Timeline, choices: Sequence[PlacementChoice], prices: Floats) -> bool:
    """Give the tasks the starts of the best packing, from those of some packing; False if the search was cut short.

    All costs are known. The packing found by then is still at least as good as the one before.
    """
    low = min(choice.task.first for choice in choices)
    high = max(choice.task.last + choice.task.steps for choice in choices)
    capacity = timeline.capacity[low:high]
    paid = np.concatenate(([0.0], np.cumsum(prices)))
    out = 1 + 2 * sum(float(choice.costs[choice.costs < np.inf].max(initial=0.0)) for choice in choices)
    given = float(prices @ timeline.capacity)

    def cost(starts: Sequence[int | None]) -> float:
        return sum(
            out if start is None else float(choice.costs[start - choice.task.first])
            for choice, start in zip(choices, starts, strict=True)
        )

    def bound(node: Sequence[_Option]) -> float:
        return max(sum(one.least for one in node), sum(one.least_paid for one in node) - given)

    best_starts = [choice.start for choice in choices]
    best = cost(best_starts)
    root = tuple(_Option.of(choice.costs, priced(choice, paid), out) for choice in choices)
    # Of equal bounds the newest first: it is nearer to a packing.
    heap: list[tuple[float, int, tuple[_Option, ...]]] = [(bound(root), 0, root)]
    nodes, pushed, most = 0, 0, min(MOST_NODES, MOST_WORK // max(1, high - low))
    while heap and heap[0][0] < best - _TOLERANCE * abs(best):
        if nodes >= most:
            break
        nodes += 1
        _, _, node = heapq.heappop(heap)
        starts = [
            None if one.start is None else choice.task.first + one.start
            for choice, one in zip(choices, node, strict=True)
        ]
        conflict = _conflict(capacity, low, choices, starts)
        if conflict is None:
            best, best_starts = cost(starts), starts
            continue
        step, group = conflict
        for index in group:
            task = choices[index].task
            option = node[index].without(step - task.steps + 1 - task.first, step - task.first, out)
            child = (*node[:index], option, *node[index + 1 :])
            limit = bound(child)
            if limit < best - _TOLERANCE * abs(best):
                pushed += 1
                heapq.heappush(heap, (limit, -pushed, child))
    for choice, start in zip(choices, best_starts, strict=True):
        choice.start = start
    return not heap or heap[0][0] >= best - _TOLERANCE * abs(best)


def _conflict(
    capacity: np.ndarray[tuple[int], np.dtype[np.int64]], low: int, choices: Sequence[PlacementChoice],
    starts: Sequence[int | None],
) -> tuple[int, list[int]] | None:  # fmt: skip
    """A step in which these starts use more than there is, and a few tasks that do so together; None if they fit."""
    free = capacity.copy()
    for choice, start in zip(choices, starts, strict=True):
        if start is not None:
            free[start - low : start - low + choice.task.steps] -= choice.task.width
    step = int(free.argmin())
    if free[step] >= 0:
        return None
    over = [
        index
        for index, (choice, start) in enumerate(zip(choices, starts, strict=True))
        if start is not None and start <= low + step < start + choice.task.steps
    ]
    over.sort(key=lambda index: -choices[index].task.width)
    group, used = list[int](), 0
    for index in over:
        group.append(index)
        used += choices[index].task.width
        if used > capacity[step]:
            break
    return low + step, group
