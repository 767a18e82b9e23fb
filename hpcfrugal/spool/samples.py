"""The sidecar's file of one node: header lines, each opening a session, and records of cumulative counters.

The file may be torn, written by a newer sidecar or partly invalid. Valid lines are returned; every other line is
counted with its reason, because lines that are dropped silently would be lost joules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import lt
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from hpcfrugal.core.record import (
    MAX_MEMORY_B,
    MAX_WALL_NS,
    MIN_WALL_NS,
    STRICT,
    InvalidRecord,
    Key,
    Range,
    codec,
)
from hpcfrugal.core.safe_read import FileState, UnsafeFile, open_owned, parse_json
from hpcfrugal.core.text import clean_text
from hpcfrugal.spool.layout import SPOOL_SCHEMA, JobKey
from hpcfrugal.spool.sample_record import BadLine, SampleRecord, parse_record
from hpcfrugal.spool.use import UseSources

MAX_LINE_BYTES = 4 * 1024 * 1024
"""A line longer than this is invalid (a header with 16 GPUs is below 16 KiB)."""

MAX_SESSION_NS = 400 * 86_400 * 10**9
"""A record further than this from its header is invalid; no site lets a job run for more than a year."""

MAX_CHANNEL_W = 10_000_000
"""A channel that has counted more than this since its header, in watts, is invalid; no node and no rack draws it."""

MAX_CPUS = 65_536
"""More CPU time than this many CPUs have is invalid; Linux knows at most 8192 (``NR_CPUS`` in arch/x86/Kconfig)."""

MAX_GPUS = 4096
"""No node has more GPUs than this, slices of them included."""

MAX_SAMPLE_FILE_BYTES = 96 * 1024 * 1024
"""A larger file is refused: the sidecar writes no more than 64 MiB, and a record takes several times its line in memory
while it is read."""

MAX_DESIGN_UW = 10**11
"""A design power above 100 kW is invalid: no node draws it."""

DesignUw = Annotated[int | None, Range(1, MAX_DESIGN_UW)]

_SLACK_NS = 10**9

_LINE_START = b'{"kind"'


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """One counter of the node as the header describes it."""

    component: Literal["cpu", "dram", "gpu", "node"]
    domain: str
    source: str
    quality: Literal["measured", "modelled", "unknown"]
    boundary: Literal["components", "node"]
    scope: Literal["node", "job"]
    counted: bool
    detail: str | None
    gpu_uuid: str | None


@dataclass(frozen=True, slots=True)
class MissingSensor:
    """A source that the sidecar would have liked better, and why it did not use it.

    ``domain``: the part of the component for which nothing else was found, where there was for other parts of it.
    """

    component: str = "?"
    source: str = "?"
    reason: str = "?"
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """A GPU that the job holds; ``limit_uw`` is the most power that its driver lets it draw."""

    index: int | None
    uuid: str | None
    name: str | None
    limit_uw: DesignUw = None


@dataclass(frozen=True, slots=True)
class Header:
    """What the sidecar found when it started on the node.

    ``gpus`` are those of the job that were found, ``gpus_promised`` is how many it has at least, as far as is known.
    ``cores_node`` are the physical cores of the node, ``cpu_limit_uw`` is RAPL's long-term limit of all its packages.
    """

    run_id: str | None
    cluster: str | None
    job_id: str
    restart: int
    node: str
    array_job_id: str | None
    array_task_id: str | None
    boot_id: str | None
    wall_ns: Annotated[int, Range(MIN_WALL_NS, MAX_WALL_NS)]
    boottime_ns: int
    sidecar_version: Annotated[str | None, Key("sidecar")]
    interval_s: Annotated[float | None, Range()]
    record_s: Annotated[float | None, Range()]
    cpus_alloc: Annotated[int | None, Range(1)]
    cpus_node: Annotated[int | None, Range(1)]
    cpu_model: str | None
    memory_node_b: Annotated[int | None, Range(high=MAX_MEMORY_B)]
    memory_alloc_b: Annotated[int | None, Range(high=MAX_MEMORY_B)]
    exclusive: bool | None
    cpu_time_source: str | None
    gpus: Annotated[tuple[GpuInfo, ...], STRICT] = ()
    channels: Annotated[tuple[ChannelInfo, ...], STRICT] = ()
    absent: Annotated[tuple[MissingSensor, ...], STRICT] = ()
    usage: UseSources = field(default_factory=UseSources)
    gpus_promised: Annotated[int | None, Range(high=MAX_GPUS)] = None
    cores_node: Annotated[int | None, Range(1, MAX_CPUS)] = None
    cpu_limit_uw: DesignUw = None


@dataclass(frozen=True, slots=True)
class SampledNode:
    """A job on a node, by the path of its sample file. The headers in it must name the same."""

    run_id: str
    job: JobKey
    node: str


@dataclass(slots=True)
class SidecarSession:
    """One session of the sidecar on a node: its header, its records and, if it ended in order, why."""

    header: Header
    records: list[SampleRecord] = field(default_factory=list)
    end_reason: str | None = None


@dataclass(frozen=True, slots=True)
class SampleFile:
    """All that could be read, and in ``problems`` how many lines could not, by reason."""

    sessions: tuple[SidecarSession, ...]
    problems: tuple[str, ...]
    torn_tail: bool
    state: FileState


def read_samples(path: Path, owner_uid: int, sampled: SampledNode) -> SampleFile:
    """Read the sample file of a job on one node.

    A last line without its newline is torn, which is normal after a kill, and is left out without a problem.
    Raises ``UnsafeFile`` where the file as a whole does not count.
    """
    file, state = open_owned(path, owner_uid)
    if state.size > MAX_SAMPLE_FILE_BYTES:
        file.close()
        raise UnsafeFile(f"larger than {MAX_SAMPLE_FILE_BYTES} bytes, which no sidecar writes")
    with file:
        sessions, bad, torn = parse_lines(_lines(file, state.size), sampled)
    problems = tuple(f"{count} line{'s' * (count > 1)}: {reason}" for reason, count in sorted(bad.items()))
    return SampleFile(tuple(sessions), problems, torn, state)


def read_header(path: Path, owner_uid: int, sampled: SampledNode) -> Header | None:
    """The first header of a sidecar's file; None where there is no valid one."""
    try:
        file, _ = open_owned(path, owner_uid)
        with file:
            sessions = parse_lines([file.readline(MAX_LINE_BYTES)], sampled)[0]
    except (OSError, UnsafeFile):
        return None
    return sessions[0].header if sessions else None


def parse_lines(lines: Iterable[bytes], sampled: SampledNode) -> tuple[list[SidecarSession], Counter[str], bool]:
    """The sessions in lines of a sample file of ``sampled``, how many lines do not count by reason, and whether the
    last one lacks its newline.

    One sidecar runs on a node at a time, so a session begins when those before it have ended. One that does not is
    written again, and does not count.
    """
    sessions: list[SidecarSession] = []
    bad: Counter[str] = Counter()
    open_session: SidecarSession | None = None
    for line in lines:
        if not line.endswith(b"\n"):
            return sessions, bad, True
        if line == b"\n":
            continue
        try:
            data = _object(line, bad)
            if data.get("kind") == "header":
                # Records after a header that does not count have no session, so it closes the one before.
                open_session = None
                header = parse_header(data, sampled, bad)
                _check_follows(header, sessions)
                open_session = SidecarSession(header)
                sessions.append(open_session)
            elif open_session is None:
                raise BadLine("no valid header before it")
            else:
                _add(open_session, data, bad)
        except BadLine as reason:
            bad[str(reason)] += 1
    return sessions, bad, False


def _lines(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Lines of the first ``size`` bytes, so that they match the ``FileState``."""
    left = size
    while left > 0:
        line = file.readline(min(left, MAX_LINE_BYTES))
        if not line:
            return
        left -= len(line)
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            while left > 0 and not line.endswith(b"\n"):
                line = file.readline(min(left, MAX_LINE_BYTES))
                left -= len(line)
                if not line:
                    return
            line = b"a line too long" + line[-1:]
        yield line


def _object(line: bytes, bad: Counter[str]) -> dict[str, Any]:
    """The JSON object on ``line``.

    After a torn write the next line can stand behind the torn piece without a newline between; then the piece
    is counted as bad and what follows it counts.
    """
    try:
        data = parse_json(line)
    except ValueError as error:
        start = line.rfind(_LINE_START)
        if start <= 0:
            raise BadLine("not valid JSON") from error
        bad["torn, another line follows on it"] += 1
        try:
            data = parse_json(line[start:])
        except ValueError as second:
            raise BadLine("not valid JSON") from second
    if not isinstance(data, dict):
        raise BadLine("not a JSON object")
    return data


def parse_header(data: dict[str, Any], sampled: SampledNode, bad: Counter[str]) -> Header:
    """A header of ``sampled``; fields that are wrong but not needed are counted in ``bad``."""
    schema = data.get("schema")
    if schema != SPOOL_SCHEMA or isinstance(schema, bool):
        raise BadLine(f"header of schema {str(schema)[:40]}, this program reads {SPOOL_SCHEMA}")
    problems: list[str] = []
    try:
        header = codec(Header).read(data, problems)
    except InvalidRecord as refused:
        raise BadLine(f"header: {refused}") from None
    if (header.job_id, header.restart) != (sampled.job.job_id, sampled.job.restart):
        raise BadLine(f"header of job {header.job_id[:40]} restart {header.restart}")
    if header.node != sampled.node:
        raise BadLine(f"header of node {header.node[:80]!r}")
    if header.run_id != sampled.run_id:
        raise BadLine(f"header of run {(header.run_id or '')[:40]!r}")
    if not all(channel.source for channel in header.channels):
        raise BadLine("header: the name of a source is empty")
    bad.update(f"header field {problem}" for problem in problems)
    return header


def _check_follows(header: Header, sessions: Sequence[SidecarSession]) -> None:
    """Raise ``BadLine`` where a session begins before one of the same boot ends: then one of them is a copy.

    Without a boot id only the wall clock can tell them apart.
    """
    for session in sessions:
        if not session.records or session.header.boot_id != header.boot_id:
            continue
        last = session.records[-1]
        if header.boottime_ns < last.boottime_ns if header.boot_id is not None else header.wall_ns < last.wall_ns:
            raise BadLine("header of a time that an earlier session covers")


def _add(session: SidecarSession, data: dict[str, Any], bad: Counter[str]) -> None:
    """Append the record in ``data`` to ``session`` where it follows on what is there."""
    kind = data.get("kind")
    if kind not in ("record", "end"):
        raise BadLine(f"unknown kind {str(kind)[:40]}")
    if session.end_reason is not None:
        raise BadLine("record after the end")
    record = parse_record(data, len(session.header.channels), bad)
    start_ns = session.header.boottime_ns
    if not start_ns <= record.boottime_ns <= start_ns + MAX_SESSION_NS:
        raise BadLine("record before its header or a year after it")
    most_uj = MAX_CHANNEL_W * (record.boottime_ns - start_ns + _SLACK_NS) // 1000
    for energy_uj in record.energy_uj:
        if energy_uj is not None and energy_uj > most_uj:
            raise BadLine("record of more energy than there can be")
    most_us = MAX_CPUS * (record.boottime_ns - start_ns + _SLACK_NS) // 1000
    if max(record.job_cpu_us or 0, record.node_busy_us or 0) > most_us:
        raise BadLine("record of more CPU time than there can be")
    if session.records and _runs_backwards(session.records[-1], record):
        raise BadLine("record runs backwards")
    session.records.append(record)
    if kind == "end":
        reason = data.get("reason")
        session.end_reason = clean_text(reason) if isinstance(reason, str) else "?"


def _runs_backwards(before: SampleRecord, after: SampleRecord) -> bool:
    if after.boottime_ns < before.boottime_ns:
        return True
    return any(map(lt, after.measured_ns, before.measured_ns))
