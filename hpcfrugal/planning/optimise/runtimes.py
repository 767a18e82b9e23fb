"""How long a job may run: a few durations with their shares, up to the time limit at which Slurm ends it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from hpcfrugal.core.errors import InputError, Problem

# Durations that are kept of a longer history: the mean of each sixteenth.
POINTS = 16


@dataclass(frozen=True, slots=True)
class Runtimes:
    """``points`` are (duration, share) in ascending order, shares summing to 1; none is longer than ``limit``."""

    points: tuple[tuple[timedelta, float], ...]
    limit: timedelta

    @classmethod
    def certain(cls, duration: timedelta) -> Runtimes:
        """A job that takes just that long, such as one of which only the time limit is known."""
        return cls.from_samples([duration], duration)

    @classmethod
    def from_samples(
        cls, samples: Iterable[timedelta | tuple[timedelta, float]], limit: timedelta, *, points: int = POINTS
    ) -> Runtimes:
        """From past durations, each with a weight or all alike; what is longer than ``limit`` counts as ``limit``.

        Of many durations the means of ``points`` parts of equal weight are kept; the mean of all stays what it is.

        Raises InputError for no samples, durations or a limit that are not positive, and weights below or sum to 0.
        """
        weighed = [sample if isinstance(sample, tuple) else (sample, 1.0) for sample in samples]
        problems = []
        if limit <= timedelta():
            problems.append(Problem("limit", f"{limit} is no length of time that a job can run"))
        if points < 1:
            problems.append(Problem("points", f"{points}", "1 or more"))
        for duration, weight in weighed:
            if duration <= timedelta():
                problems.append(Problem("runtimes", f"a job that took {duration}"))
            if not (math.isfinite(weight) and weight >= 0):
                problems.append(Problem("runtimes", f"a weight of {weight}"))
        if not problems and not sum(weight for _, weight in weighed) > 0:
            problems.append(Problem("runtimes", "no job to learn from"))
        if problems:
            raise InputError(problems)
        return cls(_reduced(sorted((min(duration, limit), weight) for duration, weight in weighed), points), limit)

    @property
    def longest(self) -> timedelta:
        """The longest of the durations."""
        return max(duration for duration, _ in self.points)

    @property
    def mean(self) -> timedelta:
        """The expected duration."""
        return sum((duration * share for duration, share in self.points), timedelta())


def _reduced(weighed: list[tuple[timedelta, float]], points: int) -> tuple[tuple[timedelta, float], ...]:
    whole = math.fsum(weight for _, weight in weighed)
    alike: dict[timedelta, float] = {}
    for duration, weight in weighed:
        if weight:
            alike[duration] = alike.get(duration, 0.0) + weight / whole
    if len(alike) <= points:
        return tuple(alike.items())
    parts: list[list[float]] = [[0.0, 0.0] for _ in range(points)]
    seen = 0.0
    for duration, share in alike.items():
        while share > 1e-12:
            part = min(int(seen * points + 1e-9), points - 1)
            taken = min(share, (part + 1) / points - seen) if part < points - 1 else share
            parts[part][0] += taken * duration.total_seconds()
            parts[part][1] += taken
            seen, share = seen + taken, share - taken
    return tuple((timedelta(seconds=seconds / share), share) for seconds, share in parts if share > 0)
