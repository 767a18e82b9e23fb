"""A year of jobs: when they come, how wide they are, how long they run, and how long their users say that they may.

Arrivals are a Poisson process whose rate follows the working day and the week (as in the model of Lublin and Feitelson,
J. Parallel Distrib. Comput. 63, 2003). A job is of a kind, which is a user and a name: its runtimes are lognormal, its
limit and width are always the same. The limit is a long run (one in twenty is longer) and something to spare, rounded
up to one of the few values that users write (Tsafrir, Etsion, Feitelson, JSSPP 2005: about 20 values make up 90 % of a
log). What runs longer is ended at the limit. Kinds come and go, so that of a part of the jobs there is no history.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

HOUR, DAY = 3600, 86400
SHORTEST_S = 300
# Runtimes of a kind of job: lognormal around a median of its own, which is lognormal itself.
MEDIAN_S, SPREAD, OWN_SPREAD = 2 * HOUR, 1.0, (0.2, 0.6)
# Kinds that are in use at any time, and how often a submission is the first of a new one, in the place of another.
KINDS, FIRST = 40, 0.02
# What users allow for on top of a long run of theirs.
SPARE = (1.0, 2.0)
LIMITS_S = tuple(round(hours * HOUR) for hours in (0.25, 0.5, 1, 2, 3, 4, 6, 8, 10, 12, 18, 24))
WIDTHS = (1, 1, 1, 1, 2, 2, 2, 4, 4, 8)
# Arrivals relative to the mean of a working day, each hour (UTC); and of the days from Monday on.
HOURS = (3, 2, 2, 2, 2, 2, 3, 5, 9, 13, 14, 13, 10, 12, 14, 14, 13, 11, 8, 6, 5, 5, 4, 4)
DAYS = (1.1, 1.15, 1.15, 1.1, 1.0, 0.5, 0.45)


@dataclass(frozen=True, slots=True)
class Job:
    """Times in seconds after the start of the year; ``run_s`` is what it takes and ``limit_s`` what it asks for."""

    number: int
    kind: int
    submit_s: int
    nodes: int
    run_s: int
    limit_s: int


@dataclass(frozen=True, slots=True)
class _Kind:
    number: int
    nodes: int
    median_s: float
    spread: float
    limit_s: int

    @classmethod
    def drawn(cls, number: int, draw: random.Random) -> _Kind:
        median_s, spread = draw.lognormvariate(math.log(MEDIAN_S), SPREAD), draw.uniform(*OWN_SPREAD)
        asked = median_s * math.exp(1.645 * spread) * draw.uniform(*SPARE)
        limit_s = next((one for one in LIMITS_S if one >= asked), LIMITS_S[-1])
        return cls(number, draw.choice(WIDTHS), median_s, spread, limit_s)

    def job(self, number: int, submit_s: int, draw: random.Random) -> Job:
        run_s = round(max(SHORTEST_S, draw.lognormvariate(math.log(self.median_s), self.spread)))
        return Job(number, self.number, submit_s, self.nodes, min(run_s, self.limit_s), self.limit_s)


def made(days: int, per_day: float, seed: int) -> list[Job]:
    """The jobs of so many days in the order of their submission, the same for the same seed."""
    draw = random.Random(f"jobs {seed}")
    kinds = [_Kind.drawn(number, draw) for number in range(KINDS)]
    latest = KINDS
    jobs: list[Job] = []
    for hour in range(days * 24):
        rate = per_day / 24 * HOURS[hour % 24] / (sum(HOURS) / 24) * DAYS[hour // 24 % 7] / (sum(DAYS) / 7)
        for submit_s in sorted(hour * HOUR + draw.randrange(HOUR) for _ in range(_poisson(draw, rate))):
            place = draw.randrange(KINDS)
            if draw.random() < FIRST:
                kinds[place], latest = _Kind.drawn(latest, draw), latest + 1
            jobs.append(kinds[place].job(len(jobs) + 1, submit_s, draw))
    return jobs


def _poisson(draw: random.Random, rate: float) -> int:
    count, product = 0, draw.random()
    while product > math.exp(-rate):
        count, product = count + 1, product * draw.random()
    return count
