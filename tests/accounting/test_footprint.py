"""Energy against intensity: by hand, exactly, and nothing unknown taken for zero."""

from __future__ import annotations

from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.accounting.footprint import (
    EnergyPiece,
    IntensityLevel,
    Levels,
    LevelSource,
    Tally,
    layered,
    tallies,
    total_tally,
)
from hpcfrugal.accounting.savings import AttemptEnergy, forecast_error, moved, saving_of
from hpcfrugal.accounting.spans import joined
from hpcfrugal.core.pue import MonthlyPue, month_start_ns

UJ_PER_KWH = 3_600_000 * 10**6

S = 10**9
HOUR = 3600 * S
DAY = 24 * HOUR


def piece(start: int, end: int, energy_uj: int, of: str = "cpu", quality: str = "measured") -> EnergyPiece:
    return EnergyPiece(start, end, energy_uj, of, quality)


def energy_uj(tally: Tally) -> dict[LevelSource | None, Fraction]:
    return {source: Fraction(energy, tally.unit.energy) for source, energy in tally.energy.items()}


def grid_g(tally: Tally) -> Fraction:
    return Fraction(tally.grid, tally.unit.grid)


def known_uj(tally: Tally) -> Fraction:
    return sum((energy for source, energy in energy_uj(tally).items() if source is not None), Fraction(0))


def placed(*levels: IntensityLevel) -> list[IntensityLevel]:
    return layered([Levels(levels)], levels[0].start_ns, levels[-1].end_ns)


def test_a_kilowatt_hour_over_two_levels_by_hand() -> None:
    levels = placed(IntensityLevel(0, HOUR, 100.0), IntensityLevel(HOUR, 4 * HOUR, 300.0))
    (tally,) = tallies([piece(0, 4 * HOUR, UJ_PER_KWH)], levels, 1.2).values()
    assert tally.operational_g == Fraction(6, 5) * (25 + 225)
    assert (grid_g(tally), energy_uj(tally)) == (250, {"actual": UJ_PER_KWH})


def test_of_energy_below_a_microjoule_there_are_no_grams() -> None:
    levels = placed(IntensityLevel(0, HOUR, 300.0))
    whole = total_tally(tallies([piece(0, HOUR, 0, "dram", "modelled")], levels, 1.2))
    assert (whole.operational_g, known_uj(whole)) == (None, 0)


def test_without_a_pue_nothing_is_multiplied_and_decimals_are_taken_as_written() -> None:
    levels = placed(IntensityLevel(0, HOUR, 50.5))
    energy = [piece(0, HOUR, UJ_PER_KWH)]
    assert total_tally(tallies(energy, levels, None)).operational_g == Fraction(101, 2)
    assert total_tally(tallies(energy, levels, 1.1)).operational_g == Fraction(101, 2) * Fraction(11, 10)


def test_each_month_has_its_own_pue_within_a_piece_and_within_a_level() -> None:
    december = month_start_ns("2026-12")
    start, end = december - 3 * HOUR, december + HOUR
    levels = placed(IntensityLevel(start, december - HOUR, 100.0), IntensityLevel(december - HOUR, end, 300.0))
    by_month = MonthlyPue((("2026-11", 1.1), ("2026-12", 1.25)))
    (tally,) = tallies([piece(start, end, UJ_PER_KWH)], levels, by_month).values()
    november, then = Fraction(11, 10) * (50 + 75), Fraction(5, 4) * 75
    assert tally.operational_g == november + then
    assert (grid_g(tally), energy_uj(tally)) == (200, {"actual": UJ_PER_KWH})
    assert tally.rounded().ug == round((november + then) * 10**6)


def test_a_job_that_waited_for_another_month_is_compared_by_the_pue_of_both() -> None:
    december = month_start_ns("2026-12")
    energy = (piece(december, december + HOUR, UJ_PER_KWH),)
    grid = Levels([IntensityLevel(december - HOUR, december + HOUR, 100.0)])
    by_month = MonthlyPue((("2026-11", 1.5), ("2026-12", 1.25)))
    found = saving_of([AttemptEnergy(december, HOUR, energy)], december - HOUR, grid, by_month)
    assert found is not None
    assert (found.actual_g, found.counterfactual_g) == (125, 150)


def test_energy_without_an_intensity_is_counted_and_not_0() -> None:
    levels = placed(IntensityLevel(0, HOUR, 100.0), IntensityLevel(2 * HOUR, 3 * HOUR, 100.0))
    whole = total_tally(tallies([piece(0, 3 * HOUR, 3 * UJ_PER_KWH)], levels, None))
    assert whole.operational_g == 200
    assert known_uj(whole) == 2 * UJ_PER_KWH
    assert energy_uj(whole)[None] == UJ_PER_KWH
    nothing = total_tally(tallies([piece(0, HOUR, UJ_PER_KWH)], [], None))
    assert nothing.operational_g is None
    assert known_uj(nothing) == 0


def test_an_intensity_of_zero_is_known() -> None:
    whole = total_tally(tallies([piece(0, HOUR, UJ_PER_KWH)], placed(IntensityLevel(0, HOUR, 0.0)), None))
    assert (whole.operational_g, known_uj(whole)) == (0, UJ_PER_KWH)


def test_each_layer_fills_what_better_ones_leave_open() -> None:
    actual = Levels([IntensityLevel(HOUR, 2 * HOUR, 10.0)])
    forecast = Levels([IntensityLevel(0, 3 * HOUR, 20.0, False, "forecast")])
    mean = Levels([IntensityLevel(0, 4 * HOUR, 40.0, False, "yearly-mean")])
    found = layered([actual, forecast, mean], 0, 4 * HOUR)
    assert [(level.start_ns // HOUR, level.g_per_kwh, level.source) for level in found] == [
        (0, 20.0, "forecast"), (1, 10.0, "actual"), (2, 20.0, "forecast"), (3, 40.0, "yearly-mean"),
    ]  # fmt: skip
    whole = total_tally(tallies([piece(0, 4 * HOUR, 4 * UJ_PER_KWH)], found, None))
    assert whole.operational_g == 90
    assert energy_uj(whole) == {"actual": UJ_PER_KWH, "forecast": 2 * UJ_PER_KWH, "yearly-mean": UJ_PER_KWH}
    assert Fraction(whole.open, whole.unit.energy) == 3 * UJ_PER_KWH


def test_a_job_of_seconds_is_charged_at_its_own_seconds() -> None:
    levels = placed(*(IntensityLevel(index * S, (index + 1) * S, float(index)) for index in range(300)))
    whole = total_tally(tallies([piece(100 * S, 104 * S, UJ_PER_KWH)], levels, None))
    assert whole.operational_g == Fraction(100 + 101 + 102 + 103, 4)


def test_energy_of_an_instant_has_the_intensity_of_that_instant() -> None:
    levels = placed(IntensityLevel(0, HOUR, 1.0), IntensityLevel(HOUR, 2 * HOUR, 7.0))
    assert total_tally(tallies([piece(HOUR, HOUR, UJ_PER_KWH)], levels, None)).operational_g == 7


def test_components_qualities_and_days_stand_apart() -> None:
    levels = placed(IntensityLevel(0, 2 * DAY, 100.0))
    energy = [piece(0, HOUR, UJ_PER_KWH), piece(DAY, DAY + HOUR, UJ_PER_KWH, "dram", "modelled")]
    found = tallies(energy, levels, 2.0, [DAY])
    assert {key: tally.operational_g for key, tally in found.items()} == {("cpu", 0): 200, ("dram", 1): 200}


@pytest.mark.parametrize("day", [datetime(2026, 3, 29), datetime(2026, 10, 25)])
def test_a_day_of_a_clock_change_is_handled_like_any_other(day: datetime) -> None:
    paris = ZoneInfo("Europe/Paris")
    start = round(day.replace(tzinfo=paris).timestamp()) * S
    end = round((day + timedelta(days=1)).replace(tzinfo=paris).timestamp()) * S
    hours = (end - start) // HOUR
    assert hours in (23, 25)
    levels = placed(*(IntensityLevel(start + n * HOUR, start + (n + 1) * HOUR, float(n)) for n in range(hours)))
    whole = total_tally(tallies([piece(start, end, hours * UJ_PER_KWH)], levels, None))
    assert whole.operational_g == sum(range(hours))


values = st.floats(0, 2000, allow_nan=False)
instants = st.integers(0, 10_000)


pieces = st.tuples(instants, st.integers(0, 900), st.integers(0, 10**12))


def overlap_ns(level: IntensityLevel, one: EnergyPiece) -> int:
    return max(0, min(level.end_ns, one.span[1]) - max(level.start_ns, one.start_ns))


@given(st.lists(values, min_size=1, max_size=20), st.lists(pieces, max_size=20))
def test_energy_is_never_lost(levels: list[float], told: list[tuple[int, int, int]]) -> None:
    known = placed(*(IntensityLevel(2 * n * 300, 2 * n * 300 + 300, level) for n, level in enumerate(levels)))
    energy = [piece(start, start + length, uj) for start, length, uj in told]
    whole = total_tally(tallies(energy, known, None))
    assert sum(energy_uj(whole).values()) == sum(one.energy_uj for one in energy)
    expected = sum(
        Fraction(one.energy_uj, one.span[1] - one.span[0])
        * sum(Fraction(level.g_per_kwh) * overlap_ns(level, one) for level in known)
        for one in energy
    )
    assert (whole.operational_g or 0) == expected / UJ_PER_KWH


def test_only_pieces_that_levels_divide_need_a_common_denominator() -> None:
    known = placed(IntensityLevel(0, 30, 100.0), IntensityLevel(30, 60, 200.0))
    within = [piece(0, 7, 5), piece(7, 18, 3), piece(30, 60, 1)]
    assert total_tally(tallies(within, known, None)).unit.energy == 1
    assert total_tally(tallies([*within, piece(24, 34, 9)], known, None)).unit.energy == 10


# Savings ----------------------------------------------------------------------------------------------------------

NIGHT = Levels([IntensityLevel(0, 6 * HOUR, 100.0), IntensityLevel(6 * HOUR, 24 * HOUR, 400.0)])


def attempt(start: int, hours: int = 1, kwh: int = 1) -> AttemptEnergy:
    return AttemptEnergy(start, hours * HOUR, (piece(start, start + hours * HOUR, kwh * UJ_PER_KWH),))


def test_a_job_that_waited_for_the_night_saved_what_the_day_would_have_cost() -> None:
    found = saving_of([attempt(2 * HOUR)], 12 * HOUR, NIGHT, 1.5)
    assert found is not None
    assert (found.actual_g, found.counterfactual_g, found.saved_g) == (150, 600, 450)


def test_a_loss_is_shown_as_a_loss() -> None:
    found = saving_of([attempt(12 * HOUR)], 2 * HOUR, NIGHT, None)
    assert found is not None
    assert found.saved_g == -300


def test_segments_run_at_their_own_times_and_without_a_break_in_the_counterfactual() -> None:
    segments = [attempt(0), attempt(3 * HOUR, kwh=2), attempt(10 * HOUR)]
    assert [(one.start_ns // HOUR, one.energy_uj // UJ_PER_KWH) for one in moved(segments, 4 * HOUR)] == [
        (4, 1), (5, 2), (6, 1),
    ]  # fmt: skip
    found = saving_of(segments, 4 * HOUR, NIGHT, None)
    assert found is not None
    assert (found.actual_g, found.counterfactual_g) == (100 + 200 + 400, 100 + 200 + 400)
    found = saving_of(segments, 6 * HOUR, NIGHT, None)
    assert found is not None
    assert found.saved_g == 900


def test_interruptions_are_a_loss_of_the_plan() -> None:
    """3 h at 1 kW in three segments with 2 x 15 min of overhead, where the intensity never changes."""
    flat = Levels([IntensityLevel(0, 24 * HOUR, 200.0)])
    quarter = HOUR // 4

    def part(start: int, length: int, restart: int, checkpoint: int) -> AttemptEnergy:
        pieces = [piece(at, at + quarter, UJ_PER_KWH // 4) for at in range(start, start + length, quarter)]
        return AttemptEnergy(start, length, tuple(pieces), restart, checkpoint)

    for restart, checkpoint in ((0, quarter), (quarter, 0), (quarter // 3, quarter * 2 // 3)):
        segments = [part(0, 5 * quarter, 0, checkpoint), part(5 * HOUR, 5 * quarter, restart, checkpoint),
                    part(9 * HOUR, 4 * quarter, restart, 0)]  # fmt: skip
        found = saving_of(segments, 2 * HOUR, flat, None)
        assert found is not None
        assert float(found.actual_g) == pytest.approx(700)
        assert float(found.counterfactual_g) == pytest.approx(600)
        assert float(found.saved_g / found.counterfactual_g) == pytest.approx(-1 / 6)
        spans = sorted(one.span for one in moved(segments, 2 * HOUR))
        assert (spans[0][0], spans[-1][1]) == (2 * HOUR, 5 * HOUR)
        assert all(before[1] == after[0] for before, after in pairwise(spans))


def test_overhead_that_is_longer_than_the_attempt_leaves_nothing() -> None:
    pieces = (piece(2 * HOUR, 3 * HOUR, UJ_PER_KWH), piece(2 * HOUR, 2 * HOUR, UJ_PER_KWH))
    short = AttemptEnergy(2 * HOUR, HOUR, pieces, HOUR, HOUR)
    assert moved([short], 4 * HOUR) == []
    assert short.worked_ns == 0


def test_what_is_not_known_throughout_is_not_known() -> None:
    assert saving_of([attempt(2 * HOUR)], 24 * HOUR, NIGHT, None) is None
    assert saving_of([attempt(24 * HOUR)], 2 * HOUR, NIGHT, None) is None
    assert saving_of([], 2 * HOUR, NIGHT, None) is None


@given(
    st.lists(values, min_size=48, max_size=48),
    st.integers(0, 20 * HOUR),
    st.lists(st.tuples(st.integers(0, 3 * HOUR), st.integers(0, 10**13)), min_size=1, max_size=8),
    st.one_of(st.none(), st.floats(1, 3)),
)
def test_a_job_that_started_as_in_the_counterfactual_saved_exactly_nothing(
    levels: list[float], start: int, told: list[tuple[int, int]], pue: float | None
) -> None:
    grid = Levels([IntensityLevel(n * HOUR // 2, (n + 1) * HOUR // 2, level) for n, level in enumerate(levels)])
    pieces = tuple(piece(start, start + length, uj) for length, uj in told)
    found = saving_of([AttemptEnergy(start, 3 * HOUR, pieces)], start, grid, pue)
    assert found is not None
    assert found.saved_g == 0


def test_the_error_of_a_forecast_is_weighted_by_time_and_counts_no_time_twice() -> None:
    forecast = Levels([IntensityLevel(0, 24 * HOUR, 200.0)])
    error = forecast_error(forecast, NIGHT, [(0, 6 * HOUR), (3 * HOUR, 6 * HOUR), (6 * HOUR, 12 * HOUR)])
    assert error.over_ns == 12 * HOUR
    assert error.mape == pytest.approx((1.0 + 0.5) / 2)
    assert forecast_error(forecast, Levels([IntensityLevel(0, HOUR, 0.0)]), [(0, HOUR)]).mape is None


def test_spans_are_joined_over_gaps_of_a_length() -> None:
    assert list(joined([(5, 6), (0, 2), (1, 3), (4, 4)])) == [(0, 3), (4, 4), (5, 6)]
    assert list(joined([(5, 6), (0, 3)], gap=2)) == [(0, 6)]
    assert list(joined([])) == []
