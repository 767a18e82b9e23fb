"""Runtimes: a history made small without moving its mean, and never beyond the limit."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intensities import MINUTE

from hpcfrugal.core.errors import InputError
from hpcfrugal.planning.optimise.runtimes import POINTS, Runtimes


@given(samples=st.lists(st.integers(1, 600), min_size=1, max_size=200), limit=st.integers(1, 700))
def test_the_mean_stays_and_the_limit_holds(samples: list[int], limit: int) -> None:
    runtimes = Runtimes.from_samples([minutes * MINUTE for minutes in samples], limit * MINUTE)
    mean = sum(min(minutes, limit) for minutes in samples) / len(samples)
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
        ([MINUTE, -MINUTE], MINUTE),
    ],
)
def test_histories_that_cannot_be_are_refused(samples: list[timedelta], limit: timedelta) -> None:
    with pytest.raises(InputError):
        Runtimes.from_samples(samples, limit)
