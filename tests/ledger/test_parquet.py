"""The views as Parquet files: the same rows, with types, for programs that read these."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.parquet as pq
import pytest
from fake_agent import FakeAgent
from fake_spool import PACKAGE, START_NS, FakeSpool
from program import call_program

from hpcfrugal.core.errors import InputError, SetupError
from hpcfrugal.core.lock import take_lock
from hpcfrugal.ledger.column_types import column_type
from hpcfrugal.ledger.due import Defaults
from hpcfrugal.ledger.parquet import MARK, VIEW_TIMES, write_parquet
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync

A_MONTH = 31 * 86400


@pytest.fixture
def ledger(spool: FakeSpool) -> Path:
    """Jobs of two months, one without energy and one that has not started."""
    spool.whole_run("17")
    run = spool.run("18", user="a'; DROP TABLE jobs --")
    wall_ns = run.header()["wall_ns"] + A_MONTH * 10**9
    run.samples([run.header("18", channels=[PACKAGE], wall_ns=wall_ns), *run.records([7], 60)], "18")
    run.slurm(job_id="18", submitted_s=A_MONTH, start_s=A_MONTH, end_s=A_MONTH + 60)
    spool.run("19").slurm("FAILED", job_id="19")
    spool.run("20")
    for start_ns in (START_NS, START_NS + A_MONTH * 10**9):
        agent = FakeAgent(spool.root, start_ns=start_ns)
        agent.start("19", 7)
        agent.advance(900)
    sync(spool.root, spool.ledger, defaults=Defaults("DE", None))
    return spool.ledger


def rows_of(ledger: Path, view: str) -> list[tuple[Any, ...]]:
    with open_ledger(ledger) as connection:
        connection.row_factory = None
        return connection.execute(f"SELECT * FROM {view}").fetchall()


def in_sqlite(value: object) -> object:
    """A value of Parquet as the views have it."""
    if isinstance(value, datetime):
        return value.timestamp()
    return value.isoformat() if isinstance(value, date) else value


def comparable(rows: list[tuple[Any, ...]], names: list[str]) -> list[tuple[Any, ...]]:
    times = [column_type(name) == "time" for name in names]
    return sorted(
        (
            tuple(
                datetime.fromisoformat(value).timestamp() if is_time and isinstance(value, str) else in_sqlite(value)
                for value, is_time in zip(row, times, strict=True)
            )
            for row in rows
        ),
        key=repr,
    )


@pytest.mark.parametrize("by_month", [False, True])
@pytest.mark.parametrize("view", VIEW_TIMES)
def test_the_files_have_the_rows_of_the_view(ledger: Path, tmp_path: Path, view: str, by_month: bool) -> None:
    with open_ledger(ledger) as connection:
        counted = write_parquet(connection, tmp_path / "out", [view], by_month=by_month)
    files = sorted((tmp_path / "out" / view).rglob("*.parquet"))
    assert [file.parent.name.startswith("month=20") for file in files] == [by_month] * (2 if by_month else 1)
    tables = [pq.ParquetFile(file).read() for file in files]
    names = tables[0].column_names
    found = [tuple(row.values()) for table in tables for row in table.to_pylist()]
    wanted = rows_of(ledger, view)
    assert len(wanted) > 2
    assert counted == {view: len(wanted)}
    assert comparable(found, names) == comparable(wanted, names)


@pytest.mark.parametrize("by_month", [False, True])
def test_a_view_without_rows_has_a_file_with_its_columns(spool: FakeSpool, tmp_path: Path, by_month: bool) -> None:
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        counted = write_parquet(connection, tmp_path / "out", list(VIEW_TIMES), by_month=by_month)
    assert counted == dict.fromkeys(VIEW_TIMES, 0)
    for view in VIEW_TIMES:
        table = pq.read_table(tmp_path / "out" / view)
        assert table.num_rows == 0
        assert "month" in table.column_names or not by_month
        assert "user" in table.column_names or "node" in table.column_names


def test_types_do_not_depend_on_the_values(ledger: Path, tmp_path: Path) -> None:
    with open_ledger(ledger) as connection:
        write_parquet(connection, tmp_path / "out", list(VIEW_TIMES))
    for view in VIEW_TIMES:
        schema = pq.read_schema(tmp_path / "out" / view / "part-0.parquet")
        for name, kind in zip(schema.names, schema.types, strict=True):
            (value,) = {type(row[schema.names.index(name)]) for row in rows_of(ledger, view)} - {type(None)} or {None}
            wanted = {
                str: ("string", "timestamp[us, tz=UTC]", "date32[day]"),
                float: ("double",),
                int: ("bool", "int64"),
            }
            assert value is None or str(kind) in wanted[value], name


def test_an_export_replaces_only_an_earlier_one_and_only_if_asked(ledger: Path, tmp_path: Path) -> None:
    out, others = tmp_path / "out", tmp_path / "photos"
    others.mkdir()
    (others / "cat.jpg").touch()
    with open_ledger(ledger) as connection:
        write_parquet(connection, out, ["jobs_energy"])
        for folder, replace, why in ((out, False, "--replace"), (others, True, "is no export")):
            with pytest.raises(InputError, match=why):
                write_parquet(connection, folder, ["jobs_energy"], replace=replace)
        write_parquet(connection, out, ["energy_by_day"], replace=True)
        (out / "notes.ipynb").touch()
        with pytest.raises(InputError, match=r"notes\.ipynb', which is of no export"):
            write_parquet(connection, out, ["jobs_energy"], replace=True)
        (others / MARK).symlink_to(out / MARK)
        with pytest.raises(InputError, match="is no export"):
            write_parquet(connection, others, ["jobs_energy"], replace=True)
    assert sorted(path.name for path in out.iterdir()) == [MARK, "energy_by_day", "notes.ipynb"]
    assert sorted(path.name for path in others.iterdir()) == [MARK, "cat.jpg"]
    assert sorted(path.name for path in tmp_path.iterdir() if "out" in path.name) == ["out"]


def test_nothing_is_left_of_an_export_that_fails(ledger: Path, tmp_path: Path) -> None:
    def full(_rows: int) -> None:
        raise OSError(28, "No space left on device")

    with open_ledger(ledger) as connection, pytest.raises(SetupError, match="No space left"):
        write_parquet(connection, tmp_path / "out", ["jobs_energy"], wrote=full)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_what_a_killed_export_left_is_removed_by_the_next(ledger: Path, tmp_path: Path) -> None:
    killed, at_work, other = tmp_path / ".out-a1b2c3d4", tmp_path / ".out-b1b2c3d4", tmp_path / ".out-notes123"
    for folder in (killed / "old/jobs_energy", killed / "new", at_work / "new", other / "new"):
        folder.mkdir(parents=True)
    (killed / ".lock").touch()
    with open_ledger(ledger) as connection, take_lock(at_work / ".lock"):
        write_parquet(connection, tmp_path / "out", ["jobs_energy"])
    assert [path.exists() for path in (killed, at_work, other)] == [False, True, True]


@pytest.mark.parametrize("replace", [False, True])
def test_an_export_to_the_same_folder_that_starts_at_the_same_time(
    ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    out = tmp_path / "out"

    def second_export_first(path: Path) -> BinaryIO:
        monkeypatch.undo()
        path.touch()  # made, but not locked yet
        write_parquet(connection, out, ["jobs_energy"])
        return take_lock(path)

    monkeypatch.setattr("hpcfrugal.ledger.parquet.take_lock", second_export_first)
    with open_ledger(ledger) as connection:
        if replace:
            assert write_parquet(connection, out, ["energy_by_day"], replace=True).keys() == {"energy_by_day"}
        else:
            with pytest.raises(InputError, match="exists"):
                write_parquet(connection, out, ["energy_by_day"])
    assert sorted(path.name for path in out.iterdir()) == [MARK, "energy_by_day" if replace else "jobs_energy"]
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == ["out"]


def test_the_command(ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import duckdb

    out = tmp_path / "out"
    words = ("ledger", "export", "parquet", "--ledger", str(ledger), str(out), "--partition-by", "month")
    assert "4 rows of jobs_energy" in call_program(capsys, *words).out
    query = f"SELECT month, sum(energy_kwh) FROM '{out}/jobs_energy/**/*.parquet' GROUP BY month ORDER BY month"
    with duckdb.connect() as connection:
        by_month = connection.execute(query).fetchall()
    assert len(by_month) == 2
    assert sum(kwh or 0 for _, kwh in by_month) == pytest.approx(
        sum(row[0] or 0 for row in rows_of(ledger, "(SELECT energy_kwh FROM jobs_energy)"))
    )
    again = call_program(capsys, *words)
    assert (again.code, "--replace" in again.err) == (2, True)
