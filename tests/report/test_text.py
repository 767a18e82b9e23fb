"""Texts that cannot harm a terminal, numbers that do not mislead, and points in time."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.errors import InputError
from hpcfrugal.report import period
from hpcfrugal.report.text import EnergyUnit, clock, duration, iso, percent, plain

NOW = datetime(2026, 11, 21, 5, 30, tzinfo=UTC)


@given(st.text(alphabet=st.characters(), max_size=80), st.integers(1, 60))
def test_no_text_keeps_a_control_character_or_grows(text: str, limit: int) -> None:
    shown = plain(text, limit)
    assert len(shown) <= max(limit, 1)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    shown.encode("utf-8")


def test_harmless_texts_stay() -> None:
    assert plain("Größe 試験 [red]") == "Größe 試験 [red]"
    assert plain("a\x1b[31m\nb\u202e") == "a�[31m�b�"
    assert plain("x" * 300) == "x" * 39 + "…"
    assert plain(None) == ""


@pytest.mark.parametrize(
    ("share", "shown"),
    [(1.0, "100 %"), (0.99999, "99.9 %"), (0.5, "50.0 %"), (0.0, "0.0 %"), (None, "unknown")],
)
def test_less_than_all_is_never_shown_as_all(share: float | None, shown: str) -> None:
    assert percent(share) == shown


@pytest.mark.parametrize(
    ("span_ns", "shown"),
    [
        (None, "unknown"),
        (12_340_000_000, "12.3 s"),
        (61 * 10**9, "00:01:01"),
        (90_061 * 10**9, "1-01:01:01"),
    ],
)
def test_durations(span_ns: int | None, shown: str) -> None:
    assert duration(span_ns) == shown


def test_one_unit_fits_the_largest() -> None:
    unit = EnergyUnit([5_000_000, None, 7_200_000_000_000])
    assert (unit.name, unit.show(7_200_000_000_000), unit.show(None)) == ("kWh", "2.000", "unknown")
    assert EnergyUnit([]).name == "J"
    assert EnergyUnit([999_000_000]).show(999_000_000) == "999.000"
    assert EnergyUnit([12_345_000_000]).show(12_345_000_000) == "12.345"


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
