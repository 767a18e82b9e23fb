"""What a site says of its low-carbon queues.

[queues.green]
partition = "batch"                 # where its jobs go; several with commas
qos = "green"                       # the same
max_delay = "24h"                   # latest start after submission, if the job names neither delay nor deadline
capacity = 40                       # nodes that its jobs may use at once; or by time of day in UTC:
# capacity = { "00:00" = 40, "08:00" = 10 }
unit = "nodes"                      # or "cpus": what capacity counts
zone = "FR"                         # grid zone; else carbon.zone
signal = "average"                  # or "marginal"
min_saving = "5 %"                  # expected saving below which a job starts as soon as there is room
hysteresis = "2 %"                  # expected gain below which a job is not moved again
step = "5m"                         # how fine starts are planned
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Literal

from hpcfrugal.carbon.series import Signal
from hpcfrugal.core.errors import InputError, Problem, did_you_mean
from hpcfrugal.core.units import parse_duration
from hpcfrugal.settings.config import Config, ConfigEntry, zone_name
from hpcfrugal.settings.entries import Keys, read_entries

Unit = Literal["nodes", "cpus"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_UNTOLD = ("", "(null)", "N/A")  # in squeue's words
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue. ``capacity`` holds (minutes since midnight UTC, units from then on), beginning with midnight."""

    name: str
    capacity: tuple[tuple[int, int], ...]
    max_delay: timedelta
    partition: str | None = None
    qos: str | None = None
    unit: Unit = "nodes"
    zone: str | None = None
    signal: Signal = "average"
    min_saving: float = 0.05
    hysteresis: float = 0.02
    step: timedelta = timedelta(minutes=5)

    def capacity_at(self, minute: int) -> int:
        """Units at a minute of the day, in UTC."""
        return [units for since, units in self.capacity if since <= minute % 1440][-1]

    def runs_in(self, partition: str | None, qos: str | None) -> bool:
        """Whether a job there is one of this queue's. Either may be a list with commas, as Slurm takes it; where it is
        not known, or the queue names none, the job may be anywhere.
        """
        return _common(self.partition, partition) and _common(self.qos, qos)


def _common(own: str | None, told: str | None) -> bool:
    if own is None or told is None or told in _UNTOLD:
        return True
    return not set(own.split(",")).isdisjoint(told.split(","))


def queues(config: Config) -> dict[str, Queue]:
    """The queues of the settings by name.

    Raises:
        InputError: every mistake in any of them at once.
    """
    return read_entries(config.tables.get("queues", {}), _queue)


def the_queue(config: Config, name: str, *, where: str) -> Queue:
    """The queue of that name. Raises InputError where there is none; ``where`` says who asked for it."""
    known = queues(config)
    if name not in known:
        hint = did_you_mean(name, known) if known else "known: none; see docs/queues.md"
        raise InputError.at(where, f"there is no queue {name!r} in the settings", hint)
    return known[name]


def _queue(entry: ConfigEntry, problems: list[Problem]) -> Queue | None:
    before = len(problems)
    if not NAME.fullmatch(entry.name):
        problems.append(Problem(entry.origin, "is not a queue's name", "letters, digits, `_`, `.` and `-` are taken"))
    keys = Keys(entry, problems)
    values = {key: keys.parsed(key, parse, _NEEDED.get(key)) for key, parse in _KEYS.items()}
    keys.finish("a queue")
    told: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
    return Queue(name=entry.name, **told) if len(problems) == before else None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or any(ord(char) < 32 for char in value):
        raise ValueError("needs a name")
    return value


def _delay(value: Any) -> timedelta:
    span: timedelta = parse_duration(value)
    if not timedelta(0) < span <= timedelta(days=366):
        raise ValueError("needs a time above 0 and up to a year")
    return span


def _step(value: Any) -> timedelta:
    span: timedelta = parse_duration(value)
    if not timedelta(seconds=1) <= span <= timedelta(hours=1):
        raise ValueError("needs a time from 1s to 1h")
    return span


def _units(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("needs a number of 0 or more")
    return value


def _capacity(value: Any) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, Mapping):
        return ((0, _units(value)),)
    steps = []
    for clock, units in value.items():
        match = _CLOCK.fullmatch(clock)
        if match is None:
            raise ValueError(f'{clock!r} is no time of day; write "08:00"')
        steps.append((int(match[1]) * 60 + int(match[2]), _units(units)))
    steps.sort()
    if not steps:
        raise ValueError('needs a number, or times of day such as { "00:00" = 40, "08:00" = 10 }')
    # Before the first time of a day the last one of the day before holds.
    return tuple(steps) if steps[0][0] == 0 else ((0, steps[-1][1]), *steps)


def _share(value: Any) -> float:
    match = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    share = float(match[1]) / 100 if match else value
    if type(share) not in (int, float) or not math.isfinite(share) or not 0 <= share <= 1:
        raise ValueError('needs a share from 0 to 1, such as 0.05 or "5 %"')
    return float(share)


def _one_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"needs {' or '.join(words)}")
        return str(value)

    return read


_KEYS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "partition": _text,
        "qos": _text,
        "max_delay": _delay,
        "capacity": _capacity,
        "unit": _one_of("nodes", "cpus"),
        "zone": zone_name,
        "signal": _one_of("average", "marginal"),
        "min_saving": _share,
        "hysteresis": _share,
        "step": _step,
    }
)
_NEEDED: Mapping[str, str] = MappingProxyType({"max_delay": '"24h"', "capacity": "40"})
"""Keys that must be there, with an example."""
