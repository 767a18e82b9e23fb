"""The capacity of a queue that running and placed jobs leave free, in steps of the planner's grid. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import InputError
from hpcfrugal.core.time import from_us, instant_us, span_us
from hpcfrugal.planning.optimise.capacity import MAX_STEPS, Capacity
from hpcfrugal.queues.settings import Queue


class QueueFreeCapacity:
    """Free capacity by time, in steps of the queue's grid. ``used``: from, until, units."""

    def __init__(
        self,
        queue: Queue,
        used: Sequence[tuple[datetime, datetime, int]],
        series: CarbonSeries,
        now: datetime,
        until: datetime,
    ) -> None:
        # The planner's own grid: on another one, consecutive jobs would seem to overlap.
        self._step = math.gcd(span_us(queue.step), *(b - a for a, b in pairwise(series.edges_us)))
        anchor = series.edges_us[0]
        self._start = anchor + (instant_us(now) - anchor) // self._step * self._step
        count = -(-(instant_us(until) - self._start) // self._step) + 1
        if count > MAX_STEPS:
            raise InputError.at(
                f"queue {queue.name}",
                f"{count} steps until the end of the last job, {MAX_STEPS} at most",
                "set a longer `step`",
            )
        minute = (self._start // 1_000_000 // 60) % 1440
        per_step = self._step / 60e6
        # The lowest capacity of all minutes that a step touches.
        self._free = np.array(
            [
                min(
                    queue.capacity_at(at)
                    for at in range(minute + int(index * per_step), minute + int((index + 1) * per_step) + 1)
                )
                for index in range(count)
            ],
            dtype=np.int64,
        )
        for start, end, width in used:
            self.take(start, end - start, width)
        self._least = np.minimum(self._free, 0)

    def curve(self) -> Capacity:
        """For the planner; 0 where running jobs use more than the capacity."""
        steps = [
            (from_us(self._start + index * self._step), max(0, int(units)))
            for index, units in enumerate(self._free)
            if index == 0 or units != self._free[index - 1]
        ]
        return Capacity.from_steps(steps)

    def _slice(self, start: datetime, length: timedelta) -> slice:
        begin = instant_us(start) - self._start
        return slice(max(0, begin // self._step), max(0, -(-(begin + span_us(length)) // self._step)))

    def take(self, start: datetime, length: timedelta, width: int) -> None:
        """Reserve ``width`` units from ``start`` on."""
        self._free[self._slice(start, length)] -= width

    def give_back(self, start: datetime, length: timedelta, width: int) -> None:
        """Undo ``take``."""
        self._free[self._slice(start, length)] += width

    def is_kept(self) -> bool:
        """Whether no more is reserved than there is, at any time, beyond what jobs already use."""
        return bool((self._free >= self._least).all())

    def holds(self, start: datetime, length: timedelta, width: int) -> bool:
        """Whether ``width`` units are free for all of ``length``."""
        part = self._free[self._slice(start, length)]
        return len(part) == 0 or int(part.min()) >= width
