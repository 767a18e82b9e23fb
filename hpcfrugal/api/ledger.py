"""The ledger from Python: brought up to date, and read into pandas."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcfrugal.api.messages import LoggedMessages
from hpcfrugal.api.sync import Update
from hpcfrugal.core.errors import InputError
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import SyncResult
from hpcfrugal.settings.config import load_config

if TYPE_CHECKING:
    import pandas as pd


class Ledger:
    """A ledger of jobs and their energy.

    ``path`` is its file; None is the one of the settings. Nothing is opened before a method is called, and no method
    but ``sync`` changes the file.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = load_config().ledger if path is None else Path(path)

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

    def sql(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> pd.DataFrame:
        """The rows of an SQL query, one column for each of its columns; NULL is ``pandas.NA``.

        ``parameters`` fill the query's ``?`` or ``:name``. docs/ledger.md describes tables and views.

        Raises:
            InputError: SQLite refuses the query.
            DataError, SetupError: the ledger is damaged, or there is none.
        """
        with open_ledger(self.path) as connection:
            connection.row_factory = None
            try:
                cursor = connection.execute(query, parameters)
            except (sqlite3.OperationalError, sqlite3.ProgrammingError, sqlite3.Warning) as error:
                raise InputError.at("query", f"SQLite refuses it: {error}") from error
            columns = [name for name, *_ in cursor.description or ()]
            rows = cursor.fetchall()
        return _frame(columns, rows)


_TYPES = ((frozenset({int}), "Int64"), (frozenset({int, float}), "Float64"), (frozenset({str}), "string"))
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
