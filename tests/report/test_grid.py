"""A table in a narrow terminal loses columns, never digits."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hpcfrugal.report.grid import Column, Grid


def show(grid: Grid, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    console.print(grid, crop=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def grid() -> Grid:
    columns = (
        Column("Job", "word"),
        Column("Name", "text"),
        Column("Started", "word", drop=1),
        Column("Errors", drop=2),
        Column("Energy"),
    )
    grid = Grid(columns)
    grid.add(("20261121T100000Z-6b86b273", "[bold]a rather long name", "2026-11-21 10:00", "123", "1234567.891"))
    grid.line()
    grid.add(("total", "", "", "", "9234567.891"))
    return grid


@pytest.mark.parametrize("width", range(1, 120, 3))
def test_what_stays_is_whole(grid: Grid, width: int) -> None:
    shown = show(grid, width)
    assert "20261121T100000Z-6b86b273" in shown
    assert "1234567.891" in shown
    assert "9234567.891" in shown
    assert ("10:00" in shown) == ("2026-11-21 10:00" in shown)
    lines = shown.splitlines()
    assert len(lines) == 3
    smallest = 25 + 2 + 8 + 2 + 11
    assert all(len(line) <= max(width, smallest) for line in lines)


def test_the_least_important_column_goes_first(grid: Grid) -> None:
    assert list(grid.fit(200)) == [0, 1, 2, 3, 4]
    assert list(grid.fit(70)) == [0, 1, 3, 4]
    assert list(grid.fit(50)) == [0, 1, 4]
    assert list(grid.fit(1)) == [0, 1, 4]


def test_texts_are_shortened_before_columns_go(grid: Grid) -> None:
    natural = sum(grid.fit(500).values()) + 8
    assert list(grid.fit(natural - 10)) == [0, 1, 2, 3, 4]
    assert "[bold]a rat…  2026-11-21 10:00" in show(grid, natural - 12)


def test_a_row_must_fill_its_columns(grid: Grid) -> None:
    with pytest.raises(ValueError, match="1 cells for 5"):
        grid.add(("x",))


def test_wide_characters_count_as_two() -> None:
    grid = Grid((Column("Name", "text"), Column("Energy")))
    grid.add(("試験試験試験試験試験", "1.000"))
    assert show(grid, 18).splitlines()[1] == "試験試験 …   1.000"
