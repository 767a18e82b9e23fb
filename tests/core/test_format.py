"""Numbers that do not mislead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from hpcfrugal.core.format import (
    EnergyUnit,
    clock,
    duration,
    energy,
    energy_unit,
    mass,
    mass_unit,
    micrograms,
    money,
    percent,
    point_in_time,
    power,
    rough_percent,
    size,
    timespan,
)
from hpcfrugal.core.time import iso_from_ns

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("energy_uj", "shown"),
    [
        (None, "–"),
        (0, "0 Wh"),
        (6, "<0.001 J"),
        (32_400, "0.0324 J"),
        (2_414_000, "2.41 J"),
        (3_599_999, "0.00100 Wh"),
        (78_114_000, "0.0217 Wh"),
        (3_598_000_000_000, "999 Wh"),
        (3_599_000_000_000, "1.00 kWh"),
        (5 * 10**15, "1.39 MWh"),
        (5 * 10**18, "1,389 MWh"),
        (-7_200_000_000, "-2.00 Wh"),
    ],
)
def test_energy_has_three_digits_in_the_unit_that_fits(energy_uj: int | None, shown: str) -> None:
    assert energy(energy_uj) == shown


@pytest.mark.parametrize(
    ("power_w", "shown"), [(None, "–"), (0.0461, "46.1 mW"), (110.04, "110 W"), (1e-9, "0.00100 µW")]
)
def test_power(power_w: float | None, shown: str) -> None:
    assert power(power_w) == shown


@pytest.mark.parametrize(
    ("span_ns", "shown"),
    [
        (None, "unknown"),
        (12_340_000_000, "12.3 s"),
        (12 * 10**9, "12 s"),
        (-3 * 10**9, "0 s"),
        (5 * 10**6, "<0.1 s"),
        (0, "0 s"),
        (61 * 10**9, "00:01:01"),
        (90_061 * 10**9, "1-01:01:01"),
    ],
)
def test_durations(span_ns: int | None, shown: str) -> None:
    assert duration(span_ns) == shown


@pytest.mark.parametrize(
    ("mass_g", "shown"),
    [
        (0, "0 g"),
        (1e-12, "<0.001 µg"),
        (-1e-12, ">-0.001 µg"),
        (7.25e-07, "0.725 µg"),
        (2.01e-4, "201 µg"),
        (9.996e-4, "1.00 mg"),
        (15.44, "15.4 g"),
        (-999.7, "-1.00 kg"),
        (1234, "1.23 kg"),
        (3e10, "30,000 t"),
    ],
)
def test_a_mass_has_the_unit_that_fits(mass_g: float, shown: str) -> None:
    assert mass(mass_g) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (1.0, "100 %"),
        (0.99999, "99.9 %"),
        (0.5, "50.0 %"),
        (0.0006, "0.1 %"),
        (0.0001, "<0.1 %"),
        (0.0, "0.0 %"),
        (None, "unknown"),
    ],
)
def test_a_share_is_never_shown_as_all_or_nothing_where_it_is_not(share: float | None, shown: str) -> None:
    assert percent(share) == shown


def test_one_unit_fits_the_largest() -> None:
    unit = energy_unit([5_000_000, None, 7_200_000_000_000])
    assert (unit.name, unit.show(7_200_000_000_000), unit.show(0)) == ("kWh", "2.00", "0")
    assert energy_unit([]).name == "Wh"
    assert energy_unit([999_000_000]).named(999_000_000) == "0.278 Wh"
    assert energy_unit([44_444_000_000_000]).show(44_444_000_000_000) == "12.3"


def test_a_little_is_not_shown_as_nothing() -> None:
    unit = energy_unit([44_444_000_000])
    assert (unit.name, unit.show(3_500_000), unit.show(3_700_000), unit.show(0)) == ("Wh", "<0.001", "0.00103", "0")


@pytest.mark.parametrize(
    ("energy_uj", "shown"),
    [(730_704, "0.000203"), (359_000, ">0"), (3_700_000, "0.00103"), (7_200_000_000, "2.00"), (0, "0")],
)
def test_lower_bounds_have_digits_or_are_above_0(energy_uj: int, shown: str) -> None:
    assert energy_unit([], "Wh").for_bounds().show(energy_uj) == shown


@pytest.mark.parametrize(
    ("unit", "shown"),
    [
        ("J", "1,234,567 J"),
        ("kJ", "1,235 kJ"),
        ("MJ", "1.23 MJ"),
        ("Wh", "343 Wh"),
        ("kWh", "0.343 kWh"),
        ("MWh", "<0.001 MWh"),
    ],
)
def test_the_unit_of_energies_can_be_chosen(unit: EnergyUnit, shown: str) -> None:
    assert energy(1_234_567_000_000, unit) == shown
    assert energy_unit([], unit).name == unit


@pytest.mark.parametrize(
    ("mass_ug", "largest_g", "shown"),
    [(61, 0, "61"), (0, 1e-5, "<1"), (40, 0.5, "0.040"), (61, 0.5, "0.061"), (0, 0.5, "<0.001"), (271_000, 0.5, "271"),
     (61, 5, "<0.001"), (1_000_000, 5, "1.00")],
)  # fmt: skip
def test_micrograms_are_whole(mass_ug: int, largest_g: float, shown: str) -> None:
    assert micrograms(mass_ug, mass_unit([max(largest_g, mass_ug / 1e6)])) == shown
    assert [micrograms(ug, mass_unit([largest_g or 1]).for_bounds()) for ug in (0, 0.4)] == ["0", ">0"]


def test_times_are_utc() -> None:
    assert iso_from_ns(1_795_255_200_123_456_789) == "2026-11-21T10:00:00.123456Z"
    assert clock(1_795_255_200_123_456_789) == "10:00:00.123"
    assert iso_from_ns(None) is None


@pytest.mark.parametrize(
    ("values", "name", "shown"),
    [
        ([Fraction(725, 10**9)], "µg", ["0.725"]),
        ([Fraction(1, 10**12), Fraction(-1, 10**12)], "µg", ["<0.001", ">-0.001"]),
        ([Fraction(201182, 10**9), Fraction(3, 10**9), Fraction(1, 10**10)], "µg", ["201", "0.00300", "<0.001"]),
        ([Fraction(91667, 10**6), None], "mg", ["91.7"]),
        ([Fraction(1146, 1000), Fraction(0)], "g", ["1.15", "0"]),
        ([Fraction(-1500)], "kg", ["-1.50"]),
        ([Fraction(2 * 10**6)], "t", ["2.00"]),
        ([Fraction(0)], "g", ["0"]),
    ],
)
def test_grams_of_small_jobs_have_digits_too(values: list[Fraction | None], name: str, shown: list[str]) -> None:
    unit = mass_unit(values)
    assert unit.name == name
    assert [unit.show(value) for value in values if value is not None] == shown


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (NOW + HOUR, "09:30 UTC"),
        (NOW + timedelta(seconds=90), "08:31:30 UTC"),
        (NOW + 24 * HOUR, "Sun 2026-11-22 08:30 UTC"),
        (datetime.fromisoformat("2026-11-21T23:30:00+05:00"), "18:30 UTC"),
    ],
)
def test_times(at: datetime, shown: str) -> None:
    assert point_in_time(at, NOW) == shown


def test_amounts() -> None:
    assert [rough_percent(0.314), rough_percent(0.004), rough_percent(-0.02), rough_percent(0.0)] == [
        "31 %",
        "0.4 %",
        "-2 %",
        "0.0 %",
    ]
    assert [mass(0.01234), mass(12.3), mass(999), mass(12345)] == ["12.3 mg", "12.3 g", "999 g", "12.3 kg"]
    assert mass(7.25e-07) == "0.725 µg"


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        (None, "unknown"),
        (timedelta(), "0 s"),
        (timedelta(microseconds=900), "<0.1 s"),
        (timedelta(milliseconds=470), "0.5 s"),
        (timedelta(seconds=3, milliseconds=210), "3.2 s"),
        (timedelta(seconds=30, milliseconds=700), "30 s"),
        (timedelta(hours=2), "02:00:00"),
    ],
)
def test_spans(time: timedelta | None, shown: str) -> None:
    assert timespan(time) == shown


@pytest.mark.parametrize(
    ("size_b", "text"),
    [
        (None, "unknown"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (5 << 30, "5.0 GiB"),
        (3 << 50, "3,072.0 TiB"),
    ],
)
def test_sizes(size_b: int | None, text: str) -> None:
    assert size(size_b) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(1234.5, "1,234.50"), (1, "1.00"), (0.25, "0.25"), (2.84e-5, "0.000028"), (0.999, "1.00"), (0, "0.00")],
)
def test_money(amount: float, text: str) -> None:
    assert money(amount) == text
