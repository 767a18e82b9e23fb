"""The integrator against integrals that are known."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.meters.base import SECOND_NS, PowerSeries, Terms
from hpcfrugal.meters.integrate import curve, grid, reaches

TERMS = Terms(step_ns=10 * SECOND_NS, max_gap_ns=30 * SECOND_NS)


def power(*points: tuple[float, float]) -> PowerSeries:
    return PowerSeries("power", [(round(at * SECOND_NS), value) for at, value in points])


def counter(*points: tuple[float, float]) -> PowerSeries:
    return PowerSeries("energy", [(round(at * SECOND_NS), value) for at, value in points])


def energy_j(series: PowerSeries, start_s: float, end_s: float, terms: Terms = TERMS) -> tuple[float, float]:
    """(joules, seconds measured) from start to end."""
    made = curve(series, terms)
    before, after = made.at(round(start_s * SECOND_NS)), made.at(round(end_s * SECOND_NS))
    return after.energy_uj_since(before) / 1e6, (after.measured_ns - before.measured_ns) / 1e9


def test_constant_power() -> None:
    assert energy_j(power((0, 200), (10, 200), (20, 200)), 0, 20) == (4000.0, 20.0)


def test_a_ramp_is_exact_also_at_edges_between_samples() -> None:
    # P = 100 + 10 t: the integral from 2.5 to 17.25 is 100 * 14.75 + 5 * (17.25² - 2.5²)
    truth = 100 * 14.75 + 5 * (17.25**2 - 2.5**2)
    assert energy_j(power((0, 100), (10, 200), (20, 300)), 2.5, 17.25) == (pytest.approx(truth, abs=2e-6), 14.75)


def test_nothing_is_known_outside_of_the_samples() -> None:
    series = power((10, 100), (20, 100))
    assert energy_j(series, 0, 30) == (1000.0, 10.0)
    assert energy_j(series, 25, 30) == (0.0, 0.0)
    assert energy_j(power((10, 100)), 0, 30) == (0.0, 0.0)
    assert energy_j(power(), 0, 30) == (0.0, 0.0)


def test_a_gap_is_not_bridged() -> None:
    series = power((0, 100), (10, 100), (50, 100), (60, 100))
    assert energy_j(series, 0, 60) == (2000.0, 20.0)
    made = curve(series, TERMS)
    assert made.at(60 * SECOND_NS).gaps == 1
    assert made.at(5 * SECOND_NS).gaps == 0
    assert energy_j(power((0, 100), (30, 100)), 0, 30) == (3000.0, 30.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -5.0, 0.0, 65535.0])
def test_invalid_powers_are_left_out_and_counted(bad: float) -> None:
    series = power((0, 100), (10, bad), (20, 100))
    assert energy_j(series, 0, 20) == (2000.0, 20.0)
    assert curve(series, TERMS).at(20 * SECOND_NS).errors == 1


def test_a_counter_above_4e12_joules_is_left_out_and_counted() -> None:
    assert curve(counter((0, 4e12), (10, 4e12)), TERMS).at(10 * SECOND_NS).errors == 0
    assert curve(counter((0, 4e12), (10, 4.001e12)), TERMS).at(10 * SECOND_NS).errors == 1


def test_samples_out_of_order_and_twice_are_left_out_and_counted() -> None:
    series = power((0, 100), (10, 100), (5, 9000), (10, 9000), (20, 100))
    assert energy_j(series, 0, 20) == (2000.0, 20.0)
    assert curve(series, TERMS).at(20 * SECOND_NS).errors == 2


def test_a_counter() -> None:
    series = counter((0, 1000), (10, 3000), (20, 4000))
    assert energy_j(series, 0, 20) == (3000.0, 20.0)
    assert energy_j(series, 5, 15) == (1500.0, 10.0)
    assert curve(series, TERMS).peak_w(0, 20 * SECOND_NS) == 200.0


def test_a_counter_that_falls_or_leaps_was_reset() -> None:
    series = counter((0, 1000), (10, 2000), (20, 50), (30, 1050), (40, 9e11), (50, 9e11 + 1000))
    assert energy_j(series, 0, 50) == (3000.0, 30.0)
    assert curve(series, TERMS).at(50 * SECOND_NS).resets == 2


def test_a_counter_may_stand_still_but_not_be_beyond_reason() -> None:
    assert energy_j(counter((0, 7), (10, 7)), 0, 10) == (0.0, 10.0)
    made = curve(counter((0, math.nan), (10, 1e300), (20, -1)), TERMS)
    assert (made.at(20 * SECOND_NS).errors, made.pieces) == (3, [])


def test_peaks_are_of_the_time_asked_for() -> None:
    made = curve(power((0, 100), (10, 300), (20, 200)), TERMS)
    assert made.peak_w(0, 10 * SECOND_NS) == 300
    assert made.peak_w(10 * SECOND_NS, 20 * SECOND_NS) == 200
    assert made.peak_w(20 * SECOND_NS, 30 * SECOND_NS) is None


def test_reaching_the_end() -> None:
    made = curve(power((0, 100), (10, 100)), TERMS)
    assert reaches(made, 10 * SECOND_NS)
    assert not reaches(made, 10 * SECOND_NS + 1)
    assert not reaches(curve(power(), TERMS), 0)
    assert not reaches(curve(power((0, math.nan)), TERMS), 0)


def test_the_grid() -> None:
    assert grid(5, 35, 10) == [5, 10, 20, 30, 35]
    assert grid(10, 20, 10) == [10, 20]
    assert grid(10, 10, 10) == [10]


@given(
    st.lists(st.tuples(st.integers(1, 40_000), st.integers(1, 2_000_000)), min_size=2, max_size=12),
    st.lists(st.integers(0, 500_000), max_size=8),
)
def test_any_cut_sums_to_the_exact_trapezes(steps: list[tuple[int, int]], cuts: list[int]) -> None:
    """Against rational arithmetic over the pieces that are bridged, wherever the records lie."""
    at_ms, points = 0, []
    for gap_ms, milliwatts in steps:
        at_ms += gap_ms
        points.append((at_ms * 10**6, milliwatts / 1000))
    made = curve(PowerSeries("power", points), TERMS)
    truth = Fraction(0)
    measured_ns = 0
    for (start, first), (end, last) in pairwise(points):
        if end - start <= TERMS.max_gap_ns:
            truth += Fraction((round(first * 1e6) + round(last * 1e6)) * (end - start), 2 * 10**9)
            measured_ns += end - start
    zero = made.at(0)
    edges = sorted({*(cut * 10**6 for cut in cuts), points[-1][0]})
    energies = [made.at(edge).energy_uj_since(zero) for edge in edges]
    assert energies == sorted(energies)
    total = made.at(points[-1][0])
    assert total.energy_uj_since(zero) == math.floor(truth)
    assert total.measured_ns == measured_ns
