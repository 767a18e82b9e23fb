"""Runtimes: a history made small without moving its mean, and never beyond the limit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intensities import MINUTE

from hpcfrugal.core.errors import InputError
from hpcfrugal.planning.optimise.runtimes import Runtimes

POINTS = 16


@given(
    samples=st.lists(st.tuples(st.integers(1, 600), st.integers(0, 5)), min_size=1, max_size=200),
    limit=st.integers(1, 700),
)
def test_the_mean_stays_and_the_limit_holds(samples: list[tuple[int, int]], limit: int) -> None:
    whole = sum(weight for _, weight in samples)
    weighed = [(minutes * MINUTE, float(weight)) for minutes, weight in samples]
    if not whole:
        with pytest.raises(InputError, match="no job to learn from"):
            Runtimes.from_samples(weighed, limit * MINUTE)
        return
    runtimes = Runtimes.from_samples(weighed, limit * MINUTE)
    mean = sum(min(minutes, limit) * weight for minutes, weight in samples) / whole
    assert runtimes.mean / MINUTE == pytest.approx(mean, abs=1e-4)
    assert sum(share for _, share in runtimes.points) == pytest.approx(1)
    assert len(runtimes.points) <= POINTS
    durations = [duration for duration, _ in runtimes.points]
    assert durations == sorted(durations)
    assert max(durations) <= limit * MINUTE + timedelta(microseconds=1)


def test_few_durations_are_kept_as_they_are() -> None:
    runtimes = Runtimes.from_samples([MINUTE, 3 * MINUTE, MINUTE, 99 * MINUTE], 10 * MINUTE)
    assert runtimes.points == ((MINUTE, 0.5), (3 * MINUTE, 0.25), (10 * MINUTE, 0.25))
    assert Runtimes.certain(MINUTE) == Runtimes(((MINUTE, 1.0),), MINUTE)


def test_many_durations_become_the_means_of_equal_parts() -> None:
    runtimes = Runtimes.from_samples([n * MINUTE for n in range(1, 101)], 1000 * MINUTE, points=4)
    assert [round(duration / MINUTE, 6) for duration, _ in runtimes.points] == [13, 38, 63, 88]
    assert [share for _, share in runtimes.points] == pytest.approx([0.25] * 4)


@pytest.mark.parametrize(
    ("samples", "limit"),
    [
        ([], MINUTE),
        ([timedelta()], MINUTE),
        ([MINUTE], timedelta()),
        ([(MINUTE, -1.0)], MINUTE),
        ([(MINUTE, float("nan"))], MINUTE),
    ],
)
def test_histories_that_cannot_be_are_refused(samples: Any, limit: timedelta) -> None:
    with pytest.raises(InputError):
        Runtimes.from_samples(samples, limit)
