"""Packs tasks into a capacity on a grid of steps: list scheduling at the prices of the dual, then local search; a few
tasks exactly.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hpcfrugal.planning.optimise.exact import MOST_TASKS, place_best
from hpcfrugal.planning.optimise.free_capacity import (
    Floats,
    FreeCapacity,
    Integers,
    PlacementChoice,
    Task,
    Timeline,
    total,
)
from hpcfrugal.planning.optimise.lower_bound import lower_bound, priced, raised

# How often a list is tried again, with the tasks that did not fit at its front.
REPAIRS = 12
# Passes in which each task may move to a better start, and the relative gain below which they end.
PASSES, ENOUGH = 8, 1e-4
# Attempts of the search, attempts to place a task that did not fit, and how many others one attempt may move.
TRIES, FIT_TRIES, NEIGHBOURS = 2000, 200, 10
# Attempts for all tasks that did not fit together: with thousands of them, the capacity is too small for most.
MOST_FIT_TRIES = 20_000


class Packed(NamedTuple):
    """Start step of each placed task; tasks placed with an unknown cost; the lower bound of the others."""

    starts: dict[int, int]
    unknown: set[int]
    lower_bound: float


def pack_tasks(timeline: Timeline, tasks: Sequence[Task], rounds: int) -> Packed:
    """Cheap starts for as many tasks as fit, and a lower bound on their cost; of a few tasks the best starts.

    The result is reproducible: the random generator has a fixed seed.
    """
    choices = [PlacementChoice.of(timeline, task) for task in tasks]
    known = [choice for choice in choices if choice.least < np.inf]
    unpriced = [choice for choice in choices if choice.least == np.inf]
    prices = np.zeros(len(timeline.capacity))
    free, placed = _best_list(timeline, known, prices)
    if placed and rounds:
        before = [choice.start for choice in known]
        prices = raised(timeline, placed, total(placed), rounds)
        before_rating = (-len(placed), total(placed))
        free, placed = _best_list(timeline, known, prices)
        if (-len(placed), total(placed)) > before_rating:
            free, placed = _with_starts(timeline, known, before)
    proven = 0 < len(known) <= MOST_TASKS and place_best(timeline, known, prices)
    free, placed = _with_starts(timeline, known, [choice.start for choice in known])
    if not proven:
        placed += displace(free, placed, [choice for choice in known if choice.start is None])
        search(free, placed)
        # Others have moved since.
        placed += [choice for choice in known if choice.start is None and free.place(choice, choice.costs)]
    bound = total(placed) if proven else lower_bound(timeline, placed, prices)
    unknown = set()
    for choice in unpriced + [choice for choice in known if choice.start is None]:
        # As soon as it fits: the cost there is unknown.
        if free.place(choice, np.arange(len(choice.costs), dtype=np.float64)):
            unknown.add(choice.task.index)
    starts = {choice.task.index: choice.start for choice in choices if choice.start is not None}
    return Packed(starts, unknown, bound)


def improve(free: FreeCapacity, placed: Sequence[PlacementChoice]) -> None:
    """Move one task after the other to its best free start, until the gain is small."""
    least = total(placed)
    for _ in range(PASSES):
        # Ordered by the regret per unit and step.
        for choice in sorted(placed, key=lambda choice: -choice.regret / (choice.task.width * choice.task.steps)):
            if choice.start is not None and choice.regret > 0:
                free.give_back(choice.task, choice.start)
                free.place(choice, choice.costs)  # at least its old start is free
        now = total(placed)
        if now > least * (1 - ENOUGH):
            return
        least = now


def displace(
    free: FreeCapacity, placed: Sequence[PlacementChoice], lost: Sequence[PlacementChoice]
) -> list[PlacementChoice]:
    """Move other tasks to make space for those that did not fit; returns the ones that now do."""
    draw = random.Random(0)
    found: list[PlacementChoice] = []
    around = list(placed)
    starts, ends = _spans(around)
    tries = min(FIT_TRIES, max(1, MOST_FIT_TRIES // max(1, len(lost))))
    for choice in lost:
        task = choice.task
        for _ in range(tries):
            start = task.first + draw.randrange(len(choice.costs))
            near = [int(index) for index in np.flatnonzero((starts < start + task.steps) & (ends > start))]
            others = [around[index] for index in draw.sample(near, min(NEIGHBOURS, len(near)))]
            others.sort(key=lambda other: -other.task.width * other.task.steps)
            if _rearranged(free, [choice, *others], np.inf):
                found.append(choice)
                around.append(choice)
                starts, ends = _spans(around)
                break
    return found


def _spans(placed: Sequence[PlacementChoice]) -> tuple[Integers, Integers]:
    """First step of each placed task and the step after its last."""
    starts = np.array([choice.start for choice in placed], dtype=np.int64)
    return starts, starts + np.array([choice.task.steps for choice in placed], dtype=np.int64)


def search(free: FreeCapacity, placed: Sequence[PlacementChoice]) -> None:
    """Move one task to its best start and a few others away from there, if that is cheaper."""
    draw = random.Random(0)
    starts, ends = _spans(placed)
    regrets = np.array([choice.regret for choice in placed])
    for attempt in range(TRIES):
        if attempt % 64 == 0:
            upto = np.cumsum(regrets)
            if not len(upto) or upto[-1] <= 0:
                return
        one = min(int(np.searchsorted(upto, draw.random() * upto[-1])), len(placed) - 1)
        task = placed[one].task
        wanted = task.first + int(placed[one].costs.argmin())
        near = np.flatnonzero((starts < wanted + task.steps) & (ends > wanted))
        others = [int(index) for index in near if index != one]
        others = draw.sample(others, min(NEIGHBOURS, len(others)))
        if draw.random() < 0.5:
            others.sort(key=lambda index: -placed[index].task.width * placed[index].task.steps)
        group = [placed[index] for index in (one, *others)]
        if _rearranged(free, group, total(group) * (1 - 1e-12)):
            for index, choice in zip((one, *others), group, strict=True):
                assert choice.start is not None
                starts[index], ends[index] = choice.start, choice.start + choice.task.steps
                regrets[index] = choice.regret


def _rearranged(free: FreeCapacity, group: list[PlacementChoice], limit: float) -> bool:
    """Place a group again, in its order, if the cost is below ``limit``; otherwise nothing changes."""
    before, spent = [choice.start for choice in group], 0.0
    for choice in group:
        if choice.start is not None:
            free.give_back(choice.task, choice.start)
    moved: list[tuple[PlacementChoice, int]] = []
    for choice in group:
        start = free.best(choice.task, choice.costs)
        if start is None:
            break
        free.take(choice.task, start)
        moved.append((choice, start))
        spent += float(choice.costs[start - choice.task.first])
        if spent >= limit:
            break
    if len(moved) == len(group) and spent < limit:
        for choice, start in moved:
            choice.start = start
        return True
    for choice, start in moved:
        free.give_back(choice.task, start)
    for choice, old in zip(group, before, strict=True):
        if old is not None:
            free.take(choice.task, old)
    return False


def _best_list(
    timeline: Timeline, choices: Sequence[PlacementChoice], prices: Floats
) -> tuple[FreeCapacity, list[PlacementChoice]]:
    """The list that places most tasks; if several do, the cheapest after ``improve``.

    The first order is that in which tasks would start at these prices, which is best if all fit. The others are by the
    number of possible starts, and by size.
    """
    paid = np.concatenate(([0.0], np.cumsum(prices)))
    costs = [priced(choice, paid) for choice in choices]
    preferred = [choice.task.first + int(cost.argmin()) for choice, cost in zip(choices, costs, strict=True)]
    orders = [
        preferred,
        [choice.task.last - choice.task.first for choice in choices],
        [-choice.task.width * choice.task.steps for choice in choices],
    ]
    best: tuple[tuple[int, float], list[int | None]] | None = None
    for ranks in orders:
        free, placed = _listed(timeline, choices, costs, ranks)
        improve(free, placed)
        rating = (-len(placed), total(placed))
        if best is None or rating < best[0]:
            best = (rating, [choice.start for choice in choices])
        if len(placed) == len(choices):
            break
    assert best is not None
    return _with_starts(timeline, choices, best[1])


def _listed(
    timeline: Timeline, choices: Sequence[PlacementChoice], costs: Sequence[Floats], ranks: Sequence[int]
) -> tuple[FreeCapacity, list[PlacementChoice]]:
    """Place one task after the other at its cheapest start; those that do not fit come first in the next attempt."""
    order = sorted(range(len(choices)), key=lambda at: (ranks[at], at))
    best: tuple[int, list[int | None]] | None = None
    for _ in range(REPAIRS):
        free = FreeCapacity(timeline.capacity.copy())
        lost = [at for at in order if not free.place(choices[at], costs[at])]
        if best is None or len(lost) < best[0]:
            best = (len(lost), [choice.start for choice in choices])
        if not lost:
            break
        order = lost + [at for at in order if choices[at].start is not None]
    assert best is not None
    return _with_starts(timeline, choices, best[1])


def _with_starts(
    timeline: Timeline, choices: Sequence[PlacementChoice], starts: Sequence[int | None]
) -> tuple[FreeCapacity, list[PlacementChoice]]:
    free = FreeCapacity(timeline.capacity.copy())
    for choice, start in zip(choices, starts, strict=True):
        choice.start = start
        if start is not None:
            free.take(choice.task, start)
    return free, [choice for choice in choices if choice.start is not None]
