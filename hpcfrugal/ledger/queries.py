"""Reading the ledger: jobs with their channels and sessions, chosen by time, owner and tags."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from hpcfrugal.accounting.attribution import Attribution
from hpcfrugal.core.text import clean_text
from hpcfrugal.ledger.rows import (
    CHANNELS,
    JOBS,
    MISSING_SENSORS,
    RUNS,
    SESSIONS,
    ChannelRow,
    JobRow,
    MissingSensorRow,
    SessionRow,
)
from hpcfrugal.ledger.table import AttemptKey, LedgerTable

_R = TypeVar("_R")

_ARRAY_TASK = re.compile(r"(?P<array>[0-9]+)_(?P<task>[0-9]+)")


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
    """Jobs that fit, in the order of their start, each with channels, sessions and missing sensors."""
    where, values = _conditions(wanted)
    condition = " AND ".join(where) or "TRUE"
    columns = [*(f"jobs.{name}" for name in JOBS.columns), *(f"runs.{name}" for name in RUNS.columns)]
    cursor = connection.cursor()
    cursor.row_factory = None
    rows = cursor.execute(
        f"SELECT {', '.join(columns)} FROM jobs JOIN runs USING (run_id) WHERE {condition}"
        " ORDER BY coalesce(started_wall_ns, submitted_wall_ns), length(job_id), job_id, restart, run_id",
        values,
    ).fetchall()
    parts = _Parts.of(connection, condition, values)
    jobs = (_job(row, parts) for row in rows)
    return [job for job in jobs if _has_tags(job.tags, wanted)]


def runs_named(connection: sqlite3.Connection, text: str) -> list[str]:
    """The runs that ``text`` means beside those of ``JobFilter.jobs``, oldest first: ``latest``, the beginning or end
    of a run id (digits alone are a job id, not a part of one), or the name of a job.
    """
    text = clean_text(text)
    runs = connection.execute("SELECT run_id, name FROM runs ORDER BY run_id").fetchall()
    if text == "latest":
        return [row["run_id"] for row in runs[-1:]]
    parts = [row["run_id"] for row in runs if row["run_id"].startswith(text) or row["run_id"].endswith(text)]
    if len(text) >= 4 and not text.isdigit() and parts:
        return parts
    return [row["run_id"] for row in runs if row["name"] == text]


_Key = tuple[str, str, int]
"""An ``AttemptKey`` as a plain tuple."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What hangs on the jobs that are wanted, by their keys: one query a table, however many jobs they are."""

    channels: dict[_Key, list[ChannelRow]]
    sessions: dict[_Key, list[SessionRow]]
    missing_sensors: dict[_Key, list[MissingSensorRow]]
    logs: dict[_Key, str]

    @classmethod
    def of(cls, connection: sqlite3.Connection, condition: str, values: Sequence[str | int]) -> _Parts:
        """Read them for the jobs that fit ``condition``."""
        attempts = f"SELECT run_id, job_id, restart FROM jobs JOIN runs USING (run_id) WHERE {condition}"

        def rows(table: LedgerTable[_R]) -> dict[_Key, list[_R]]:
            found: dict[_Key, list[_R]] = {}
            for key, row in table.rows_of(connection, attempts, values):
                found.setdefault(key, []).append(row)
            return found

        logged = connection.execute(
            f"SELECT run_id, job_id, restart, content FROM files WHERE (run_id, job_id, restart) IN ({attempts})"
            " AND kind = 'log' AND accepted AND content IS NOT NULL ORDER BY name DESC",
            values,
        )
        logs = {(run_id, job_id, restart): str(json.loads(content)) for run_id, job_id, restart, content in logged}
        return cls(rows(CHANNELS), rows(SESSIONS), rows(MISSING_SENSORS), logs)


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


_WIDTH = len(JOBS.columns)


def _job(row: tuple[Any, ...], parts: _Parts) -> JobRow:
    attempt, run = JOBS.codec.of_row(row[:_WIDTH]), RUNS.codec.of_row(row[_WIDTH:])
    key = attempt.key
    return JobRow(
        **{**vars(run), **vars(attempt)},
        channels=tuple(parts.channels.get(key, ())),
        sessions=tuple(parts.sessions.get(key, ())),
        missing_sensors=tuple(parts.missing_sensors.get(key, ())),
        sidecar_log=parts.logs.get(key),
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

    job: AttemptKey
    day_s: int
    component: str
    quality: str
    energy_uj: int
    range_uj: tuple[int, int] | None
    """The part of the range of its channels that this energy is of them; None where nothing is modelled."""
    measured_ns: int
    shared: bool
    """Whether any of it is a share of a node's energy."""
    lacks_idle: bool
    """Whether the idle power of the node is not included in any of these shares."""


def _part_of(end: str) -> str:
    """SQL for the sum of a column of channels, each as far as its energy lies in these buckets."""
    return f"sum(CAST(e.energy_uj AS REAL) / nullif(c.energy_uj, 0) * {end})"


def energy_by_day(connection: sqlite3.Connection, jobs: Sequence[JobRow]) -> list[DayRow]:
    """The counted energy of ``jobs`` by UTC day, from the buckets."""
    found: list[DayRow] = []
    for job in jobs:
        rows = connection.execute(
            "SELECT e.bucket_start_s / 86400 * 86400 AS day_s, c.component, c.quality,"
            f" {exact_sum('e.energy_uj', 'energy_uj')}, {exact_sum('e.measured_ns', 'measured_ns')},"
            f" {_part_of('c.low_uj')} AS low_uj, {_part_of('c.high_uj')} AS high_uj, max(c.low_uj IS NULL) AS unranged,"
            f" max(c.attribution = '{Attribution.CPU_SHARE}') AS shared,"
            f" max(c.attribution = '{Attribution.CPU_SHARE}' AND c.idle_power IS NULL) AS lacks_idle"
            " FROM energy e JOIN channels c USING (run_id, job_id, restart, node, channel)"
            " WHERE e.run_id = ? AND e.job_id = ? AND e.restart = ?"
            " AND c.counted AND c.boundary = 'components' AND e.energy_uj IS NOT NULL"
            " GROUP BY day_s, c.component, c.quality ORDER BY day_s, c.component, c.quality",
            job.key,
        )
        found.extend(
            DayRow(
                job.key,
                day_s=row["day_s"],
                component=row["component"],
                quality=row["quality"],
                energy_uj=summed(row["energy_uj_high"], row["energy_uj_low"]),
                range_uj=None if row["unranged"] else (round(row["low_uj"] or 0), round(row["high_uj"] or 0)),
                measured_ns=summed(row["measured_ns_high"], row["measured_ns_low"]),
                shared=bool(row["shared"]),
                lacks_idle=bool(row["lacks_idle"]),
            )
            for row in rows
        )
    return found
