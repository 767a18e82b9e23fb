"""The expected wait of a job in the queue, from the waits of similar jobs.

Jobs are similar by partition and size. The distribution is empirical: there is no model of the queue, and no result if
there are too few jobs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal, TypeAlias

from hpcfrugal.core.record import Key, Range

# The true median is between the 6th and the 15th of 20 waits in 96 % of cases (binomial, share 1/2).
ENOUGH = 20

Basis: TypeAlias = Literal["partition and size", "partition"]


@dataclass(frozen=True, slots=True)
class PastWait:
    """A started job: its partition, its size in the unit of the query, and its wait in the queue."""

    partition: str
    size: Annotated[int, Range(1)]
    wait: Annotated[timedelta, Range(0), Key("wait_s")]


@dataclass(frozen=True, slots=True)
class Waits:
    """Past waits in ascending order, and what the jobs have in common with the job in question."""

    waits: tuple[timedelta, ...]
    basis: Basis

    def quantile(self, share: float) -> timedelta:
        """The wait that a share of the jobs did not exceed (nearest rank); ValueError unless 0 < share <= 1."""
        if not 0 < share <= 1:
            raise ValueError(f"a share of {share}")
        return self.waits[math.ceil(share * len(self.waits)) - 1]


def waits_like(past: Iterable[PastWait], partition: str, size: int) -> Waits | None:
    """The waits of jobs of the same partition and size class, or else of the partition; None if both are too few.

    Sizes are of one class if they round up to the same power of two (1, 2, 3-4, 5-8, ...).
    """
    there = [job for job in past if job.partition == partition]
    alike = [job for job in there if _size_class(job.size) == _size_class(size)]
    if len(alike) >= ENOUGH:
        return Waits(tuple(sorted(job.wait for job in alike)), "partition and size")
    if len(there) >= ENOUGH:
        return Waits(tuple(sorted(job.wait for job in there)), "partition")
    return None


def _size_class(size: int) -> int:
    return (size - 1).bit_length()
