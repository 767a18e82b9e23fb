"""All jobs of a node together, with records at instants of their own: shares and rest close exactly, always."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.accounting.attribution import Attribution
from hpcfrugal.accounting.balance import (
    AttemptName,
    Balance,
    ChannelReading,
    EnergyShare,
    Slice,
    _stretches,
    balance,
    slices,
)
from hpcfrugal.accounting.series import CumulativeSeries

SECOND = 10**9
HUGE = 2**62


def name(number: int) -> AttemptName:
    return (f"run-{number}", str(number), 0)


@st.composite
def series(draw: st.DrawFn, times: tuple[int, ...], most: int, least: int = 0) -> CumulativeSeries:
    rises = draw(st.lists(st.integers(least, most), min_size=len(times) - 1, max_size=len(times) - 1))
    return CumulativeSeries(times, tuple(accumulate(rises, initial=0)))


@st.composite
def reading(draw: st.DrawFn, job: AttemptName, kinds: Sequence[Attribution], *, idles: bool = False) -> ChannelReading:
    start = draw(st.integers(0, 60))
    steps = draw(st.lists(st.integers(1, 20), min_size=1, max_size=5))
    unit = draw(st.sampled_from((1, 7, SECOND)))
    times = tuple(unit * second for second in accumulate(steps, initial=start))
    big = draw(st.sampled_from((10, 10**12, HUGE // 8)))
    cpu: CumulativeSeries | None = draw(series(times, big))
    if idles:
        cpu = CumulativeSeries(times, (0,) * len(times))
    elif draw(st.integers(0, 5)) == 0:
        cpu = None
    return ChannelReading(
        job=job,
        attribution=draw(st.sampled_from(kinds)),
        energy=draw(series(times, big)),
        measured=draw(series(times, big)),
        job_cpu=cpu,
        node_busy=draw(st.none() | series(times, big)) if not idles else draw(series(times, big)),
        idle=draw(st.none() | series(times, big)),
        alloc_cpus=draw(st.integers(0, 512)),
        node_cpus=draw(st.integers(1, 512)),
    )


@st.composite
def mixes(draw: st.DrawFn, kinds: Sequence[Attribution] = (Attribution.CPU_SHARE,)) -> list[ChannelReading]:
    count = draw(st.integers(0, 6))
    return [draw(reading(name(number), kinds, idles=draw(st.integers(0, 4)) == 0)) for number in range(count)]


def known(shares: Sequence[tuple[AttemptName, EnergyShare | None]]) -> list[EnergyShare]:
    return [share for _, share in shares if share is not None]


@given(
    jobs=mixes(
        (
            Attribution.CPU_SHARE,
            Attribution.CPU_SHARE,
            Attribution.CPU_SHARE,
            Attribution.EXCLUSIVE,
            Attribution.DEVICE,
            Attribution.NONE,
        )
    )
)
def test_every_interval_closes_and_no_share_is_negative(jobs: list[ChannelReading]) -> None:
    for piece in slices(jobs):
        shares = known(piece.shares)
        assert piece.start_ns < piece.end_ns
        assert all(
            isinstance(part, int) and part >= 0 for share in shares for part in (share.dynamic_uj, share.idle_uj)
        )
        assert piece.residual_uj >= 0
        assert sum(share.energy_uj for share in shares) + piece.residual_uj == piece.energy_uj


@given(jobs=mixes((Attribution.CPU_SHARE, Attribution.EXCLUSIVE, Attribution.DEVICE, Attribution.NONE)))
def test_the_sum_closes_and_no_time_counts_twice(jobs: list[ChannelReading]) -> None:
    found = balance(jobs)
    assert found.jobs_uj + found.residual_uj == found.energy_uj
    edges = sorted((piece.start_ns, piece.end_ns) for piece in slices(jobs))
    assert all(before[1] <= after[0] for before, after in pairwise(edges))
    covered = 0
    upto = -1
    for start, end in sorted((job.energy.start_ns, job.energy.end_ns) for job in jobs):
        covered += max(0, end - max(start, upto))
        upto = max(upto, end)
    assert found.covered_ns == covered


@given(jobs=mixes(), idle=reading(name(99), (Attribution.CPU_SHARE,), idles=True))
@pytest.mark.slow
def test_an_idle_job_changes_no_other_jobs_dynamic_share(jobs: list[ChannelReading], idle: ChannelReading) -> None:
    before, after = balance(jobs), balance([*jobs, idle])
    assert after.shares.get(idle.job, EnergyShare(0, 0)).dynamic_uj == 0
    for job in jobs:
        old, new = before.shares.get(job.job), after.shares.get(job.job)
        assert (new.dynamic_uj if new else 0) == (old.dynamic_uj if old else 0)
        assert job.idles or (old is None) == (new is None)


@given(jobs=mixes(), order=st.randoms(use_true_random=False))
@pytest.mark.slow
def test_the_order_of_the_jobs_does_not_matter(jobs: list[ChannelReading], order: st.DataObject) -> None:
    mixed = list(jobs)
    order.shuffle(mixed)  # type: ignore[attr-defined]
    assert balance(mixed) == balance(jobs)


@given(
    jobs=mixes((Attribution.CPU_SHARE, Attribution.EXCLUSIVE, Attribution.DEVICE, Attribution.NONE)),
    most=st.sampled_from((1, 2, 3)),
)
@pytest.mark.slow
def test_the_size_of_batches_changes_no_figure(jobs: list[ChannelReading], most: int) -> None:
    whole = balance(jobs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hpcfrugal.accounting.balance._MAX_PIECES", most)
        assert balance(jobs) == whole


def test_4096_pieces_are_in_memory_at_once() -> None:
    seconds = [number * SECOND for number in range(10_001)]
    assert [len(times_ns) for times_ns in _stretches([steady(1, 0, 10_000, 1)], seconds)] == [4097, 4097, 1809]


def test_a_job_that_has_the_node_alone_is_one_piece_and_its_idle_energy_is_what_each_interval_has() -> None:
    times = (0, 10, 20, 30)
    idle = CumulativeSeries(times, (0, 5, 15, 20))
    alone = ChannelReading(
        name(1),
        Attribution.EXCLUSIVE,
        CumulativeSeries(times, (0, 8, 10, 19)),
        CumulativeSeries(times, times),
        idle=idle,
    )
    assert list(slices([alone])) == [Slice(0, 30, 19, 30, ((name(1), EnergyShare(7, 12)),), 0)]


def line(start_s: float, end_s: float, per_s: int, step_s: float = 10) -> CumulativeSeries:
    """A counter that rises evenly from 0, with a point every ``step_s``."""
    count = round((end_s - start_s) / step_s)
    times = tuple(round((start_s + step_s * number) * SECOND) for number in range(count + 1))
    return CumulativeSeries(times, tuple(round(per_s * step_s * number) for number in range(count + 1)))


def steady(
    number: int, start_s: float, end_s: float, cpus: int, *, watts: int = 100, busy: int = 8, idle_w: int | None = None
) -> ChannelReading:
    """A job with ``cpus`` CPUs busy on a node of 16 of which ``busy`` are."""
    return ChannelReading(
        job=name(number),
        attribution=Attribution.CPU_SHARE,
        energy=line(start_s, end_s, watts * 10**6),
        measured=line(start_s, end_s, SECOND),
        job_cpu=line(start_s, end_s, cpus * 10**6),
        node_busy=line(start_s, end_s, busy * 10**6),
        idle=None if idle_w is None else line(start_s, end_s, idle_w * 10**6),
        alloc_cpus=4,
        node_cpus=16,
    )


def test_two_jobs_that_overlap_by_half() -> None:
    found = balance([steady(1, 0, 60, 4), steady(2, 33, 93, 2)])
    assert found.energy_uj == 93 * 100 * 10**6
    assert found.shares == {name(1): EnergyShare(60 * 50 * 10**6, 0), name(2): EnergyShare(60 * 25 * 10**6, 0)}
    assert found.residual_uj == (93 * 100 - 60 * 50 - 60 * 25) * 10**6
    assert found.covered_ns == found.measured_ns == 93 * SECOND


def test_known_idle_power_goes_by_cpus_allotted_and_the_rest_by_cpu_time() -> None:
    found = balance([steady(1, 0, 60, 4, idle_w=40), steady(2, 0, 60, 0, idle_w=40)])
    assert found.shares[name(1)] == EnergyShare(60 * 30 * 10**6, 60 * 10 * 10**6)
    assert found.shares[name(2)] == EnergyShare(0, 60 * 10 * 10**6)
    assert found.residual_uj == 60 * (30 + 20) * 10**6


def test_an_idle_job_that_comes_and_goes_within_an_interval_gets_its_time_of_idle_energy() -> None:
    found = balance([steady(1, 0, 60, 8, idle_w=40), steady(2, 13, 23, 0, idle_w=40)])
    assert found.shares[name(2)] == EnergyShare(0, 10 * 10 * 10**6)


def test_a_job_alone_has_the_node_until_another_comes() -> None:
    whole = steady(1, 0, 60, 4)
    whole = ChannelReading(
        whole.job, Attribution.EXCLUSIVE, whole.energy, whole.measured, whole.job_cpu, whole.node_busy
    )
    assert balance([whole]).shares == {name(1): EnergyShare(6_000_000_000, 0)}
    both = balance([whole, steady(2, 30, 60, 4)])
    assert both.shares[name(1)] == EnergyShare(30 * 100 * 10**6 + 30 * 50 * 10**6, 0)
    assert both.residual_uj == 0


def test_a_device_held_by_two_jobs_is_attributed_to_neither() -> None:
    one, other = steady(1, 0, 60, 4), steady(2, 0, 60, 4)
    device = [ChannelReading(item.job, Attribution.DEVICE, item.energy, item.measured) for item in (one, other)]
    assert balance(device[:1]).residual_uj == 0
    both = balance(device)
    assert (both.residual_uj, both.shares, both.unknown) == (6_000_000_000, {}, {name(1), name(2)})


def test_a_job_of_unknown_cpu_time_stays_in_the_rest_and_is_named() -> None:
    lost = steady(1, 0, 60, 4)
    lost = ChannelReading(lost.job, lost.attribution, lost.energy, lost.measured, None, lost.node_busy)
    found = balance([lost, steady(2, 0, 60, 2)])
    assert found.unknown == {name(1)}
    assert found.shares == {name(2): EnergyShare(60 * 25 * 10**6, 0)}


def test_nothing_read_is_nothing_found() -> None:
    assert balance([]) == Balance()


@pytest.mark.parametrize("gap_s", [5, 0])
def test_time_without_readings_is_not_counted(gap_s: int) -> None:
    found = balance([steady(1, 0, 30, 4), steady(2, 30 + gap_s, 60 + gap_s, 4)])
    assert (found.energy_uj, found.covered_ns) == (6_000_000_000, 60 * SECOND)


def test_64_jobs_of_a_minute_take_no_time() -> None:
    jobs = [steady(number, number / 7, number / 7 + 60, 1 + number % 3, busy=130, idle_w=20) for number in range(64)]
    began = time.perf_counter()
    found = balance(jobs)
    assert time.perf_counter() - began < 3
    assert len(found.shares) == 64
    assert found.jobs_uj + found.residual_uj == found.energy_uj
    assert abs(found.energy_uj - 69 * 100 * 10**6) < 10**6
