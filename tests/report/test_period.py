"""Points in time on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hpcfrugal.core.errors import InputError
from hpcfrugal.report.period import dates_of, period

NOW = datetime(2026, 11, 21, 5, 30, tzinfo=UTC)


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
        ("7 days ago", "2026-11-14T05:30", "2026-11-14T05:30"),
        ("1 Hour  ago", "2026-11-21T04:30", "2026-11-21T04:30"),
        ("2 weeks", "2026-11-07T05:30", "2026-11-07T05:30"),
        ("today", "2026-11-21T00:00", "2026-11-22T00:00"),
        ("Yesterday", "2026-11-20T00:00", "2026-11-21T00:00"),
        ("saturday", "2026-11-21T00:00", "2026-11-22T00:00"),
        ("sunday", "2026-11-15T00:00", "2026-11-16T00:00"),
        ("monday", "2026-11-16T00:00", "2026-11-17T00:00"),
    ],
)
def test_points_in_time(text: str, since: str, until: str) -> None:
    assert dates_of(text, NOW)[0] == datetime.fromisoformat(since).replace(tzinfo=UTC)
    assert dates_of(text, NOW)[1] == datetime.fromisoformat(until).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "2026-13",
        "2026-02-30",
        "20261121",
        "2026-W47",
        "-1d",
        "7 ds",
        "7 months ago",
        "mon",
        "0001-01-01T00:00+23:00",
    ],
)
def test_other_texts_are_refused_by_name(text: str) -> None:
    with pytest.raises(InputError, match=r"^--since: invalid time"):
        period(text, None, prefix="--")


def test_every_mistake_of_a_period_is_named() -> None:
    with pytest.raises(InputError) as refused:
        period("soon", datetime(2026, 11, 21))
    assert [(one.where, one.what.partition(" ")[0]) for one in refused.value.problems] == [
        ("since", "invalid"),
        ("until", "2026-11-21T00:00:00"),
    ]
    with pytest.raises(InputError, match=r"^until: is not after since$"):
        period(datetime(2026, 11, 21, tzinfo=UTC), "2026-11-20")


def test_a_period_without_bounds() -> None:
    assert period("all", None) == period(None, "all") == period(None, None)
    assert (period("all", None).since_ns, period("all", None).until_ns) == (None, None)
    whole = period("2026-11-21", "2026-11-21")
    assert (whole.until_ns or 0) - (whole.since_ns or 0) == 24 * 3600 * 10**9
