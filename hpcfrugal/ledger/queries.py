"""Reading the ledger: jobs with their channels and sessions, chosen by time, owner and tags."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpcfrugal.core.json_fields import clean_text
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
    unread_ns: int | None = None
    """How long it gave nothing, though it gave energy before or after; None where that was a few samples at most."""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session of the sidecar on one node, with what the job used beside energy."""

    node: str
    session: int
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
    qos: str | None
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
    sessions: tuple[SessionRow, ...] = field(default=())
    absent: tuple[AbsentRow, ...] = field(default=())
    sidecar_log: str | None = None
    """Last line of what the sidecar, or whatever was to start it, had to say."""

    zone: str | None = None
    """The grid zone in which its energy counts, as known at the submission."""

    pue: float | None = None
    """The data centre's power usage effectiveness, as known at the submission."""

    plan: str | None = None
    """The column ``runs.plan``, for ``plans.plan_of``."""

    sampled: bool | None = None
    """Whether its energy was to be sampled; None where the run does not say."""

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
    """Jobs that fit, in the order of their start, each with channels, sessions and absent sources."""
    where, values = _conditions(wanted)
    condition = " AND ".join(where) or "TRUE"
    rows = connection.execute(
        "SELECT jobs.*, runs.name, runs.user, runs.project, runs.phase, runs.tags, runs.zone, runs.pue, runs.plan,"
        " runs.sampled"
        " FROM jobs JOIN runs USING (run_id)"
        f" WHERE {condition}"
        " ORDER BY coalesce(started_wall_ns, submitted_wall_ns), length(job_id), job_id, restart, run_id",
        values,
    ).fetchall()
    parts = _Parts.of(connection, condition, values)
    return [_job(row, parts) for row in rows if _has_tags(json.loads(row["tags"]), wanted)]


_Key = tuple[str, str, int]
"""Run id, job id and restart."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What hangs on the jobs that are wanted, by their keys: one query a table, however many jobs they are."""

    channels: dict[_Key, list[ChannelRow]]
    sessions: dict[_Key, list[SessionRow]]
    absent: dict[_Key, list[AbsentRow]]
    logs: dict[_Key, str]

    @classmethod
    def of(cls, connection: sqlite3.Connection, condition: str, values: Sequence[str | int]) -> _Parts:
        """Read them for the jobs that fit ``condition``."""

        def rows(
            table: str, columns: Iterable[str], order: str, more: str = ""
        ) -> Iterator[tuple[_Key, tuple[Any, ...]]]:
            names = ", ".join(f"part.{column}" for column in ("run_id", "job_id", "restart", *columns))
            cursor = connection.cursor()
            cursor.row_factory = None
            cursor.execute(
                f"SELECT {names} FROM {table} AS part WHERE (part.run_id, part.job_id, part.restart) IN"
                f" (SELECT run_id, job_id, restart FROM jobs JOIN runs USING (run_id) WHERE {condition})"
                f" {more} ORDER BY {order}",
                values,
            )
            for row in cursor:
                yield row[:3], row[3:]

        found = cls({}, {}, {}, {})
        for key, row in rows("channels", _CHANNEL_COLUMNS, "part.node, part.channel"):
            found.channels.setdefault(key, []).append(_channel(row))
        for key, row in rows("sidecar_sessions", _SESSION_COLUMNS, "part.node, part.session"):
            found.sessions.setdefault(key, []).append(_session(row))
        for key, row in rows("absent", _ABSENT_COLUMNS, "part.node, part.component, part.source, part.reason"):
            found.absent.setdefault(key, []).append(AbsentRow(*row))
        logged = "AND part.kind = 'log' AND part.accepted AND part.content IS NOT NULL"
        for key, (content,) in rows("files", ("content",), "part.name DESC", logged):
            found.logs[key] = str(json.loads(content))
        return found


def _has_tags(tags: dict[str, str], wanted: JobFilter) -> bool:
    return all(tags.get(clean_text(key)) == clean_text(value) for key, value in wanted.tags)


def _conditions(wanted: JobFilter) -> tuple[list[str], list[str | int]]:
    where: list[str] = []
    values: list[str | int] = []

    def add(condition: str, *new: str | int) -> None:
        where.append(condition)
        # As the texts of the spool were, so that they can be found and no database refuses them.
        values.extend(clean_text(value) if isinstance(value, str) else value for value in new)

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


def _job(row: sqlite3.Row, parts: _Parts) -> JobRow:
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
        qos=row["qos"],
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
        channels=tuple(parts.channels.get(key, ())),
        sessions=tuple(parts.sessions.get(key, ())),
        absent=tuple(parts.absent.get(key, ())),
        sidecar_log=parts.logs.get(key),
        zone=row["zone"],
        pue=row["pue"],
        plan=row["plan"],
        sampled=None if row["sampled"] is None else bool(row["sampled"]),
    )


_CHANNEL_COLUMNS = tuple(ChannelRow.__dataclass_fields__)
_COUNTED = _CHANNEL_COLUMNS.index("counted")


def _channel(row: tuple[Any, ...]) -> ChannelRow:
    values = list(row)
    values[_COUNTED] = bool(values[_COUNTED])
    return ChannelRow(*values)


_ABSENT_COLUMNS = tuple(AbsentRow.__dataclass_fields__)
_JSON_COLUMNS = ("use_sources", "use_reasons")
_PLAIN_COLUMNS = tuple(name for name in SessionRow.__dataclass_fields__ if name not in ("use", *_JSON_COLUMNS))
_SESSION_COLUMNS = (*_PLAIN_COLUMNS, *_JSON_COLUMNS, *USE_FIELDS)


def _session(row: tuple[Any, ...]) -> SessionRow:
    values = dict(zip(_SESSION_COLUMNS, row, strict=True))
    for name in ("exclusive", "io_partial"):
        values[name] = None if values[name] is None else bool(values[name])
    return SessionRow(
        **{name: values[name] for name in _PLAIN_COLUMNS},
        **{name: json.loads(values[name]) if values[name] else {} for name in _JSON_COLUMNS},
        use=Use(**{name: values[name] for name in USE_FIELDS}),
    )


_HALF = 32


def exact_sum(column: str, name: str) -> str:
    """SQL for two columns, ``name_high`` and ``name_low``, that ``summed`` makes the sum of a column of.

    SQLite ends a query with an error where a sum passes 64 bits, as that of many numbers may which all fit.
    """
    low = f"sum({column} & {2**_HALF - 1}) AS {name}_low"
    return f"sum({column} >> {_HALF}) AS {name}_high, {low}"


def summed(high: int, low: int) -> int:
    """The sum of which ``exact_sum`` gave the parts."""
    return (high << _HALF) + low


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
            f" {exact_sum('e.energy_uj', 'energy_uj')}, {exact_sum('e.measured_ns', 'measured_ns')},"
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
                day_s=row["day_s"],
                component=row["component"],
                quality=row["quality"],
                energy_uj=summed(row["energy_uj_high"], row["energy_uj_low"]),
                measured_ns=summed(row["measured_ns_high"], row["measured_ns_low"]),
                shared=bool(row["shared"]),
                lacks_idle=bool(row["lacks_idle"]),
            )
            for row in rows
        )
    return found
