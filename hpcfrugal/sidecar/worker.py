"""A thread for a sensor whose calls may hang, so that everything else continues."""

from __future__ import annotations

import _thread
import time

from .sensor_calls import open_sensor, read_sensor
from .sensors.base import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .sensors.base import Opened, Sensor


class SensorReading:
    """Values of one read and the moment they belong to, in nanoseconds: the middle of the call, which may have begun
    and ended ``slack_ns`` from it."""

    def __init__(self, begun_ns: int, ended_ns: int, values: list[int | None]) -> None:
        self.at_ns = (begun_ns + ended_ns) // 2
        self.slack_ns = ended_ns - self.at_ns
        self.values = values


class Worker:
    """Runs ``open`` and ``read`` of one sensor in a thread, one call at a time."""

    def __init__(self, sensor: Sensor, clock_ns: Callable[[], int]) -> None:
        self._sensor = sensor
        self._clock_ns = clock_ns
        self._go = _thread.allocate_lock()
        self._go.acquire()
        self._done = _thread.allocate_lock()
        self._done.acquire()
        self.opened: Opened | None = None
        self.reading: SensorReading | None = None
        self.busy = True
        _thread.start_new_thread(self._run, ())

    def start_read(self) -> None:
        """Start a read, unless the previous call still runs."""
        if not self.busy:
            self.busy = True
            self._go.release()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the running call, at most ``timeout_s``; whether it has returned."""
        if self.busy and self._done.acquire(timeout=max(0.0, timeout_s)):
            self.busy = False
        return not self.busy

    def _run(self) -> None:
        self.opened = open_sensor(self._sensor)
        count = len(self.opened.channels)
        self._done.release()
        while True:
            self._go.acquire()
            begun_ns = self._clock_ns()
            values = read_sensor(self._sensor, count)
            self.reading = SensorReading(begun_ns, self._clock_ns(), values)
            self._done.release()


def boottime_ns() -> int:
    """Nanoseconds since boot, time asleep included: never stepped, unlike the wall clock."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
