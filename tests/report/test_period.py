"""Points in time on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hpcfrugal.core.errors import InputError
from hpcfrugal.report.period import parse_span

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
    ],
)
def test_points_in_time(text: str, since: str, until: str) -> None:
    assert parse_span(text, NOW, "--since")[0] == datetime.fromisoformat(since).replace(tzinfo=UTC)
    assert parse_span(text, NOW, "--until")[1] == datetime.fromisoformat(until).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "x", "2026-13", "2026-02-30", "-1d", "7 d", "0001-01-01T00:00+23:00"])
def test_other_texts_are_refused_by_name(text: str) -> None:
    with pytest.raises(InputError, match="--since: invalid time"):
        parse_span(text, NOW, "--since")[0]
