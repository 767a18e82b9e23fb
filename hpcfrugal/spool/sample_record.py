"""A record of the sidecar: cumulative counters of a node at one moment, as a line of its file has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import field, replace
from functools import cache
from typing import Annotated, Any, Literal

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import (
    EMBEDDED,
    MAX_MEMORY_B,
    MAX_WALL_NS,
    SIZED,
    STRICT,
    InvalidRecord,
    Range,
    codec,
)
from hpcfrugal.core.record_json import LineReader
from hpcfrugal.spool.use import Use

MAX_SESSION_NS = 400 * 86_400 * 10**9
"""A record further than this from its header is invalid; no site lets a job run for more than a year."""

MAX_CHANNEL_W = 10_000_000
"""A channel that has counted more than this since its header, in watts, is invalid; no node and no rack draws it."""

MAX_CPUS = 65_536
"""More CPU time than this many CPUs have is invalid; Linux knows at most 8192 (``NR_CPUS`` in arch/x86/Kconfig)."""

MAX_WATTS = 10**9

MAX_COUNT = 2**40
"""More failed reads, resets or gaps than this are invalid: one each millisecond for thirty years."""

_SLACK_NS = 10**9

MemoryB = Annotated[int | None, Range(high=MAX_MEMORY_B), STRICT]
Counts = Annotated[tuple[int, ...] | None, Range(high=MAX_COUNT), SIZED]


class BadLine(Exception):
    """A line of a sample file that does not count; the text says why."""


@dataclass(frozen=True, slots=True)
class SampleNote:
    """How many times further apart samples are than configured."""

    slowed: Annotated[float | None, Range()] = None


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """Cumulative counters since the header. Tuples are in the order of the header's channels.

    ``max_w`` is the peak since the record before, ``resets`` (counters that fell) and ``gaps`` (reads too far apart
    to count) are cumulative. ``read_ns`` is the time since boot to which a channel's energy reaches, its last good
    reading; None: to the record itself. ``assumed_ns`` is for how long a channel was continued from an older reading of
    its source, at the first reading after the header and at this record together. Energy is derived from what is
    required or strict.
    """

    boottime_ns: int
    wall_ns: Annotated[int, Range(high=MAX_WALL_NS)]
    energy_uj: Annotated[tuple[int | None, ...], SIZED]
    measured_ns: Annotated[tuple[int, ...], SIZED]
    errors: Annotated[tuple[int, ...], Range(high=MAX_COUNT), SIZED]
    job_cpu_us: Annotated[int | None, STRICT]
    node_busy_us: Annotated[int | None, STRICT]
    memory_b: MemoryB
    memory_peak_b: MemoryB
    max_w: Annotated[tuple[float | None, ...] | None, Range(high=MAX_WATTS), SIZED] = None
    resets: Counts = None
    gaps: Counts = None
    note: SampleNote | None = None
    read_ns: Annotated[tuple[int | None, ...] | None, SIZED] = None
    assumed_ns: Annotated[tuple[int, ...] | None, Range(high=MAX_SESSION_NS), SIZED] = None
    use: Annotated[Use, EMBEDDED] = field(default_factory=Use)


@cache
def record_lines(channels: int) -> LineReader:
    """What reads lines with records of ``channels`` counters; the last may be the end of its session."""
    return LineReader(codec(SampleRecord, channels), {"kind": Literal["record", "end"]}, {"reason": str})


def parse_record(data: Mapping[str, Any], channels: int, bad: Counter[str]) -> SampleRecord:
    """The record of ``channels`` counters in ``data``; fields that are wrong but not needed are counted in ``bad``.

    Raises ``BadLine`` where one is wrong that energy is derived from.
    """
    problems: list[str] = []
    try:
        record = codec(SampleRecord, channels).read(data, problems)
    except InvalidRecord as refused:
        raise BadLine(f"record field {refused}") from None
    if record.read_ns is not None and any(at_ns is not None and at_ns > record.boottime_ns for at_ns in record.read_ns):
        # It costs no energy, which then counts as if it were read just now.
        record = replace(record, read_ns=None)
        problems.append("read_ns: later than the record")
    if problems:
        bad.update(f"record field {problem}" for problem in problems)
    return record


def most_energy_uj(span_ns: int) -> int:
    """The most energy that a channel can have counted ``span_ns`` after its header."""
    return MAX_CHANNEL_W * (span_ns + _SLACK_NS) // 1000


def most_cpu_us(span_ns: int) -> int:
    """The most CPU time that there can have been ``span_ns`` after the header."""
    return MAX_CPUS * (span_ns + _SLACK_NS) // 1000
