"""Splitting over bucket edges loses and invents nothing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.accounting.buckets import Bucket, Interval, fill, parts, split

BUCKET_NS = 300 * 10**9
MOST_PARTS = 288
"""Five minutes and a day of them, as docs/ledger.md says: written out, so that a change of them is noticed."""

starts = st.integers(0, 4 * 10**18)
lengths = st.integers(0, 40 * BUCKET_NS)
amounts = st.integers(0, 2**62)


@given(start=starts, length=lengths, amount=amounts)
def test_parts_sum_to_the_amount_and_lie_on_the_interval(start: int, length: int, amount: int) -> None:
    parts = list(split(start, start + length, amount))
    assert sum(part for _, part in parts) == amount
    assert all(part >= 0 for _, part in parts)
    buckets = [bucket for bucket, _ in parts]
    assert buckets == sorted(set(buckets))
    assert all(bucket % BUCKET_NS == 0 for bucket in buckets)
    assert buckets[0] <= start < buckets[0] + BUCKET_NS
    assert buckets[-1] <= max(start, start + length - 1) < buckets[-1] + BUCKET_NS


@given(start=starts, length=st.integers(1, 40 * BUCKET_NS), amount=amounts)
def test_each_part_is_in_proportion_to_time(start: int, length: int, amount: int) -> None:
    for bucket, part in split(start, start + length, amount):
        overlap = min(start + length, bucket + BUCKET_NS) - max(start, bucket)
        assert abs(part - amount * overlap / length) <= 1 + amount * 1e-12


@given(start=starts, length=st.integers(0, 120_000 * BUCKET_NS), amount=amounts)
def test_a_long_interval_is_laid_into_no_more_parts_than_a_day_has(start: int, length: int, amount: int) -> None:
    found = list(split(start, start + length, amount))
    assert len(found) == parts(start, start + length) <= MOST_PARTS + 1
    assert sum(part for _, part in found) == amount
    buckets = [bucket for bucket, _ in found]
    assert all(bucket % BUCKET_NS == 0 for bucket in buckets)
    assert len({later - earlier for earlier, later in pairwise(buckets)}) <= 1
    assert buckets[0] <= start < buckets[0] + BUCKET_NS
    assert buckets[-1] <= start + length


def test_a_day_is_still_laid_into_each_of_its_buckets() -> None:
    found = list(split(0, MOST_PARTS * BUCKET_NS, MOST_PARTS))
    assert found == [(number * BUCKET_NS, 1) for number in range(MOST_PARTS)]
    assert list(split(0, MOST_PARTS * BUCKET_NS + 1, MOST_PARTS))[1][0] == 2 * BUCKET_NS


def test_an_interval_that_ends_on_an_edge_stays_before_it() -> None:
    assert list(split(0, BUCKET_NS, 7)) == [(0, 7)]
    assert list(split(BUCKET_NS, BUCKET_NS, 7)) == [(BUCKET_NS, 7)]
    assert list(split(BUCKET_NS // 2, 2 * BUCKET_NS, 9)) == [(0, 3), (BUCKET_NS, 6)]


def test_an_interval_must_not_end_before_it_starts() -> None:
    with pytest.raises(ValueError, match="before it starts"):
        list(split(1, 0, 1))


@given(
    st.lists(st.tuples(lengths, st.integers(0, 10**15)), max_size=8),
    st.lists(st.tuples(lengths, st.integers(0, 10**15)), max_size=8),
    starts,
)
def test_buckets_hold_exactly_what_the_intervals_hold(
    job: list[tuple[int, int]], node: list[tuple[int, int]], start: int
) -> None:
    def chain(spans: list[tuple[int, int]]) -> list[Interval]:
        at, found = start, []
        for length, energy in spans:
            found.append(Interval(at, at + length, energy, length // 2))
            at += length
        return found

    buckets = fill(chain(job), chain(node))
    assert sum(bucket.energy_uj or 0 for bucket in buckets.values()) == sum(energy for _, energy in job)
    assert sum(bucket.node_energy_uj or 0 for bucket in buckets.values()) == sum(energy for _, energy in node)
    assert sum(bucket.measured_ns for bucket in buckets.values()) == sum(length // 2 for length, _ in job)


@given(start=starts, length=lengths, amount=amounts)
def test_an_interval_lies_in_the_buckets_into_which_it_is_split(start: int, length: int, amount: int) -> None:
    interval = Interval(start, start + length, amount, length)
    energy, measured = (dict(split(start, start + length, what)) for what in (amount, length))
    assert fill([interval], [interval]) == {
        bucket: Bucket(energy[bucket], energy[bucket], measured[bucket]) for bucket in energy
    }


@pytest.mark.parametrize("lists", [([Interval(9, 8, 1, 1)], []), ([], [Interval(9, 8, 1, 1)])])
def test_an_interval_that_ends_before_it_starts_is_refused(lists: tuple[list[Interval], list[Interval]]) -> None:
    with pytest.raises(ValueError, match="before it starts"):
        fill(*lists)


def test_energy_of_the_node_alone_leaves_that_of_the_job_unknown() -> None:
    assert fill([], [Interval(0, 10, 5, 10)]) == {0: Bucket(None, 5, 0)}
