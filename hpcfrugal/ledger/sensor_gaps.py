"""Sensor gaps: times in which a channel gave no reading though the sidecar ran. Pure functions.

A sensor can fail in the middle of a job and recover or not. A counter that recovers has counted on, so nothing is
missing. The time is missing for power readings, for counters that may have wrapped around, and for sensors that do not
recover. Times are spans in ns since boot, their end not in them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from hpcfrugal.ledger.readings import SessionReadings
from hpcfrugal.ledger.stops import Span
from hpcfrugal.spool.sidecar_session import SidecarSession

FEW_READS = 3
"""So many missed samples in a row are no gap; they only lower the coverage."""

LONG_NS = 60 * 10**9
"""No readings for longer than this is a gap, however long the job."""

LARGE_PART = 20
"""In a short job a gap is more than the twentieth part of it."""


def is_long(span_ns: int, whole_ns: int, session: SidecarSession) -> bool:
    """Whether ``span_ns`` without a reading, of ``whole_ns``, are more than a few samples that failed."""
    few_ns = FEW_READS * (session.header.interval_s or 1) * max(session.slowed or 1, 1) * 10**9
    return span_ns > few_ns and (span_ns > LONG_NS or span_ns * LARGE_PART > whole_ns)


def sensor_gaps(read: SessionReadings, index: int) -> list[Span]:
    """The gaps of a channel that gave energy before or after, in order.

    Times without records of the sidecar are not among them, since nothing is known of the job either. A counter that
    stands still for no longer than others of its kind is being read.
    """
    session, found = read.session, read.readings(index)
    if found.times_ns is read.record_times_ns:
        return []  # read at each record
    late_ns = session.read_ns[index] if session.read_ns else [None] * len(session)
    bare_ns = [
        at_ns
        for at_ns, energy_uj, read_ns in zip(session.boottime_ns, session.energy_uj[index], late_ns, strict=True)
        if energy_uj is None or read_ns is not None
    ]
    spans: list[Span] = []
    before_ns, measured_ns = session.header.boottime_ns, 0
    for at_ns, upto_ns in zip(found.times_ns, found.measured_ns, strict=True):
        gained_ns = upto_ns - measured_ns
        if gained_ns > 0:
            spans.append((before_ns, at_ns - gained_ns))
            before_ns, measured_ns = at_ns, upto_ns
    spans.append((before_ns, session.ended_ns))
    return [
        span
        for span in spans
        if bisect_right(bare_ns, span[1]) > bisect_right(bare_ns, span[0])
        and is_long(span[1] - span[0], session.elapsed_ns, session)
    ]


def common(parts: Iterable[Sequence[Span]]) -> list[Span]:
    """The times that lie in a span of each of ``parts``, whose spans are in order."""
    found: list[Span] | None = None
    for spans in parts:
        found = list(spans) if found is None else _both(found, spans)
    return found or []


def _both(these: Sequence[Span], those: Sequence[Span]) -> list[Span]:
    found: list[Span] = []
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


def length_ns(spans: Iterable[Span]) -> int:
    """All of their time."""
    return sum(end_ns - start_ns for start_ns, end_ns in spans)


def describe_gaps(session: SidecarSession, index: int, spans: Sequence[Span]) -> str:
    """In words how long a channel gave nothing, and since when."""
    errors = session.errors[index]
    seconds = length_ns(spans) / 1e9
    what = f"read error {errors} times, nothing" if errors else "its counter stood still"
    first_ns, last_ns = spans[-1]
    if last_ns < session.ended_ns:
        return f"{what} for {seconds:.0f} s"
    last = "last good reading at" if errors else "it last moved at"
    return f"{what} for {seconds:.0f} s, {last} {_utc(session.wall_of(first_ns))}"


def _utc(wall_ns: int) -> str:
    return datetime.fromtimestamp(wall_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
