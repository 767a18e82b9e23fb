"""Reading the ledger: jobs with their channels and segments, chosen by time, owner and tags."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpcfrugal.spool.use import USE_FIELDS, Use

_ARRAY_TASK = re.compile(r"(?P<array>[0-9]+)_(?P<task>[0-9]+)")


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """One channel of one node, as in the table ``channels``."""

    node: str
    component: str
    domain: str
    source: str
    quality: str
    boundary: str
    counted: bool
    attribution: str
    detail: str | None
    gpu_uuid: str | None
    inputs: str | None
    idle_power: str | None
    idle_uj: int | None
    reason: str | None
    energy_uj: int | None
    node_energy_uj: int | None
    measured_ns: int
    errors: int
    first_boottime_ns: int | None
    last_boottime_ns: int | None
    first_wall_ns: int | None
    last_wall_ns: int | None
    max_w: float | None
    resets: int | None
    gaps: int | None


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One life of the sidecar on one node, with the proxies that stand beside the joules."""

    node: str
    segment: int
    boot_id: str | None
    started_wall_ns: int
    ended_wall_ns: int
    started_boottime_ns: int
    ended_boottime_ns: int
    records: int
    end_reason: str | None
    interval_s: float | None
    exclusive: bool | None
    cpus_alloc: int | None
    cpus_node: int | None
    slurm_cpus: int | None
    cpu_model: str | None
    job_cpu_us: int | None
    node_busy_us: int | None
    memory_peak_b: int | None
    slowed: float | None
    cpu_time_source: str | None
    use: Use
    use_sources: dict[str, str]
    use_reasons: dict[str, str]


@dataclass(frozen=True, slots=True)
class AbsentRow:
    """A source that was not used on a node, and why."""

    node: str
    component: str
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class JobRow:
    """One attempt of a job with what its run says about it."""

    cluster: str
    job_id: str
    restart: int
    run_id: str
    array_job_id: str | None
    array_task_id: str | None
    name: str | None
    user: str | None
    project: str | None
    phase: str | None
    tags: dict[str, str]
    partition: str | None
    account: str | None
    state: str | None
    final: bool
    exit_code: int | None
    signal: int | None
    submitted_wall_ns: int | None
    started_wall_ns: int | None
    ended_wall_ns: int | None
    elapsed_ns: int | None
    elapsed_source: str | None
    nodes: tuple[str, ...]
    alloc_cpus: int | None
    channels: tuple[ChannelRow, ...] = field(default=())
    segments: tuple[SegmentRow, ...] = field(default=())
    absent: tuple[AbsentRow, ...] = field(default=())
    sidecar_log: str | None = None
    """Last line of what the sidecar, or whatever was to start it, had to say."""

    @property
    def known_elapsed_ns(self) -> int | None:
        """The time that coverage is a share of; None where nobody has told yet that the job ended.

        Such a job's ``elapsed_ns`` goes to its last record, of which the records cover all even when the sidecar
        died long ago.
        """
        return None if self.elapsed_source == "samples" and not self.final else self.elapsed_ns

    @property
    def label(self) -> str:
        """How Slurm's users write it: 17, or 15_3 for a task of an array."""
        if self.array_job_id is not None and self.array_task_id is not None:
            return f"{self.array_job_id}_{self.array_task_id}"
        return self.job_id


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs; every condition that is set must hold.

    A job belongs to the time when it started or, where it has not, was submitted: ``since_ns <= t <
    until_ns``. ``job`` is a job id, the id of an array (all of its tasks), ``15_3`` for one task, or a run
    id.
    """

    since_ns: int | None = None
    until_ns: int | None = None
    jobs: tuple[str, ...] = ()
    user: str | None = None
    tags: tuple[tuple[str, str], ...] = ()


def find_jobs(connection: sqlite3.Connection, wanted: JobFilter) -> list[JobRow]:
    """Jobs that fit, in the order of their start, each with channels, segments and absent sources."""
    where, values = _conditions(wanted)
    rows = connection.execute(
        "SELECT jobs.*, runs.name, runs.user, runs.project, runs.phase, runs.tags"
        " FROM jobs JOIN runs USING (run_id)"
        f" WHERE {' AND '.join(where) or 'TRUE'}"
        " ORDER BY coalesce(started_wall_ns, submitted_wall_ns), length(job_id), job_id, restart, run_id",
        values,
    ).fetchall()
    return [_job(connection, row) for row in rows if _has_tags(json.loads(row["tags"]), wanted)]


def _has_tags(tags: dict[str, str], wanted: JobFilter) -> bool:
    return all(tags.get(key) == value for key, value in wanted.tags)


def _conditions(wanted: JobFilter) -> tuple[list[str], list[str | int]]:
    where: list[str] = []
    values: list[str | int] = []

    def add(condition: str, *new: str | int) -> None:
        where.append(condition)
        values.extend(new)

    if wanted.since_ns is not None:
        add("coalesce(started_wall_ns, submitted_wall_ns) >= ?", wanted.since_ns)
    if wanted.until_ns is not None:
        add("coalesce(started_wall_ns, submitted_wall_ns) < ?", wanted.until_ns)
    if wanted.user is not None:
        add("runs.user = ?", wanted.user)
    if wanted.jobs:
        named = [_named(job) for job in wanted.jobs]
        add(f"({' OR '.join(condition for condition, _ in named)})", *(value for _, some in named for value in some))
    return where, values


def _named(job: str) -> tuple[str, tuple[str, ...]]:
    """The condition for one way to name a job, and its values."""
    task = _ARRAY_TASK.fullmatch(job)
    if task is not None:
        return "(array_job_id = ? AND array_task_id = ?)", (task["array"], task["task"])
    return "(job_id = ? OR array_job_id = ? OR jobs.run_id = ?)", (job, job, job)


def _job(connection: sqlite3.Connection, row: sqlite3.Row) -> JobRow:
    key = (row["run_id"], row["job_id"], row["restart"])
    return JobRow(
        cluster=row["cluster"],
        job_id=row["job_id"],
        restart=row["restart"],
        run_id=row["run_id"],
        array_job_id=row["array_job_id"],
        array_task_id=row["array_task_id"],
        name=row["name"],
        user=row["user"],
        project=row["project"],
        phase=row["phase"],
        tags=json.loads(row["tags"]),
        partition=row["partition"],
        account=row["account"],
        state=row["state"],
        final=bool(row["final"]),
        exit_code=row["exit_code"],
        signal=row["signal"],
        submitted_wall_ns=row["submitted_wall_ns"],
        started_wall_ns=row["started_wall_ns"],
        ended_wall_ns=row["ended_wall_ns"],
        elapsed_ns=row["elapsed_ns"],
        elapsed_source=row["elapsed_source"],
        nodes=tuple(json.loads(row["nodes"])),
        alloc_cpus=row["alloc_cpus"],
        channels=tuple(_channels(connection, key)),
        segments=tuple(_segments(connection, key)),
        absent=tuple(
            AbsentRow(node, component, source, reason)
            for node, component, source, reason in connection.execute(
                f"SELECT node, component, source, reason FROM absent WHERE {_OF_JOB}", key
            )
        ),
        sidecar_log=_log(connection, key),
    )


_OF_JOB = "run_id = ? AND job_id = ? AND restart = ?"


def _log(connection: sqlite3.Connection, key: Sequence[str | int]) -> str | None:
    row = connection.execute(
        f"SELECT content FROM files WHERE {_OF_JOB} AND kind = 'log' AND accepted AND content IS NOT NULL", key
    ).fetchone()
    return None if row is None else str(json.loads(row[0]))


def _channels(connection: sqlite3.Connection, key: Sequence[str | int]) -> Iterator[ChannelRow]:
    for row in connection.execute(f"SELECT * FROM channels WHERE {_OF_JOB} ORDER BY node, channel", key):
        yield ChannelRow(**{**_columns(row, ChannelRow), "counted": bool(row["counted"])})


def _segments(connection: sqlite3.Connection, key: Sequence[str | int]) -> Iterator[SegmentRow]:
    for row in connection.execute(f"SELECT * FROM segments WHERE {_OF_JOB} ORDER BY node, segment", key):
        exclusive = row["exclusive"]
        use = {name: row[name] for name in USE_FIELDS}
        partial = use["io_partial"]
        texts = {name: json.loads(row[name] or "{}") for name in ("use_sources", "use_reasons")}
        yield SegmentRow(
            **{
                **_columns(row, SegmentRow, but=("use", *texts)),
                **texts,
                "exclusive": None if exclusive is None else bool(exclusive),
                "use": Use(**{**use, "io_partial": None if partial is None else bool(partial)}),
            }
        )


def _columns(row: sqlite3.Row, of: type[ChannelRow | SegmentRow], but: Sequence[str] = ()) -> dict[str, Any]:
    """The columns of ``row`` that ``of`` has a field for, all ``but`` some."""
    return {name: row[name] for name in of.__dataclass_fields__ if name not in but}


@dataclass(frozen=True, slots=True)
class DayRow:
    """Known energy of one job in one component and quality on one UTC day, given by its first second."""

    run_id: str
    job_id: str
    restart: int
    day_s: int
    component: str
    quality: str
    energy_uj: int
    measured_ns: int
    shared: bool
    """Whether any of it is a share of a node's energy."""
    lacks_idle: bool
    """Whether the idle power of the node is not included in any of these shares."""


def energy_by_day(connection: sqlite3.Connection, jobs: Sequence[JobRow]) -> list[DayRow]:
    """The counted energy of ``jobs`` by UTC day, from the buckets."""
    found: list[DayRow] = []
    for job in jobs:
        rows = connection.execute(
            "SELECT e.bucket_start_s / 86400 * 86400 AS day_s, c.component, c.quality,"
            " sum(e.energy_uj) AS energy_uj, sum(e.measured_ns) AS measured_ns,"
            " max(c.attribution = 'cpu-share') AS shared,"
            " max(c.attribution = 'cpu-share' AND c.idle_power IS NULL) AS lacks_idle"
            " FROM energy e JOIN channels c USING (run_id, job_id, restart, node, channel)"
            " WHERE e.run_id = ? AND e.job_id = ? AND e.restart = ?"
            " AND c.counted AND c.boundary = 'components' AND e.energy_uj IS NOT NULL"
            " GROUP BY day_s, c.component, c.quality ORDER BY day_s, c.component, c.quality",
            (job.run_id, job.job_id, job.restart),
        )
        found.extend(
            DayRow(
                *(job.run_id, job.job_id, job.restart),
                **{**dict(row), "shared": bool(row["shared"]), "lacks_idle": bool(row["lacks_idle"])},
            )
            for row in rows
        )
    return found
