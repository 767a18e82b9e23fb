"""Calls of sensors: an exception costs only the sensor's own channels, and is logged once."""

from __future__ import annotations

from .log import log
from .sensors.base import ENERGY_UJ, POWER_UW, TYPE_CHECKING, Absent, Channel, Gpu, Opened

if TYPE_CHECKING:
    from .sensors.base import Sensor


def open_sensor(sensor: Sensor) -> Opened:
    """What the sensor found; an exception becomes an ``Absent`` with its text."""
    try:
        return _checked(sensor, sensor.open())
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        log(f"{sensor.name}: {reason}", once=f"{sensor.name} open")
        return Opened([], [Absent(sensor.component, sensor.name, reason)], [])


def read_sensor(sensor: Sensor, count: int) -> list[int | None]:
    """The sensor's ``count`` values; an exception, or another number of them, makes each a failed read."""
    try:
        values = sensor.read()
        if len(values) == count:
            return [value if type(value) is int else None for value in values]
        problem = f"{len(values)} values for {count} channels"
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    log(f"{sensor.name}: {problem}", once=f"{sensor.name} read")
    return [None] * count


def _checked(sensor: Sensor, opened: Opened) -> Opened:
    """``opened``; raises ValueError for a channel that would make the whole header unreadable."""
    for channel in opened.channels:
        is_valid = (
            isinstance(channel, Channel)
            and channel.component in ("cpu", "dram", "gpu", "node")
            and channel.quality in ("measured", "modelled")
            and channel.scope in ("node", "job")
            and channel.boundary in ("node", "components")
            and channel.kind in (ENERGY_UJ, POWER_UW)
            and type(channel.counted) is bool
            and _are_text(channel.domain, channel.source, channel.detail)
            and channel.source
            and (channel.gpu_uuid is None or _are_text(channel.gpu_uuid))
            and type(channel.max_w) is int
            and channel.max_w > 0
            and (channel.range_uj is None or (type(channel.range_uj) is int and channel.range_uj > 0))
        )
        if not is_valid:
            raise ValueError(f"{sensor.name} returned an invalid channel")
    for entry in opened.absent:
        if not (isinstance(entry, Absent) and _are_text(entry.component, entry.source, entry.reason)):
            raise ValueError(f"{sensor.name} returned an invalid absent entry")
    for gpu in opened.gpus:
        if not (isinstance(gpu, Gpu) and type(gpu.index) is int and _are_text(gpu.uuid, gpu.name)):
            raise ValueError(f"{sensor.name} returned an invalid GPU")
    return opened


def _are_text(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)
