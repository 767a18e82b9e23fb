"""The views of the ledger as Parquet files, which DuckDB, Polars, Dask and Spark read without this program."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, date, datetime
from glob import escape
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcfrugal.core.errors import InputError, SetupError
from hpcfrugal.core.files import write_json_atomic
from hpcfrugal.core.lock import LockHeld, take_lock
from hpcfrugal.core.text import printable
from hpcfrugal.core.version import __version__
from hpcfrugal.ledger.column_types import column_type

if TYPE_CHECKING:
    import pyarrow as pa

VIEW_TIMES = {
    "jobs_energy": "coalesce(started, submitted)",
    "energy_by_day": "day",
    **dict.fromkeys(("energy_buckets", "node_buckets", "node_job_buckets"), "started"),
}
"""The views, with SQL for the time to which a row belongs: ISO 8601 in UTC."""

MARK = "_hpcfrugal.json"
"""In each folder that is written here, so that no other one is ever replaced. Readers of Parquet pass over names that
begin with an underscore."""

_NEW, _OLD, _LOCK = "new", "old", ".lock"
"""In the hidden folder beside an export that is being made."""

_ROWS = 50_000
"""Rows that are held in memory at one time; a row group of the file."""

_NO_MONTH = "__HIVE_DEFAULT_PARTITION__"
"""Hive's name of the partition of rows without a value."""

Wrote = Callable[[int], None]
"""Takes how many more rows are written."""


def write_parquet(
    connection: sqlite3.Connection,
    folder: Path,
    views: Sequence[str],
    *,
    by_month: bool = False,
    replace: bool = False,
    wrote: Wrote | None = None,
) -> dict[str, int]:
    """Write ``folder/VIEW/part-0.parquet``, or with ``by_month`` ``folder/VIEW/month=YYYY-MM/part-0.parquet`` by UTC.

    Columns have the names of the views; missing values are null. The folder appears when it is whole. Returns
    the number of rows by view.

    Raises:
        InputError: the folder exists, and is not an earlier export alone or ``replace`` is False; also where another
            process makes it meanwhile.
        SetupError: pyarrow is missing, or the folder cannot be written.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise SetupError("Parquet needs pyarrow", hint="pip install 'hpcfrugal[parquet]'") from None
    try:
        _check_target(folder, replace)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_over(folder)
        with ExitStack() as held, tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
            temporary = Path(name)
            held.enter_context(take_lock(temporary / _LOCK))
            made = temporary / _NEW
            made.mkdir(mode=0o700)
            rows = {view: _write_view(connection, made / view, view, by_month, wrote) for view in views}
            write_json_atomic(
                made / MARK, {"hpcfrugal": __version__, "written": datetime.now(UTC).isoformat(), "rows": rows}
            )
            _check_target(folder, replace)  # another export may have made it meanwhile
            if folder.exists():
                os.rename(folder, temporary / _OLD)
            os.rename(made, folder)
    except OSError as error:
        raise SetupError(f"cannot write {folder}: {error.strerror or error}") from None
    return rows


def _remove_left_over(folder: Path) -> None:
    """Remove what exports to ``folder`` left that were killed. One that is at work holds its lock; one without either
    folder may be about to take it."""
    for path in folder.parent.glob(f".{escape(folder.name)}-????????"):
        with suppress(OSError, LockHeld):
            names = set(os.listdir(path))
            if _LOCK in names <= {_LOCK, _NEW, _OLD} and len(names) > 1 and path.lstat().st_uid == os.geteuid():
                with take_lock(path / _LOCK):
                    shutil.rmtree(path)


def _check_target(folder: Path, replace: bool) -> None:
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or (folder / MARK).is_symlink() or not (folder / MARK).is_file():
        raise InputError.at(str(folder), "exists, and is no export of hpcfrugal", "name a new folder")
    if not replace:
        raise InputError.at(str(folder), "exists", "--replace puts the new export in its place")
    if other := sorted({*os.listdir(folder)} - {MARK, *VIEW_TIMES}):
        raise InputError.at(str(folder), f"has {printable(other[0])!r}, which is of no export", "move it away")


def count_rows(connection: sqlite3.Connection, views: Sequence[str]) -> int:
    """How many rows these views have in all."""
    return sum(int(connection.execute(f"SELECT count(*) FROM {view}").fetchone()[0]) for view in views)


def _write_view(connection: sqlite3.Connection, folder: Path, view: str, by_month: bool, wrote: Wrote | None) -> int:
    import pyarrow.parquet as pq

    cursor = connection.cursor()
    cursor.row_factory = None
    time = VIEW_TIMES[view]
    cursor.execute(f"SELECT {f'substr({time}, 1, 7)' if by_month else 'NULL'}, * FROM {view} ORDER BY 1, {time}")
    schema = _schema([name for name, *_ in cursor.description][1:])
    total = 0
    if not by_month:
        folder.mkdir(mode=0o700)
    # A view without rows has a file too, in this month, so that a query finds its columns and no rows.
    some = connection.execute(f"SELECT EXISTS (SELECT 1 FROM {view})").fetchone()[0]
    this_month = f"{datetime.now(UTC):%Y-%m}"
    for month, rows in groupby(cursor, itemgetter(0)) if by_month and some else [(this_month, iter(cursor))]:
        part = folder / f"month={_NO_MONTH if month is None else month}" if by_month else folder
        part.mkdir(mode=0o700, parents=True, exist_ok=True)
        with pq.ParquetWriter(part / "part-0.parquet", schema, compression="zstd") as writer:
            for batch in _batches(rows):
                writer.write_table(_table(batch, schema))
                total += len(batch)
                if wrote is not None:
                    wrote(len(batch))
    return total


def _batches(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    batch: list[tuple[Any, ...]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _schema(names: Sequence[str]) -> pa.Schema:
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "integer": pa.int64(),
        "decimal": pa.float64(),
        "boolean": pa.bool_(),
        "time": pa.timestamp("us", tz="UTC"),
        "day": pa.date32(),
    }
    return pa.schema([(name, types[column_type(name)]) for name in names])


_READ: dict[str, Callable[[Any], Any]] = {
    "decimal": float,
    "boolean": bool,
    "time": datetime.fromisoformat,
    "day": date.fromisoformat,
}


def _table(batch: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    """The rows without their first column, the month."""
    import pyarrow as pa

    columns = []
    for place, values in zip(schema, list(zip(*batch, strict=True))[1:], strict=True):
        read = _READ.get(column_type(place.name))
        found = values if read is None else [None if value is None else read(value) for value in values]
        columns.append(pa.array(found, type=place.type))
    return pa.Table.from_arrays(columns, schema=schema)
