"""Integration against truths in closed form: wraps, resets, gaps, failed reads, standing counters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.sidecar.counter import BridgedCounter, EnergyCounter, PowerIntegral, power_gap_ns

STUCK_NS = 60 * 10**9

POWER_GAP_NS = 10 * 10**9

FROZEN_NS = 5 * 10**9

S = 1_000_000_000
AMD_RANGE_UJ = 65_532_610_987


def result(meter: EnergyCounter | PowerIntegral) -> tuple[int | None, int]:
    return meter.energy_uj, meter.measured_ns


def test_first_reading_is_the_zero_point() -> None:
    counter = EnergyCounter(AMD_RANGE_UJ, 1000)
    assert result(counter) == (None, 0)
    counter.update(5 * S, 123_456)
    assert result(counter) == (0, 0)
    assert counter.errors == 0


def test_many_wraps_are_exact() -> None:
    """280 W on a 65.5 kJ counter comes round every 234 s: an hour has 15 wraps."""
    counter = EnergyCounter(AMD_RANGE_UJ, 1000)
    for second in range(0, 3601, 10):
        counter.update(second * S, (77 + 280_000_000 * second) % (AMD_RANGE_UJ + 1))
    assert counter.energy_uj == 280_000_000 * 3600
    assert counter.measured_ns == 3600 * S
    assert counter.peak_w == pytest.approx(280)


def test_wrap_lands_on_the_last_value() -> None:
    counter = EnergyCounter(999, 1000)
    counter.update(0, 998)
    counter.update(500, 999)
    counter.update(900, 0)
    assert counter.energy_uj == 2


@given(
    range_uj=st.integers(10_000_000, AMD_RANGE_UJ),
    start=st.integers(0, AMD_RANGE_UJ),
    steps=st.lists(st.tuples(st.integers(1_000_000, 3 * S), st.integers(0, 900)), min_size=1, max_size=40),
)
def test_any_walk_below_the_limits_is_exact(range_uj: int, start: int, steps: list[tuple[int, int]]) -> None:
    gap_ns = (range_uj + 1) * 1000 // 1000
    true_uj, at_ns = start % (range_uj + 1), 0
    counter = EnergyCounter(range_uj, 1000)
    counter.update(at_ns, true_uj)
    begun_uj, measured_ns = true_uj, 0
    for raw_ns, watts in steps:
        step_ns = min(raw_ns, gap_ns - 1)
        at_ns += step_ns
        measured_ns += step_ns
        true_uj += watts * step_ns // 1000
        counter.update(at_ns, true_uj % (range_uj + 1))
    assert counter.energy_uj == true_uj - begun_uj
    assert counter.measured_ns == measured_ns
    assert counter.resets == counter.gaps == 0


def test_failed_read_is_bridged_when_the_counter_comes_back() -> None:
    counter = EnergyCounter(AMD_RANGE_UJ, 1000)
    counter.update(0, 0)
    counter.update(1 * S, 100_000_000)
    counter.update(2 * S, None)
    assert (*result(counter), counter.is_reading, counter.at_ns) == (100_000_000, S, False, S)
    assert counter.errors == 1
    counter.update(3 * S, 300_000_000)
    assert result(counter) == (300_000_000, 3 * S)


def test_reset_adds_nothing_and_the_interval_is_not_measured() -> None:
    counter = EnergyCounter(AMD_RANGE_UJ, 1000)
    counter.update(0, 30_000_000_000)
    counter.update(1 * S, 30_100_000_000)
    counter.update(2 * S, 5_000_000)
    counter.update(3 * S, 105_000_000)
    assert (counter.energy_uj, counter.measured_ns, counter.resets) == (200_000_000, 2 * S, 1)


def test_counter_without_range_that_runs_backwards_is_reset() -> None:
    counter = EnergyCounter(None, 3000)
    counter.update(0, 5_000_000_000)
    counter.update(1 * S, 1_000)
    counter.update(2 * S, 200_001_000)
    assert (counter.energy_uj, counter.measured_ns, counter.resets) == (200_000_000, 1 * S, 1)


def test_gap_longer_than_a_wrap_could_take_is_not_bridged() -> None:
    counter = EnergyCounter(AMD_RANGE_UJ, 1000)
    counter.update(0, 0)
    counter.update(66 * S, 1_000_000_000)
    assert (counter.energy_uj, counter.measured_ns, counter.gaps) == (0, 0, 1)
    counter.update(67 * S, 1_100_000_000)
    assert result(counter) == (100_000_000, 1 * S)


def test_suspended_hour_without_range_is_bridged() -> None:
    """A counter that never wraps knows what happened meanwhile."""
    counter = EnergyCounter(None, 3000)
    counter.update(0, 0)
    counter.update(3600 * S, 360_000_000_000)
    assert counter.energy_uj == 360_000_000_000


@pytest.mark.parametrize("value", [-1, AMD_RANGE_UJ + 1, 1 << 70])
def test_value_outside_the_range_is_a_failed_read(value: int) -> None:
    counter = EnergyCounter(AMD_RANGE_UJ, 1000)
    counter.update(0, 0)
    counter.update(S, value)
    assert counter.energy_uj is None
    assert counter.errors == 1


def test_two_reads_close_together_are_not_a_reset() -> None:
    """A counter that moves every 100 ms shows 40 J after 1 ms at 400 W: lag, not a reset."""
    counter = EnergyCounter(None, 3000)
    counter.update(0, 0)
    counter.update(1_000_000, 40_000_000)
    assert counter.energy_uj == 40_000_000
    assert counter.peak_w is None


def test_same_moment_twice_changes_nothing() -> None:
    counter = EnergyCounter(None, 3000)
    counter.update(S, 100)
    counter.update(S, 200)
    counter.update(2 * S, 300)
    assert counter.energy_uj == 200


def test_counter_that_stands_still_is_unknown_and_not_zero() -> None:
    counter = EnergyCounter(AMD_RANGE_UJ, 1000, can_rest=False)
    counter.update(0, 0)
    counter.update(FROZEN_NS - 1, 0)
    assert counter.energy_uj == 0
    counter.update(FROZEN_NS, 0)
    assert counter.energy_uj is None
    assert counter.measured_ns == 0
    assert counter.peak_w is None
    counter.update(FROZEN_NS + S, 50_000_000)
    assert counter.energy_uj == 50_000_000


@pytest.mark.parametrize(
    ("readings", "total_uj"),
    [
        # second, counter in J, power in W
        pytest.param([(0, 5, 200), (1, 5, 200), (2, 5, 200), (3, 5, 200)], 600, id="never moves"),
        pytest.param([(0, 0, 200), (1, 200, 9), (2, 400, 9)], 400, id="moves: its power is not used"),
        pytest.param([(0, 0, 100), (1, 100, None), (2, 100, 100), (3, 100, 300)], 400, id="stops"),
        pytest.param([(0, 0, 100), (1, 0, 100), (2, 0, 100), (3, 330, 9)], 330, id="slow: a step has the pause in it"),
        pytest.param([(0, 0, 100), (1, 0, 100), (2, 0, 100), (3, 10, 9)], 200, id="a step never takes back"),
        pytest.param([(0, 0, 100), (1, 0, None), (2, 0, 100)], 100, id="power missing once"),
        pytest.param([(0, 0, 100), (60, 0, 100)], 0, id="too far apart"),
    ],
)
def test_pauses_of_a_counter_are_filled_with_power(readings: list[tuple[int, int, int | None]], total_uj: int) -> None:
    counter = BridgedCounter()
    totals = [
        counter.update(second * S, joules * 10**6, None if watts is None else watts * 10**6)
        for second, joules, watts in readings
    ]
    assert totals == sorted(totals)
    assert totals[-1] - totals[0] == total_uj * 10**6


def test_a_bridged_counter_that_restarts_reads_lower() -> None:
    counter = BridgedCounter()
    assert [counter.update(0, 500, None), counter.update(S, 500, 100), counter.update(2 * S, 7, None)] == [500, 600, 7]


def test_time_once_measured_is_never_taken_back() -> None:
    """A reader takes a record in which it is less for garbage, and all other channels of that record with it."""
    counter = EnergyCounter(None, 1000, can_rest=False)
    before_ns = 0
    for second in range(20):
        counter.update(second * S, 7)
        assert counter.measured_ns >= before_ns
        before_ns = counter.measured_ns
    assert counter.measured_ns == 0


def test_counter_that_pauses_has_measured_the_pause() -> None:
    """A board's own counter may move every ten seconds only."""
    counter = EnergyCounter(None, 20_000, can_rest=False)
    for second in range(41):
        counter.update(second * S, second // 10 * 3_000_000_000 + min(second, 1))
        assert counter.energy_uj is not None
    assert result(counter) == (12_000_000_001, 40 * S)
    # 3000 J in ten seconds, which all show in the last of them
    assert counter.peak_w == pytest.approx(300, rel=0.12)


def test_counter_that_stops_for_good_is_unknown_from_then_on() -> None:
    counter = EnergyCounter(None, 1000, can_rest=False)
    for second in range(11):
        counter.update(second * S, second * 100_000_000)
    for second in range(11, 200):
        counter.update(second * S, 1_000_000_000)
        assert counter.measured_ns == 10 * S
        assert (counter.energy_uj is None) == (second * S >= 10 * S + STUCK_NS)
    counter.update(200 * S, 1_100_000_000)
    assert result(counter) == (1_100_000_000, 11 * S)


def test_pause_before_a_session_is_not_of_it() -> None:
    counter = EnergyCounter(None, 1000, can_rest=False)
    for second, energy_uj in enumerate((0, 100_000_000, 100_000_000)):
        counter.update(second * S, energy_uj)
    counter.restart()
    counter.update(3 * S, 200_000_000)
    assert result(counter) == (100_000_000, S)


def test_part_of_a_package_may_rest() -> None:
    counter = EnergyCounter(AMD_RANGE_UJ, 1000)
    for second in range(20):
        counter.update(second * S, 7)
    assert counter.energy_uj == 0


def test_restart_counts_on_from_the_latest_reading() -> None:
    counter = EnergyCounter(AMD_RANGE_UJ, 1000)
    counter.update(0, 0)
    counter.update(S, 100_000_000)
    counter.restart()
    assert result(counter) == (0, 0)
    counter.update(2 * S, 250_000_000)
    assert result(counter) == (150_000_000, S)


def test_straight_line_of_power_is_exact() -> None:
    integral = PowerIntegral(3000)
    for second in range(0, 11):
        integral.update(second * S, second * 10_000_000)
    assert integral.energy_uj == 500_000_000
    assert integral.measured_ns == 10 * S
    assert integral.peak_w == pytest.approx(100)


def test_power_keeps_fractions_of_a_microjoule() -> None:
    integral = PowerIntegral(3000)
    for step in range(0, 1_000_001, 1000):
        integral.update(step * 333, 3)
    assert integral.energy_uj == 3 * 333_000_000 // 1_000_000_000


def test_power_is_not_bridged_over_a_long_gap() -> None:
    integral = PowerIntegral(3000)
    integral.update(0, 100_000_000)
    integral.update(60 * S, 100_000_000)
    assert (integral.energy_uj, integral.measured_ns, integral.gaps) == (0, 0, 1)


@pytest.mark.parametrize("interval_s", [1, 20, 60])
def test_gap_that_is_bridged_grows_with_the_interval(interval_s: int) -> None:
    """One sample may fail at any pace that can be asked for; two on end are a gap, where they are not short."""
    gap_ns = power_gap_ns(interval_s * S)
    assert gap_ns >= max(POWER_GAP_NS, 2 * interval_s * S)
    integral = PowerIntegral(3000, gap_ns)
    for number in range(11):
        integral.update(number * interval_s * S, None if number == 5 else 400_000_000)
    assert result(integral) == (10 * interval_s * 400_000_000, 10 * interval_s * S)
    assert integral.gaps == 0
    integral.update(10 * interval_s * S + gap_ns + 1, 400_000_000)
    assert (integral.gaps, integral.measured_ns) == (1, 10 * interval_s * S)


def test_sum_stays_when_the_last_reading_fails() -> None:
    """What was counted up to the last good reading is known."""
    counter, integral = EnergyCounter(None, 3000), PowerIntegral(3000)
    for second in range(10):
        counter.update(second * S, second * 400_000_000)
        integral.update(second * S, 400_000_000)
    for meter in (counter, integral):
        meter.update(10 * S, None)
        assert (*result(meter), meter.at_ns, meter.is_reading) == (3_600_000_000, 9 * S, 9 * S, False)
        meter.restart()
        assert meter.energy_uj is None


def test_reading_in_doubt_makes_no_peak() -> None:
    """A call that hung for 30 s belongs to its middle, give or take 15 s: 700 W must not look like 1400 W."""
    counter = EnergyCounter(None, 3000)
    counter.update(0, 0)
    counter.update(15 * S, 30 * 700_000_000, 15 * S)
    assert counter.peak_w == pytest.approx(700)
    counter.update(31 * S, 31 * 700_000_000)
    assert counter.energy_uj == 31 * 700_000_000
    assert counter.peak_w == pytest.approx(700)
    # some milliseconds of doubt are those of every reading
    counter.update(32 * S, 32 * 700_000_000, S // 100)
    counter.update(33 * S, 33 * 700_000_000 + 30_000_000, S // 100)
    assert counter.peak_w == pytest.approx(730)


def test_a_doubtful_reading_is_not_a_reset() -> None:
    counter = EnergyCounter(None, 1000)
    counter.update(0, 0)
    counter.update(15 * S, 30 * 700_000_000, 15 * S)
    assert (counter.energy_uj, counter.resets) == (21_000_000_000, 0)


def test_impossible_power_is_a_failed_read() -> None:
    integral = PowerIntegral(3000)
    integral.update(0, 100_000_000)
    integral.update(S, 4_000_000_000)
    assert (*result(integral), integral.is_reading) == (None, 0, False)
    integral.update(2 * S, 100_000_000)
    assert result(integral) == (200_000_000, 2 * S)
    assert integral.errors == 1


def test_a_continued_counter_that_falls_is_corrected() -> None:
    """Until 10 s 400 W are assumed of which 50 W were drawn, then 50 W."""
    counter = EnergyCounter(None, 1000, is_continued=True)
    for at_s, energy_j in ((0, 0), (5, 2000), (9, 3600), (10, 500), (20, 1000)):
        counter.update(at_s * S, energy_j * 10**6)
    assert result(counter) == (1_000_000_000, 20 * S)
    assert (counter.resets, counter.peak_w) == (0, None)


def test_a_continued_counter_that_falls_below_its_first_value_had_less_then() -> None:
    counter = EnergyCounter(None, 1000, is_continued=True)
    for at_s, energy_j in ((0, 900), (1, 500), (2, 550)):
        counter.update(at_s * S, energy_j * 10**6)
    assert result(counter) == (50_000_000, 2 * S)


def test_a_continued_counter_that_falls_after_a_failed_reading_has_begun_anew() -> None:
    counter = EnergyCounter(None, 1000, is_continued=True)
    for at_s, energy_j in ((0, 0), (10, 1000), (11, None), (12, 20), (13, 120)):
        counter.update(at_s * S, None if energy_j is None else energy_j * 10**6)
    assert result(counter) == (1_100_000_000, 11 * S)
    assert (counter.resets, counter.errors) == (1, 1)
