"""Numbers that do not mislead, and points in time."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import pytest

from hpcfrugal.core.errors import InputError
from hpcfrugal.report import period
from hpcfrugal.report.co2e import MassUnit
from hpcfrugal.report.text import EnergyUnit, clock, iso, percent

NOW = datetime(2026, 11, 21, 5, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("share", "shown"),
    [(1.0, "100 %"), (0.99999, "99.9 %"), (0.5, "50.0 %"), (0.0, "0.0 %"), (None, "unknown")],
)
def test_less_than_all_is_never_shown_as_all(share: float | None, shown: str) -> None:
    assert percent(share) == shown


def test_one_unit_fits_the_largest() -> None:
    unit = EnergyUnit([5_000_000, None, 7_200_000_000_000])
    assert (unit.name, unit.show(7_200_000_000_000), unit.show(None)) == ("kWh", "2.000", "unknown")
    assert EnergyUnit([]).name == "J"
    assert EnergyUnit([999_000_000]).show(999_000_000) == "999.000"
    assert EnergyUnit([12_345_000_000]).show(12_345_000_000) == "12.345"


def test_a_little_is_not_shown_as_nothing() -> None:
    unit = EnergyUnit([12_345_000_000])
    assert (unit.name, unit.show(499_000), unit.show(600_000), unit.show(0)) == ("kJ", "<0.001", "0.001", "0.000")


def test_times_are_utc() -> None:
    assert iso(1_795_255_200_123_456_789) == "2026-11-21T10:00:00.123456Z"
    assert clock(1_795_255_200_123_456_789) == "10:00:00.123"
    assert iso(None) is None


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("2026-11", "2026-11-01T00:00", "2026-12-01T00:00"),
        ("2026-12", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("2026-11-21", "2026-11-21T00:00", "2026-11-22T00:00"),
        ("2026-11-21T10:30", "2026-11-21T10:30", "2026-11-21T10:30"),
        ("2026-11-21T10:30+02:00", "2026-11-21T08:30", "2026-11-21T08:30"),
        ("7d", "2026-11-14T05:30", "2026-11-14T05:30"),
        ("24h", "2026-11-20T05:30", "2026-11-20T05:30"),
        ("2w", "2026-11-07T05:30", "2026-11-07T05:30"),
    ],
)
def test_points_in_time(text: str, since: str, until: str) -> None:
    assert period.since(text, NOW) == datetime.fromisoformat(since).replace(tzinfo=UTC)
    assert period.until(text, NOW) == datetime.fromisoformat(until).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "x", "2026-13", "2026-02-30", "-1d", "7 d", "0001-01-01T00:00+23:00"])
def test_other_texts_are_refused_by_name(text: str) -> None:
    with pytest.raises(InputError, match="--since: not a time"):
        period.since(text, NOW)


@pytest.mark.parametrize(
    ("values", "name", "shown"),
    [
        ([Fraction(725, 10**9)], "µg", ["0.725"]),
        ([Fraction(1, 10**12), Fraction(-1, 10**12)], "µg", ["<0.001", ">-0.001"]),
        ([Fraction(201182, 10**9), Fraction(3, 10**9), Fraction(1, 10**10)], "µg", ["201.182", "0.003", "<0.001"]),
        ([Fraction(91667, 10**6), None], "mg", ["91.667", "unknown"]),
        ([Fraction(1146, 1000), Fraction(0)], "g", ["1.146", "0.000"]),
        ([Fraction(-1500)], "kg", ["-1.500"]),
        ([Fraction(2 * 10**6)], "t", ["2.000"]),
        ([Fraction(0)], "g", ["0.000"]),
    ],
)
def test_grams_of_small_jobs_have_digits_too(values: list[Fraction | None], name: str, shown: list[str]) -> None:
    unit = MassUnit(values)
    assert unit.name == name
    assert [unit.show(value) for value in values] == shown
