"""Splitting over bucket edges loses and invents nothing."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.accounting.buckets import EnergyByTime, EnergyCurve, Instants

BUCKET_NS = 300 * 10**9
MOST_PARTS = 288
"""Five minutes and a day of them, as docs/ledger.md says: written out, so that a change of them is noticed."""

starts = st.integers(0, 4 * 10**18)
lengths = st.integers(0, 40 * BUCKET_NS)
amounts = st.integers(0, 2**62)


def split(start: int, end: int, amount: int) -> list[tuple[int, int]]:
    return list(Instants([start, end]).by_bucket([5, 5 + amount]).items())


def parts(start: int, end: int) -> int:
    return 1 + Instants([start, end]).parted


@given(start=starts, length=lengths, amount=amounts)
def test_parts_sum_to_the_amount_and_lie_on_the_interval(start: int, length: int, amount: int) -> None:
    parts = split(start, start + length, amount)
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
    found = split(start, start + length, amount)
    assert len(found) == parts(start, start + length) <= MOST_PARTS + 1
    assert sum(part for _, part in found) == amount
    buckets = [bucket for bucket, _ in found]
    assert all(bucket % BUCKET_NS == 0 for bucket in buckets)
    assert len({later - earlier for earlier, later in pairwise(buckets)}) <= 1
    assert buckets[0] <= start < buckets[0] + BUCKET_NS
    assert buckets[-1] <= start + length


def test_an_interval_of_a_day_is_divided_among_all_its_buckets() -> None:
    found = split(0, MOST_PARTS * BUCKET_NS, MOST_PARTS)
    assert found == [(number * BUCKET_NS, 1) for number in range(MOST_PARTS)]
    assert (split(0, MOST_PARTS * BUCKET_NS + 1, MOST_PARTS))[1][0] == 2 * BUCKET_NS


def test_an_interval_that_ends_on_an_edge_stays_before_it() -> None:
    assert (split(0, BUCKET_NS, 7)) == [(0, 7)]
    assert (split(BUCKET_NS, BUCKET_NS, 7)) == [(BUCKET_NS, 7)]
    assert (split(BUCKET_NS // 2, 2 * BUCKET_NS, 9)) == [(0, 3), (BUCKET_NS, 6)]


def test_readings_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="out of order"):
        split(1, 0, 1)


@st.composite
def chains(draw: st.DrawFn) -> EnergyCurve:
    """Readings some time apart, some of them at one time or on an edge."""
    steps = draw(st.lists(st.tuples(lengths | st.sampled_from((0, BUCKET_NS)), amounts, amounts), max_size=12))
    start = draw(starts | st.sampled_from((0, BUCKET_NS)))
    columns = [list(accumulate((step[which] for step in steps), initial=(start, 0, 7)[which])) for which in range(3)]
    return EnergyCurve(Instants(columns[0]), columns[1], columns[2])


@given(curves=st.lists(chains(), max_size=3))
def test_buckets_hold_exactly_what_the_curves_hold(curves: list[EnergyCurve]) -> None:
    found = EnergyByTime()
    for curve in curves:
        found.add(curve)
    assert sum(found.energies_uj.values()) == found.energy_uj
    assert sum(found.measured.values()) == found.measured_ns
    assert found.energies_uj.keys() == found.measured.keys()
    assert found.energy_uj == sum(curve.energy_uj[-1] - curve.energy_uj[0] for curve in curves)
    assert found.measured_ns == sum(curve.measured_ns[-1] - curve.measured_ns[0] for curve in curves)


@given(curve=chains())
def test_each_interval_is_split_among_the_buckets_that_it_overlaps(curve: EnergyCurve) -> None:
    expected: dict[int, int] = {}
    parted = 0
    for (start, end), (old, new) in zip(pairwise(curve.instants.times_ns), pairwise(curve.energy_uj), strict=True):
        for bucket, amount in split(start, end, new - old):
            expected[bucket] = expected.get(bucket, 0) + amount
        parted += parts(start, end) - 1
    assert curve.instants.by_bucket(curve.energy_uj) == expected
    assert curve.instants.parted == parted
