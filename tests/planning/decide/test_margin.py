"""How long before its latest start a job is released to Slurm."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hpcfrugal.planning.decide.job_facts import margin
from hpcfrugal.planning.decide.plan import QueueWait

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("slack", "wait", "expected"),
    [
        (HOUR, QueueWait(), MINUTE),
        (20 * MINUTE, QueueWait(), MINUTE),
        (10 * MINUTE, QueueWait(), timedelta(seconds=30)),
        (timedelta(), QueueWait(), timedelta()),
        (HOUR, QueueWait(5 * MINUTE), 5 * MINUTE),
        (HOUR, QueueWait(5 * MINUTE, 9 * MINUTE), 9 * MINUTE),
        (HOUR, QueueWait(timedelta(seconds=5), timedelta(seconds=9)), MINUTE),
    ],
)
def test_the_margin_is_a_wait_that_few_exceed_a_minute_or_a_twentieth_of_the_time(
    slack: timedelta, wait: QueueWait, expected: timedelta
) -> None:
    assert margin(slack, wait) == expected
