"""Reading the ledger: jobs with their channels and sessions, chosen by time, owner and tags."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.text import clean_text
from hpcfrugal.ledger.rows import NO_RUN, JobRow, RunRow
from hpcfrugal.ledger.table import LedgerTable
from hpcfrugal.ledger.tables import CHANNELS, JOB_ENERGY, JOB_TOTALS, JOBS, MISSING_SENSORS, RUNS, SESSIONS
from hpcfrugal.ledger.total_rows import NO_TOTALS, JobTotalsRow
from hpcfrugal.spool.job_names import LATEST_RUN, is_part_of_run_id

_R = TypeVar("_R")

JOBS_AND_RUNS = f"jobs LEFT JOIN runs USING (run) {JOBS.joins} {RUNS.joins}"
"""SQL for jobs with their runs, where they have one, and all texts; the conditions of a ``JobFilter`` are about it."""

STARTED = "coalesce(jobs.started_wall_ns, jobs.submitted_wall_ns)"
"""SQL for the time to which a job belongs."""

_ORDER = (STARTED, "length(jobs.job_id)", "jobs.job_id", "jobs.restart", "runs.run_id")

_BATCH = 300
"""Jobs whose channels and sessions are held in memory at one time."""

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
    return list(iter_jobs(connection, wanted))


def iter_jobs(
    connection: sqlite3.Connection, wanted: JobFilter, *, latest: int | None = None, details: bool = True
) -> Iterator[JobRow]:
    """Jobs that fit, in the order of their start, read as they are asked for; at most so many of the ``latest``.

    Without ``details`` they have their totals, but no channels, sessions and missing sensors.
    """
    condition, values = _latest(wanted, latest)
    return _jobs(connection, condition, values, _ORDER, details)


def _latest(wanted: JobFilter, latest: int | None) -> tuple[str, list[str | int]]:
    """The condition on jobs, at most so many of the latest, and its values."""
    condition, values = conditions(wanted)
    if latest is not None:
        down = ", ".join(f"{each} DESC" for each in _ORDER)
        condition = f"jobs.job IN (SELECT job FROM {JOBS_AND_RUNS} WHERE {condition} ORDER BY {down} LIMIT {latest})"
    return condition, values


def tag_keys(connection: sqlite3.Connection, wanted: JobFilter, *, latest: int | None = None) -> list[str]:
    """The keys of all tags of the jobs that ``iter_jobs`` finds, in order."""
    condition, values = _latest(wanted, latest)
    tags = f"SELECT name FROM texts WHERE text IN (SELECT jobs.tags FROM {JOBS_AND_RUNS} WHERE {condition})"
    query = f"SELECT DISTINCT tag.key FROM ({tags}) AS own, json_each(own.name) AS tag ORDER BY tag.key"
    return [row[0] for row in connection.execute(query, values)]


def count_jobs(connection: sqlite3.Connection, wanted: JobFilter) -> int:
    """How many jobs fit."""
    condition, values = conditions(wanted)
    source = JOBS_AND_RUNS if wanted.jobs or wanted.tags else "jobs"  # of the time and the user there is an index
    return int(connection.execute(f"SELECT count(*) FROM {source} WHERE {condition}", values).fetchone()[0])


def jobs_in(connection: sqlite3.Connection, jobs: Sequence[int]) -> Iterator[JobRow]:
    """The jobs with these keys, in the order of the keys; their channels are without times since boot."""
    for start in range(0, len(jobs), _BATCH):
        some = ", ".join(map(str, jobs[start : start + _BATCH]))
        yield from _jobs(connection, f"jobs.job IN ({some})", (), ["jobs.job"], details=True, boottimes=False)


def _jobs(
    connection: sqlite3.Connection,
    condition: str,
    values: Sequence[str | int],
    order: Sequence[str],
    details: bool,
    boottimes: bool = True,
) -> Iterator[JobRow]:
    columns = ["jobs.job", *JOBS.selected, *RUNS.selected]
    cursor = connection.cursor()
    cursor.row_factory = None
    cursor.execute(
        f"SELECT {', '.join(columns)} FROM {JOBS_AND_RUNS} WHERE {condition} ORDER BY {', '.join(order)}", values
    )
    while rows := cursor.fetchmany(_BATCH):
        keys = ", ".join(str(row[0]) for row in rows)

        def of_jobs(table: LedgerTable[_R], keys: str = keys) -> dict[int, list[_R]]:
            found: dict[int, list[_R]] = {}
            for job, row in table.rows_of(connection, keys):
                found.setdefault(job, []).append(row)
            return found

        totals, energy = of_jobs(JOB_TOTALS), of_jobs(JOB_ENERGY)
        tables = (CHANNELS, SESSIONS, MISSING_SENSORS)
        channels, sessions, missing_sensors = (of_jobs(table) if details else {} for table in tables)
        for row in rows:
            job = row[0]
            yield JobRow(
                **vars(_run(row[1 + _WIDTH :])) | vars(JOBS.record_of(row[1 : 1 + _WIDTH])),
                job=job,
                channels=tuple(
                    one.with_boottimes(sessions.get(job, ())) if boottimes else one for one in channels.get(job, ())
                ),
                sessions=tuple(sessions.get(job, ())),
                missing_sensors=tuple(missing_sensors.get(job, ())),
                totals=next(iter(totals.get(job, ())), NO_TOTALS),
                energy=tuple(energy.get(job, ())),
            )


_WIDTH = len(JOBS.selected)
_RUN_ID = RUNS.codec.columns.index("run_id")


def _run(row: Sequence[Any]) -> RunRow:
    return NO_RUN if row[_RUN_ID] is None else RUNS.record_of(row)


class RunTotals(NamedTuple):
    """The totals of a job of a run; ``task`` is that of an array."""

    run_id: str
    task: str | None
    totals: JobTotalsRow


def totals_of_runs(connection: sqlite3.Connection, run_ids: Sequence[str]) -> list[RunTotals]:
    """The totals of all jobs of these runs."""
    rows = connection.execute(
        "SELECT job, run_id, array_task_id FROM jobs JOIN runs USING (run)"
        " WHERE run_id IN (SELECT value FROM json_each(?))",
        [json.dumps(list(run_ids))],
    ).fetchall()
    jobs = {job: (run_id, task) for job, run_id, task in rows}
    of_jobs = JOB_TOTALS.rows_of(connection, "SELECT value FROM json_each(?)", [json.dumps(list(jobs))])
    return [RunTotals(*jobs[job], totals) for job, totals in of_jobs]


class NamedRun(NamedTuple):
    """A run, and the job that it became."""

    run_id: str
    job_id: str


def runs_named(connection: sqlite3.Connection, text: str) -> list[NamedRun]:
    """The runs that ``text`` means beside those of ``JobFilter.jobs``, oldest first: ``latest``, a part of a run id, or
    the name of a job.
    """
    text = clean_text(text)
    # Within a second the order of run ids is that of their random part.
    runs = connection.execute(
        "SELECT run_id, max(coalesce(array_job_id, het_job_id, job_id)), max(texts.name) FROM runs"
        " LEFT JOIN jobs USING (run) LEFT JOIN texts ON texts.text = jobs.name WHERE accepted GROUP BY run"
        " ORDER BY substr(run_id, 1, 16), created_wall_ns, run_id"
    ).fetchall()
    found = {NamedRun(run_id, job_id or run_id): name for run_id, job_id, name in runs}
    if text == LATEST_RUN:
        return list(found)[-1:]
    parts = [one for one in found if is_part_of_run_id(text, one.run_id)]
    return parts or [one for one, name in found.items() if name == text] or _alone(connection, text)


def _alone(connection: sqlite3.Connection, name: str) -> list[NamedRun]:
    """Jobs of this name that have no run, of which the job id stands in place of one."""
    ids = connection.execute(
        "SELECT coalesce(array_job_id, job_id) FROM jobs WHERE run IS NULL"
        " AND name = (SELECT text FROM texts WHERE name = ?) GROUP BY 1 ORDER BY min(submitted_wall_ns)",
        (name,),
    )
    return [NamedRun(job_id, job_id) for (job_id,) in ids]


def conditions(wanted: JobFilter) -> tuple[str, list[str | int]]:
    """SQL for the condition that ``wanted`` is, on ``JOBS_AND_RUNS``, and its values."""
    where: list[str] = []
    values: list[str | int] = []

    def add(condition: str, *new: str | int) -> None:
        where.append(condition)
        # As the texts of the spool were, so that they can be found and no database refuses them.
        values.extend(clean_text(value) if isinstance(value, str) else value for value in new)

    if wanted.since_ns is not None:
        add(f"{STARTED} >= ?", wanted.since_ns)
    if wanted.until_ns is not None:
        add(f"{STARTED} < ?", wanted.until_ns)
    if wanted.user is not None:
        add("jobs.user = (SELECT text FROM texts WHERE name = ?)", wanted.user)
    if wanted.jobs:
        named = [_named(job) for job in wanted.jobs]
        add(f"({' OR '.join(condition for condition, _ in named)})", *(value for _, some in named for value in some))
    for key, value in wanted.tags:
        add("EXISTS (SELECT 1 FROM json_each(jobs_tags.name) AS tag WHERE tag.key = ? AND tag.value = ?)", key, value)
    return " AND ".join(where) or "TRUE", values


def _named(job: str) -> tuple[str, tuple[str, ...]]:
    """The condition for one way to name a job, and its values."""
    task = _ARRAY_TASK.fullmatch(job)
    if task is not None:
        return "(jobs.array_job_id = ? AND jobs.array_task_id = ?)", (task["array"], task["task"])
    return "(jobs.job_id = ? OR jobs.array_job_id = ? OR jobs.het_job_id = ? OR runs.run_id = ?)", (job,) * 4
