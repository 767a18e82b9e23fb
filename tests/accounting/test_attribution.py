"""Shares of a node's energy: closed sums, no influence of idle neighbours, unknown stays unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcfrugal.accounting.attribution import EnergyShare, JobUse, NodeInterval, job_share, kind_of, split_node

energies = st.integers(0, 10**15)
times = st.integers(0, 10**12)
uses = st.builds(JobUse, job_cpu_us=st.one_of(st.none(), times), alloc_cpus=st.one_of(st.none(), st.integers(1, 512)))
nodes = st.builds(
    NodeInterval,
    energy_uj=energies,
    node_busy_us=st.one_of(st.none(), times),
    node_cpus=st.one_of(st.none(), st.integers(1, 512)),
    idle_uj=st.one_of(st.none(), energies),
)


@given(node=nodes, jobs=st.lists(uses, max_size=12))
def test_shares_and_residual_close_exactly(node: NodeInterval, jobs: list[JobUse]) -> None:
    split = split_node(node, jobs)
    given_uj = sum(share.energy_uj for share in split.shares if share is not None)
    assert len(split.shares) == len(jobs)
    assert given_uj + split.residual_uj == node.energy_uj
    assert 0 <= given_uj <= node.energy_uj
    assert all(share.dynamic_uj >= 0 and share.idle_uj >= 0 for share in split.shares if share)


@given(node=nodes, jobs=st.lists(uses, max_size=8), position=st.integers(0, 8), cpus=st.integers(1, 64))
def test_an_idle_job_changes_no_dynamic_share(node: NodeInterval, jobs: list[JobUse], position: int, cpus: int) -> None:
    position = min(position, len(jobs))
    before = split_node(node, jobs).shares
    after = list(split_node(node, [*jobs[:position], JobUse(0, cpus), *jobs[position:]]).shares)
    idle = after.pop(position)
    assert idle is None or idle.dynamic_uj == 0
    assert [share and share.dynamic_uj for share in after] == [share and share.dynamic_uj for share in before]


@given(node=nodes, use=uses)
def test_missing_inputs_give_unknown_and_never_zero(node: NodeInterval, use: JobUse) -> None:
    share = job_share(node, use)
    needs_cpus = bool(node.idle_uj) and node.energy_uj > 0
    missing = use.job_cpu_us is None or node.node_busy_us is None
    missing = missing or (needs_cpus and (use.alloc_cpus is None or node.node_cpus is None))
    assert (share is None) == missing


def test_the_formula() -> None:
    node = NodeInterval(energy_uj=1_000, node_busy_us=400, node_cpus=8, idle_uj=200)
    assert split_node(node, [JobUse(100, 2), JobUse(200, 4)]).shares == (EnergyShare(200, 50), EnergyShare(400, 100))
    assert split_node(node, [JobUse(100, 2), JobUse(200, 4)]).residual_uj == 250


def test_unknown_idle_power_counts_as_none() -> None:
    assert job_share(NodeInterval(1_000, 400), JobUse(100)) == EnergyShare(250, 0)


def test_a_job_cannot_have_more_than_the_node() -> None:
    assert job_share(NodeInterval(1_000, 400), JobUse(500)) == EnergyShare(1_000, 0)
    assert job_share(NodeInterval(1_000, 0), JobUse(5)) == EnergyShare(1_000, 0)
    assert job_share(NodeInterval(1_000, 0), JobUse(0)) == EnergyShare(0, 0)


def test_idle_energy_above_the_reading_is_held_at_it() -> None:
    assert job_share(NodeInterval(100, 10, 4, 500), JobUse(10, 4)) == EnergyShare(0, 100)


def test_negative_energy_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        split_node(NodeInterval(-1, 1), [])


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
    assert kind_of(component, scope, exclusive) == kind
