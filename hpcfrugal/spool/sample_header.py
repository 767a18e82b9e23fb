"""The header of a sample file: what the sidecar found when it started on the node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import cache
from typing import Annotated, Any, Literal

from hpcfrugal.core.quick import dataclass
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
from hpcfrugal.core.record_json import ObjectReader
from hpcfrugal.core.text import clean_text
from hpcfrugal.spool.layout import SPOOL_SCHEMA, JobKey
from hpcfrugal.spool.sample_record import MAX_CPUS, BadLine
from hpcfrugal.spool.use import UseSources

MAX_HEADER_BYTES = 256 * 1024
"""A longer header is invalid; one with 16 GPUs is below 16 KiB."""

MAX_CHANNELS = 512
"""A header with more channels, or with more GPUs of the job, is invalid; no node has so many sensors."""

MAX_GPUS = 4096
"""No node has more GPUs than this, slices of them included."""

MAX_DESIGN_UW = 10**11
"""A design power above 100 kW is invalid: no node draws it."""

DesignUw = Annotated[int | None, Range(1, MAX_DESIGN_UW)]


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """One counter of the node as the header describes it. ``contains``: the components whose energy is in it as well,
    and in no other that counts. ``step_s``: it was read only once in so many seconds, and continued between."""

    component: Literal["cpu", "dram", "gpu", "node"]
    domain: str
    source: str
    quality: Literal["measured", "modelled", "unknown"]
    boundary: Literal["components", "node"]
    scope: Literal["node", "job"]
    counted: bool
    detail: str | None
    gpu_uuid: str | None
    contains: tuple[str, ...] = ()
    step_s: Annotated[float | None, Range()] = None


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
    """A GPU that the job holds; ``limit_uw`` is the most power that its driver lets it draw, ``domain`` that of its
    channel."""

    index: int | None
    uuid: str | None
    name: str | None
    limit_uw: DesignUw = None
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """What the sidecar found when it started on the node.

    ``gpus`` are those of the job that were found, ``gpus_promised`` is how many its environment names, None where it
    names none; ``gpus_unread`` is how many it may hold, at least, that are present and that no sensor reads.
    ``in_other_gpus``: the components whose energy is, in whole or in part, in the power of GPUs that are not the job's.
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
    gpus_unread: Annotated[int | None, Range(high=MAX_GPUS)] = None
    in_other_gpus: tuple[str, ...] = ()
    cores_node: Annotated[int | None, Range(1, MAX_CPUS)] = None
    cpu_limit_uw: DesignUw = None


@dataclass(frozen=True, slots=True)
class SampledNode:
    """A job on a node, by the path of its sample file. The headers in it must name the same."""

    run_id: str
    job: JobKey
    node: str


@cache
def _reader() -> ObjectReader[Header]:
    return ObjectReader(codec(Header), {"kind": Literal["header"], "schema": Literal[SPOOL_SCHEMA]})


def plain_header(line: bytes) -> Header | None:
    """The header in a line of JSON; None where the line has to be looked at key by key."""
    return _reader().read(line)


def parse_header(data: Mapping[str, Any], sampled: SampledNode, bad: Counter[str]) -> Header:
    """A header of ``sampled``; fields that are wrong but not needed are counted in ``bad``. Raises ``BadLine``."""
    schema = data.get("schema")
    if schema != SPOOL_SCHEMA or isinstance(schema, bool):
        raise BadLine(f"header of schema {str(schema)[:40]}, this program reads {SPOOL_SCHEMA}")
    problems: list[str] = []
    try:
        header = codec(Header).read(data, problems)
    except InvalidRecord as refused:
        raise BadLine(f"header: {refused}") from None
    check_header(header, sampled)
    bad.update(f"header field {problem}" for problem in problems)
    return header


def check_header(header: Header, sampled: SampledNode) -> None:
    """Raise ``BadLine`` for a header that is not of ``sampled``, or that describes what there cannot be."""
    if (header.job_id, header.restart) != (sampled.job.job_id, sampled.job.restart):
        raise BadLine(f"header of job {header.job_id[:40]} restart {header.restart}")
    if header.node != sampled.node:
        raise BadLine(f"header of node {header.node[:80]!r}")
    if header.run_id != sampled.run_id:
        raise BadLine(f"header of run {(header.run_id or '')[:40]!r}")
    check_devices(header.channels, header.gpus)
    if not all(channel.source for channel in header.channels):
        raise BadLine("header: the name of a source is empty")


def check_devices(channels: Sequence[ChannelInfo], gpus: Sequence[GpuInfo]) -> None:
    """Raise ``BadLine`` for more channels or GPUs than there can be, and for a channel that is there twice: it would
    count twice."""
    if max(len(channels), len(gpus)) > MAX_CHANNELS:
        raise BadLine(f"header: more than {MAX_CHANNELS} channels or GPUs, which no node has")
    names = [(channel.component, channel.domain, channel.source) for channel in channels]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadLine(f"header: names a channel twice: {clean_text('/'.join(twice))[:80]}")
