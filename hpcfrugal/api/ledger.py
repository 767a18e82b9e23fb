"""The ledger from Python: brought up to date, and read into pandas."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcfrugal.api.messages import LoggedMessages
from hpcfrugal.api.sync import Update
from hpcfrugal.core.errors import InputError, Problem
from hpcfrugal.job.command_types import to_value
from hpcfrugal.ledger.queries import JobFilter
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import SyncResult
from hpcfrugal.report.group_keys import checked_groupings
from hpcfrugal.report.period import Bound, Period, period
from hpcfrugal.settings.config import load_config

if TYPE_CHECKING:
    import pandas as pd


class Ledger:
    """A ledger of jobs and their energy.

    ``path`` is its file; None is the one of the settings. Nothing is opened before a method is called, and no method
    but ``sync`` changes the file.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = load_config().ledger if path is None else Path(path).expanduser()

    def __repr__(self) -> str:
        return f"Ledger({str(self.path)!r})"

    def sync(self, *, offline: bool = False) -> SyncResult:
        """Bring the ledger up to date: query Slurm, read what is new in the spool, fetch carbon intensities.

        What cannot be queried is a warning in the log ``hpcfrugal``, and all else is up to date then. ``offline``:
        neither power meters nor carbon intensity providers are queried.

        Raises:
            DataError: the ledger is damaged or of another version.
            SetupError: it cannot be opened, locked or written.
        """
        config = load_config()
        result, _ = Update(config, config.spool, self.path, LoggedMessages(), offline=offline).run()
        return result

    def jobs(
        self,
        *,
        since: Bound = None,
        until: Bound = None,
        user: str | None = None,
        tags: Mapping[str, str | float] | None = None,
    ) -> pd.DataFrame:
        """One row for each execution of a job, oldest first, with the columns of the view ``jobs_energy``.

        A missing value is ``pandas.NA``; ``submitted``, ``started`` and ``ended`` are in UTC, ``complete`` is boolean.

        Args:
            since, until: only jobs that started then: an aware datetime, a date, or a text as for `hpcfrugal report`
                (7d, yesterday, 2026-11, 2026-11-21; of a day or month `until` is the end). None is no bound.
            user: only jobs of this user.
            tags: only jobs with these tags; a number is its digits, as in a job file.

        Raises:
            InputError: what is no time, a datetime without a time zone, `until` before `since`, or a user or tags in
                another form.
            DataError, SetupError: the ledger is damaged, or there is none.
        """
        from hpcfrugal.ledger.column_types import column_type
        from hpcfrugal.ledger.queries import JOBS_AND_RUNS, STARTED, conditions
        from hpcfrugal.ledger.views import JOBS_ENERGY

        condition, values = conditions(_wanted(since, until, user, tags))
        chosen = f"SELECT job FROM {JOBS_AND_RUNS} WHERE {condition}"
        with open_ledger(self.path) as connection:
            query = f"{JOBS_ENERGY} WHERE jobs.job IN ({chosen}) ORDER BY {STARTED}, length(jobs.job_id), jobs.job_id"
            found = _rows(connection, query, values)
        import pandas as pd

        for name in found:
            if column_type(str(name)) == "time":
                found[name] = pd.to_datetime(found[name], utc=True, format="ISO8601")
        kinds = {"boolean": "boolean", "decimal": "Float64", "integer": "Int64", "text": "string"}
        return found.astype({name: kinds[kind] for name in found if (kind := column_type(str(name))) in kinds})

    def energy(
        self,
        by: str | Sequence[str] = (),
        *,
        since: Bound = None,
        until: Bound = None,
        user: str | None = None,
        tags: Mapping[str, str | float] | None = None,
    ) -> pd.DataFrame:
        """The energy used in a period, in groups: one row for each, with the columns of `hpcfrugal report --csv`.

        Args:
            by: what to group by, one or two of `user`, `account`, `partition`, `qos`, `name`, `project`, `phase`,
                `tag:KEY`, `node`, `component`, `day` and `month`; without it there is one row.
            since, until, user, tags: as for ``jobs``. Of a job that ran across a bound the part within counts.

        Raises what ``jobs`` raises, and InputError for an unknown grouping.
        """
        from hpcfrugal.report.jobs import JobsReport

        keys = checked_groupings((by,) if isinstance(by, str) else by, "by")
        wanted = _wanted(since, until, user, tags)
        with open_ledger(self.path) as connection:
            sheet = JobsReport(connection, Period(), wanted, keys).group_sheet()
            return _frame(sheet.names, [*sheet.rows])

    def sql(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> pd.DataFrame:
        """The rows of an SQL query, one column for each of its columns; NULL is ``pandas.NA``.

        ``parameters`` fill the query's ``?`` or ``:name``. docs/ledger.md describes tables and views.

        Raises:
            InputError: SQLite refuses the query or its parameters.
            DataError, SetupError: the ledger is damaged, or there is none.
        """
        if isinstance(parameters, str):
            raise InputError.at("parameters", "is a text", "give a list, such as [text]")
        with open_ledger(self.path) as connection:
            try:
                return _rows(connection, query, parameters)
            except (sqlite3.OperationalError, sqlite3.ProgrammingError, sqlite3.Warning) as error:
                raise InputError.at("query", f"SQLite refuses it: {error}") from error


def _wanted(since: Bound, until: Bound, user: str | None, tags: Mapping[str, str | float] | None) -> JobFilter:
    span = period(since, until)
    problems = []
    if not isinstance(user, str | None):
        problems.append(Problem("user", f"is a {type(user).__name__}", "give the name of one user"))
    given = {} if tags is None else tags
    if not isinstance(given, Mapping) or not all(isinstance(value, str | int | float) for value in given.values()):
        problems.append(Problem("tags", "is no mapping of names to texts", 'give {"project": "climate"}'))
    if problems:
        raise InputError(problems)
    pairs = tuple((name, to_value(value)) for name, value in given.items())
    return JobFilter(since_ns=span.since_ns, until_ns=span.until_ns, user=user, tags=pairs)


def _rows(connection: sqlite3.Connection, query: str, parameters: Sequence[Any] | Mapping[str, Any]) -> pd.DataFrame:
    cursor = connection.cursor()
    cursor.row_factory = None
    cursor.execute(query, parameters)
    return _frame([name for name, *_ in cursor.description or ()], cursor.fetchall())


_TYPES = (
    (frozenset({bool}), "boolean"),
    (frozenset({int}), "Int64"),
    (frozenset({int, float}), "Float64"),
    (frozenset({str}), "string"),
)
"""The pandas type of a column by the types of its values."""


def _frame(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """Rows as a table with pandas' types for missing values. The type of a column follows from that of its values
    alone, so that whole numbers of joules stay decimals.
    """
    import pandas as pd

    def column(index: int) -> pd.Series[Any]:
        values = [pd.NA if row[index] is None else row[index] for row in rows]
        found = {type(value) for value in values if value is not pd.NA}
        kind = next((kind for types, kind in _TYPES if found and found <= types), "object")
        return pd.Series(values, dtype=kind)

    return pd.concat({index: column(index) for index in range(len(columns))}, axis=1).set_axis(list(columns), axis=1)
