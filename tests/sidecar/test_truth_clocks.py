"""What can happen to a clock, a file and a share of a node, from the sensor's files to joules in the ledger.

Every case has its truth in closed form. Where the truth cannot be known from the counter, the rule is that
the span counts as not measured: its joules are missing, and never made up.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from fake_rapl import AMD_RANGE_UJ, FakeRapl, boottime_ns
from fake_spool import START_NS
from sidecar_process import SidecarProcess
from simulated_node import GPU_KEY, JOULE_UJ, PACKAGE_KEY, GpuCounter, S, SimulatedNode

MakeNode = Callable[..., SimulatedNode]
START_S = START_NS // S


# Sleep


@pytest.mark.parametrize("counters_run", [True, False])
def test_suspended_for_an_hour(make_node: MakeNode, counters_run: bool) -> None:
    """Longer than a wrap could take: that second is not measured, whether the counter went on or not."""
    node = make_node(range_uj=AMD_RANGE_UJ)
    node.at(30.5, lambda: node.suspend(3600, counters_run=counters_run))
    node.sample(3600 + 60)
    package = node.ledger()[PACKAGE_KEY]
    assert (package.energy_uj, package.measured_ns, package.gaps) == (100 * 59 * JOULE_UJ, 59 * S, 1)
    # The second half lies an hour later.
    assert package.buckets[START_S] == 100 * 30 * JOULE_UJ
    assert package.buckets[START_S + 3600] == 100 * 29 * JOULE_UJ


@pytest.mark.parametrize(("counters_run", "true_s"), [(True, 90), (False, 60)])
def test_suspended_for_less_than_a_wrap(make_node: MakeNode, counters_run: bool, true_s: int) -> None:
    """The counter knows what happened in these 30 s: 3 kJ, or nothing."""
    node = make_node(range_uj=AMD_RANGE_UJ)
    node.at(30.5, lambda: node.suspend(30, counters_run=counters_run))
    node.sample(90)
    package = node.ledger()[PACKAGE_KEY]
    assert (package.energy_uj, package.measured_ns) == (100 * true_s * JOULE_UJ, 90 * S)
    assert (package.resets, package.gaps) == (0, 0)


def test_suspended_gpu_counter_without_range_is_bridged(make_node: MakeNode) -> None:
    """It never comes round, so the hour is measured."""
    node = make_node()
    gpu = GpuCounter(node)

    def sleep() -> None:
        node.suspend(3600, counters_run=False)
        gpu.shift_uj += 7 * JOULE_UJ

    node.at(30.5, sleep)
    node.sample(3660, sensors=[gpu])
    found = node.ledger()[GPU_KEY]
    assert (found.energy_uj, found.measured_ns) == ((250 * 60 + 7) * JOULE_UJ, 3660 * S)


def test_paused_guest_whose_clock_stands_still(make_node: MakeNode) -> None:
    """A hypervisor stops the guest for an hour and the guest's clock with it, but not the host's counters: they
    leap by 360 kJ within a second. That is no second's energy; it counts as a reset."""
    node = make_node(range_uj=AMD_RANGE_UJ)
    node.at(30.5, lambda: node.suspend(3600, counters_run=True, clock_runs=False))
    node.sample(60)
    package = node.ledger()[PACKAGE_KEY]
    assert (package.energy_uj, package.measured_ns, package.resets) == (100 * 59 * JOULE_UJ, 59 * S, 1)


def test_stopped_sidecar_catches_up(make_node: MakeNode) -> None:
    """SIGSTOP for 40 s: no sample is made up for, and no joule is lost."""
    node = make_node(range_uj=AMD_RANGE_UJ)
    node.at(25, lambda: node.advance(40 * S))
    path = node.sample(120)
    node.ledger()[PACKAGE_KEY].assert_whole(100, 120)
    stamps = [json.loads(line)["boottime_ns"] for line in path.read_text().splitlines()[1:]]
    assert max(after - before for before, after in pairwise(stamps)) > 40 * S


# The wall clock


@pytest.mark.parametrize("step_s", [3600, -3600, 86400 * 365, -86400])
def test_wall_clock_stepping(make_node: MakeNode, step_s: int) -> None:
    """An hour forth or back between two records: joules and their times are those of the clock since boot."""
    node = make_node()
    node.at(245, lambda: node.step_wall(step_s))
    node.sample(600)
    found = node.ledger()
    found[PACKAGE_KEY].assert_whole(100, 600)
    assert found[PACKAGE_KEY].buckets == {START_S: 30_000 * JOULE_UJ, START_S + 300: 30_000 * JOULE_UJ}


@pytest.mark.parametrize("leap_s", [1, -1])
def test_leap_second_between_two_records(make_node: MakeNode, leap_s: int) -> None:
    """The wall clock shows a second twice, or leaves one out."""
    node = make_node()
    node.at(295.5, lambda: node.step_wall(-leap_s))
    path = node.sample(600)
    records = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    walls = [record["wall_ns"] for record in records]
    assert {after - before for before, after in pairwise(walls)} == {10 * S, (10 - leap_s) * S}
    node.ledger()[PACKAGE_KEY].assert_whole(100, 600)


def test_leap_second_that_is_smeared(make_node: MakeNode) -> None:
    """A clock that is slowed for a day to lose a second: 11.6 ppm in each of the records."""
    node = make_node()
    for second in range(600):
        node.at(second, lambda: node.step_wall(-11.574e-6))
    node.sample(600)
    found = node.ledger()
    found[PACKAGE_KEY].assert_whole(100, 600)
    assert found[PACKAGE_KEY].buckets == {START_S: 30_000 * JOULE_UJ, START_S + 300: 30_000 * JOULE_UJ}


def test_wall_clock_stepping_between_two_lives(make_node: MakeNode) -> None:
    """Each session goes by the clock that its own header saw."""
    node = make_node()
    node.sample(60)
    node.step_wall(3600 - 60)
    node.sample(60)
    package = node.ledger()[PACKAGE_KEY]
    package.assert_whole(100, 120)
    assert package.buckets == {START_S: 6_000 * JOULE_UJ, START_S + 3600: 6_000 * JOULE_UJ}


# Lines, and shares


def test_lost_records_cost_nothing(make_node: MakeNode) -> None:
    """Records hold sums since the header, so those that a full disk swallowed are not missed."""
    node = make_node(watts=280, range_uj=AMD_RANGE_UJ)
    path = node.sample(600)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:3], lines[40], lines[-1]]))
    node.ledger()[PACKAGE_KEY].assert_whole(280, 600)


def test_killed_sidecar_loses_one_record_interval_at_most(make_node: MakeNode) -> None:
    node = make_node()
    node.sample(59.9, killed=True)
    node.ledger()[PACKAGE_KEY].assert_whole(100, 50)


def test_shared_node_gives_a_quarter(make_node: MakeNode) -> None:
    """The job uses one of four busy CPUs all the time, through 15 wraps."""
    node = make_node(watts=280, range_uj=AMD_RANGE_UJ)
    node.sample(3600, exclusive=False)
    package = node.ledger()[PACKAGE_KEY]
    assert package.node_energy_uj == 280 * 3600 * JOULE_UJ
    assert package.energy_uj == 280 * 900 * JOULE_UJ


# The clock itself


def test_time_is_that_since_boot_with_sleep(zipapp: Path, run_dir: Path, rapl: FakeRapl) -> None:
    """Beside a wall clock and a monotonic one that differ from it: in a time namespace whose clock since boot is
    six days ahead, as after six days of sleep, the records are six days ahead."""
    if os.geteuid() != 0:
        pytest.skip("a time namespace needs root")
    ahead_s = 6 * 86400
    before_ns = boottime_ns()
    with SidecarProcess(
        zipapp,
        run_dir,
        rapl.sysfs,
        arguments=["--until-eof"],
        prefix=["unshare", "--time", "--boottime", str(ahead_s), "--fork", "--kill-child"],
        stdin=subprocess.PIPE,
    ) as it:
        it.wait_for_records(3)
        it.process.communicate(timeout=20)
        lines = it.lines()
    after_ns = boottime_ns()
    assert lines[-1]["kind"] == "end"
    for line in lines:
        assert before_ns <= line["boottime_ns"] - ahead_s * S <= after_ns
