"""A table in a narrow terminal loses columns, never digits."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from hpcfrugal.report.formats.fitted_table import FittedTable
from hpcfrugal.report.view import Cell, Column, Table


def show(grid: Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    console.print(FittedTable(grid), crop=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def grid() -> Table:
    columns = (
        Column("Job", "word"),
        Column("Name", "text"),
        Column("Started", "word", drop=1),
        Column("Errors", drop=2),
        Column("Energy"),
    )
    grid = Table(columns)
    grid.add(("20261121T100000Z-6b86b273", "[bold]a rather long name", "2026-11-21 10:00", "123", "1234567.891"))
    grid.add(("total", "", "", "", "9234567.891"), apart=True)
    return grid


@pytest.mark.parametrize("width", range(1, 120, 3))
def test_what_stays_is_whole(grid: Table, width: int) -> None:
    shown = show(grid, width)
    assert "20261121T100000Z-6b86b273" in shown
    assert "1234567.891" in shown
    assert "9234567.891" in shown
    assert ("10:00" in shown) == ("2026-11-21 10:00" in shown)
    lines = shown.splitlines()
    assert len(lines) == 4
    assert set(lines[2]) == {"─"}
    smallest = 25 + 2 + 8 + 2 + 11
    assert all(len(line) <= max(width, smallest) for line in lines)


def test_the_least_important_column_goes_first(grid: Table) -> None:
    assert list(FittedTable(grid).fit(200)) == [0, 1, 2, 3, 4]
    assert list(FittedTable(grid).fit(70)) == [0, 1, 3, 4]
    assert list(FittedTable(grid).fit(50)) == [0, 1, 4]
    assert list(FittedTable(grid).fit(1)) == [0, 1, 4]


def test_texts_are_shortened_before_columns_go(grid: Table) -> None:
    natural = sum(FittedTable(grid).fit(500).values()) + 8
    assert list(FittedTable(grid).fit(natural - 10)) == [0, 1, 2, 3, 4]
    assert "[bold]a rat…  2026-11-21 10:00" in show(grid, natural - 12)


def of_domains(*domains: str, node: str = "gpu-a100-0001") -> Table:
    grid = Table(
        (Column("Node", "text", key=True), Column("Domain", "text", drop=1, key=True), Column("Jobs", drop=2),
         Column("Energy"))
    )  # fmt: skip
    for domain in domains:
        grid.add((node, domain, "12", "1.000"))
    return grid


def test_a_column_that_tells_rows_apart_stays_while_others_can_go() -> None:
    several, one = of_domains("package-0", "package-1"), of_domains("package-0")
    assert list(FittedTable(several).fit(37)) == [0, 1, 2, 3]
    assert list(FittedTable(one).fit(30)) == [0, 2, 3]
    assert list(FittedTable(several).fit(30)) == [0, 1, 3]
    assert list(FittedTable(several).fit(10)) == [0, 3]


def test_what_tells_rows_apart_keeps_its_end_and_stays_different() -> None:
    lines = show(of_domains("package-0-die-0/dram", "package-1-die-0/dram", node="gpu-cluster-a100-0123"), 37)
    assert [line.split()[:2] for line in lines.splitlines()[1:]] == [
        ["gpu…0123", "package-0…ie-0/dram"],
        ["gpu…0123", "package-1…ie-0/dram"],
    ]


def test_a_row_must_fill_its_columns(grid: Table) -> None:
    with pytest.raises(ValueError, match="1 cells for 5"):
        grid.add(("x",))


def test_a_cell_keeps_its_role_and_the_row_has_its_own() -> None:
    grid = Table((Column("State", "word"), Column("Energy")))
    grid.add((Cell("RUNNING", "running"), "1.000"))
    grid.add((Cell("all", "running"), "12.000"), "total", apart=True)
    console = Console(file=io.StringIO(), width=40, force_terminal=True, color_system="standard", legacy_windows=False)
    console.print(FittedTable(grid))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[1] == "\x1b[36mRUNNING  \x1b[0m 1.000"
    assert lines[2] == f"\x1b[2m{'─' * 15}\x1b[0m"
    assert lines[3] == "\x1b[1;36mall      \x1b[0m\x1b[1m12.000\x1b[0m"


def test_ten_thousand_rows_are_fast() -> None:
    grid = Table(tuple(Column(f"Column {number}") for number in range(10)))
    for row in range(10_000):
        grid.add([f"{row}.{number}" for number in range(10)])
    began = time.process_time()
    shown = show(grid, 200)
    assert len(shown.splitlines()) == 10_001
    # A table of rich's own would take a millisecond a row.
    assert time.process_time() - began < 3


def test_wide_characters_count_as_two() -> None:
    grid = Table((Column("Name", "text"), Column("Energy")))
    grid.add(("試験試験試験試験試験", "1.000"))
    assert show(grid, 18).splitlines()[1] == "試験試験 …   1.000"


@pytest.mark.parametrize("width", [60, 22])
def test_in_ascii_the_columns_still_stand_below_each_other(width: int) -> None:
    table = Table((Column("Name", "text"), Column("CO2e [µg]"), Column("Modelled")))
    table.add(("a long name of a job", "≥ 3.487", "–"))
    table.add(("b", "12.000", "unknown"))
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    Console(file=out, width=width).print(FittedTable(table), crop=False)
    out.seek(0)
    head, first, second = out.read().splitlines()
    assert ">= 3.487" in first
    assert first.endswith("-")
    assert (len(head), len(first)) == (len(second), len(second))
    assert ("a lon..." in first) == (width == 22)
