"""The queue entry in a job's comment, written and read back beside other text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.queues.job_comment import JobComment, insert_comment, parse_job_comment

LATEST = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "my own words", "a'; rm -rf ~ #", "x|y", "hpcfrugal:", "hpcfrugal:queue=", "ü"])
@pytest.mark.parametrize(
    "comment",
    [
        JobComment("green", LATEST),
        JobComment("a.b-c_1", LATEST, LATEST, timedelta(seconds=20), timedelta(hours=3), released=True),
        JobComment("green", LATEST, by=LATEST, wait=timedelta(minutes=5), min_saving=0.5),
        JobComment("green", LATEST, min_saving=0.0),
        JobComment("green", LATEST, min_saving=1.0),
    ],
)
def test_written_and_read_back(text: str, comment: JobComment) -> None:
    written = insert_comment(text, comment)
    assert parse_job_comment(written) == comment
    assert text.strip() in written
    # The newest replaces the one before, and the rest stays.
    later = JobComment("green", LATEST + timedelta(hours=1))
    assert parse_job_comment(insert_comment(written, later)) == later
    assert insert_comment(insert_comment(written, later), comment) == written


def test_seconds_are_rounded_to_the_safe_side() -> None:
    odd = timedelta(microseconds=300_000)
    assert parse_job_comment(JobComment("q", LATEST + odd, LATEST + odd).text()) == JobComment(
        "q", LATEST, LATEST + timedelta(seconds=1)
    )


@pytest.mark.parametrize(
    "comment",
    [
        "(null)",
        "hpcfrugal:queue=green",
        "hpcfrugal:queue=green;latest=",
        "hpcfrugal:queue=green;latest=-5",
        "hpcfrugal:queue=green;latest=1e9",
        "hpcfrugal:queue=green;latest=999999999999",
        "xhpcfrugal:queue=green;latest=5",
        "hpcfrugal:queue=.green;latest=5",
        "hpcfrugal:queue=green;latest=5,x",
        "hpcfrugal:latest=5;queue=green",
    ],
)
def test_comments_without_a_queue(comment: str) -> None:
    assert parse_job_comment(comment) is None


@pytest.mark.parametrize(
    "more", ["", ";by=", ";by=x", ";wait=0", ";wait=-5", ";save=2", ";save=nan", ";save=1e-3", ";of=tomorrow", ";;=;"]
)
def test_unknown_and_invalid_keys_are_ignored(more: str) -> None:
    assert parse_job_comment(f"hpcfrugal:queue=green;latest={int(LATEST.timestamp())}{more}") == JobComment(
        "green", LATEST
    )


def test_an_entry_is_short() -> None:
    whole = JobComment("green", LATEST, LATEST, LATEST - LATEST.replace(hour=0), timedelta(hours=3), LATEST,
                   timedelta(hours=1), 0.123456, released=True)  # fmt: skip
    assert len(whole.text()) < 160
    read = parse_job_comment(whole.text())
    assert read is not None
    assert read.min_saving == pytest.approx(0.1235)


@given(st.text())
def test_any_comment_can_be_read(comment: str) -> None:
    parse_job_comment(comment)
    assert parse_job_comment(insert_comment(comment, JobComment("green", LATEST))) == JobComment("green", LATEST)
