"""A record of the sidecar: cumulative counters of a node at one moment, as a line of its file has them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, TypeGuard

from hpcfrugal.core.json_fields import MAX_INT, MAX_MEMORY_B, MAX_WALL_NS, Fields
from hpcfrugal.spool.use import NO_USE, Use, use_of

MAX_WATTS = 1e9

MAX_COUNT = 2**40
"""More failed reads, resets or gaps than this are garbage: one each millisecond for thirty years."""


class Garbage(Exception):
    """This line does not count; the text says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """Cumulative counters since the header. Tuples are in the order of the header's channels.

    ``max_w`` is the peak since the record before, ``resets`` (counters that fell) and ``gaps`` (reads too far apart
    to count) are cumulative, ``slowed`` is how many times further apart samples are than was asked for. ``read_ns``
    is the time since boot to which a channel's energy reaches, its last good reading; None: to the record itself.
    """

    boottime_ns: int
    wall_ns: int
    energy_uj: tuple[int | None, ...]
    measured_ns: tuple[int, ...]
    errors: tuple[int, ...]
    job_cpu_us: int | None
    node_busy_us: int | None
    memory_b: int | None
    memory_peak_b: int | None
    max_w: tuple[float | None, ...] | None = None
    resets: tuple[int, ...] | None = None
    gaps: tuple[int, ...] | None = None
    slowed: float | None = None
    read_ns: tuple[int | None, ...] | None = None
    use: Use = NO_USE


def parse_record(data: dict[str, Any], channels: int, bad: Counter[str]) -> Record:
    """The record of ``channels`` counters in ``data``; fields that are wrong but not needed are counted in ``bad``.

    Raises ``Garbage`` where one is wrong that energy is derived from.
    """
    fields = Fields(data)
    boottime_ns = fields.integer("boottime_ns")
    wall_ns = fields.integer("wall_ns", high=MAX_WALL_NS)
    energy_uj = _integers(data.get("energy_uj"), channels)
    measured_ns = _integers(data.get("measured_ns"), channels)
    errors = _integers(data.get("errors"), channels, MAX_COUNT)
    if boottime_ns is None or wall_ns is None or energy_uj is None or measured_ns is None or errors is None:
        raise Garbage("record without clocks or with the wrong number of channels")
    if not _are_known(measured_ns) or not _are_known(errors):
        raise Garbage("record with null in measured_ns or errors")
    record = Record(
        boottime_ns=boottime_ns,
        wall_ns=wall_ns,
        energy_uj=energy_uj,
        measured_ns=measured_ns,
        errors=errors,
        job_cpu_us=fields.integer("job_cpu_us"),
        node_busy_us=fields.integer("node_busy_us"),
        memory_b=fields.integer("memory_b", high=MAX_MEMORY_B),
        memory_peak_b=fields.integer("memory_peak_b", high=MAX_MEMORY_B),
        max_w=_watts(data, channels, bad),
        resets=_counts(data, "resets", channels, bad),
        gaps=_counts(data, "gaps", channels, bad),
        slowed=_slowed(data, bad),
        read_ns=_reached(data, channels, boottime_ns, bad),
        use=use_of(data, bad),
    )
    if fields.problems:
        raise Garbage(f"record field {fields.problems[0]}")
    return record


def _watts(data: dict[str, Any], count: int, bad: Counter[str]) -> tuple[float | None, ...] | None:
    """The peaks of a record. Nothing is counted with them, so bad ones cost no record."""
    value = data.get("max_w")
    if value is None:
        return None
    if isinstance(value, list) and len(value) == count and all(map(_is_power, value)):
        return tuple([None if item is None else float(item) for item in value])
    bad["record field max_w: not a power for each channel"] += 1
    return None


def _is_power(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value <= MAX_WATTS)


def _counts(data: dict[str, Any], key: str, count: int, bad: Counter[str]) -> tuple[int, ...] | None:
    """Counts beside the energy; the same holds for them."""
    value = data.get(key)
    counts = _integers(value, count, MAX_COUNT)
    if counts is not None and _are_known(counts):
        return counts
    if value is not None:
        bad[f"record field {key}: not a count for each channel"] += 1
    return None


def _reached(data: dict[str, Any], count: int, boottime_ns: int, bad: Counter[str]) -> tuple[int | None, ...] | None:
    """When channels were last read. A bad one costs no energy, which then counts as if it were read just now."""
    value = data.get("read_ns")
    if value is None:
        return None
    times_ns = _integers(value, count, boottime_ns)
    if times_ns is None:
        bad["record field read_ns: not a time before the record for each channel"] += 1
    return times_ns


def _slowed(data: dict[str, Any], bad: Counter[str]) -> float | None:
    """How many times slower sampling has become, in the record itself or in its ``note``."""
    note = data.get("note")
    value: Any = data.get("slowed", note.get("slowed") if isinstance(note, dict) else None)
    if type(value) in (int, float) and 0 <= value <= MAX_INT:
        return float(value)
    if value is not None:
        bad["record field slowed: not a factor"] += 1
    return None


def _are_known(values: tuple[int | None, ...]) -> TypeGuard[tuple[int, ...]]:
    return None not in values


def _integers(value: Any, count: int, most: int = MAX_INT) -> tuple[int | None, ...] | None:
    if not isinstance(value, list) or len(value) != count:
        return None
    for item in value:
        if item is not None and not (type(item) is int and 0 <= item <= most):
            return None
    return tuple(value)
