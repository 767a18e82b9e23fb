"""Calls of sensors: an exception costs only the sensor's own channels, and is logged once."""

from __future__ import annotations

from .log import log
from .sensors.base import ENERGY_UJ, POWER_UW, TYPE_CHECKING, Absent, Channel, Gpu, Opened

if TYPE_CHECKING:
    from .sensors.base import Sensor


class SensorFailed(Exception):
    """A call of a sensor failed; the text is the whole reason."""


def open_sensor(sensor: Sensor) -> Opened:
    """What the sensor found; an exception becomes an ``Absent`` with its text."""
    try:
        return checked_open(sensor)
    except Exception as error:
        reason = reason_of(error)
        log(f"{sensor.name}: {reason}", once=f"{sensor.name} open")
        return Opened([], [Absent(sensor.component, sensor.name, reason, advice=_advice(sensor, reason))], [])


def read_sensor(sensor: Sensor, count: int) -> list[int | None]:
    """The sensor's ``count`` values; an exception, or another number of them, makes each a failed read."""
    try:
        return checked_read(sensor, count)
    except Exception as error:
        log(f"{sensor.name}: {reason_of(error)}", once=f"{sensor.name} read")
        return [None] * count


def reason_of(error: Exception) -> str:
    """Type and text of an exception."""
    return str(error) if isinstance(error, SensorFailed) else f"{type(error).__name__}: {error}"


def checked_read(sensor: Sensor, count: int) -> list[int | None]:
    """The sensor's ``count`` values. Raises what the sensor raises, and SensorFailed for another number of them."""
    values = sensor.read()
    if len(values) != count:
        raise SensorFailed(f"{len(values)} values for {count} channels")
    return [value if type(value) is int else None for value in values]


def checked_open(sensor: Sensor) -> Opened:
    """What the sensor found. Raises what the sensor raises, and ValueError for a channel that would make the whole
    header unreadable."""
    opened = sensor.open()
    for channel in opened.channels:
        is_valid = (
            isinstance(channel, Channel)
            and channel.component in ("cpu", "dram", "gpu", "node")
            and channel.quality in ("measured", "modelled")
            and channel.scope in ("node", "job")
            and channel.boundary in ("node", "components")
            and channel.quantity in (ENERGY_UJ, POWER_UW)
            and type(channel.counted) is bool
            and type(channel.contains) is tuple
            and set(channel.contains) <= {"cpu", "dram"}
            and (channel.package is None or _are_text(channel.package))
            and _are_text(channel.domain, channel.source, channel.detail)
            and channel.source
            and (channel.gpu_uuid is None or _are_text(channel.gpu_uuid))
            and type(channel.max_w) is int
            and channel.max_w > 0
            and (channel.range_uj is None or (type(channel.range_uj) is int and channel.range_uj > 0))
        )
        if not is_valid:
            raise ValueError(f"{sensor.name} returned an invalid channel")
    if not set(opened.in_other_gpus) <= {"cpu", "dram"}:
        raise ValueError(f"{sensor.name} returned invalid components in other GPUs")
    for entry in opened.absent:
        if not (isinstance(entry, Absent) and _are_text(entry.component, entry.source, entry.reason)):
            raise ValueError(f"{sensor.name} returned an invalid absent entry")
        if entry.advice is None:
            entry.advice = _advice(sensor, entry.reason)
    for gpu in opened.gpus:
        if not (isinstance(gpu, Gpu) and type(gpu.index) is int and _are_text(gpu.uuid, gpu.name)):
            raise ValueError(f"{sensor.name} returned an invalid GPU")
    return opened


def _advice(sensor: Sensor, reason: str) -> str | None:
    """What the sensor advises where it cannot be read, None where it advises nothing."""
    denied: str | None = getattr(sensor, "advice_if_denied", None) if reason.startswith("denied") else None
    return denied or getattr(sensor, "advice", None)


def _are_text(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)
