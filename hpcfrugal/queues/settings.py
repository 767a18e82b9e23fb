"""Low-carbon queues of a site: the tables ``[queues.NAME]`` of the settings. docs/queues.md describes the keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

from hpcfrugal.core.carbon_signal import Signal
from hpcfrugal.core.errors import InputError, did_you_mean
from hpcfrugal.core.section import ValueType, optional, required
from hpcfrugal.settings.config import Config
from hpcfrugal.settings.section import NamedSection, NamedTable, read_table, read_tables
from hpcfrugal.settings.values import Name, Share, SingleLine, one_of, time_span

CapacityUnit = Literal["nodes", "cpus"]

_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


def _capacity_of(value: Any) -> tuple[tuple[int, int], ...]:
    if isinstance(value, tuple):
        return value  # as it is kept
    if not isinstance(value, Mapping):
        return ((0, _units_of(value)),)
    steps = []
    for clock, units in value.items():
        match = _CLOCK.fullmatch(clock)
        if match is None:
            raise ValueError(f'{clock!r} is not a time of day; write "08:00"')
        steps.append((int(match[1]) * 60 + int(match[2]), _units_of(units)))
    steps.sort()
    if not steps:
        raise ValueError('needs a number, or times of day such as { "00:00" = 40, "08:00" = 10 }')
    # Before the first time of a day, the last one of the previous day applies.
    return tuple(steps) if steps[0][0] == 0 else ((0, steps[-1][1]), *steps)


def _units_of(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("needs a whole number of 0 or more")
    return value


QueueCapacity = ValueType(_capacity_of)
"""(minutes since midnight UTC, units from then on), beginning with midnight."""


class Queue(NamedSection):
    """One queue."""

    what = "a queue"

    name: str = required(Name)
    capacity: tuple[tuple[int, int], ...] = required(QueueCapacity, "", "40")
    """Units that its jobs may use at once, by time of day in UTC."""
    max_delay: timedelta = required(time_span(1, 366 * 86_400), "", '"24h"')
    """Longest delay of the start after submission, for jobs with neither ``max_delay`` nor ``deadline``."""
    partition: str | None = optional(SingleLine)
    """Partition of its jobs; several with commas."""
    qos: str | None = optional(SingleLine)
    unit: CapacityUnit = optional(one_of(CapacityUnit), default="nodes")
    zone: str | None = optional(Name)
    """Grid zone; None: ``carbon.zone``."""
    signal: Signal = optional(one_of(Signal), default="average")
    min_saving: float = optional(Share, default=0.02)
    """With a smaller expected saving a job starts as soon as there are free nodes."""
    hysteresis: float = optional(Share, default=0.01)
    """For a smaller expected gain a planned start is not moved."""
    step: timedelta = optional(time_span(1, 3600), default=timedelta(minutes=5))

    def capacity_at(self, minute: int) -> int:
        """Units at a minute of the day, in UTC."""
        return [units for since, units in self.capacity if since <= minute % 1440][-1]

    def runs_in(self, partition: str | None, qos: str | None) -> bool:
        """Whether a job with this partition and QOS can be one of the queue's.

        Either may be a list with commas, as in Slurm. If it is unknown, or not set for the queue, any job can.
        """
        return _share_one(self.partition, partition) and _share_one(self.qos, qos)


def _share_one(own: str | None, of_job: str | None) -> bool:
    if own is None or of_job is None:
        return True
    return not set(own.split(",")).isdisjoint(of_job.split(","))


def read_queues(tables: Mapping[str, NamedTable]) -> dict[str, Queue]:
    """The queues of the settings by name.

    Raises:
        InputError: every mistake in any of them at once.
    """
    return read_tables(tables, lambda table, problems: read_table(Queue, table, problems))


def the_queue(config: Config, name: str, *, where: str) -> Queue:
    """The queue of this name. Raises InputError if there is none; ``where`` is the option or key that names it."""
    known = read_queues(config.tables("queues"))
    if name not in known:
        hint = did_you_mean(name, known) if known else "known: none; see docs/queues.md"
        raise InputError.at(where, f"there is no queue {name!r} in the settings", hint)
    return known[name]
