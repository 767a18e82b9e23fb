"""What stands for energy that was not read: the model for as long as nothing was, else a part that is unknown."""

from __future__ import annotations

from typing import Any

import pytest
from fake_spool import BOOT_NS, DRAM, GPU, PACKAGE, PSYS, SECOND, START_NS, FakeRun, FakeSpool, read

from hpcfrugal.accounting.tables import cpu_tdp, gpu_tdp
from hpcfrugal.ledger.channel_totals import ChannelTotals
from hpcfrugal.ledger.derive import derive
from hpcfrugal.ledger.sensor_gaps import common

V100 = {"index": 0, "uuid": "GPU-a", "name": "Tesla V100-SXM2-16GB"}
SECOND_PACKAGE = {**PACKAGE, "domain": "package-1"}
NO_DRIVER = {"component": "gpu", "source": "nvml-energy", "reason": "no libnvidia-ml.so.1"}


def channels(run: FakeRun, lines: list[dict[str, Any]]) -> dict[str, ChannelTotals]:
    path = run.samples(lines)
    found = read(path)
    assert found.problems == ()
    derived = {str(channel.key): channel for channel in derive(found.sessions, cpu_tdp(), gpu_tdp()).channels}
    for channel in derived.values():
        ends = (channel.low_uj, channel.high_uj)
        if channel.attribution == "model":
            assert (channel.low_uj or 0) < (channel.energy_uj or 0) < (channel.high_uj or 0), "a model has a range"
        else:
            assert ends == (None, None), "only a model has a range"
    return derived


def silent(
    lines: list[dict[str, Any]], index: int, from_s: float, to_s: float = 1e9, *, died_s: float | None = None
) -> list[dict[str, Any]]:
    """``lines`` with channel ``index`` failing between two times, its energy of that time lost.

    ``died_s``: the last good reading, if it came after the last record that has one.
    """
    watts = lines[1]["energy_uj"][index] // 10
    last_s = died_s or from_s - 10
    for line in lines:
        at_s = (line["boottime_ns"] - BOOT_NS) / SECOND
        if at_s < from_s:
            continue
        lost_s = min(at_s, to_s) - last_s if at_s < to_s else to_s - last_s
        line["measured_ns"][index] = round((at_s - lost_s) * SECOND)
        line["errors"][index] = round(lost_s)
        back = at_s >= to_s
        line["energy_uj"][index] = round((at_s - lost_s) * watts) if back else None
        if not back and died_s is not None and line["kind"] == "end":
            line["energy_uj"][index] = round(died_s * watts)
            line["read_ns"] = [None] * len(line["energy_uj"])
            line["read_ns"][index] = BOOT_NS + round(died_s * SECOND)
    return lines


def spans(account: ChannelTotals) -> tuple[int, int]:
    assert account.first is not None
    assert account.last is not None
    return (account.first[1] - START_NS) // SECOND, (account.last[1] - START_NS) // SECOND


def test_a_sensor_that_dies_is_reported_and_the_rest_is_modelled(spool: FakeSpool) -> None:
    run = spool.run()
    lines = silent(silent(run.records([100, 10], 3600), 0, 70), 1, 70)
    found = channels(run, [run.header(), *lines])
    package, cpu = found["cpu/package-0/rapl-powercap"], found["cpu/cpu/model-tdp"]
    assert (package.quality, package.energy_uj, package.measured_ns) == ("measured", 6_000_000_000, 60 * SECOND)
    assert package.sensor_gap_ns == 3540 * SECOND
    assert package.reason == (
        "read error 3540 times, nothing for 3540 s, last good reading at 2026-11-21T10:01:00Z; that time is modelled"
    )
    assert (cpu.quality, cpu.energy_uj, cpu.measured_ns) == ("modelled", 3540 * 35_700_000, 3540 * SECOND)
    assert spans(cpu) == (60, 3600)
    assert cpu.first == (BOOT_NS + 60 * SECOND, START_NS + 60 * SECOND)
    assert "rapl-powercap: read error 3540 times" in (cpu.reason or "")
    assert found["dram/dram/model-memory"].energy_uj == 1_600_000 * 3540
    assert package.counted
    assert cpu.counted


def test_joules_since_the_last_record_count_at_their_own_time(spool: FakeSpool) -> None:
    run = spool.run()
    lines = silent(run.records([100, 10], 600), 0, 70, died_s=66)
    found = channels(run, [run.header(), *lines])
    package = found["cpu/package-0/rapl-powercap"]
    assert (package.energy_uj, package.measured_ns, package.sensor_gap_ns) == (6_600_000_000, 66 * SECOND, 534 * SECOND)
    assert package.last == (BOOT_NS + 66 * SECOND, START_NS + 66 * SECOND)
    assert spans(found["cpu/cpu/model-tdp"]) == (66, 600)
    # of a shared node a quarter of the CPU time is the job's, then as at any other time
    lines = silent(run.records([100, 10], 600), 0, 70, died_s=66)
    found = channels(run, [run.header(exclusive=False), *lines])
    assert found["cpu/package-0/rapl-powercap"].energy_uj == 1_650_000_000


@pytest.mark.parametrize(("died_s", "seconds"), [(59, 60), (57.5, 60), (9, 10), (3550, 3600)])
def test_some_failed_reads_at_the_end_make_no_model(spool: FakeSpool, died_s: float, seconds: float) -> None:
    run = spool.run()
    lines = silent(run.records([100, 10], seconds), 0, died_s // 10 * 10 + 1, died_s=died_s)
    found = channels(run, [run.header(), *lines])
    assert sorted(found) == ["cpu/package-0/rapl-powercap", "dram/dram-0/rapl-powercap"]
    package = found["cpu/package-0/rapl-powercap"]
    assert (package.energy_uj, package.sensor_gap_ns, package.reason) == (round(died_s * 1e8), None, None)


def test_gpu_of_which_the_last_reading_fails_is_measured(spool: FakeSpool) -> None:
    run = spool.run()
    header = run.header(channels=[GPU], gpus=[V100], gpus_promised=1)
    last = run.record(9.9, [3_600_000_000], measured_ns=[9 * SECOND], errors=[1], read_ns=[BOOT_NS + 9 * SECOND])
    found = channels(run, [header, run.record(0, [0]), {**last, "kind": "end", "reason": "stopped"}])
    gpus = {name: channel for name, channel in found.items() if name.startswith("gpu")}
    assert list(gpus) == ["gpu/gpu-0/nvml-energy"]
    assert gpus["gpu/gpu-0/nvml-energy"].energy_uj == 3_600_000_000


def test_a_gpu_that_dies_is_modelled_from_then_on(spool: FakeSpool) -> None:
    run = spool.run()
    other = {**GPU, "domain": "gpu-1", "gpu_uuid": "GPU-b"}
    header = run.header(channels=[GPU, other], gpus=[V100, {**V100, "index": 1, "uuid": "GPU-b"}], gpus_promised=2)
    found = channels(run, [header, *silent(run.records([200, 210], 600), 1, 310)])
    model = found["gpu/gpu-1/model-tdp"]
    assert (model.energy_uj, model.gpu_uuid, spans(model)) == (300 * 165_000_000, "GPU-b", (300, 600))
    assert found["gpu/gpu-1/nvml-energy"].energy_uj == 300 * 210_000_000
    assert found["gpu/gpu-0/nvml-energy"].sensor_gap_ns is None
    assert "gpu/gpu-0/model-tdp" not in found


def test_one_package_of_two_that_dies_is_unknown_from_then_on(spool: FakeSpool) -> None:
    """Nothing tells its part of the CPU time, nor of the model."""
    run = spool.run()
    header = run.header(channels=[PACKAGE, SECOND_PACKAGE, DRAM])
    found = channels(run, [header, *silent(run.records([100, 80, 10], 600), 1, 310)])
    assert not any(channel.attribution == "model" for channel in found.values())
    package = found["cpu/package-1/rapl-powercap"]
    assert (package.energy_uj, package.sensor_gap_ns) == (300 * 80_000_000, 300 * SECOND)
    assert (package.reason or "").endswith("last good reading at 2026-11-21T10:05:00Z; that time is unknown")
    assert found["cpu/package-0/rapl-powercap"].reason is None


def test_both_packages_that_die_are_modelled_from_the_second_death_on(spool: FakeSpool) -> None:
    run = spool.run()
    header = run.header(channels=[PACKAGE, SECOND_PACKAGE, DRAM])
    lines = silent(silent(run.records([100, 80, 10], 600), 1, 110), 0, 310)
    found = channels(run, [header, *lines])
    assert spans(found["cpu/cpu/model-tdp"]) == (300, 600)
    assert (found["cpu/package-1/rapl-powercap"].reason or "").endswith("a part of that time is modelled")
    assert (found["cpu/package-0/rapl-powercap"].reason or "").endswith("; that time is modelled")


def test_an_outage_in_the_middle_is_modelled(spool: FakeSpool) -> None:
    """As of readings of power, of which nobody counts on meanwhile."""
    run = spool.run()
    found = channels(run, [run.header(), *silent(run.records([100, 10], 3600), 0, 70, 3000)])
    package = found["cpu/package-0/rapl-powercap"]
    assert (package.energy_uj, package.measured_ns) == (660 * 100_000_000, 660 * SECOND)
    assert (package.sensor_gap_ns, spans(found["cpu/cpu/model-tdp"])) == (2940 * SECOND, (60, 3000))
    assert package.reason == "read error 2940 times, nothing for 2940 s; that time is modelled"


def test_a_counter_that_comes_back_has_lost_no_energy(spool: FakeSpool) -> None:
    run = spool.run()
    lines = run.records([100, 10], 3600)
    for line in lines[7:300]:
        line["energy_uj"][0] = None
        line["measured_ns"][0] = 60 * SECOND
    found = channels(run, [run.header(), *lines])
    assert sorted(found) == ["cpu/package-0/rapl-powercap", "dram/dram-0/rapl-powercap"]
    package = found["cpu/package-0/rapl-powercap"]
    assert (package.energy_uj, package.measured_ns, package.sensor_gap_ns) == (360_000_000_000, 3600 * SECOND, None)


def test_nothing_is_modelled_while_the_sidecar_has_no_records(spool: FakeSpool) -> None:
    """A machine asleep for an hour, longer than a counter takes to come round."""
    run = spool.run()
    lines = [run.record(at_s, [at_s * 10**8, at_s * 10**7]) for at_s in (0, 10, 20)]
    late = run.record(3620, [21 * 10**8, 21 * 10**7], measured_ns=[21 * SECOND] * 2, gaps=[1, 1])
    found = channels(run, [run.header(), *lines, late])
    assert sorted(found) == ["cpu/package-0/rapl-powercap", "dram/dram-0/rapl-powercap"]
    assert found["cpu/package-0/rapl-powercap"].sensor_gap_ns is None


def test_a_counter_that_stops_for_good_is_modelled_from_then_on(spool: FakeSpool) -> None:
    """The sidecar calls it unknown a minute after it last moved, and standing until then."""
    run = spool.run()
    lines = run.records([100, 10], 600)
    for line in lines[11:]:
        at_s = (line["boottime_ns"] - BOOT_NS) // SECOND
        line["energy_uj"][0] = 10_000_000_000 if at_s < 160 else None
        line["measured_ns"][0] = 100 * SECOND
    found = channels(run, [run.header(), *lines])
    package = found["cpu/package-0/rapl-powercap"]
    assert (package.energy_uj, package.sensor_gap_ns) == (10_000_000_000, 500 * SECOND)
    assert (package.reason or "").startswith("its counter stood still for 500 s, it last moved at 2026-11-21T10:01:40Z")
    assert spans(found["cpu/cpu/model-tdp"]) == (100, 600)
    # one that stands at the end, as a slow board's does between two steps, is being read
    lines = run.records([100, 10], 600)
    for line in lines[57:]:
        line["energy_uj"][0], line["measured_ns"][0] = 56_000_000_000, 560 * SECOND
    found = channels(run, [run.header(), *lines])
    assert found["cpu/package-0/rapl-powercap"].sensor_gap_ns is None


def test_psys_that_never_counts_is_unknown(spool: FakeSpool) -> None:
    run = spool.run()
    lines = run.records([100, 10, 0], 60)
    for line in lines:
        line["measured_ns"][2] = 0
        line["energy_uj"][2] = 0 if line is lines[0] else None
    psys = channels(run, [run.header(channels=[PACKAGE, DRAM, PSYS]), *lines])["node/psys/rapl-powercap"]
    assert (psys.energy_uj, psys.reason) == (None, "its counter stands still")


@pytest.mark.parametrize("seconds", [10, 600])
def test_promised_gpus_that_are_not_found_are_unknown(spool: FakeSpool, seconds: float) -> None:
    run = spool.run()
    header = run.header(gpus_promised=2, absent=[NO_DRIVER])
    gpu = channels(run, [header, *run.records([100, 10], seconds)])["gpu/gpu/none"]
    assert (gpu.counted, gpu.quality, gpu.energy_uj) == (True, "unknown", None)
    assert gpu.reason == "2 of 2 GPUs of the job not read: nvml-energy: no libnvidia-ml.so.1"


def test_one_gpu_of_two_that_is_not_found_is_unknown_beside_the_other(spool: FakeSpool) -> None:
    run = spool.run()
    missing = {**NO_DRIVER, "reason": "CUDA_VISIBLE_DEVICES: no device GPU-x"}
    header = run.header(channels=[PACKAGE, DRAM, GPU], gpus=[V100], gpus_promised=2, absent=[missing])
    found = channels(run, [header, *run.records([100, 10, 200], 60)])
    assert found["gpu/gpu-0/nvml-energy"].energy_uj == 12_000_000_000
    reason = "1 of 2 GPUs of the job not read: nvml-energy: CUDA_VISIBLE_DEVICES: no device GPU-x"
    assert (found["gpu/gpu/none"].counted, found["gpu/gpu/none"].reason) == (True, reason)
    # also where the one that was found is modelled
    found = channels(run, [{**header, "channels": [PACKAGE, DRAM]}, *run.records([100, 10], 60)])
    assert found["gpu/gpu-0/model-tdp"].counted
    assert found["gpu/gpu/none"].counted


@pytest.mark.parametrize(
    ("changes", "channel"),
    [
        ({"gpus_promised": 1}, GPU),
        ({"gpus_promised": None}, GPU),
        # four modules of two devices each, and partitions of a card
        ({"gpus_promised": 8, "gpus": []}, {**GPU, "source": "pm-counters", "gpu_uuid": None}),
        ({"gpus_promised": 8}, {**GPU, "source": "hwmon"}),
    ],
)
def test_gpus_that_are_all_there(spool: FakeSpool, changes: dict[str, Any], channel: dict[str, Any]) -> None:
    run = spool.run()
    header = run.header(**{"channels": [PACKAGE, DRAM, channel], "gpus": [V100], **changes})
    found = channels(run, [header, *run.records([100, 10, 200], 60)])
    assert [name for name in found if name.startswith("gpu")] == [f"gpu/gpu-0/{channel['source']}"]


@pytest.mark.parametrize(("late_s", "told"), [(2, False), (20, True)])
def test_a_driver_that_came_late(spool: FakeSpool, late_s: int, told: bool) -> None:
    run = spool.run()
    refused = {"component": "cpu", "domain": "package-1", "source": "rapl-powercap", "reason": "denied"}
    first = [
        run.header(gpus_promised=1, absent=[NO_DRIVER, refused]),
        run.record(0, [0, 0]),
        run.record(late_s, [10, 10]),
    ]
    later = {"wall_ns": START_NS + late_s * SECOND, "boottime_ns": BOOT_NS + late_s * SECOND}
    header = run.header(channels=[PACKAGE, DRAM, GPU], gpus=[V100], gpus_promised=1, **later)
    more = [
        {**line, "boottime_ns": line["boottime_ns"] + late_s * SECOND, "wall_ns": line["wall_ns"] + late_s * SECOND}
        for line in run.records([100, 10, 200], 100)
    ]
    found = channels(run, [*first, header, *more])
    assert ("gpu/gpu/none" in found) is told
    assert ("cpu/package-1/none" in found) is told
    assert found["gpu/gpu-0/nvml-energy"].energy_uj == 20_000_000_000


def test_a_package_that_cannot_be_opened_is_unknown_beside_the_other(spool: FakeSpool) -> None:
    run = spool.run()
    refused = {"component": "cpu", "domain": "package-1"}
    absent = [
        {**refused, "source": "rapl-powercap", "reason": "denied"},
        {**refused, "source": "rapl-perf", "reason": "paranoid"},
        {"component": "cpu", "source": "hwmon", "reason": "none"},
    ]
    found = channels(run, [run.header(absent=absent), *run.records([100, 10], 600)])
    missing = found["cpu/package-1/none"]
    assert (missing.counted, missing.energy_uj) == (True, None)
    assert missing.reason == "rapl-powercap: denied; rapl-perf: paranoid"
    # the model for the time in which the other was not read either does not stand in for all of its time
    found = channels(run, [run.header(absent=absent), *silent(run.records([100, 10], 600), 0, 310)])
    assert "cpu/cpu/model-tdp" in found
    assert found["cpu/package-1/none"].counted
    # where nothing of the component is read, the model speaks for all of it
    lines = [{**line, "energy_uj": line["energy_uj"][1:]} for line in run.records([100, 10], 600)]
    for line in lines:
        line["measured_ns"], line["errors"], line["max_w"] = line["measured_ns"][1:], [0], [None]
    found = channels(run, [run.header(channels=[DRAM], absent=absent), *lines])
    assert "cpu/package-1/none" not in found
    assert found["cpu/cpu/model-tdp"].counted


def test_a_channel_that_never_answers_beside_another_stays_unknown(spool: FakeSpool) -> None:
    """Also where the other dies, and the model speaks from then on."""
    run = spool.run()
    lines = silent(silent(run.records([100, 80, 10], 600), 1, 0, died_s=1e-9), 0, 310)
    for line in lines:
        line["energy_uj"][1], line["measured_ns"][1] = None, 0
        line.pop("read_ns", None)
    found = channels(run, [run.header(channels=[PACKAGE, SECOND_PACKAGE, DRAM]), *lines])
    assert spans(found["cpu/cpu/model-tdp"]) == (300, 600)
    dead = found["cpu/package-1/rapl-powercap"]
    assert (dead.counted, dead.energy_uj, dead.reason) == (True, None, "no reading succeeded")


def test_a_bad_time_of_reading_costs_no_energy(spool: FakeSpool) -> None:
    run = spool.run()
    form = "not a list of 2 integers from 0 to 4611686018427387904 or null"
    late = [BOOT_NS + 61 * SECOND, None]
    for bad, why in (
        ("x", form),
        ([1], form),
        ([True, None], form),
        (late, "later than the record"),
        ([-1, None], form),
    ):
        lines = run.records([100, 10], 60)
        lines[-1]["read_ns"] = bad
        path = run.samples([run.header(), *lines])
        found = read(path)
        assert found.problems == (f"1 line: record field read_ns: {why}",)
        account = derive(found.sessions, cpu_tdp(), gpu_tdp())
        assert account.channels[0].energy_uj == 6_000_000_000


@pytest.mark.parametrize("read_ns", [0, BOOT_NS, BOOT_NS + 55 * SECOND])
def test_a_time_of_reading_that_is_out_of_order_breaks_nothing(spool: FakeSpool, read_ns: int) -> None:
    run = spool.run()
    lines = run.records([100, 10], 60)
    for line in lines[3:]:
        line["read_ns"] = [min(read_ns, line["boottime_ns"]), None]
    found = channels(run, [run.header(exclusive=False), *lines])
    assert (found["cpu/package-0/rapl-powercap"].energy_uj or 0) <= 1_500_000_000
    assert found["dram/dram-0/rapl-powercap"].energy_uj == 150_000_000


def test_common_spans() -> None:
    assert common([]) == []
    assert common([[(1, 5)]]) == [(1, 5)]
    assert common([[(1, 5), (7, 9)], []]) == []
    assert common([[(1, 5), (7, 9)], [(0, 2), (4, 8)], [(0, 100)]]) == [(1, 2), (4, 5), (7, 8)]


@pytest.mark.parametrize("with_dram", [True, False])
def test_memory_in_the_reading_of_the_socket_is_not_modelled_as_well(spool: FakeSpool, with_dram: bool) -> None:
    run = spool.run()
    socket = {**PACKAGE, "domain": "grace-0", "source": "hwmon", "contains": ["dram"] if with_dram else []}
    found = channels(run, [run.header(channels=[socket]), *run.records([250], 60)])
    assert found["cpu/grace-0/hwmon"].energy_uj == 250 * 60 * 10**6
    assert sorted(found) == ["cpu/grace-0/hwmon", *([] if with_dram else ["dram/dram/model-memory"])]


def test_the_processor_and_memory_of_an_accelerator_are_not_modelled_as_well(spool: FakeSpool) -> None:
    run = spool.run()
    gpu = {**GPU, "domain": "amd-gpu-0", "source": "hwmon", "contains": ["cpu", "dram"]}
    package = {**PACKAGE, "counted": False}
    header = run.header(channels=[package, gpu], gpus=[{"index": 0, "uuid": GPU["gpu_uuid"], "name": "MI300A"}])
    found = channels(run, [header, *run.records([100, 550], 60)])
    assert {name: one.energy_uj for name, one in found.items() if one.counted} == {
        "gpu/amd-gpu-0/hwmon": 550 * 60 * 10**6
    }
    assert "cpu/package-0/rapl-powercap" in found


def test_processors_in_the_power_of_gpus_of_other_jobs_are_unknown_and_not_modelled(spool: FakeSpool) -> None:
    run = spool.run()
    header = run.header(channels=[{**PACKAGE, "counted": False}], exclusive=False, in_other_gpus=["cpu", "dram"])
    found = channels(run, [header, *run.records([100], 60)])
    why = "in the power of GPUs of the node that are not the job's"
    assert {name: (one.energy_uj, one.quality, one.reason) for name, one in found.items() if one.counted} == {
        f"{component}/{component}/none": (None, "unknown", why) for component in ("cpu", "dram")
    }
    assert found["cpu/package-0/rapl-powercap"].energy_uj is not None


def test_memory_is_modelled_where_the_reading_that_has_it_failed(spool: FakeSpool) -> None:
    run = spool.run()
    socket = {**PACKAGE, "domain": "grace-0", "source": "hwmon", "contains": ["dram"]}
    lines = run.records([250], 60)
    for line in lines:
        line["energy_uj"], line["measured_ns"], line["errors"] = [None], [0], [60]
    found = channels(run, [run.header(channels=[socket]), *lines])
    assert found["dram/dram/model-memory"].quality == "modelled"


def test_accelerator_that_is_not_read_is_unknown(spool: FakeSpool) -> None:
    run = spool.run()
    why = {"component": "gpu", "source": "other-chips", "reason": "present and not read: habanalabs"}
    found = channels(run, [run.header(gpus_unread=1, absent=[why]), *run.records([100, 10], 60)])
    unknown = found["gpu/gpu/none"]
    assert (unknown.quality, unknown.energy_uj) == ("unknown", None)
    assert unknown.reason == "1 of 1 GPUs of the job not read: other-chips: present and not read: habanalabs"


@pytest.mark.parametrize("source", ["nvml-energy", "hwmon", "rocm-of-the-site"])
@pytest.mark.parametrize("promised", [None, 1, 2])
def test_accelerator_that_is_not_read_is_unknown_beside_gpus_of_any_source(
    spool: FakeSpool, source: str, promised: int | None
) -> None:
    run = spool.run()
    header = run.header(
        channels=[PACKAGE, DRAM, {**GPU, "source": source}], gpus=[V100], gpus_promised=promised, gpus_unread=1
    )
    found = channels(run, [header, *run.records([100, 10, 200], 60)])
    assert found[f"gpu/gpu-0/{source}"].energy_uj == 12_000_000_000
    assert (found["gpu/gpu/none"].counted, found["gpu/gpu/none"].energy_uj) == (True, None)
    assert found["gpu/gpu/none"].reason == "1 of 2 GPUs of the job not read: no sensor reported"
