"""Better sources than those in use, and why they are not used."""

from __future__ import annotations

from .sensor_in_use import problems_of
from .sensors.base import TYPE_CHECKING, Absent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .sensor_in_use import SensorInUse

HEADER_WAIT_S = 1.0
"""Seconds that the header waits for a sensor that is slow to open."""


def missing_sensors(
    sources: Sequence[SensorInUse], late: Sequence[SensorInUse], absent: Sequence[Absent]
) -> list[Absent]:
    """Those that are not used, with a domain where no other source covers it but one covers other domains of its
    component. ``sources`` are in use, ``late`` have not opened yet, ``absent`` are not there."""
    slow = [
        Absent(component, source.sensor.name, reason)
        for source in late
        if (reason := _late_reason(source))
        for component in source.components
    ]
    interrupted = [
        Absent(source.sensor.component, source.sensor.name, problem)
        for source in sources
        for problem in problems_of(source)
    ]
    return [
        entry
        if _is_missing(entry, sources)
        else Absent(entry.component, entry.source, entry.reason, advice=entry.advice)
        for entry in absent
    ] + [*interrupted, *slow]


def _is_missing(absent: Absent, sources: Sequence[SensorInUse]) -> bool:
    """Whether no source covers the domain of ``absent``, while one covers others of its component."""
    read = [
        (source.is_whole, entry.channel.domain)
        for source in sources
        for entry in source.entries
        if entry.used and entry.channel.counted and entry.channel.component == absent.component
    ]
    return bool(read) and not any(whole or domain == absent.domain for whole, domain in read)


def _late_reason(source: SensorInUse) -> str:
    """Why a source that has not opened yet is not used; empty where nothing is missed."""
    missing = getattr(source.sensor, "missing", None)
    reason: str | None = missing() if missing is not None else None
    return f"no response within {HEADER_WAIT_S:g} s" if reason is None else reason
