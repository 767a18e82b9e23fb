"""Shares of a node's energy: closed sums, no influence of idle neighbours, unknown stays unknown."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.accounting.attribution import EnergyShares, JobUse, NodeIntervals, NodeSplit, attribution_of, split_node

energies = st.integers(0, 10**15)
times = st.integers(0, 10**12)
cpus = st.integers(1, 512)


@st.composite
def nodes(draw: st.DrawFn, most_jobs: int = 12) -> tuple[NodeIntervals, list[JobUse]]:
    """A few intervals of a node, and its jobs in them."""
    count = draw(st.integers(1, 4))

    def column(values: st.SearchStrategy[int]) -> st.SearchStrategy[list[int]]:
        return st.lists(values, min_size=count, max_size=count)

    node = NodeIntervals(
        energy_uj=draw(column(energies)),
        node_busy_us=draw(st.none() | column(times)),
        node_cpus=draw(column(cpus)),
        idle_uj=draw(st.none() | column(energies)),
    )
    use = st.builds(JobUse, st.none() | column(times), st.just([]) | column(cpus))
    return node, draw(st.lists(use, max_size=most_jobs))


def one(
    energy_uj: int, busy_us: int, job_us: int, idle_uj: int | None = None, cpus: tuple[int, int] = (0, 1)
) -> tuple[int, int]:
    """Dynamic and idle share of one job in one interval; ``cpus`` are the job's and the node's."""
    node = NodeIntervals([energy_uj], [busy_us], [cpus[1]], None if idle_uj is None else [idle_uj])
    (share,) = split_node(node, [JobUse([job_us], [cpus[0]])]).shares
    assert share is not None
    return share.dynamic_uj[0], share.idle_uj[0]


@given(case=nodes())
def test_shares_and_residual_close_exactly(case: tuple[NodeIntervals, list[JobUse]]) -> None:
    node, jobs = case
    split = split_node(node, jobs)
    assert len(split.shares) == len(jobs)
    known = [share for share in split.shares if share is not None]
    for at, energy_uj in enumerate(node.energy_uj):
        given_uj = sum(share.energy_uj[at] for share in known)
        assert given_uj + split.residual_uj()[at] == energy_uj
        assert 0 <= given_uj <= energy_uj
        assert all(share.dynamic_uj[at] >= 0 and share.idle_uj[at] >= 0 for share in known)


@given(case=nodes())
def test_intervals_do_not_depend_on_each_other(case: tuple[NodeIntervals, list[JobUse]]) -> None:
    node, jobs = case
    whole = split_node(node, jobs)

    def at(column: Sequence[int] | None, position: int) -> Sequence[int]:
        return [] if not column else [column[position]]

    for position in range(len(node.energy_uj)):
        alone = NodeIntervals(
            at(node.energy_uj, position),
            None if node.node_busy_us is None else at(node.node_busy_us, position),
            at(node.node_cpus, position),
            None if node.idle_uj is None else at(node.idle_uj, position),
        )
        uses = [
            JobUse(None if use.job_cpu_us is None else at(use.job_cpu_us, position), at(use.alloc_cpus, position))
            for use in jobs
        ]
        shares = tuple(
            share and EnergyShares(at(share.dynamic_uj, position), at(share.idle_uj, position))
            for share in whole.shares
        )
        split = split_node(alone, uses)
        assert split == NodeSplit([node.energy_uj[position]], shares)
        assert split.residual_uj() == [whole.residual_uj()[position]]


@given(case=nodes(8), position=st.integers(0, 8), cpus=cpus)
def test_an_idle_job_changes_no_dynamic_share(
    case: tuple[NodeIntervals, list[JobUse]], position: int, cpus: int
) -> None:
    node, jobs = case
    position, count = min(position, len(jobs)), len(node.energy_uj)
    before = split_node(node, jobs).shares
    waiting = JobUse([0] * count, [cpus] * count)
    after = list(split_node(node, [*jobs[:position], waiting, *jobs[position:]]).shares)
    idle = after.pop(position)
    assert idle is None or not any(idle.dynamic_uj)
    assert [share and share.dynamic_uj for share in after] == [share and share.dynamic_uj for share in before]


@given(case=nodes())
def test_missing_cpu_times_give_unknown_and_never_zero(case: tuple[NodeIntervals, list[JobUse]]) -> None:
    node, jobs = case
    missing = [use.job_cpu_us is None or node.node_busy_us is None for use in jobs]
    assert [share is None for share in split_node(node, jobs).shares] == missing


def test_the_formula() -> None:
    node = NodeIntervals([1_000, 2_000], [400, 400], [8, 8], [200, 200])
    split = split_node(node, [JobUse([100, 0], [2, 2]), JobUse([200, 400], [4, 4])])
    assert split.shares == (EnergyShares([200, 0], [50, 50]), EnergyShares([400, 1800], [100, 100]))
    assert split.residual_uj() == [250, 50]


def test_unknown_idle_power_counts_as_0() -> None:
    assert one(1_000, 400, 100) == (250, 0)


def test_a_job_cannot_have_more_than_the_node() -> None:
    assert one(1_000, 400, 500) == (1_000, 0)
    assert one(1_000, 0, 5) == (1_000, 0)
    assert one(1_000, 0, 0) == (0, 0)


def test_idle_energy_above_the_reading_is_held_at_it() -> None:
    assert one(100, 10, 10, 500, (4, 4)) == (0, 100)


def test_a_job_of_unknown_cpus_has_no_part_of_the_idle_energy() -> None:
    split = split_node(NodeIntervals([1_000], [400], [8], [200]), [JobUse([100]), JobUse([100], [2])])
    assert split.shares == (EnergyShares([200], [0]), EnergyShares([200], [50]))


def test_negative_energy_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        split_node(NodeIntervals([5, -1], [1, 1]), [])


@pytest.mark.parametrize(
    ("component", "scope", "exclusive", "kind"),
    [
        ("cpu", "node", True, "exclusive"),
        ("cpu", "node", False, "cpu-share"),
        ("dram", "node", None, "cpu-share"),
        ("gpu", "job", False, "device"),
        ("gpu", "job", True, "device"),
        ("gpu", "node", False, "none"),
        ("gpu", "node", True, "none"),
    ],
)
def test_how_a_channel_is_given_to_a_job(component: str, scope: str, exclusive: bool | None, kind: str) -> None:
    assert attribution_of(component, scope, exclusive) == kind
