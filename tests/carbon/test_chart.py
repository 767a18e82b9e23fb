"""The picture of a series: heights, gaps, axes, chosen windows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hpcfrugal.carbon import CarbonSeries
from hpcfrugal.carbon.chart import ChartRow, draw

T = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def series(values: list[float | None], step: timedelta = HOUR) -> CarbonSeries:
    return CarbonSeries.from_values(T, step, values, zone="X", signal="average", kind="forecast")


def text(rows: list[ChartRow]) -> list[str]:
    return ["".join(piece.text for piece in row) for row in rows]


def test_bars_stand_on_zero() -> None:
    rows = text(draw(series([100, 50, 25, 0]), width=28, height=4))
    assert rows[0] == "   100 │█████               "
    assert rows[2].startswith("    50 │")
    plot = [row[8:] for row in rows[:4]]
    columns = ["".join(row[index] for row in plot) for index in range(20)]
    assert columns[0] == "████"
    assert columns[5] == "  ██"
    assert columns[10] == "   █"
    assert columns[15] == "   ▁", "nothing is still known"


def test_a_gap_is_not_drawn_as_a_low_bar() -> None:
    rows = text(draw(series([100, None, 100, 100]), width=28, height=4))
    assert rows[3][8:] == "█████?????██████████"
    assert rows[0][8:] == "█████     ██████████"


def test_styles_are_the_thirds() -> None:
    row = draw(series([100, 150, 200]), width=38, height=4)[3]
    assert [piece.style for piece in row] == ["axis", "low", "middle", "high"]
    assert {piece.style for piece in draw(series([5, 5]), width=28)[7]} == {"axis", "middle"}


def test_axes() -> None:
    rows = text(draw(series([1.0] * 48), width=80, height=4))
    assert rows[0].startswith("     1 │")
    assert rows[4].startswith("     0 └───")
    assert rows[5].split() == ["06:00", "12:00", "18:00", "00:00", "06:00", "12:00", "18:00", "00:00"]
    assert rows[6].split() == ["Sat", "21", "Sun", "22", "Mon", "23", "UTC"]
    assert rows[5].index("12:00") - 8 == 72 * 6 // 48


@pytest.mark.parametrize("count", [1, 13, 48, 400])
def test_labels_of_the_time_axis_stay_within_the_width(count: int) -> None:
    for minutes in range(0, 24 * 60, 25):
        start = T + timedelta(minutes=minutes)
        shown = CarbonSeries.from_values(start, HOUR, [100.0] * count, zone="X", signal="average", kind="forecast")
        for width in (28, 52, 60, 79, 80, 120):
            *_, clock, days = text(draw(shown, width=width, height=2))
            assert max(len(clock), len(days)) <= width
            assert ":" in clock
            assert days.endswith(" UTC")


def test_seconds() -> None:
    rows = text(draw(series([1.0] * 12, timedelta(seconds=5)), width=80))
    assert rows[-2].split()[:3] == ["06:00:00", "06:00:15", "06:00:30"]


def test_chosen_windows_are_marked() -> None:
    rows = text(
        draw(series([1.0] * 20), width=28, chosen=[(T + 2 * HOUR, T + 4 * HOUR), (T + 9 * HOUR, T + 10 * HOUR)])
    )
    assert rows[9][8:] == "  ━━     ━"


def test_plain_characters() -> None:
    rows = text(draw(series([100, 0, None, 50]), width=28, ascii_only=True, chosen=[(T, T + HOUR)]))
    assert "".join(rows).isascii()
    assert rows[7][8:] == "#####_____?????#####"


@pytest.mark.parametrize("values", [[0.0], [None, 1.0], [0.001, 0.002], [5000.0] * 500])
@pytest.mark.parametrize("width", [1, 30, 300])
def test_any_series_can_be_drawn(values: list[float | None], width: int) -> None:
    rows = text(draw(series(values), width=width))
    assert len({len(row) for row in rows[:8]}) == 1
    assert len(rows) == 11
    assert len(rows[0]) <= max(width, 28)
