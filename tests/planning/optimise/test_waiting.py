"""Waits of the past: from like jobs, from enough of them, or no answer."""

from __future__ import annotations

from datetime import timedelta

import pytest
from intensities import MINUTE

from hpcfrugal.planning.optimise.waiting import PastWait, Waits, waits_like


def past(partition: str, size: int, *waits: int) -> list[PastWait]:
    return [PastWait(partition, size, wait * MINUTE) for wait in waits]


def test_like_jobs_come_before_the_partition_and_too_few_give_none() -> None:
    jobs = past("long", 4, *range(19)) + past("long", 64, 90) + past("debug", 4, *[0] * 20)
    wider = waits_like(jobs, "long", 3)
    assert wider is not None
    assert (wider.basis, len(wider.waits), wider.waits[-1]) == ("partition", 20, 90 * MINUTE)
    alike = waits_like([*jobs, *past("long", 3, 19)], "long", 3)
    assert alike == Waits(tuple(minutes * MINUTE for minutes in range(20)), "partition and size")
    assert waits_like(jobs[1:], "long", 3) is None
    assert waits_like(jobs, "a'; rm -rf ~ #", 3) is None


def test_sizes_are_alike_up_to_the_same_power_of_two() -> None:
    jobs = [PastWait("p", size, timedelta(minutes=size)) for size in range(1, 10) for _ in range(20)]
    alike = {size: waits_like(jobs, "p", size) for size in (1, 2, 3, 5, 8, 9)}
    sizes = {size: sorted({wait / MINUTE for wait in found.waits}) for size, found in alike.items() if found}
    assert sizes == {1: [1], 2: [2], 3: [3, 4], 5: [5, 6, 7, 8], 8: [5, 6, 7, 8], 9: [9]}


def test_quantiles_are_waits_that_were() -> None:
    waits = Waits(tuple(minutes * MINUTE for minutes in (0, 10, 20, 30)), "partition")
    asked = [(0.01, 0), (0.25, 0), (0.26, 10), (0.5, 10), (0.75, 20), (0.9, 30), (1, 30)]
    assert [waits.quantile(share) / MINUTE for share, _ in asked] == [wait for _, wait in asked]
    for share in (0, 1.1, -1):
        with pytest.raises(ValueError, match="a share of"):
            waits.quantile(share)
