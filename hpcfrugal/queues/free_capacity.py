"""The capacity of a queue that is not used by running and placed jobs, in steps of the planner's grid. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import InputError
from hpcfrugal.core.time import from_us, instant_us, span_us
from hpcfrugal.planning.optimise.capacity import MAX_STEPS, Capacity, grid_step_us
from hpcfrugal.queues.settings import Queue
from hpcfrugal.queues.start_constraints import StartConstraints


class QueueFreeCapacity:
    """Free capacity by time until the last of ``candidates`` ends, in steps of the queue's grid.

    ``used``: from, until, units. Nodes of a candidate are reserved for all of its time limit.
    """

    def __init__(
        self,
        queue: Queue,
        series: CarbonSeries,
        now: datetime,
        used: Sequence[tuple[datetime, datetime, int]],
        candidates: Sequence[StartConstraints],
    ) -> None:
        self.queue, self.series = queue, series
        until = max([now, *(candidate.last + candidate.reserved(candidate.last) for candidate in candidates)])
        # The grid of the planner: on another one, consecutive jobs would seem to overlap.
        self._step = grid_step_us(series, queue.step)
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
            self._free[self._slice(start, end - start)] -= width
        self._least = np.minimum(self._free, 0)

    def curve(self) -> Capacity:
        """For the planner; 0 while running jobs use more than the capacity."""
        steps = [
            (from_us(self._start + index * self._step), max(0, int(units)))
            for index, units in enumerate(self._free)
            if index == 0 or units != self._free[index - 1]
        ]
        return Capacity.from_steps(steps)

    def _slice(self, start: datetime, length: timedelta) -> slice:
        begin = instant_us(start) - self._start
        return slice(max(0, begin // self._step), max(0, -(-(begin + span_us(length)) // self._step)))

    def take(self, candidate: StartConstraints, start: datetime) -> None:
        """Reserve its nodes from ``start`` on."""
        self._free[self._slice(start, candidate.reserved(start))] -= candidate.width

    def give_back(self, candidate: StartConstraints, start: datetime) -> None:
        """Undo ``take``."""
        self._free[self._slice(start, candidate.reserved(start))] += candidate.width

    def is_kept(self) -> bool:
        """Whether the reserved units never exceed the capacity by more than running jobs already do."""
        return bool((self._free >= self._least).all())

    def holds(self, candidate: StartConstraints, start: datetime) -> bool:
        """Whether its nodes are free from ``start`` on."""
        part = self._free[self._slice(start, candidate.reserved(start))]
        return len(part) == 0 or int(part.min()) >= candidate.width
