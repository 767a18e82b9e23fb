"""Points in time in sbatch's forms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hpcfrugal.job.slurm_time import parse_slurm_time

NOW = datetime(2026, 11, 28, 15, 20, 30).astimezone()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2026-11-28T15:20:30"),
        ("now+8hours", "2026-11-28T23:20:30"),
        ("now+1hour", "2026-11-28T16:20:30"),
        ("now+60", "2026-11-28T15:21:30"),
        ("NOW + 2 Days", "2026-11-30T15:20:30"),
        ("now+90min", "2026-11-28T16:50:30"),
        ("now+1week", "2026-12-05T15:20:30"),
        ("now-1hour", "2026-11-28T14:20:30"),
        ("20:00", "2026-11-28T20:00:00"),
        ("08:30", "2026-11-29T08:30:00"),
        ("8:30pm", "2026-11-28T20:30:00"),
        ("12:00 AM", "2026-11-29T00:00:00"),
        ("midnight", "2026-11-29T00:00:00"),
        ("noon", "2026-11-29T12:00:00"),
        ("teatime", "2026-11-28T16:00:00"),
        ("fika", "2026-11-29T15:00:00"),
        ("today", "2026-11-28T00:00:00"),
        ("tomorrow", "2026-11-29T00:00:00"),
        ("16:00 tomorrow", "2026-11-29T16:00:00"),
        ("2026-12-24", "2026-12-24T00:00:00"),
        ("2026-12-24T18:00", "2026-12-24T18:00:00"),
        ("2026-12-24T18:00:05", "2026-12-24T18:00:05"),
        ("2026-12-24-18:00", "2026-12-24T18:00:00"),
        ("122426", "2026-12-24T00:00:00"),
        ("12/24", "2026-12-24T00:00:00"),
        ("01/24", "2027-01-24T00:00:00"),
        ("12/24/27-06:00", "2027-12-24T06:00:00"),
        ("24.12", "2026-12-24T00:00:00"),
    ],
)
def test_every_form(text: str, expected: str) -> None:
    assert parse_slurm_time(text, NOW) == datetime.fromisoformat(expected).astimezone()


def test_seconds_since_1970() -> None:
    assert parse_slurm_time("uts1795300200", NOW) == datetime.fromtimestamp(1795300200, UTC)


@pytest.mark.parametrize("text", ["", "soon", "now+1fortnight", "25:00", "13/45", "20:00x", "now+", "2026-13-01"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_slurm_time(text, NOW)


def test_now_is_now() -> None:
    assert abs(parse_slurm_time("now+1hour") - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)
