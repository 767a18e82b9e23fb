"""What can happen to a counter, from the sensor's files to joules in the ledger.

Every case has its truth in closed form. Where the truth cannot be known from the counter, the rule is that
the span counts as not measured: its joules are missing, and never made up.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from fake_rapl import AMD_RANGE_UJ, INTEL_RANGE_UJ, Zone, write_count
from fake_spool import START_NS
from simulated_node import DRAM_KEY, GPU_KEY, JOULE_UJ, PACKAGE_KEY, GpuCounter, GpuPower, S, SimulatedNode

MakeNode = Callable[..., SimulatedNode]
START_S = START_NS // S


# Wraps


def test_amd_range_at_280_w_for_an_hour_at_1_hz(make_node: MakeNode) -> None:
    """The counter of an EPYC comes round every 234 s: 15 times in an hour."""
    assert AMD_RANGE_UJ // (280 * JOULE_UJ) == 234
    node = make_node(watts=280, range_uj=AMD_RANGE_UJ)
    node.sample(3600)
    found = node.ledger()
    assert 280 * 3600 * JOULE_UJ // AMD_RANGE_UJ == 15
    found[PACKAGE_KEY].assert_whole(280, 3600)
    found[DRAM_KEY].assert_whole(10, 3600)
    assert len(found[PACKAGE_KEY].buckets) == 12


@pytest.mark.parametrize("record_s", [10, 300, 3600])
def test_wraps_between_two_records(make_node: MakeNode, record_s: float) -> None:
    """Records may be further apart than wraps: only the samples count."""
    node = make_node(watts=900, range_uj=2_000 * JOULE_UJ)
    node.sample(3600, record_s=record_s)
    node.ledger()[PACKAGE_KEY].assert_whole(900, 3600)


@pytest.mark.parametrize(("interval_s", "known"), [(1, True), (30, True), (65, True), (66, False), (120, False)])
def test_sampling_just_faster_and_just_slower_than_the_shortest_wrap(
    make_node: MakeNode, interval_s: float, known: bool
) -> None:
    """At the most that a package draws, 65.5 kJ last 65.5 s. Faster than that every joule is there; slower than
    that none is, for nobody can tell how often the counter came round."""
    node = make_node(watts=280, range_uj=AMD_RANGE_UJ)
    seconds = 20 * interval_s
    node.sample(seconds, interval_s=interval_s, record_s=interval_s)
    package = node.ledger()[PACKAGE_KEY]
    if known:
        package.assert_whole(280, seconds)
    else:
        assert (package.energy_uj, package.measured_ns, package.gaps) == (None, 0, 20)


class KernelZone(Zone):
    """A zone as the kernel computes it (drivers/powercap/intel_rapl_common.c): a register of 32 bits, each step of it
    a whole number of nanojoules, 15258 on an EPYC; so it comes round at 2^32 steps and not at the range + 1."""

    unit_nj = 15258

    def steps(self, at_ns: int) -> int:
        """Steps since time 0, not wrapped."""
        return self.watts * at_ns // self.unit_nj

    def count_uj(self, at_ns: int) -> int:
        return (self.steps(at_ns) + self.start_uj) % 2**32 * self.unit_nj // 1000


def test_wraps_by_the_arithmetic_of_the_kernel(make_node: MakeNode) -> None:
    """The range is published rounded down: each of 16 wraps is off by less than a step, 16 uJ of 65.5 kJ."""
    assert (2**32 - 1) * KernelZone.unit_nj // 1000 == AMD_RANGE_UJ
    node = make_node(watts=280, range_uj=AMD_RANGE_UJ)
    old = node.rapl.zones[0]
    zone = KernelZone(old.entry, old.name, 280, AMD_RANGE_UJ, start_uj=2**32 - 9, path=old.path)
    node.rapl.zones[0] = zone
    node.sample(3600)
    package = node.ledger()[PACKAGE_KEY]
    true_uj = zone.steps(3600 * S) * zone.unit_nj // 1000
    wraps = (zone.start_uj + zone.steps(3600 * S)) // 2**32
    assert wraps == 16
    assert package.energy_uj is not None
    assert 0 <= true_uj - package.energy_uj <= 16 * wraps
    assert (package.measured_ns, package.resets, package.gaps) == (3600 * S, 0, 0)


# Resets and counters that run backwards


def test_reset_costs_its_own_interval_only(make_node: MakeNode) -> None:
    node = make_node()
    node.advance(1000 * S)
    node.at(1025.5, lambda: node.set_count("package-0", 0))
    node.sample(60)
    found = node.ledger()
    package = found[PACKAGE_KEY]
    assert (package.energy_uj, package.measured_ns, package.resets) == (100 * 59 * JOULE_UJ, 59 * S, 1)
    found[DRAM_KEY].assert_whole(10, 60)


@pytest.mark.parametrize("before_wrap_j", [0, 1, 500, 1000, 1100, 1200, 5000, 200_000])
def test_reset_near_a_wrap_invents_no_more_than_the_hardware_could_draw(
    make_node: MakeNode, before_wrap_j: int
) -> None:
    """A counter that falls to 0 shortly before it would have come round looks like a wrap: no reader of this
    counter can tell. What is made up then is bounded by the largest power over one interval."""
    node = make_node(range_uj=INTEL_RANGE_UJ)
    node.set_count("package-0", INTEL_RANGE_UJ - (before_wrap_j + 2000) * JOULE_UJ)
    node.at(20, lambda: node.set_count("package-0", 0))
    node.sample(60)
    package = node.ledger()[PACKAGE_KEY]
    assert package.energy_uj is not None
    made_up_uj = package.energy_uj - 100 * 60 * JOULE_UJ
    assert made_up_uj <= 1000 * (S + 200_000_000) // 1000
    if before_wrap_j > 1200:
        assert (package.resets, made_up_uj) == (1, -100 * JOULE_UJ)


def test_many_resets(make_node: MakeNode) -> None:
    """Every ten seconds, as with a driver that is loaded again and again."""
    node = make_node()
    node.advance(1000 * S)
    for second in range(1005, 1060, 10):
        node.at(second + 0.5, lambda: node.set_count("package-0", 3))
    node.sample(60)
    package = node.ledger()[PACKAGE_KEY]
    assert (package.energy_uj, package.measured_ns, package.resets) == (100 * 54 * JOULE_UJ, 54 * S, 6)


@pytest.mark.parametrize("back_uj", [1, 150 * JOULE_UJ, 5_000 * JOULE_UJ])
def test_counter_that_runs_backwards(make_node: MakeNode, back_uj: int) -> None:
    """By a microjoule more than it rose, or by much: no energy is negative, and none is a whole range."""
    node = make_node()
    node.advance(1000 * S)

    def back() -> None:
        zone = node.rapl.zone("package-0")
        # right before the sample at 1030 s, which then shows less than the one at 1029 s
        zone.start_uj -= back_uj + 100 * JOULE_UJ

    node.at(1029.5, back)
    node.sample(60)
    package = node.ledger()[PACKAGE_KEY]
    assert (package.energy_uj, package.measured_ns, package.resets) == (100 * 59 * JOULE_UJ, 59 * S, 1)


def test_gpu_counter_that_runs_backwards(make_node: MakeNode) -> None:
    """After a reset of the device it starts from 0; it has no range, so nothing is taken for a wrap."""
    node = make_node()
    gpu = GpuCounter(node)

    def reset() -> None:
        gpu.shift_uj = -250 * node.counted_ns // 1000

    node.at(30.5, reset)
    node.sample(60, sensors=[gpu])
    found = node.ledger()[GPU_KEY]
    assert (found.energy_uj, found.measured_ns, found.resets) == (250 * 59 * JOULE_UJ, 59 * S, 1)


# Reboot


def test_reboot_is_a_session_of_its_own(make_node: MakeNode) -> None:
    """Killed at 95 s, down for 40 s, then 60 s more: what the last record held, and all of the second life."""
    node = make_node()
    node.sample(95, killed=True)
    node.reboot(40)
    path = node.sample(60)
    headers = [line for line in map(json.loads, path.read_text().splitlines()) if line["kind"] == "header"]
    assert [header["boot_id"] for header in headers] == ["boot-1", "boot-2"]
    assert headers[1]["boottime_ns"] < headers[0]["boottime_ns"]
    found = node.ledger()
    found[PACKAGE_KEY].assert_whole(100, 90 + 60)
    found[DRAM_KEY].assert_whole(10, 90 + 60)
    assert found[PACKAGE_KEY].buckets == {START_S: 100 * 150 * JOULE_UJ}


def test_requeued_after_a_reboot_is_a_job_of_its_own(make_node: MakeNode) -> None:
    """Slurm starts it again with a restart count of 1: each attempt has its own joules."""
    node = make_node()
    node.sample(95, killed=True)
    node.reboot(400)
    node.sample(60, restart=1)
    node.ledger(0)[PACKAGE_KEY].assert_whole(100, 90)
    second = node.ledger(1)[PACKAGE_KEY]
    second.assert_whole(100, 60)
    assert list(second.buckets) == [START_S + 300]


def test_reboot_within_a_running_clock_is_a_reset(make_node: MakeNode) -> None:
    """Counters at 0 without the sidecar's end, as after kexec of a host under a virtual machine."""
    node = make_node()
    node.advance(1000 * S)
    node.at(1030.5, lambda: [node.set_count(name, 0) for name in ("package-0", "dram")] and None)
    node.sample(60)
    found = node.ledger()
    assert (found[PACKAGE_KEY].energy_uj, found[PACKAGE_KEY].resets) == (100 * 59 * JOULE_UJ, 1)
    # The dram stood below 11 kJ: 0 from there looks like nothing else than a fall either.
    assert (found[DRAM_KEY].energy_uj, found[DRAM_KEY].resets) == (10 * 59 * JOULE_UJ, 1)


# Read errors


def fail_between(node: SimulatedNode, from_s: int, to_s: int, content: str) -> None:
    """Have the package's counter show ``content`` from one second on and up to another."""
    path = node.rapl.zone("package-0").path / "energy_uj"
    show = node.show

    def failing() -> None:
        show()
        if from_s * S <= node.counted_ns < to_s * S:
            path.write_text(content)

    node.patch.setattr(node, "show", failing)


def test_read_errors_are_bridged_by_the_counter(make_node: MakeNode) -> None:
    """20 failed reads in the middle cost no joule, for the counter ran on."""
    node = make_node()
    fail_between(node, 20, 40, "")
    node.sample(60)
    package = node.ledger()[PACKAGE_KEY]
    assert (package.energy_uj, package.measured_ns, package.errors) == (100 * 60 * JOULE_UJ, 60 * S, 20)
    assert (package.resets, package.gaps) == (0, 0)


def test_read_errors_until_the_end_count_up_to_the_last_good_reading(make_node: MakeNode) -> None:
    node = make_node()
    fail_between(node, 35, 61, "-")
    node.sample(60)
    found = node.ledger()
    package = found[PACKAGE_KEY]
    assert (package.energy_uj, package.measured_ns) == (100 * 34 * JOULE_UJ, 34 * S)
    assert package.errors == 26
    found[DRAM_KEY].assert_whole(10, 60)


def test_read_errors_longer_than_a_wrap_are_not_bridged(make_node: MakeNode) -> None:
    """70 s without a reading of a counter that could come round in 65.5 s."""
    node = make_node(watts=280, range_uj=AMD_RANGE_UJ)
    fail_between(node, 20, 90, "x")
    node.sample(120)
    package = node.ledger()[PACKAGE_KEY]
    assert (package.energy_uj, package.measured_ns) == (280 * 49 * JOULE_UJ, 49 * S)
    assert (package.errors, package.gaps) == (70, 1)


def test_meter_of_power_bridges_seconds_and_no_minutes(make_node: MakeNode) -> None:
    """5 failed reads of a steady 250 W are bridged exactly; 20 are not, and their time is not measured."""
    node = make_node()
    for number, (failures, seconds) in enumerate([(5, 60), (20, 60 - 21)]):
        gpu = GpuPower(node)
        begun_ns = node.counted_ns

        def fail(gpu: GpuPower = gpu) -> None:
            gpu.fails = not gpu.fails

        node.at(begun_ns / S + 19.5, fail)
        node.at(begun_ns / S + 19.5 + failures, fail)
        node.sample(60, sensors=[gpu], restart=number)
        found = node.ledger(number)[GPU_KEY]
        assert (found.energy_uj, found.measured_ns) == (250 * seconds * JOULE_UJ, seconds * S)
        assert (found.errors, found.gaps) == (failures, number)


# Standing still


def test_a_counter_that_stands_still_is_replaced_by_the_model(make_node: MakeNode) -> None:
    """As in many virtual machines: unknown, not 0 J."""
    node = make_node()
    node.patch.setattr(node, "show", lambda: write_count(node.rapl.zone("package-0").path / "energy_uj", 12345))
    node.sample(60)
    found = node.ledger()
    package = found[PACKAGE_KEY]
    assert (package.energy_uj, package.measured_ns, package.counted) == (None, 0, False)
    modelled = [key for key, channel in found.items() if key.startswith("cpu/") and channel.counted]
    assert modelled == ["cpu/cpu/model-tdp"]
