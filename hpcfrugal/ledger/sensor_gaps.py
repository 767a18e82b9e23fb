"""Sensor gaps: times in which a channel gave no reading though the sidecar ran. Pure functions.

A sensor can fail in the middle of a job and recover or not. A counter that recovers has counted on, so nothing is
missing. The time is missing for power readings, for counters that may have wrapped around, and for sensors that do not
recover. Times are in nanoseconds since boot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from hpcfrugal.ledger.readings import points, wall_of
from hpcfrugal.spool.samples import SidecarSession

SensorGap = tuple[int, int]
"""From when to when, its end not in it."""

FEW_READS = 3
"""So many missed samples in a row are no gap; they only lower the coverage."""

LONG_NS = 60 * 10**9
"""No readings for longer than this is a gap, however long the job."""

LARGE_PART = 20
"""In a short job a gap is more than the twentieth part of it."""


def is_long(span_ns: int, whole_ns: int, session: SidecarSession) -> bool:
    """Whether ``span_ns`` without a reading, of ``whole_ns``, are more than a few samples that failed."""
    slowed = max((record.slowed or 1 for record in session.records), default=1)
    few_ns = FEW_READS * (session.header.interval_s or 1) * slowed * 10**9
    return span_ns > few_ns and (span_ns > LONG_NS or span_ns * LARGE_PART > whole_ns)


def sensor_gaps(session: SidecarSession, index: int) -> list[SensorGap]:
    """The gaps of a channel that gave energy before or after, in order.

    Times without records of the sidecar are not among them, since nothing is known of the job either. A counter that
    stands still for no longer than others of its kind is being read.
    """
    if not session.records:
        return []
    start_ns, end_ns = session.header.boottime_ns, session.records[-1].boottime_ns
    bare_ns = [
        record.boottime_ns
        for record in session.records
        if record.energy_uj[index] is None or (record.read_ns is not None and record.read_ns[index] is not None)
    ]
    spans: list[SensorGap] = []
    at_ns, measured_ns = start_ns, 0
    for point in points(session, index)[0]:
        gained_ns = point.measured_ns[index] - measured_ns
        if gained_ns > 0:
            spans.append((at_ns, point.boottime_ns - gained_ns))
            at_ns, measured_ns = point.boottime_ns, point.measured_ns[index]
    spans.append((at_ns, end_ns))
    found: list[SensorGap] = []
    next_bare = 0
    for span in spans:
        while next_bare < len(bare_ns) and bare_ns[next_bare] <= span[0]:
            next_bare += 1
        looked = next_bare < len(bare_ns) and bare_ns[next_bare] <= span[1]
        if looked and is_long(span[1] - span[0], end_ns - start_ns, session):
            found.append(span)
    return found


def common(parts: Iterable[Sequence[SensorGap]]) -> list[SensorGap]:
    """The times that lie in a span of each of ``parts``, whose spans are in order."""
    found: list[SensorGap] | None = None
    for spans in parts:
        found = list(spans) if found is None else _both(found, spans)
    return found or []


def _both(these: Sequence[SensorGap], those: Sequence[SensorGap]) -> list[SensorGap]:
    found: list[SensorGap] = []
    this = that = 0
    while this < len(these) and that < len(those):
        start_ns = max(these[this][0], those[that][0])
        end_ns = min(these[this][1], those[that][1])
        if start_ns < end_ns:
            found.append((start_ns, end_ns))
        if these[this][1] <= those[that][1]:
            this += 1
        else:
            that += 1
    return found


def length_ns(spans: Iterable[SensorGap]) -> int:
    """All of their time."""
    return sum(end_ns - start_ns for start_ns, end_ns in spans)


def describe_gaps(session: SidecarSession, index: int, spans: Sequence[SensorGap]) -> str:
    """In words how long a channel gave nothing, and since when."""
    errors = session.records[-1].errors[index]
    seconds = length_ns(spans) / 1e9
    what = f"read error {errors} times, nothing" if errors else "its counter stood still"
    first_ns, last_ns = spans[-1]
    if last_ns < session.records[-1].boottime_ns:
        return f"{what} for {seconds:.0f} s"
    last = "last good reading at" if errors else "it last moved at"
    return f"{what} for {seconds:.0f} s, {last} {_utc(wall_of(session, first_ns))}"


def _utc(wall_ns: int) -> str:
    return datetime.fromtimestamp(wall_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
