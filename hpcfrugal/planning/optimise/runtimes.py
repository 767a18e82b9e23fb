"""Possible run times of a job: a few durations with their shares, up to the time limit at which Slurm ends it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate, pairwise

from hpcfrugal.core.errors import InputError, Problem

POINTS = 8
"""Number of durations to which a longer history is reduced: enough to distinguish short runs from long ones."""


@dataclass(frozen=True, slots=True)
class Runtimes:
    """``points`` are (duration, share) in ascending order, shares summing to 1; none is longer than ``limit``."""

    points: tuple[tuple[timedelta, float], ...]
    limit: timedelta

    @classmethod
    def certain(cls, duration: timedelta) -> Runtimes:
        """A job of exactly this duration, such as one of which only the time limit is known."""
        return cls.from_samples([duration], duration)

    @classmethod
    def from_samples(cls, samples: Iterable[timedelta], limit: timedelta, *, points: int = POINTS) -> Runtimes:
        """From past durations; one longer than ``limit`` counts as ``limit``.

        More than ``points`` different durations become the means of ``points`` equal parts, so the total mean is the
        same.

        Raises InputError for no samples, and for durations or a limit that are not positive.
        """
        durations = sorted(min(duration, limit) for duration in samples)
        problems = []
        if limit <= timedelta():
            problems.append(Problem("limit", f"{limit} is not positive"))
        if not durations:
            problems.append(Problem("runtimes", "no earlier runs"))
        elif durations[0] <= timedelta():
            problems.append(Problem("runtimes", f"a job that took {durations[0]}"))
        if problems:
            raise InputError(problems)
        counts = Counter(durations)
        if len(counts) <= points:
            return cls(tuple((duration, count / len(durations)) for duration, count in counts.items()), limit)
        return cls(tuple((duration, 1 / points) for duration in _means(durations, points)), limit)

    @property
    def longest(self) -> timedelta:
        """The longest of the durations."""
        return max(duration for duration, _ in self.points)

    @property
    def mean(self) -> timedelta:
        """The expected duration."""
        return sum((duration * share for duration, share in self.points), timedelta())


def _means(durations: Sequence[timedelta], parts: int) -> Iterator[timedelta]:
    """The means of equal parts of the durations; one on the border of two parts counts partly in each."""
    sums = [timedelta(), *accumulate(durations)]
    size = len(durations) / parts
    edges = []
    for part in range(parts + 1):
        whole, rest = divmod(part * len(durations), parts)
        edges.append(sums[whole] + (durations[whole] * rest / parts if rest else timedelta()))
    return ((after - before) / size for before, after in pairwise(edges))
