"""What the node agent writes: a header, cumulative records of the node and its jobs, and a line a job that ended.

``sidecar/agent`` writes them; docs/site.md describes them for other programs. All energies are microjoules since the
header, in the order of its channels. A record closes by itself: for each channel, the energy of the node is the rest,
plus that of jobs that have ended, plus that of the jobs in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import gt, itemgetter, lt
from typing import Annotated, Any, Literal, TypeVar

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import (
    MAX_INT,
    MAX_MEMORY_B,
    MAX_WALL_NS,
    MIN_WALL_NS,
    SIZED,
    STRICT,
    InvalidRecord,
    Key,
    Range,
    codec,
)
from hpcfrugal.sidecar.agent import AGENT_SCHEMA
from hpcfrugal.spool.sample_header import ChannelInfo, DesignUw, GpuInfo, MissingSensor, check_devices
from hpcfrugal.spool.sample_record import (
    MAX_COUNT,
    MAX_CPUS,
    MAX_SESSION_NS,
    BadLine,
    most_cpu_us,
    most_energy_uj,
)

_T = TypeVar("_T")

MAX_JOBS = 16_384
"""A record with more jobs is invalid: twice as many as Linux has CPUs."""

MAX_UID = 2**32 - 2


@dataclass(frozen=True, slots=True)
class ComponentIdlePower:
    """What a component of the node draws when no CPU is busy, and where the figure is from, in words."""

    component: Literal["cpu", "dram", "node"]
    power_uw: Annotated[int, Range(1)]
    source: str


@dataclass(frozen=True, slots=True)
class AgentHeader:
    """What the agent found on the node when it began to count from 0: at its start, at midnight, and where a sensor
    came or went. ``cpu_time_source``: where the CPU times of jobs come from; ``idle_power`` is what was divided by the
    CPUs that jobs held."""

    node: str
    boot_id: str | None
    wall_ns: Annotated[int, Range(MIN_WALL_NS, MAX_WALL_NS)]
    boottime_ns: int
    agent_version: Annotated[str | None, Key("agent")]
    interval_s: Annotated[float | None, Range()]
    record_s: Annotated[float | None, Range()]
    cpus_node: Annotated[int | None, Range(1)]
    cores_node: Annotated[int | None, Range(1, MAX_CPUS)]
    cpu_limit_uw: DesignUw
    cpu_model: str | None
    memory_node_b: Annotated[int | None, Range(high=MAX_MEMORY_B)]
    cpu_time_source: str | None
    gpus: Annotated[tuple[GpuInfo, ...], STRICT] = ()
    channels: Annotated[tuple[ChannelInfo, ...], STRICT] = ()
    idle_power: Annotated[tuple[ComponentIdlePower, ...], STRICT] = ()
    absent: Annotated[tuple[MissingSensor, ...], STRICT] = ()


@dataclass(frozen=True, slots=True, order=True)
class JobLife:
    """One attempt of a job on this node: ``name`` is its SLUID, or its job id where Slurm has no SLUIDs, and
    ``first_ns`` the time since boot when the agent first saw it. The id of a job with a SLUID may come later."""

    name: str
    first_ns: int


@dataclass(slots=True)
class AgentJob:
    """A job of the node: its CPU time from its start, or from when the agent saw it first, and its energy since the
    header. ``idle_uj`` is the part of it that is its CPUs' part of the idle energy; empty: none. ``uid`` is its user's,
    ``cpus`` how many of the node's it holds: those of its control group, else by Slurm's count. ``ended_ns`` (time
    since boot) is None while it is there."""

    job_id: Annotated[str | None, STRICT]
    sluid: Annotated[str | None, STRICT]
    uid: Annotated[int | None, Range(high=MAX_UID), STRICT]
    first_ns: int
    cpus: Annotated[int | None, Range(1, MAX_CPUS), STRICT]
    cpu_us: int
    energy_uj: tuple[int, ...]
    idle_uj: tuple[int, ...] = ()
    ended_ns: Annotated[int | None, STRICT] = None

    @property
    def life(self) -> JobLife:
        return JobLife(self.sluid or self.job_id or "", self.first_ns)


@dataclass(slots=True)
class AgentRecord:
    """The node at one moment. ``energy_uj`` None: nothing of the channel was read. ``rest_uj`` went to no job,
    ``ended_uj`` to jobs that have ended since the header. ``node_busy_us`` is the CPU time of the node since it was
    booted."""

    kind: Literal["record", "end"]
    wall_ns: Annotated[int, Range(high=MAX_WALL_NS)]
    boottime_ns: int
    energy_uj: Annotated[tuple[int | None, ...], SIZED]
    rest_uj: Annotated[tuple[int, ...], SIZED]
    ended_uj: Annotated[tuple[int, ...], SIZED]
    measured_ns: Annotated[tuple[int, ...], SIZED]
    errors: Annotated[tuple[int, ...], Range(high=MAX_COUNT), SIZED]
    node_busy_us: Annotated[int | None, STRICT]
    jobs: Annotated[tuple[AgentJob, ...], STRICT] = ()

    @property
    def names(self) -> list[tuple[str, int]]:
        """What ``JobLife`` has of each of its jobs."""
        return [(job.sluid or job.job_id or "", job.first_ns) for job in self.jobs]


def parse_agent_header(data: Mapping[str, Any], node: str, bad: Counter[str]) -> AgentHeader:
    """A header of ``node``; fields that are wrong but not needed are counted in ``bad``. Raises ``BadLine``."""
    schema = data.get("schema")
    if schema != AGENT_SCHEMA or isinstance(schema, bool):
        raise BadLine(f"header of schema {str(schema)[:40]}, this program reads {AGENT_SCHEMA}")
    header = _read(AgentHeader, data, bad, None)
    if header.node != node:
        raise BadLine(f"header of node {header.node[:80]!r}")
    check_devices(header.channels, header.gpus)
    return header


def parse_agent_record(
    data: Mapping[str, Any], header: AgentHeader, before: AgentRecord | None, bad: Counter[str]
) -> AgentRecord:
    """A record after ``before``. Raises ``BadLine`` where it does not close, or cannot be."""
    record = _usual_record(data, len(header.channels)) or _read(AgentRecord, data, bad, len(header.channels))
    if len(record.jobs) > MAX_JOBS:
        raise BadLine(f"record of more than {MAX_JOBS} jobs")
    start_ns = header.boottime_ns
    if not start_ns <= record.boottime_ns <= start_ns + MAX_SESSION_NS:
        raise BadLine("record before its header or a year after it")
    most_us = most_cpu_us(record.boottime_ns)
    for job in record.jobs:
        if (
            job.cpu_us > most_us
            or job.first_ns > record.boottime_ns
            or not (job.job_id or job.sluid)
            or len(job.energy_uj) != len(header.channels)
            or (job.idle_uj and not _is_part(job.idle_uj, job.energy_uj))
        ):
            _check_job(job, header, record.boottime_ns)
    whole = _known(record.energy_uj)
    parts = zip(record.rest_uj, record.ended_uj, *(job.energy_uj for job in record.jobs), strict=True)
    if whole != list(map(sum, parts)):
        raise BadLine("record in which jobs and rest are not the energy of the node")
    if max(whole, default=0) > most_energy_uj(record.boottime_ns - start_ns):
        raise BadLine("record of more energy than there can be")
    if before is not None and (
        record.boottime_ns < before.boottime_ns
        or any(map(lt, whole, _known(before.energy_uj)))
        or any(map(lt, record.ended_uj, before.ended_uj))
        or any(map(lt, record.measured_ns, before.measured_ns))
    ):
        raise BadLine("record runs backwards")
    return record


def parse_ended_job(data: Mapping[str, Any], header: AgentHeader, bad: Counter[str]) -> AgentJob:
    """The line of a job that has ended. Raises ``BadLine``."""
    job = _read(AgentJob, data, bad, None)
    if job.ended_ns is None or not header.boottime_ns <= job.ended_ns <= header.boottime_ns + MAX_SESSION_NS:
        raise BadLine("a job that ended before its header or a year after it")
    _check_job(job, header, job.ended_ns)
    return job


def _is_part(parts_uj: tuple[int, ...], energies_uj: tuple[int, ...]) -> bool:
    return len(parts_uj) == len(energies_uj) and not any(map(gt, parts_uj, energies_uj))


def _known(energies_uj: Sequence[int | None]) -> list[int]:
    return [energy_uj or 0 for energy_uj in energies_uj]


_KEYS = frozenset(codec(AgentRecord).keys)
_JOB_KEYS = [key for key in codec(AgentJob).keys if key != "ended_ns"]
_LISTS = itemgetter("energy_uj", "rest_uj", "ended_uj", "measured_ns", "errors")
_INTEGER, _LIST = {int}, {list}


def _usual_record(data: Mapping[str, Any], channels: int) -> AgentRecord | None:
    """A record with all of its fields, as agents write it, of which all numbers are checked at once; None for any
    other, which is then read field by field."""
    if data.keys() != _KEYS or data["kind"] not in ("record", "end") or type(data["jobs"]) is not list:
        return None
    lists = _LISTS(data)
    if set(map(type, lists)) != _LIST or set(map(len, lists)) != {channels}:
        return None
    energy_uj, rest_uj, ended_uj, measured_ns, errors = lists
    wall_ns, boottime_ns, busy_us = data["wall_ns"], data["boottime_ns"], data["node_busy_us"]
    numbers = [wall_ns, boottime_ns, *rest_uj, *ended_uj, *measured_ns, *errors]
    numbers += [number for number in (busy_us, *energy_uj) if number is not None]
    jobs = []
    for job in data["jobs"]:
        if type(job) is not dict or list(job) != _JOB_KEYS:
            return None
        job_id, sluid, uid, first_ns, cpus, cpu_us, of_job, idle_uj = job.values()
        if type(of_job) is not list or type(idle_uj) is not list or not (uid is None or type(uid) is int):
            return None
        if job_id is not None and not (type(job_id) is str and job_id.isascii()):
            return None
        if sluid is not None and not (type(sluid) is str and sluid.isascii()):
            return None
        if cpus is not None and (type(cpus) is not int or not 0 < cpus <= MAX_CPUS):
            return None
        if uid is not None:
            if uid > MAX_UID:
                return None
            numbers.append(uid)
        numbers += (first_ns, cpu_us, *of_job, *idle_uj)
        jobs.append(AgentJob(job_id, sluid, uid, first_ns, cpus, cpu_us, tuple(of_job), tuple(idle_uj)))
    if set(map(type, numbers)) != _INTEGER or min(numbers) < 0 or max(numbers) > MAX_INT or wall_ns > MAX_WALL_NS:
        return None
    if max(errors, default=0) > MAX_COUNT:
        return None
    of_node = (tuple(energy_uj), tuple(rest_uj), tuple(ended_uj), tuple(measured_ns), tuple(errors))
    return AgentRecord(data["kind"], wall_ns, boottime_ns, *of_node, busy_us, tuple(jobs))


def _check_job(job: AgentJob, header: AgentHeader, at_ns: int) -> None:
    if not (job.job_id or job.sluid):
        raise BadLine("a job without a name")
    if len(job.energy_uj) != len(header.channels):
        raise BadLine("a job with another number of channels than the header")
    if job.idle_uj and not _is_part(job.idle_uj, job.energy_uj):
        raise BadLine("a job of which more is idle energy than it has")
    if job.first_ns > at_ns or job.cpu_us > most_cpu_us(at_ns):
        raise BadLine("a job of more CPU time than there can be, or of a later time")
    if max(job.energy_uj, default=0) > most_energy_uj(at_ns - header.boottime_ns):
        raise BadLine("a job of more energy than there can be")


def _read(record: type[_T], data: Mapping[str, Any], bad: Counter[str], size: int | None) -> _T:
    problems: list[str] = []
    try:
        found = codec(record, size).read(data, problems)
    except InvalidRecord as refused:
        raise BadLine(f"field {refused}") from None
    bad.update(f"field {problem}" for problem in problems)
    return found
