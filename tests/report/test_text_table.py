"""A table in a narrow terminal loses columns, never digits."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console
from rich.text import Text

from hpcfrugal.report.text_table import Column, TextTable


def show(grid: TextTable, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    console.print(grid, crop=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def grid() -> TextTable:
    columns = (
        Column("Job", "word"),
        Column("Name", "text"),
        Column("Started", "word", drop=1),
        Column("Errors", drop=2),
        Column("Energy"),
    )
    grid = TextTable(columns)
    grid.add(("20261121T100000Z-6b86b273", "[bold]a rather long name", "2026-11-21 10:00", "123", "1234567.891"))
    grid.line()
    grid.add(("total", "", "", "", "9234567.891"))
    return grid


@pytest.mark.parametrize("width", range(1, 120, 3))
def test_what_stays_is_whole(grid: TextTable, width: int) -> None:
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


def test_the_least_important_column_goes_first(grid: TextTable) -> None:
    assert list(grid.fit(200)) == [0, 1, 2, 3, 4]
    assert list(grid.fit(70)) == [0, 1, 3, 4]
    assert list(grid.fit(50)) == [0, 1, 4]
    assert list(grid.fit(1)) == [0, 1, 4]


def test_texts_are_shortened_before_columns_go(grid: TextTable) -> None:
    natural = sum(grid.fit(500).values()) + 8
    assert list(grid.fit(natural - 10)) == [0, 1, 2, 3, 4]
    assert "[bold]a rat…  2026-11-21 10:00" in show(grid, natural - 12)


def test_a_row_must_fill_its_columns(grid: TextTable) -> None:
    with pytest.raises(ValueError, match="1 cells for 5"):
        grid.add(("x",))


def test_a_cell_keeps_its_style_and_the_row_has_its_own() -> None:
    grid = TextTable((Column("State", "word"), Column("Energy")))
    grid.add((Text("RUNNING", style="cyan"), "1.000"))
    grid.line()
    grid.add((Text("all", style="cyan"), "12.000"), style="bold")
    console = Console(file=io.StringIO(), width=40, force_terminal=True, color_system="standard", legacy_windows=False)
    console.print(grid)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[1] == "\x1b[36mRUNNING  \x1b[0m 1.000"
    assert lines[2] == f"\x1b[2m{'─' * 15}\x1b[0m"
    assert lines[3] == "\x1b[1;36mall      \x1b[0m\x1b[1m12.000\x1b[0m"


def test_ten_thousand_rows_do_not_keep_anybody_waiting() -> None:
    grid = TextTable(tuple(Column(f"Column {number}") for number in range(10)))
    for row in range(10_000):
        grid.add([f"{row}.{number}" for number in range(10)])
    began = time.process_time()
    shown = show(grid, 200)
    assert len(shown.splitlines()) == 10_001
    # A table of rich's own would take a millisecond a row.
    assert time.process_time() - began < 3


def test_wide_characters_count_as_two() -> None:
    grid = TextTable((Column("Name", "text"), Column("Energy")))
    grid.add(("試験試験試験試験試験", "1.000"))
    assert show(grid, 18).splitlines()[1] == "試験試験 …   1.000"


@pytest.mark.parametrize("width", [60, 22])
def test_in_ascii_the_columns_still_stand_below_each_other(width: int) -> None:
    table = TextTable((Column("Name", "text"), Column("CO2e [µg]"), Column("Modelled")))
    table.add(("a long name of a job", "≥ 3.487", "–"))
    table.add(("b", "12.000", "unknown"))
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    Console(file=out, width=width).print(table, crop=False)
    out.seek(0)
    head, first, second = out.read().splitlines()
    assert ">= 3.487" in first
    assert first.endswith("-")
    assert (len(head), len(first)) == (len(second), len(second))
    assert ("a lon..." in first) == (width == 22)
