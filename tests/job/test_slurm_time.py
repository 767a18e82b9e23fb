"""Points in time in sbatch's forms."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from hpcfrugal.core.errors import InputError
from hpcfrugal.job import JobSpec, job_from_mapping
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
def test_invalid_times(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_slurm_time(text, NOW)


@pytest.mark.parametrize("text", ["now+999999999weeks", "now-999999999weeks", "2200-01-01", "9999-12-31T23:59"])
def test_times_that_no_job_can_have(text: str) -> None:
    with pytest.raises(ValueError, match="is out of range"):
        parse_slurm_time(text, NOW)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where the clocks are set forward at 2 o'clock on 29 March 2026."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
def test_a_time_that_is_skipped_is_an_hour_later() -> None:
    """As mktime(3) has it, and so sbatch."""
    found = parse_slurm_time("2026-03-29T02:30")
    assert found == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert (found.hour, found.timestamp()) == (3, time.mktime((2026, 3, 29, 2, 30, 0, 0, 0, -1)))


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("key", ["earliest", "deadline"])
def test_a_job_file_with_a_time_that_is_skipped_is_refused(key: str) -> None:
    def job(text: str) -> JobSpec:
        return job_from_mapping({"command": "true", "schedule": {key: text}})

    with pytest.raises(InputError) as refused:
        job("2026-03-29T02:30")
    assert [(problem.where, problem.what) for problem in refused.value.problems] == [
        (
            f"job: schedule.{key}",
            "'2026-03-29T02:30' does not exist: the clocks are set forward then; write a later time",
        )
    ]
    times = [("01:59", 0, 59), ("03:30", 1, 30), ("02:30+01:00", 1, 30)]
    for text, hour, minute in times:
        found = getattr(job(f"2026-03-29T{text}").schedule, key)
        assert found == datetime(2026, 3, 29, hour, minute, tzinfo=UTC)


def test_now_is_now() -> None:
    assert abs(parse_slurm_time("now+1hour") - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)
