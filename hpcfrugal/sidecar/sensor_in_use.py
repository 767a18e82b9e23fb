"""A source of energy readings that is in use, its channels with their meters, and the sources that may follow it."""

from __future__ import annotations

from .counter import POWER_GAP_NS, Accumulator, EnergyCounter, PowerIntegral
from .sensor_process import SensorProcess
from .sensors.base import ENERGY_UJ, TYPE_CHECKING, Channel
from .worker import SensorReading, Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from .sensors.base import Sensor


class Fallback:
    """A less accurate source of ``component``. ``make`` takes the component and its domains that are covered already,
    and returns None where the machine has no such source; with ``merges`` its domains have the names of better ones.
    ``adds``: it is opened also where all that is known of the component is covered, for domains that are new.
    ``beside``: the component whose domains ``make`` is given, where that is another one."""

    def __init__(
        self,
        component: str,
        make: Callable[[str, frozenset[str]], Sensor | None],
        *,
        merges: bool = False,
        adds: bool = False,
        beside: str | None = None,
    ) -> None:
        self.component = component
        self.beside = beside or component
        self.make = make
        self.merges = merges
        self.adds = adds


class ActiveChannel:
    """A sampled channel and its meter; ``failures`` counts the samples in a row without a value."""

    _first_continued_ns: int | None = None

    def __init__(self, channel: Channel, gap_ns: int = POWER_GAP_NS) -> None:
        self.channel = channel
        self.meter = _meter(channel, gap_ns)
        self.failures = 0
        self.used = True

    @property
    def assumed_ns(self) -> int:
        """For how long the counter was continued at the first reading that counts, and at the latest."""
        return (self._first_continued_ns or 0) + self.channel.continued_ns

    def update(self, at_ns: int, value: int | None, slack_ns: int) -> None:
        """Hand one reading to the meter."""
        self.meter.update(at_ns, value, slack_ns)
        self.failures = 0 if self.meter.is_reading else self.failures + 1
        if self._first_continued_ns is None and self.meter.is_reading:
            self._first_continued_ns = self.channel.continued_ns

    def restart(self) -> None:
        """Count from 0 again, from the latest reading on."""
        self.meter.restart()
        self._first_continued_ns = self.channel.continued_ns if self.meter.is_reading else None


class SensorInUse:
    """A sensor in use: directly, or through ``worker`` where it may hang. ``fallback`` is where it came from, None for
    a primary one; ``is_whole`` where it covers all of its component, whatever its domains are named;
    ``components`` are those it may cover; ``timeout_s`` is how long a sample waits for it at least."""

    def __init__(self, sensor: Sensor, worker: Worker | None, fallback: Fallback | None = None) -> None:
        self.sensor = sensor
        self.worker = worker
        self.fallback = fallback
        self.is_whole = (fallback is not None and not fallback.merges) or bool(
            getattr(sensor, "defers_to_builtin", False)
        )
        self.components: tuple[str, ...] = getattr(sensor, "components", (sensor.component,))
        self.timeout_s: float = getattr(sensor, "timeout_s", 0.0)
        self.entries: list[ActiveChannel] = []

    def update(self, reading: SensorReading) -> None:
        """Hand one reading to the meters."""
        for entry, value in zip(self.entries, reading.values):  # noqa: B905 (strict= is not in Python 3.9)
            if entry.used:
                entry.update(reading.at_ns, value, reading.slack_ns)


def problems_of(source: SensorInUse) -> list[str]:
    return source.sensor.problems if isinstance(source.sensor, SensorProcess) else []


def _meter(channel: Channel, gap_ns: int) -> Accumulator:
    if channel.quantity == ENERGY_UJ:
        # a part of a package may draw nothing for long, a whole machine cannot
        may_rest = not channel.counted and channel.boundary == "components"
        return EnergyCounter(
            channel.range_uj,
            channel.max_w,
            can_rest=may_rest,
            frozen_ns=channel.frozen_ns,
            is_continued=channel.step_s is not None,
        )
    return PowerIntegral(channel.max_w, gap_ns)
