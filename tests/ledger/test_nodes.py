"""Nodes over a period: every channel closes, the same counter read by two jobs counts once."""

from __future__ import annotations

from typing import Any

import pytest
from fake_spool import BOOT_NS, DRAM, GPU, PACKAGE, PSYS, SECOND, START_NS, FakeRun, FakeSpool

from hpcfrugal.ledger.node_sums import NodeSum
from hpcfrugal.ledger.nodes import NodesFound, find_nodes
from hpcfrugal.ledger.run_files import RunFiles
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync
from hpcfrugal.spool import RunDir


def nodes(spool: FakeSpool, since_s: float | None = None, until_s: float | None = None) -> NodesFound:
    sync(spool.root, spool.ledger)
    since_ns, until_ns = (None if at is None else START_NS + round(at * SECOND) for at in (since_s, until_s))
    with open_ledger(spool.ledger) as connection:
        return find_nodes(connection, spool.root, since_ns, until_ns)


def shared_run(spool: FakeSpool, job_id: str, later_s: float = 0, **header: Any) -> FakeRun:
    """A job of a minute that has 1 of the 4 CPUs that are busy, on a node of 100 W and 10 W."""
    run = spool.run(job_id)
    later_ns = round(later_s * SECOND)
    clocks = {"wall_ns": START_NS + later_ns, "boottime_ns": BOOT_NS + later_ns}
    lines = [
        {**line, "wall_ns": line["wall_ns"] + later_ns, "boottime_ns": line["boottime_ns"] + later_ns}
        for line in run.records([100, 10], 60)
    ]
    run.samples([run.header(job_id, exclusive=False, **clocks, **header), *lines], job_id)
    return run


def closes(node: NodeSum) -> bool:
    sums = [*(channel.sum for channel in node.channels.values()), node.total]
    return all(one.jobs_uj + one.residual_uj == one.energy_uj for one in sums)


def test_two_jobs_at_instants_of_their_own_count_the_counter_once(spool: FakeSpool) -> None:
    shared_run(spool, "17")
    shared_run(spool, "18", later_s=33.3)
    (node,) = nodes(spool).nodes
    assert closes(node)
    assert (node.cluster, node.node, len(node.jobs)) == ("lab", "n1", 2)
    package = node.channels["cpu", "package-0", "rapl-powercap"].sum
    assert package.energy_uj == 93_300_000 * 100
    assert package.jobs_uj == 2 * 60_000_000 * 25
    assert node.total.energy_uj == 93_300_000 * 110
    assert (node.first_wall_ns, node.last_wall_ns) == (START_NS, START_NS + 93_300_000_000)


def test_a_period_cuts_what_was_read(spool: FakeSpool) -> None:
    shared_run(spool, "17")
    (node,) = nodes(spool, 15, 25).nodes
    assert closes(node)
    assert node.total.energy_uj == 10 * 110_000_000
    assert nodes(spool, 60, 90).nodes == ()
    assert nodes(spool, -10, 0).nodes == ()


def test_idle_power_that_was_kept_is_used(spool: FakeSpool) -> None:
    shared_run(spool, "17").nodes(job_id="17")
    (node,) = nodes(spool).nodes
    package = node.channels["cpu", "package-0", "rapl-powercap"]
    assert package.idle_known
    (share,) = package.sum.shares.values()
    assert (share.dynamic_uj, share.idle_uj) == (60 * 15_000_000, 60 * 10_000_000)


def test_another_boot_is_another_clock_and_the_same_node(spool: FakeSpool) -> None:
    shared_run(spool, "17")
    shared_run(spool, "18", boot_id="other")
    shared_run(spool, "19", boot_id=None)
    (node,) = nodes(spool).nodes
    assert node.total.energy_uj == 3 * 60 * 110_000_000
    assert closes(node)


def test_meters_of_the_node_and_devices_have_rows_and_only_components_add_up(spool: FakeSpool) -> None:
    gpu = {"index": 0, "uuid": "GPU-a", "name": "T4"}
    run = spool.run()
    header = run.header(exclusive=False, channels=[PACKAGE, DRAM, GPU, PSYS], gpus=[gpu])
    run.samples([header, *run.records([100, 10, 50, 300], 60)])
    (node,) = nodes(spool).nodes
    assert closes(node)
    assert node.total.energy_uj == 60 * 160_000_000
    device = next(one for one in node.channels.values() if one.component == "gpu")
    assert (device.sum.jobs_uj, device.sum.residual_uj) == (60 * 50_000_000, 0)


def test_two_sources_of_one_component_are_not_both_added_up(spool: FakeSpool) -> None:
    run = spool.run()
    other = {**PACKAGE, "source": "rapl-perf"}
    run.samples([run.header(exclusive=False, channels=[PACKAGE, other]), *run.records([100, 100], 60)])
    (node,) = nodes(spool).nodes
    assert node.total.energy_uj == 60 * 100_000_000
    assert len(node.channels) == 2


def test_files_that_are_gone_are_named(spool: FakeSpool) -> None:
    run = shared_run(spool, "17")
    shared_run(spool, "18")
    sync(spool.root, spool.ledger)
    run.run_dir.samples("17", 0, "n1").unlink()
    found = nodes(spool)
    assert [line.partition("/")[2] for line in found.missing] == ["17.0 on n1: not in the spool"]
    assert len(found.nodes[0].jobs) == 1


def test_the_folder_of_a_run_is_not_listed_and_its_facts_are_read_once(
    spool: FakeSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 3 jobs of 1000 nodes took a minute: each node's file was looked for, and its facts parsed, among those of all.
    run, names = spool.run(), ("n1", "n2", "n3")
    for node in names:
        run.samples([run.header(node=node, exclusive=False), *run.records([100, 10], 60)], node=node)
    run.nodes(*({"node": node} for node in names))
    sync(spool.root, spool.ledger)
    asked: list[str] = []

    def facts_of(*key: Any) -> Any:
        asked.append(key[1].job_id)
        return read(*key)

    def listed(_: RunDir) -> Any:
        raise AssertionError("listed")

    read = RunFiles.facts_of
    monkeypatch.setattr(RunFiles, "facts_of", facts_of)
    monkeypatch.setattr(RunDir, "names", listed)
    with open_ledger(spool.ledger) as connection:
        found = find_nodes(connection, spool.root)
    assert [node.node for node in found.nodes] == list(names)
    assert all(channel.idle_known for node in found.nodes for channel in node.channels.values())
    assert asked == ["17"]


@pytest.mark.parametrize("node", ["a'; rm -rf ~ #", "n1.cluster", "ü/x"])
def test_any_name_of_a_node_finds_its_file(spool: FakeSpool, node: str) -> None:
    run = spool.run()
    run.samples([run.header(node=node, exclusive=False), *run.records([100, 10], 60)], node=node)
    found = nodes(spool)
    assert ([one.node for one in found.nodes], found.missing) == ([node], ())
