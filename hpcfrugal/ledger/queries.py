"""Reading the ledger: jobs with their channels and sessions, chosen by time, owner and tags."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from hpcfrugal.core.text import clean_text
from hpcfrugal.ledger.packed import KnownBucket
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
from hpcfrugal.ledger.table import LedgerTable

_R = TypeVar("_R")

DAY_S = 86_400

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
    columns = ["jobs.job", *JOBS.selected, *RUNS.selected]
    cursor = connection.cursor()
    cursor.row_factory = None
    rows = cursor.execute(
        f"SELECT {', '.join(columns)} FROM {_JOBS} {JOBS.joins} {RUNS.joins} WHERE {condition}"
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
    runs = connection.execute(
        "SELECT run_id, max(texts.name) AS name FROM runs LEFT JOIN jobs USING (run)"
        " LEFT JOIN texts ON texts.text = jobs.name WHERE accepted GROUP BY run ORDER BY run_id"
    ).fetchall()
    if text == "latest":
        return [row["run_id"] for row in runs[-1:]]
    parts = [row["run_id"] for row in runs if row["run_id"].startswith(text) or row["run_id"].endswith(text)]
    if len(text) >= 4 and not text.isdigit() and parts:
        return parts
    return [row["run_id"] for row in runs if row["name"] == text]


_JOBS = "jobs JOIN runs USING (run)"


@dataclass(frozen=True, slots=True)
class _Parts:
    """What hangs on the jobs that are wanted, by their keys: one query a table, however many jobs they are."""

    channels: dict[int, list[ChannelRow]]
    sessions: dict[int, list[SessionRow]]
    missing_sensors: dict[int, list[MissingSensorRow]]

    @classmethod
    def of(cls, connection: sqlite3.Connection, condition: str, values: Sequence[str | int]) -> _Parts:
        """Read them for the jobs that fit ``condition``."""
        jobs = f"SELECT job FROM {_JOBS} WHERE {condition}"

        def rows(table: LedgerTable[_R]) -> dict[int, list[_R]]:
            found: dict[int, list[_R]] = {}
            for job, row in table.rows_of(connection, jobs, values):
                found.setdefault(job, []).append(row)
            return found

        return cls(rows(CHANNELS), rows(SESSIONS), rows(MISSING_SENSORS))


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
        add("jobs.user = (SELECT text FROM texts WHERE name = ?)", wanted.user)
    if wanted.jobs:
        named = [_named(job) for job in wanted.jobs]
        add(f"({' OR '.join(condition for condition, _ in named)})", *(value for _, some in named for value in some))
    return where, values


def _named(job: str) -> tuple[str, tuple[str, ...]]:
    """The condition for one way to name a job, and its values."""
    task = _ARRAY_TASK.fullmatch(job)
    if task is not None:
        return "(array_job_id = ? AND array_task_id = ?)", (task["array"], task["task"])
    return "(job_id = ? OR array_job_id = ? OR runs.run_id = ?)", (job, job, job)


_WIDTH = len(JOBS.selected)


def _job(row: tuple[Any, ...], parts: _Parts) -> JobRow:
    job, attempt, run = row[0], JOBS.record_of(row[1 : 1 + _WIDTH]), RUNS.record_of(row[1 + _WIDTH :])
    return JobRow(
        **{**vars(run), **vars(attempt)},
        job=job,
        channels=tuple(parts.channels.get(job, ())),
        sessions=tuple(parts.sessions.get(job, ())),
        missing_sensors=tuple(parts.missing_sensors.get(job, ())),
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

    job: int
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


@dataclass(slots=True)
class _DaySum:
    """The sums of one component and quality on one day. Ranges are summed as fractions of those of the channels."""

    energy_uj: int = 0
    measured_ns: int = 0
    low_uj: float = 0.0
    high_uj: float = 0.0
    ranged: bool = True
    shared: bool = False
    lacks_idle: bool = False

    def add(self, channel: ChannelRow, bucket: KnownBucket) -> None:
        self.energy_uj += bucket.energy_uj
        self.measured_ns += bucket.measured_ns
        if channel.range_uj is None:
            self.ranged = False
        elif channel.energy_uj:
            part = bucket.energy_uj / channel.energy_uj
            self.low_uj += part * channel.range_uj[0]
            self.high_uj += part * channel.range_uj[1]
        self.shared = self.shared or channel.attribution.is_share
        self.lacks_idle = self.lacks_idle or (channel.attribution.is_share and channel.idle_power is None)


def energy_by_day(jobs: Sequence[JobRow]) -> list[DayRow]:
    """The counted energy of ``jobs`` by UTC day, from the buckets."""
    return [row for job in jobs for row in _days_of(job)]


def _days_of(job: JobRow) -> Iterator[DayRow]:
    days: dict[tuple[int, str, str], _DaySum] = {}
    for channel in job.channels:
        if channel.counted and channel.boundary == "components":
            for bucket in channel.buckets:
                day_s = bucket.start_s // DAY_S * DAY_S
                days.setdefault((day_s, channel.component, channel.quality), _DaySum()).add(channel, bucket)
    for (day_s, component, quality), sums in sorted(days.items()):
        yield DayRow(
            job.job,
            day_s=day_s,
            component=component,
            quality=quality,
            energy_uj=sums.energy_uj,
            range_uj=(round(sums.low_uj), round(sums.high_uj)) if sums.ranged else None,
            measured_ns=sums.measured_ns,
            shared=sums.shared,
            lacks_idle=sums.lacks_idle,
        )
