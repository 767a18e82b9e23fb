"""Packing tasks into a capacity on a grid of steps: list scheduling at the prices of the dual, then local search."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

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

# How often a list is gone through anew, with the tasks in front that found no room.
REPAIRS = 12
# Passes in which every task may move to a better place, and the relative gain at which they end.
PASSES, ENOUGH = 8, 1e-4
# Tries of the search, tries to make room for a task that found none, and how many others make way in one try.
TRIES, WAYS, NEIGHBOURS = 2000, 200, 10
# Tries to make room for all such tasks together: where thousands find none, the capacity is too small for them all.
MOST_WAYS = 20_000


class Packed(NamedTuple):
    """Start step of each placed task; those placed without knowing their cost; the bound of the others."""

    starts: dict[int, int]
    unknown: set[int]
    lower_bound: float


def pack(timeline: Timeline, tasks: Sequence[Task], rounds: int) -> Packed:
    """A start for as many tasks as find room, cheap ones, and a lower bound on the cost of those that did.

    The same for the same tasks: the search draws from a generator with a fixed seed.
    """
    choices = [PlacementChoice.of(timeline, task) for task in tasks]
    known = [choice for choice in choices if choice.least < np.inf]
    blind = [choice for choice in choices if choice.least == np.inf]
    prices = np.zeros(len(timeline.capacity))
    room, placed = _best_list(timeline, known, prices)
    if placed and rounds:
        before = [choice.start for choice in known]
        prices = raised(timeline, placed, total(placed), rounds)
        dearer = (-len(placed), total(placed))
        room, placed = _best_list(timeline, known, prices)
        if (-len(placed), total(placed)) > dearer:
            room, placed = _as_before(timeline, known, before)
    placed += make_room(room, placed, [choice for choice in known if choice.start is None])
    search(room, placed)
    for choice in known:
        if choice.start is None:  # others have moved since it found no room
            choice.start = room.best(choice.task, choice.costs)
            if choice.start is not None:
                room.take(choice.task, choice.start)
                placed.append(choice)
    bound = lower_bound(timeline, placed, prices)
    unknown = set()
    for choice in blind + [choice for choice in known if choice.start is None]:
        # As early as there is room: what it costs is not known at all, or not where there is room.
        start = room.best(choice.task, np.arange(len(choice.costs), dtype=np.float64))
        if start is not None:
            room.take(choice.task, start)
            choice.start = start
            unknown.add(choice.task.index)
    starts = {choice.task.index: choice.start for choice in choices if choice.start is not None}
    return Packed(starts, unknown, bound)


def improve(room: FreeCapacity, placed: Sequence[PlacementChoice]) -> None:
    """Let each task in turn move to the best place that the others leave it, until little is gained."""
    least = total(placed)
    for _ in range(PASSES):
        # Those who lose most per unit and step go first.
        for choice in sorted(placed, key=lambda choice: -choice.regret / (choice.task.width * choice.task.steps)):
            if choice.start is not None and choice.regret > 0:
                room.give_back(choice.task, choice.start)
                better = room.best(choice.task, choice.costs)
                choice.start = choice.start if better is None else better
                room.take(choice.task, choice.start)
        now = total(placed)
        if now > least * (1 - ENOUGH):
            return
        least = now


def make_room(
    room: FreeCapacity, placed: Sequence[PlacementChoice], lost: Sequence[PlacementChoice]
) -> list[PlacementChoice]:
    """Place those that found no room where others can make way for them; returns those for whom that went well."""
    draw = random.Random(0)
    found: list[PlacementChoice] = []
    around = list(placed)
    starts, ends = _spans(around)
    ways = min(WAYS, max(1, MOST_WAYS // max(1, len(lost))))
    for choice in lost:
        task = choice.task
        for _ in range(ways):
            start = task.first + draw.randrange(len(choice.costs))
            near = [int(index) for index in np.flatnonzero((starts < start + task.steps) & (ends > start))]
            others = [around[index] for index in draw.sample(near, min(NEIGHBOURS, len(near)))]
            others.sort(key=lambda other: -other.task.width * other.task.steps)
            if _rearranged(room, [choice, *others], np.inf):
                found.append(choice)
                around.append(choice)
                starts, ends = _spans(around)
                break
    return found


def _spans(placed: Sequence[PlacementChoice]) -> tuple[Integers, Integers]:
    """First step of each placed task and the step after its last."""
    starts = np.array([choice.start for choice in placed], dtype=np.int64)
    return starts, starts + np.array([choice.task.steps for choice in placed], dtype=np.int64)


def search(room: FreeCapacity, placed: Sequence[PlacementChoice], tries: int = TRIES) -> None:
    """Let one task have its best start and find new places for a few that stood there; kept where that is cheaper."""
    draw = random.Random(0)
    starts, ends = _spans(placed)
    regrets = np.array([choice.regret for choice in placed])
    for attempt in range(tries):
        if attempt % 64 == 0:
            upto = np.cumsum(regrets)
            if not len(upto) or upto[-1] <= 0:
                return
        one = min(int(np.searchsorted(upto, draw.random() * upto[-1])), len(placed) - 1)
        task = placed[one].task
        wished = task.first + int(placed[one].costs.argmin())
        near = np.flatnonzero((starts < wished + task.steps) & (ends > wished))
        others = [int(index) for index in near if index != one]
        others = draw.sample(others, min(NEIGHBOURS, len(others)))
        if draw.random() < 0.5:
            others.sort(key=lambda index: -placed[index].task.width * placed[index].task.steps)
        group = [placed[index] for index in (one, *others)]
        if _rearranged(room, group, total(group) * (1 - 1e-12)):
            for index, choice in zip((one, *others), group, strict=True):
                assert choice.start is not None
                starts[index], ends[index] = choice.start, choice.start + choice.task.steps
                regrets[index] = choice.regret


def _rearranged(room: FreeCapacity, group: list[PlacementChoice], limit: float) -> bool:
    """Place a group anew in its order where that costs less than ``limit``; else leave all as it was."""
    before, spent = [choice.start for choice in group], 0.0
    for choice in group:
        if choice.start is not None:
            room.give_back(choice.task, choice.start)
    moved: list[tuple[PlacementChoice, int]] = []
    for choice in group:
        start = room.best(choice.task, choice.costs)
        if start is None:
            break
        room.take(choice.task, start)
        moved.append((choice, start))
        spent += float(choice.costs[start - choice.task.first])
        if spent >= limit:
            break
    if len(moved) == len(group) and spent < limit:
        for choice, start in moved:
            choice.start = start
        return True
    for choice, start in moved:
        room.give_back(choice.task, start)
    for choice, old in zip(group, before, strict=True):
        if old is not None:
            room.take(choice.task, old)
    return False


def _best_list(
    timeline: Timeline, choices: Sequence[PlacementChoice], prices: Floats
) -> tuple[FreeCapacity, list[PlacementChoice]]:
    """The list that places most, and of those the cheapest after each task has moved to what is better for it.

    First in the order in which tasks would start at these prices, which is best where there is room enough; where it
    isn't, those with little time to choose from first, or the largest first.
    """
    paid = np.concatenate(([0.0], np.cumsum(prices)))
    costs = [priced(choice, paid) for choice in choices]
    liked = [choice.task.first + int(cost.argmin()) for choice, cost in zip(choices, costs, strict=True)]
    orders = [
        liked,
        [choice.task.last - choice.task.first for choice in choices],
        [-choice.task.width * choice.task.steps for choice in choices],
    ]
    best: tuple[tuple[int, float], list[int | None]] | None = None
    for ranks in orders:
        room, placed = _listed(timeline, choices, costs, ranks)
        improve(room, placed)
        rating = (-len(placed), total(placed))
        if best is None or rating < best[0]:
            best = (rating, [choice.start for choice in choices])
        if len(placed) == len(choices):
            break
    assert best is not None
    return _as_before(timeline, choices, best[1])


def _listed(
    timeline: Timeline, choices: Sequence[PlacementChoice], costs: Sequence[Floats], ranks: Sequence[int]
) -> tuple[FreeCapacity, list[PlacementChoice]]:
    """Place one after the other at what is cheapest; those that find no room go in front, and anew."""
    order = sorted(range(len(choices)), key=lambda at: (ranks[at], at))
    best: tuple[int, list[int | None]] | None = None
    for _ in range(REPAIRS):
        room = FreeCapacity(timeline.capacity.copy())
        starts: list[int | None] = [None] * len(choices)
        for at in order:
            start = starts[at] = room.best(choices[at].task, costs[at])
            if start is not None:
                room.take(choices[at].task, start)
        lost = [at for at in order if starts[at] is None]
        if best is None or len(lost) < best[0]:
            best = (len(lost), starts)
        if not lost:
            break
        order = lost + [at for at in order if starts[at] is not None]
    assert best is not None
    return _as_before(timeline, choices, best[1])


def _as_before(
    timeline: Timeline, choices: Sequence[PlacementChoice], starts: Sequence[int | None]
) -> tuple[FreeCapacity, list[PlacementChoice]]:
    room = FreeCapacity(timeline.capacity.copy())
    for choice, start in zip(choices, starts, strict=True):
        choice.start = start
        if start is not None:
            room.take(choice.task, start)
    return room, [choice for choice in choices if choice.start is not None]
