"""PUE by month: which figure counts when."""

from __future__ import annotations

import pytest

from hpcfrugal.core.pue import MonthlyPue, mean_pue, month_start_ns, pue_at, single_pue

DAY = 86_400 * 10**9
NOVEMBER, FEBRUARY = month_start_ns("2026-11"), month_start_ns("2027-02")
PUE = MonthlyPue((("2026-11", 1.5), ("2027-02", 1.25)))


def test_months_begin_in_utc() -> None:
    assert month_start_ns("1970-02") == 31 * DAY
    for wrong in ("2026-00", "2026-13", "26-01", "2026-1", "2026-01-01", "", "0000-01"):
        with pytest.raises(ValueError, match="needs a month"):
            month_start_ns(wrong)


def test_a_month_without_a_figure_has_that_of_the_one_before_and_times_before_have_the_first() -> None:
    figures = {day: PUE.at(NOVEMBER + day * DAY) for day in (-400, -1, 0, 61, 91, 92, 500)}
    assert figures == {-400: 1.5, -1: 1.5, 0: 1.5, 61: 1.5, 91: 1.5, 92: 1.25, 500: 1.25}
    assert (pue_at(1.2, NOVEMBER), pue_at(None, NOVEMBER), pue_at(PUE, FEBRUARY)) == (1.2, None, 1.25)


def test_the_mean_is_by_time_and_a_single_figure_is_one_that_does_not_change() -> None:
    assert mean_pue(PUE, FEBRUARY - DAY, FEBRUARY + 3 * DAY) == pytest.approx((1.5 + 3 * 1.25) / 4)
    assert mean_pue(PUE, FEBRUARY, FEBRUARY) == 1.25
    assert single_pue(PUE, FEBRUARY - DAY, FEBRUARY) == 1.5
    assert single_pue(PUE, FEBRUARY - DAY, FEBRUARY + 1) is None
    assert single_pue(PUE, FEBRUARY, FEBRUARY) == 1.25
    assert (mean_pue(1.3, 0, DAY), single_pue(1.3, 0, DAY), single_pue(None, 0, DAY)) == (1.3, 1.3, None)


def test_months_are_in_order_and_each_once() -> None:
    for months in ((), (("2026-02", 1.1), ("2026-01", 1.2)), (("2026-01", 1.1), ("2026-01", 1.2))):
        with pytest.raises(ValueError, match="each once and in order"):
            MonthlyPue(months)
