"""The sidecar's file of one node: header lines, each opening a session, and records of cumulative counters.

The file may be torn, written by a newer sidecar or partly garbage. What is sound is returned; every line that
is not is counted with its reason, because a line lost without a word would turn into lost joules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import lt
from pathlib import Path
from typing import Any, BinaryIO

from hpcfrugal.core.json_fields import MAX_MEMORY_B, MAX_WALL_NS, MIN_WALL_NS, Fields, clean_text
from hpcfrugal.core.safe_read import FileState, UnsafeFile, open_owned, parse_json
from hpcfrugal.spool.layout import SCHEMA_VERSION, JobKey
from hpcfrugal.spool.records import Garbage, parse_record
from hpcfrugal.spool.records import Record as Record
from hpcfrugal.spool.use import UseSources, use_sources

MAX_LINE_BYTES = 4 * 1024 * 1024
"""A line longer than this is garbage (a header with 16 GPUs is below 16 KiB)."""

MAX_SESSION_NS = 400 * 86_400 * 10**9
"""A record further than this from its header is garbage; no site lets a job run for more than a year."""

MAX_CHANNEL_W = 10_000_000
"""A channel that has counted more than this since its header, in watts, is garbage; no node and no rack draws it."""

MAX_CPUS = 65_536
"""More CPU time than this many CPUs have is garbage; Linux knows at most 8192 (``NR_CPUS`` in arch/x86/Kconfig)."""

MAX_GPUS = 4096
"""No node has more GPUs than this, slices of them included."""

MAX_FILE_BYTES = 96 * 1024 * 1024
"""A larger file is refused: the sidecar writes no more than 64 MiB, and a record takes several times its line in memory
while it is read."""

_SLACK_NS = 10**9

_LINE_START = b'{"kind"'
_COMPONENTS = frozenset({"cpu", "dram", "gpu", "node"})


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """One counter of the node as the header describes it."""

    component: str
    domain: str
    source: str
    quality: str
    boundary: str
    scope: str
    counted: bool
    detail: str | None
    gpu_uuid: str | None


@dataclass(frozen=True, slots=True)
class MissingSensor:
    """A source that the sidecar would have liked better, and why it did not use it.

    ``domain``: the part of the component for which nothing else was found, where there was for other parts of it.
    """

    component: str
    source: str
    reason: str
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """A GPU that the job holds."""

    index: int | None
    uuid: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Header:
    """What the sidecar found when it started on the node.

    ``gpus`` are those of the job that were found, ``gpus_promised`` is how many its environment names.
    """

    run_id: str | None
    cluster: str | None
    node: str
    array_job_id: str | None
    array_task_id: str | None
    boot_id: str | None
    wall_ns: int
    boottime_ns: int
    sidecar_version: str | None
    interval_s: float | None
    record_s: float | None
    cpus_alloc: int | None
    cpus_node: int | None
    cpu_model: str | None
    memory_node_b: int | None
    memory_alloc_b: int | None
    exclusive: bool | None
    cpu_time_source: str | None
    gpus: tuple[GpuInfo, ...]
    channels: tuple[ChannelInfo, ...]
    absent: tuple[MissingSensor, ...]
    usage: UseSources = field(default_factory=UseSources)
    gpus_promised: int | None = None


@dataclass(slots=True)
class SidecarSession:
    """One session of the sidecar on a node: its header, its records and, if it ended in order, why."""

    header: Header
    records: list[Record] = field(default_factory=list)
    end_reason: str | None = None


@dataclass(frozen=True, slots=True)
class SampleFile:
    """All that could be read, and in ``problems`` how many lines could not, by reason."""

    sessions: tuple[SidecarSession, ...]
    problems: tuple[str, ...]
    torn_tail: bool
    state: FileState


def read_samples(path: Path, owner_uid: int, job: JobKey) -> SampleFile:
    """Read the sample file of ``job`` on one node.

    A last line without its newline is torn, which is normal after a kill, and is left out without a problem.
    Raises ``UnsafeFile`` where the file as a whole does not count.
    """
    file, state = open_owned(path, owner_uid)
    if state.size > MAX_FILE_BYTES:
        file.close()
        raise UnsafeFile(f"larger than {MAX_FILE_BYTES} bytes, which no sidecar writes")
    sessions: list[SidecarSession] = []
    bad: Counter[str] = Counter()
    open_session: SidecarSession | None = None
    torn = False
    with file:
        for line in _lines(file, state.size):
            if not line.endswith(b"\n"):
                torn = True
                break
            if line == b"\n":
                continue
            try:
                data = _object(line, bad)
                if data.get("kind") == "header":
                    # Records after a header that does not count belong to nobody, so it closes the session.
                    open_session = None
                    open_session = SidecarSession(parse_header(data, job, bad))
                    sessions.append(open_session)
                elif open_session is None:
                    raise Garbage("no header before it")
                else:
                    _add(open_session, data, bad)
            except Garbage as reason:
                bad[str(reason)] += 1
    problems = tuple(f"{count} line{'s' * (count > 1)}: {reason}" for reason, count in sorted(bad.items()))
    return SampleFile(tuple(sessions), problems, torn, state)


def _lines(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Lines of the first ``size`` bytes, so that what is read is what ``FileState`` speaks of."""
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
            raise Garbage("not valid JSON") from error
        bad["torn, another line follows on it"] += 1
        try:
            data = parse_json(line[start:])
        except ValueError as second:
            raise Garbage("not valid JSON") from second
    if not isinstance(data, dict):
        raise Garbage("not a JSON object")
    return data


def parse_header(data: dict[str, Any], job: JobKey, bad: Counter[str]) -> Header:
    """A header for ``job``; fields that are wrong but not needed are counted in ``bad``."""
    schema = data.get("schema")
    if schema != SCHEMA_VERSION or isinstance(schema, bool):
        raise Garbage(f"header of schema {str(schema)[:40]}, this program reads {SCHEMA_VERSION}")
    fields = Fields(data)
    said = (fields.text("job_id"), fields.integer("restart"))
    if said != (job.job_id, job.restart):
        raise Garbage(f"header of job {str(said[0])[:40]} restart {said[1]}")
    node = fields.text("node")
    wall_ns = fields.integer("wall_ns", low=MIN_WALL_NS, high=MAX_WALL_NS)
    boottime_ns = fields.integer("boottime_ns")
    if not node or wall_ns is None or boottime_ns is None:
        raise Garbage("header without node or clocks")
    header = Header(
        run_id=fields.text("run_id"),
        cluster=fields.text("cluster"),
        node=node,
        array_job_id=fields.text("array_job_id"),
        array_task_id=fields.text("array_task_id"),
        boot_id=fields.text("boot_id"),
        wall_ns=wall_ns,
        boottime_ns=boottime_ns,
        sidecar_version=fields.text("sidecar"),
        interval_s=fields.number("interval_s"),
        record_s=fields.number("record_s"),
        cpus_alloc=fields.integer("cpus_alloc", low=1),
        cpus_node=fields.integer("cpus_node", low=1),
        cpu_model=fields.text("cpu_model"),
        memory_node_b=fields.integer("memory_node_b", high=MAX_MEMORY_B),
        memory_alloc_b=fields.integer("memory_alloc_b", high=MAX_MEMORY_B),
        exclusive=fields.flag("exclusive"),
        cpu_time_source=fields.text("cpu_time_source"),
        gpus=tuple(_gpu(item, bad) for item in _objects(data, "gpus")),
        channels=tuple(_channel(item) for item in _objects(data, "channels")),
        absent=tuple(_absent(item) for item in _objects(data, "absent")),
        usage=use_sources(data, bad),
        gpus_promised=fields.integer("gpus_promised", high=MAX_GPUS),
    )
    bad.update(f"header field {problem}" for problem in fields.problems)
    return header


def _objects(data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = data.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Garbage(f"header: {key} is not a list of objects")
    return value


def _channel(data: dict[str, Any]) -> ChannelInfo:
    fields = Fields(data)
    component = fields.text("component")
    domain = fields.text("domain")
    source = fields.text("source")
    quality = fields.text("quality")
    counted = fields.flag("counted")
    scope = fields.text("scope")
    if component not in _COMPONENTS or not source or domain is None or counted is None:
        raise Garbage("header: a channel without component, domain, source or counted")
    if scope not in ("node", "job") or quality not in ("measured", "modelled", "unknown"):
        raise Garbage("header: a channel of unknown scope or quality")
    return ChannelInfo(
        component=component,
        domain=domain,
        source=source,
        quality=quality,
        boundary=fields.text("boundary") or ("node" if component == "node" else "components"),
        scope=scope,
        counted=counted,
        detail=fields.text("detail"),
        gpu_uuid=fields.text("gpu_uuid"),
    )


def _absent(data: dict[str, Any]) -> MissingSensor:
    def text(key: str) -> str:
        value = data.get(key)
        return clean_text(value) if isinstance(value, str) else "?"

    domain = None if data.get("domain") is None else text("domain")
    return MissingSensor(text("component"), text("source"), text("reason"), domain)


def _gpu(data: dict[str, Any], bad: Counter[str]) -> GpuInfo:
    fields = Fields(data)
    gpu = GpuInfo(index=fields.integer("index"), uuid=fields.text("uuid"), name=fields.text("name"))
    bad.update(f"header field gpus.{problem}" for problem in fields.problems)
    return gpu


def _add(session: SidecarSession, data: dict[str, Any], bad: Counter[str]) -> None:
    """Append the record in ``data`` to ``session`` where it follows on what is there."""
    kind = data.get("kind")
    if kind not in ("record", "end"):
        raise Garbage(f"unknown kind {str(kind)[:40]}")
    if session.end_reason is not None:
        raise Garbage("record after the end")
    record = parse_record(data, len(session.header.channels), bad)
    start_ns = session.header.boottime_ns
    if not start_ns <= record.boottime_ns <= start_ns + MAX_SESSION_NS:
        raise Garbage("record before its header or a year after it")
    most_uj = MAX_CHANNEL_W * (record.boottime_ns - start_ns + _SLACK_NS) // 1000
    for energy_uj in record.energy_uj:
        if energy_uj is not None and energy_uj > most_uj:
            raise Garbage("record of more energy than there can be")
    most_us = MAX_CPUS * (record.boottime_ns - start_ns + _SLACK_NS) // 1000
    if max(record.job_cpu_us or 0, record.node_busy_us or 0) > most_us:
        raise Garbage("record of more CPU time than there can be")
    if session.records and _runs_backwards(session.records[-1], record):
        raise Garbage("record runs backwards")
    session.records.append(record)
    if kind == "end":
        reason = data.get("reason")
        session.end_reason = clean_text(reason) if isinstance(reason, str) else "?"


def _runs_backwards(before: Record, after: Record) -> bool:
    if after.boottime_ns < before.boottime_ns:
        return True
    return any(map(lt, after.measured_ns, before.measured_ns))
