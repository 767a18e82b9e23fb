"""From a sample file to channels: measured, attributed, modelled, unknown, each for its stated reason."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from fake_spool import BOOT_NS, DRAM, GPU, PACKAGE, PSYS, SECOND, START_NS, FakeSpool, read

from hpcfrugal.accounting.tables import cpu_tdp, gpu_tdp
from hpcfrugal.ledger.channel_totals import ChannelTotals, NodeTotals
from hpcfrugal.ledger.derive import derive
from hpcfrugal.spool.documents import NodeFacts
from hpcfrugal.spool.layout import JobKey
from hpcfrugal.spool.sample_header import SampledNode
from hpcfrugal.spool.samples import read_samples

V100 = {"index": 0, "uuid": "GPU-a", "name": "Tesla V100-SXM2-16GB"}


def account(path: Path, facts: NodeFacts | None = None) -> NodeTotals:
    return derive(read(path).sessions, cpu_tdp(), gpu_tdp(), facts)


def channels(path: Path, facts: NodeFacts | None = None) -> dict[str, ChannelTotals]:
    return {str(channel.key): channel for channel in account(path, facts).channels}


def facts(**changes: Any) -> NodeFacts:
    known = {"slurm_cpus": 8, "oversubscribed": False, "idle_power_uw": (("cpu", 40_000_000),)}
    return NodeFacts(**{"node": "n1", **known, "idle_power_source": "a wattmeter", **changes})


def test_an_exclusive_job_has_the_whole_node(spool: FakeSpool) -> None:
    run = spool.run()
    found = channels(run.samples([run.header(), *run.records([100, 10], 60)]))
    assert sorted(found) == ["cpu/package-0/rapl-powercap", "dram/dram-0/rapl-powercap"]
    package = found["cpu/package-0/rapl-powercap"]
    assert (package.energy_uj, package.node_energy_uj) == (6_000_000_000, 6_000_000_000)
    assert package.measured_ns == 60 * SECOND
    assert package.attribution == "exclusive"
    assert package.first == (BOOT_NS, START_NS)
    assert package.last == (BOOT_NS + 60 * SECOND, START_NS + 60 * SECOND)


AGENT = {**PACKAGE, "source": "agent", "step_s": 10.0}


@pytest.mark.parametrize("seconds", [30, 600])
def test_energy_of_a_source_that_is_read_in_steps_has_a_range(spool: FakeSpool, seconds: int) -> None:
    """What was assumed at both ends, 7 s at the mean power: much for a short job, little for a long one."""
    run = spool.run()
    records = run.records([100, 10], seconds)
    for record in records:
        record["assumed_ns"] = [2 * SECOND, 0]
    records[-1]["assumed_ns"] = [7 * SECOND, 0]
    found = channels(run.samples([run.header(channels=[AGENT, DRAM]), *records]))
    package = found["cpu/package-0/agent"]
    assert (package.quality, package.energy_uj) == ("measured", seconds * 100 * 10**6)
    ends_j = (seconds * 100 - 700, seconds * 100 + 700)
    assert (package.low_uj, package.high_uj) == tuple(end_j * 10**6 for end_j in ends_j)
    assert found["dram/dram-0/rapl-powercap"].high_uj is None


def test_what_was_assumed_of_a_source_that_is_read_in_steps_is_corrected_by_what_was_found(spool: FakeSpool) -> None:
    """At 20 s it is continued to 9 kJ, at 30 s it is found at 4 kJ, which it had at 20 s at most."""
    run = spool.run()
    joules = (0, 1000, 9000, 4000, 5000)
    records = [run.record(10 * number, [energy_j * 10**6, 0]) for number, energy_j in enumerate(joules)]
    totals = account(run.samples([run.header(channels=[AGENT, DRAM]), *records]))
    package = next(channel for channel in totals.channels if channel.key.source == "agent")
    assert totals.problems == ()
    assert (package.energy_uj, package.measured_ns) == (5_000_000_000, 40 * SECOND)


def test_a_shared_job_has_its_part_of_the_cpu_time(spool: FakeSpool) -> None:
    run = spool.run()
    for exclusive in (False, None):
        found = channels(run.samples([run.header(exclusive=exclusive), *run.records([100, 10], 60)]))
        package = found["cpu/package-0/rapl-powercap"]
        assert (package.energy_uj, package.node_energy_uj) == (1_500_000_000, 6_000_000_000)
        assert package.attribution == "cpu-share"
        assert "idle power" in (package.inputs or "")


def test_known_idle_power_goes_by_cpus_and_the_rest_by_cpu_time(spool: FakeSpool) -> None:
    run = spool.run()
    found = channels(run.samples([run.header(exclusive=False), *run.records([100, 10], 60)]), facts())
    package, dram = found["cpu/package-0/rapl-powercap"], found["dram/dram-0/rapl-powercap"]
    # A quarter of the 60 W that are not idle, and 2 of 8 CPUs of the 40 W that are.
    assert (package.energy_uj, package.idle_uj) == (60 * 25_000_000, 60 * 10_000_000)
    assert package.idle_power == "40 W (a wattmeter)"
    assert "40 W (a wattmeter); 2 of 8 CPUs' part of the idle energy" in (package.inputs or "")
    assert (dram.energy_uj, dram.idle_uj, dram.idle_power) == (60 * 2_500_000, None, None)
    assert "idle power of the node unknown" in (dram.inputs or "")
    core = {**PACKAGE, "domain": "package-0/core", "counted": False}
    path = run.samples([run.header(exclusive=False, channels=[PACKAGE, core]), *run.records([100, 50], 60)])
    within = channels(path, facts())["cpu/package-0/core/rapl-powercap"]
    assert (within.energy_uj, within.idle_power) == (60 * 12_500_000, None)
    assert "idle power of a part of a package is not known" in (within.inputs or "")


def test_slurms_count_of_cpus_goes_before_the_sidecars(spool: FakeSpool) -> None:
    run = spool.run()
    path = run.samples([run.header(exclusive=False, cpus_node=4), *run.records([100, 10], 60)])
    package = "cpu/package-0/rapl-powercap"
    assert channels(path, facts(slurm_cpus=16))[package].idle_uj == 60 * 5_000_000
    assert channels(path, facts(slurm_cpus=None))[package].idle_uj == 60 * 20_000_000


@pytest.mark.parametrize("source", ["rapl-powercap", "rapl-perf"])
def test_idle_power_is_divided_over_the_packages_and_stays_below_what_they_read(spool: FakeSpool, source: str) -> None:
    run = spool.run()
    core = {**PACKAGE, "domain": "package-0/core", "counted": False}
    second = {**PACKAGE, "domain": "package-1", "source": source}
    header = run.header(exclusive=False, channels=[PACKAGE, second, core], cpus_alloc=8, cpus_node=8)
    path = run.samples([header, *run.records([30, 10, 20], 60)])
    for idle_w, parts in ((20, (15, 5)), (4000, (30, 10))):
        found = channels(path, facts(idle_power_uw=(("cpu", idle_w * 10**6),), oversubscribed=True))
        idle = [found[name].idle_uj for name in ("cpu/package-0/rapl-powercap", f"cpu/package-1/{source}")]
        assert idle == [60 * part * 10**6 for part in parts]
        assert found["cpu/package-0/core/rapl-powercap"].idle_uj is None


def test_idle_power_of_the_whole_node_is_for_its_meters(spool: FakeSpool) -> None:
    run = spool.run()
    header = run.header(exclusive=False, channels=[PACKAGE, PSYS])
    found = channels(run.samples([header, *run.records([100, 200], 60)]), facts(idle_power_uw=(("node", 120_000_000),)))
    assert found["node/psys/rapl-powercap"].idle_uj == 60 * 30_000_000
    assert found["cpu/package-0/rapl-powercap"].idle_power is None


def test_a_job_without_cpus_of_its_own_gets_no_idle_energy(spool: FakeSpool) -> None:
    run = spool.run()
    path = run.samples([run.header(exclusive=False, cpus_alloc=None), *run.records([100, 10], 60)])
    package = channels(path, facts())["cpu/package-0/rapl-powercap"]
    assert (package.energy_uj, package.idle_uj, package.idle_power) == (60 * 15_000_000, None, None)
    assert "no idle energy: the job's CPUs are unknown" in (package.inputs or "")


@pytest.mark.parametrize(
    ("changes", "alone"),
    [
        ({}, True),
        ({"oversubscribed": True}, False),
        ({"oversubscribed": None}, False),
        ({"slurm_cpus": 16}, False),
        ({"slurm_cpus": None}, False),
    ],
)
def test_all_cpus_of_a_node_are_the_node_where_slurm_shares_none(
    spool: FakeSpool, changes: dict[str, Any], alone: bool
) -> None:
    run = spool.run()
    for said in (False, None):
        header = run.header(exclusive=said, cpus_alloc=8, channels=[PACKAGE])
        found = channels(run.samples([header, *run.records([100], 60)]), facts(**changes))
        package = found["cpu/package-0/rapl-powercap"]
        assert package.attribution == ("exclusive" if alone else "cpu-share")
        assert ("all 8 CPUs that Slurm counts" in (package.inputs or "")) is alone
        assert (package.energy_uj == 6_000_000_000) is alone


def test_a_job_that_was_suspended_had_others_on_its_cpus(spool: FakeSpool) -> None:
    run = spool.run()
    header = run.header(exclusive=None, cpus_alloc=8, channels=[PACKAGE])
    for silent_s, slowed, alone in ((20, 1, True), (30, 1, False), (30, 16, True)):
        times = (0, 10, 10 + silent_s, 20 + silent_s)
        records = [run.record(at_s, [100_000_000 * at_s], note={"slowed": slowed}) for at_s in times]
        package = channels(run.samples([header, *records]), facts())["cpu/package-0/rapl-powercap"]
        assert package.attribution == ("exclusive" if alone else "cpu-share")


def test_an_idle_power_that_is_too_high_is_reported(spool: FakeSpool) -> None:
    run = spool.run()
    path = run.samples([run.header(exclusive=False, channels=[PACKAGE]), *run.records([100], 60)])
    for idle_w, told in ((99, False), (100, True), (1000, True)):
        package = channels(path, facts(idle_power_uw=(("cpu", idle_w * 10**6),)))["cpu/package-0/rapl-powercap"]
        assert ((package.reason or "").startswith("the idle power in the settings is not below")) is told
        assert package.quality == "measured"
    assert package.energy_uj == package.idle_uj == 60 * 25_000_000


def test_a_device_that_the_job_holds_is_its_own_on_a_shared_node(spool: FakeSpool) -> None:
    run = spool.run()
    header = run.header(exclusive=False, channels=[PACKAGE, DRAM, GPU], gpus=[V100])
    found = channels(run.samples([header, *run.records([100, 10, 200], 60)]))
    assert found["gpu/gpu-0/nvml-energy"].energy_uj == 12_000_000_000
    assert not any(channel.quality == "modelled" for channel in found.values())


def test_without_cpu_time_a_share_is_unknown_and_memory_is_modelled(spool: FakeSpool) -> None:
    run = spool.run()
    lines = [{**line, "job_cpu_us": None} for line in run.records([100, 10], 60)]
    found = channels(run.samples([run.header(exclusive=False), *lines]))
    package = found["cpu/package-0/rapl-powercap"]
    assert (package.energy_uj, package.node_energy_uj) == (None, 6_000_000_000)
    assert "CPU time is unknown" in (package.reason or "")
    assert found["cpu/cpu/none"].energy_uj is None
    assert "CPU time is unknown" in (found["cpu/cpu/none"].reason or "")
    assert found["dram/dram/model-memory"].energy_uj == 96_000_000
    assert not found["dram/dram-0/rapl-powercap"].counted


def test_cpu_time_below_the_resolution_is_unknown_not_0(spool: FakeSpool) -> None:
    run = spool.run()
    lines = [{**line, "job_cpu_us": 0} for line in run.records([], 60)]
    found = channels(run.samples([run.header(exclusive=False, cpus_alloc=None, channels=[]), *lines]))
    assert found["cpu/cpu/none"].energy_uj is None
    assert "less CPU time than the system counts" in (found["cpu/cpu/none"].reason or "")


def test_a_gap_in_cpu_time_is_bridged_by_the_cumulative_counters(spool: FakeSpool) -> None:
    run = spool.run()
    lines = run.records([100, 10], 60)
    for line in lines[1:4]:
        line["node_busy_us"] = None
    package = channels(run.samples([run.header(exclusive=False), *lines]))["cpu/package-0/rapl-powercap"]
    assert package.energy_uj == 1_500_000_000
    assert package.measured_ns == 60 * SECOND


def test_what_is_measured_until_the_kill_stays_and_no_more(spool: FakeSpool) -> None:
    run = spool.run()
    path = run.samples([run.header(), *run.records([100, 10], 60)[:4]])
    package = channels(path)["cpu/package-0/rapl-powercap"]
    assert (package.energy_uj, package.measured_ns) == (3_000_000_000, 30 * SECOND)


def test_two_sessions_add_and_nothing_is_invented_between(spool: FakeSpool) -> None:
    run = spool.run()
    later = 40 * SECOND
    again = run.header(wall_ns=START_NS + later, boottime_ns=BOOT_NS + later)
    more = [
        {**line, "boottime_ns": line["boottime_ns"] + later, "wall_ns": line["wall_ns"] + later}
        for line in run.records([100, 10], 20)
    ]
    found = channels(run.samples([run.header(), *run.records([100, 10], 30)[:4], again, *more]))
    assert sorted(found) == ["cpu/package-0/rapl-powercap", "dram/dram-0/rapl-powercap"]
    package = found["cpu/package-0/rapl-powercap"]
    assert (package.energy_uj, package.measured_ns) == (5_000_000_000, 50 * SECOND)
    assert package.last == (BOOT_NS + 60 * SECOND, START_NS + 60 * SECOND)


def test_a_step_of_the_wall_clock_changes_no_energy(spool: FakeSpool) -> None:
    run = spool.run()
    lines = run.records([100, 10], 60)
    for line in lines[3:]:
        line["wall_ns"] += 3600 * SECOND
    package = channels(run.samples([run.header(), *lines]))["cpu/package-0/rapl-powercap"]
    assert list(package.by_time.energies_uj) == [START_NS]
    assert (package.first, package.last) == ((BOOT_NS, START_NS), (BOOT_NS + 60 * SECOND, START_NS + 60 * SECOND))


def test_energy_over_an_edge_lies_in_both_buckets(spool: FakeSpool) -> None:
    run = spool.run()
    early = run.header(wall_ns=START_NS - 15 * SECOND)
    package = channels(run.samples([early, *run.records([100, 10], 60)]))["cpu/package-0/rapl-powercap"]
    assert list(package.by_time.energies_uj.values()) == [1_500_000_000, 4_500_000_000]
    assert list(package.by_time.measured.values()) == [15 * SECOND, 45 * SECOND]


def test_no_sensor_gives_the_model_with_its_inputs_and_the_reason(spool: FakeSpool) -> None:
    run = spool.run()
    absent = [{"component": "cpu", "source": "rapl-powercap", "reason": "denied: /sys"}]
    header = run.header(channels=[], absent=absent, gpus=[V100], exclusive=False)
    found = channels(run.samples([header, *run.records([], 60)]))
    assert {name: channel.energy_uj for name, channel in found.items()} == {
        "cpu/cpu/model-tdp": round(60 * (8.4 * 2 / 8 + 54.6 / 8) * 10**6),
        "dram/dram/model-memory": 96_000_000,
        "gpu/gpu-0/model-tdp": 60 * 165_000_000,
    }
    assert {name: (channel.low_uj, channel.high_uj) for name, channel in found.items()} == {
        "cpu/cpu/model-tdp": (535_500_000 * 55 // 100, 535_500_000 * 19 // 10),
        "dram/dram/model-memory": (48_000_000, 192_000_000),
        "gpu/gpu-0/model-tdp": (9_900_000_000 * 272 // 1000, 9_900_000_000 * 1763 // 1000),
    }
    cpu = found["cpu/cpu/model-tdp"]
    assert cpu.quality == "modelled"
    assert cpu.reason == "rapl-powercap: denied: /sys"
    assert cpu.inputs == (
        "design power 60 W (Xeon Gold 6248: 150 W, 20 cores), so 8.4 W idle and 63 W with 8 hardware threads (number "
        "of cores unknown) busy; 2 of 8 CPUs by job CPU time from cgroup-v2; calibrated on wall power of servers: with "
        "fans and power supply, which RAPL does not read"
    )
    gpu = "55% of 300 W (NVIDIA Tesla V100) x time held; its use and the workload unknown"
    assert found["gpu/gpu-0/model-tdp"].inputs == gpu
    assert "8.000 GB allocated" in (found["dram/dram/model-memory"].inputs or "")
    assert found["dram/dram/model-memory"].reason == "no sensor reported"


def test_the_model_of_an_exclusive_job_counts_all_that_its_node_does(spool: FakeSpool) -> None:
    run = spool.run()
    found = channels(run.samples([run.header(channels=[], exclusive=True), *run.records([], 60)]))
    assert found["cpu/cpu/model-tdp"].energy_uj == 60 * 35_700_000  # four cores busy, one of them with the job
    assert "node busy CPU time" in (found["cpu/cpu/model-tdp"].inputs or "")


@pytest.mark.parametrize(
    ("changes", "more", "design_w", "source"),
    [
        ({"cores_node": 4}, {}, 30, "Xeon Gold 6248: 150 W, 20 cores"),
        ({"cores_node": 4, "cpu_limit_uw": 28_000_000}, {}, 28, "RAPL: limit of all packages"),
        ({"cores_node": 4, "cpu_limit_uw": 28_000_000}, {"tdp_uw": 50_000_000}, 50, "tdp_w in the settings"),
        ({"cores_node": 4, "cpu_model": "Xeon X"}, {}, 26, "no figure for 'Xeon X', 6.5 W per core"),
    ],
)
def test_design_power_comes_from_the_best_source(
    spool: FakeSpool, changes: dict[str, Any], more: dict[str, Any], design_w: int, source: str
) -> None:
    """Two threads a core, all of which are busy on average: 4 of 8."""
    run = spool.run()
    path = run.samples([run.header(channels=[], **changes), *run.records([], 60)])
    cpu = channels(path, facts(idle_power_uw=(), **more))["cpu/cpu/model-tdp"]
    assert cpu.energy_uj == pytest.approx(60 * design_w * 1_050_000, abs=10)
    assert f"design power {design_w} W ({source}), so " in (cpu.inputs or "")
    assert "with 4 cores busy; the whole node by node busy CPU time" in (cpu.inputs or "")
    known = cpu.low_uj, cpu.high_uj
    assert known == pytest.approx([60e6 * design_w * 1.05 * end for end in ((0.8, 1.3), (0.4, 1.4))["X'" in source]])


def test_idle_power_of_the_settings_is_in_the_model(spool: FakeSpool) -> None:
    run = spool.run()
    lines = [{**line, "node_busy_us": 0, "job_cpu_us": 0} for line in run.records([], 60)]
    header = run.header(channels=[], cores_node=4)
    idle = channels(run.samples([header, *lines]), facts())["cpu/cpu/model-tdp"]
    assert idle.energy_uj == 60 * 31_500_000, "40 W, but no more than the node at full load"
    idle = channels(run.samples([header, *lines]), facts(idle_power_uw=(("cpu", 10_000_000),)))["cpu/cpu/model-tdp"]
    assert (idle.energy_uj, idle.low_uj, idle.high_uj) == (600_000_000, 342_000_000, 1_140_000_000)


def test_gpus_are_modelled_by_their_limit_and_use(spool: FakeSpool) -> None:
    run = spool.run()
    gpu = {**V100, "limit_uw": 200_000_000}
    for busy, seen, share in ((60, 60, 0.7), (30, 60, 0.45), (0, 60, 0.2), (20, 20, 0.55)):
        lines = run.records([100, 10], 60)
        lines[-1] |= {"gpu_busy_us": busy * 10**6, "gpu_seen_us": seen * 10**6}
        found = channels(run.samples([run.header(gpus=[gpu]), *lines]))["gpu/gpu-0/model-tdp"]
        assert found.energy_uj == pytest.approx(60 * 200e6 * share)
        assert "of 200 W (NVML: enforced limit) x time held" in (found.inputs or "")
        assert (found.low_uj or 0) < found.energy_uj < (found.high_uj or 0)


def test_a_command_without_cpus_of_its_own_is_modelled_by_its_cpu_time(spool: FakeSpool) -> None:
    run = spool.run()
    header = run.header(channels=[], exclusive=False, cpus_alloc=None, cores_node=4)
    cpu = channels(run.samples([header, *run.records([], 60)]))["cpu/cpu/model-tdp"]
    assert cpu.energy_uj == 60 * 31_500_000 // 4
    assert "without a part of the idle power" in (cpu.inputs or "")


def test_memory_without_an_allocation_is_divided_by_cpu_time(spool: FakeSpool) -> None:
    """As a reading of it would be, so that measured and modelled energy mean the same: 64 GB at 0.2 W/GB for 60 s."""
    run = spool.run()
    shared = run.header(channels=[PACKAGE], memory_alloc_b=None, exclusive=False)
    found = channels(run.samples([shared, *run.records([100], 60)]))["dram/dram/model-memory"]
    assert (found.energy_uj, found.measured_ns) == (768_000_000 // 4, 60 * SECOND)
    assert "0.2 W/GB x 16.000 GB on average, the job's share of the node's memory by CPU time" in (found.inputs or "")
    own = {**shared, "exclusive": True}
    found = channels(run.samples([own, *run.records([100], 60)]))["dram/dram/model-memory"]
    assert found.energy_uj == 768_000_000
    assert "held exclusively" in (found.inputs or "")


@pytest.mark.parametrize("unknown", [{"node_busy_us": None}, {"job_cpu_us": 0}])
def test_memory_used_stands_in_where_no_cpu_time_is_known(spool: FakeSpool, unknown: dict[str, Any]) -> None:
    run = spool.run()
    shared = run.header(channels=[PACKAGE], memory_alloc_b=None, exclusive=False)
    lines = [{**line, **unknown} for line in run.records([100], 60)]
    found = channels(run.samples([shared, *lines]))["dram/dram/model-memory"]
    assert (found.energy_uj, found.measured_ns) == (12_000_000, 60 * SECOND)
    assert "used on average" in (found.inputs or "")


def test_an_exclusive_job_without_cpu_time_is_modelled_by_the_node(spool: FakeSpool) -> None:
    run = spool.run()
    lines = [{**line, "job_cpu_us": None} for line in run.records([], 60)]
    cpu = channels(run.samples([run.header(channels=[]), *lines]))["cpu/cpu/model-tdp"]
    assert cpu.energy_uj == 60 * 35_700_000
    assert "node busy CPU time" in (cpu.inputs or "")


def test_nothing_to_model_with_is_unknown_with_the_reason(spool: FakeSpool) -> None:
    run = spool.run()
    nothing: dict[str, Any] = {"job_cpu_us": None, "node_busy_us": None, "memory_b": None}
    lines = [{**line, **nothing} for line in run.records([], 60)]
    header = run.header(channels=[], memory_alloc_b=None, exclusive=False)
    found = channels(run.samples([header, *lines]))
    assert {name: (channel.energy_uj, channel.quality) for name, channel in found.items()} == {
        "cpu/cpu/none": (None, "unknown"),
        "dram/dram/none": (None, "unknown"),
    }
    assert "memory used are unknown" in (found["dram/dram/none"].reason or "")


def test_a_sensor_that_never_answers_gives_way_to_the_model(spool: FakeSpool) -> None:
    run = spool.run()
    lines = [
        {
            **line,
            "energy_uj": [None, line["energy_uj"][1]],
            "measured_ns": [0, line["measured_ns"][1]],
            "errors": [9, 0],
        }
        for line in run.records([100, 10], 60)
    ]
    found = channels(run.samples([run.header(), *lines]))
    dead = found["cpu/package-0/rapl-powercap"]
    assert (dead.energy_uj, dead.errors, dead.counted) == (None, 9, False)
    assert dead.reason == "no reading succeeded"
    assert found["cpu/cpu/model-tdp"].energy_uj == 60 * 35_700_000
    assert "gave no usable reading" in (found["cpu/cpu/model-tdp"].reason or "")
    assert found["dram/dram-0/rapl-powercap"].energy_uj == 600_000_000


def test_only_the_gpu_without_a_counter_is_modelled(spool: FakeSpool) -> None:
    run = spool.run()
    other = {"index": 1, "uuid": "GPU-b", "name": "Tesla T4"}
    header = run.header(channels=[PACKAGE, DRAM, GPU], gpus=[V100, other])
    found = channels(run.samples([header, *run.records([100, 10, 200], 60)]))
    assert found["gpu/gpu-0/nvml-energy"].energy_uj == 12_000_000_000
    assert found["gpu/gpu-1/model-tdp"].energy_uj == 2_310_000_000
    assert "gpu/gpu-0/model-tdp" not in found


def test_failed_reads_are_bridged_and_their_time_is_not_measured(spool: FakeSpool) -> None:
    run = spool.run()
    lines = run.records([100, 10], 60)
    for line in lines[2:4]:
        line["energy_uj"] = [None, line["energy_uj"][1]]
    for line in lines[2:]:
        line["measured_ns"] = [line["measured_ns"][0] - 20 * SECOND, line["measured_ns"][1]]
    lines[2]["measured_ns"][0] = lines[1]["measured_ns"][0]
    package = channels(run.samples([run.header(), *lines]))["cpu/package-0/rapl-powercap"]
    assert (package.energy_uj, package.measured_ns) == (6_000_000_000, 40 * SECOND)


def test_a_falling_counter_is_dropped_and_reported(spool: FakeSpool) -> None:
    run = spool.run()
    lines = run.records([100, 10], 60)
    lines[3]["energy_uj"] = [5, lines[3]["energy_uj"][1]]
    found = account(run.samples([run.header(), *lines]))
    assert found.problems == ("cpu/package-0/rapl-powercap: 1 readings run backwards",)
    assert found.channels[0].energy_uj == 6_000_000_000


def test_a_lost_baseline_starts_at_the_header(spool: FakeSpool) -> None:
    run = spool.run()
    package = channels(run.samples([run.header(), *run.records([100, 10], 60)[1:]]))["cpu/package-0/rapl-powercap"]
    assert (package.energy_uj, package.measured_ns) == (6_000_000_000, 60 * SECOND)


def test_a_header_or_a_baseline_alone_gives_no_energy(spool: FakeSpool) -> None:
    run = spool.run()
    for lines in ([run.header()], [run.header(), run.record(0, [0, 0])]):
        found = channels(run.samples(lines))
        assert found
        for channel in found.values():
            assert channel.energy_uj is None
            assert channel.by_time.energies_uj == {}
            assert channel.attribution != "model"


def test_a_session_that_died_at_once_adds_no_unknown_part(spool: FakeSpool) -> None:
    run = spool.run()
    later = run.header(channels=[], boottime_ns=BOOT_NS + 60 * SECOND, wall_ns=START_NS + 60 * SECOND)
    lines = [run.header(channels=[]), run.header(channels=[]), *run.records([], 60), later]
    assert sorted(channels(run.samples(lines))) == ["cpu/cpu/model-tdp", "dram/dram/model-memory"]


def test_psys_is_kept_beside_and_not_counted(spool: FakeSpool) -> None:
    run = spool.run()
    found = channels(run.samples([run.header(channels=[PACKAGE, DRAM, PSYS]), *run.records([100, 10, 260], 60)]))
    psys = found["node/psys/rapl-powercap"]
    assert (psys.counted, psys.boundary, psys.energy_uj) == (False, "node", 15_600_000_000)


def test_a_header_that_names_a_channel_twice_does_not_count(spool: FakeSpool) -> None:
    run = spool.run()
    path = run.samples([run.header(channels=[PACKAGE, DRAM, PACKAGE]), *run.records([100, 10, 100], 60)])
    assert account(path) == NodeTotals((), ())
    sampled = SampledNode(run.run_id, JobKey("17", 0), "n1")
    problems = read_samples(path, os.getuid(), sampled).problems
    assert "1 line: header: names a channel twice: cpu/package-0/rapl-powercap" in problems


def test_no_sessions_give_no_channels(tmp_path: Path) -> None:
    path = tmp_path / "17.0.n1.jsonl"
    path.write_text(json.dumps({"kind": "record"}) + "\n")
    assert account(path) == NodeTotals((), ())


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_shared_gpu_is_neither_split_nor_given_whole_nor_modelled(spool: FakeSpool, exclusive: bool) -> None:
    run = spool.run()
    shared = {**GPU, "scope": "node", "quality": "modelled"}
    header = run.header(exclusive=exclusive, channels=[PACKAGE, DRAM, shared], gpus=[V100])
    found = channels(run.samples([header, *run.records([100, 10, 200], 60)]))
    assert [name for name in found if name.startswith("gpu/")] == ["gpu/gpu-0/nvml-energy"]
    gpu = found["gpu/gpu-0/nvml-energy"]
    assert (gpu.energy_uj, gpu.node_energy_uj, gpu.measured_ns) == (None, 12_000_000_000, 0)
    assert (gpu.attribution, gpu.counted) == ("none", True)
    assert gpu.reason == "a shared GPU: the job's part is not known"


def test_peaks_resets_and_gaps_are_those_of_all_sessions(spool: FakeSpool) -> None:
    run = spool.run()
    lines = run.records([100, 10], 30)
    for number, line in enumerate(lines[1:], 1):
        line |= {"max_w": [100.5 + number, None], "resets": [number, 0], "gaps": [0, number]}
    later = 40 * SECOND
    again = run.header(wall_ns=START_NS + later, boottime_ns=BOOT_NS + later)
    more = [{**line, "boottime_ns": line["boottime_ns"] + later} for line in lines]
    more[2]["max_w"] = [250, None]
    found = channels(run.samples([run.header(), *lines[:-1], again, *more]))
    package, dram = found["cpu/package-0/rapl-powercap"], found["dram/dram-0/rapl-powercap"]
    assert (package.max_w, package.resets, package.gaps) == (250.0, 5, 0)
    assert (dram.max_w, dram.resets, dram.gaps) == (None, 0, 5)
    silent = channels(run.samples([run.header(), *run.records([100, 10], 30)]))["cpu/package-0/rapl-powercap"]
    assert (silent.max_w, silent.resets, silent.gaps) == (None, None, None)


def test_bad_peaks_cost_no_record_and_are_reported(spool: FakeSpool) -> None:
    run = spool.run()
    lines = run.records([100, 10], 50)
    lines[1]["max_w"] = [-1, 0]
    lines[2]["max_w"] = "x"
    lines[3] |= {"resets": [None, 0], "gaps": [1]}
    lines[4]["note"] = {"slowed": "very"}
    found = read(run.samples([run.header(), *lines]))
    assert len(found.sessions[0]) == 6
    assert sorted(found.problems) == [
        "1 line: record field gaps: not a list of 2 integers from 0 to 1099511627776",
        "1 line: record field note.slowed: not a number from 0",
        "1 line: record field resets: not a list of 2 integers from 0 to 1099511627776",
        "2 lines: record field max_w: not a list of 2 numbers from 0 to 1000000000 or null",
    ]
