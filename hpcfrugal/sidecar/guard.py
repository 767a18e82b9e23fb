"""Sensors at arm's length: whatever one throws costs its own channels only, and is said once."""

from __future__ import annotations

from .say import say
from .sensors.base import TYPE_CHECKING, Absent, Opened

if TYPE_CHECKING:
    from .sensors.base import Sensor


def open_sensor(sensor: Sensor) -> Opened:
    """What the sensor found; an exception becomes an ``Absent`` with its text."""
    try:
        return sensor.open()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        say(f"{sensor.name}: {reason}", once=f"{sensor.name} open")
        return Opened([], [Absent(sensor.component, sensor.name, reason)], [])


def read_sensor(sensor: Sensor, count: int) -> list[int | None]:
    """The sensor's ``count`` values; an exception makes each of them a failed read."""
    try:
        return sensor.read()
    except Exception as error:
        say(f"{sensor.name}: {type(error).__name__}: {error}", once=f"{sensor.name} read")
        return [None] * count
