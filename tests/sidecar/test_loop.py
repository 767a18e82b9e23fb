"""The loop in simulated time: hours in milliseconds, every microjoule known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from fake_rapl import AMD_RANGE_UJ, FakeRapl, two_sockets

from hpcfrugal.sidecar.identity import Identity
from hpcfrugal.sidecar.job_wait import JobWait
from hpcfrugal.sidecar.loop import Loop, SamplingConfig
from hpcfrugal.sidecar.sensors.base import POWER_UW, Absent, Channel, Gpu, Opened
from hpcfrugal.sidecar.sensors.rapl_powercap import RaplPowercap
from hpcfrugal.sidecar.usage import Usage
from hpcfrugal.sidecar.writer import Writer

S = 1_000_000_000
START_NS = 1000 * S


class Simulation:
    """A clock, and a JobWait that moves it: ``at_tick`` is called with the time since the start."""

    def __init__(self, end_ns: int, at_tick: Callable[[int], int | None]) -> None:
        self.now_ns = START_NS
        self.end_ns = START_NS + end_ns
        self.at_tick = at_tick

    def clock_ns(self) -> int:
        return self.now_ns

    def record_requested(self) -> bool:
        return False

    def wait_until(self, at_ns: int) -> str | None:
        # The loop also asks without a wait, as often as a thread of a sensor takes long: that is no tick.
        if at_ns > self.now_ns:
            target_ns = min(at_ns, self.end_ns)
            # the tick may say that it came later
            self.now_ns = target_ns + (self.at_tick(target_ns - START_NS) or 0)
            self.at_tick(self.now_ns - START_NS)
        return "stopped" if self.now_ns >= self.end_ns else None


class NoUsage:
    """Usage without a node: CPU time equal to the simulated time since the session began."""

    cpu_time_source = None

    def __init__(self) -> None:
        self.restarts = 0

    def restart(self) -> None:
        self.restarts += 1

    def sample_memory(self) -> None:
        pass

    def header(self) -> dict[str, object]:
        return {"sources": {}, "reasons": {}}

    def read(self) -> dict[str, object]:
        return {"job_cpu_us": None, "node_busy_us": None, "memory_b": None, "memory_peak_b": None}


class SlowUsage(NoUsage):
    """Asking the node takes a while, as on a busy one, where a sidecar of low priority waits for its turn."""

    def __init__(self, simulation: Simulation, takes_ns: int) -> None:
        super().__init__()
        self._simulation = simulation
        self._takes_ns = takes_ns

    def header(self) -> dict[str, object]:
        self._simulation.now_ns += self._takes_ns
        return super().header()

    def sample_memory(self) -> None:
        self._simulation.now_ns += self._takes_ns

    def read(self) -> dict[str, object]:
        self._simulation.now_ns += self._takes_ns
        return super().read()


def run(
    folder: Path,
    end_s: float,
    sensors: list[Any],
    at_tick: Callable[[int], int | None],
    *,
    interval_s: float = 1,
    record_s: float = 10,
    usage_takes_ns: int = 0,
) -> list[dict[str, Any]]:
    simulation = Simulation(int(end_s * S), at_tick)
    who = Identity(run_id="r", job_id="17", cluster="lab", node="n1", in_slurm=True)
    path = folder / who.file_name
    at_tick(0)
    Loop(
        SamplingConfig(int(interval_s * S), int(record_s * S), False, "/proc"),
        who,
        sensors,
        cast(Usage, SlowUsage(simulation, usage_takes_ns)),
        Writer(str(path)),
        cast(JobWait, simulation),
        simulation.clock_ns,
    ).run()
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("range_uj", [AMD_RANGE_UJ, 5_000_000_000])
def test_an_hour_with_wraps_is_exact(tmp_path: Path, range_uj: int) -> None:
    """100 W on a range of 5 kJ wraps every 50 s."""
    tree = two_sockets(tmp_path / "sys", range_uj=range_uj)
    lines = run(tmp_path, 3600.5, [RaplPowercap(str(tree.sysfs))], lambda at_ns: tree.show(at_ns))
    header, records, end = lines[0], lines[1:-1], lines[-1]
    assert header["kind"] == "header"
    assert len(records) == 361
    assert records[0]["energy_uj"] == [0] * 7
    assert records[0]["measured_ns"] == [0] * 7
    assert (end["kind"], end["reason"]) == ("end", "stopped")
    assert end["energy_uj"] == [zone.energy_uj(int(3600.5 * S)) for zone in tree.zones]
    assert end["measured_ns"] == [int(3600.5 * S)] * 7
    assert end["errors"] == [0] * 7
    assert records[5]["max_w"] == [zone.watts for zone in tree.zones]
    stamps = [record["boottime_ns"] - START_NS for record in records]
    assert stamps == [second * S for second in range(0, 3601, 10)]


def test_lines_carry_the_moment_of_their_sample(rapl: FakeRapl, tmp_path: Path) -> None:
    """However long the rest of a line takes: the counters stand where they stood at the sample."""
    taken_ns = 40_000_000
    header, *records = run(
        tmp_path, 30.5, [RaplPowercap(str(rapl.sysfs))], lambda at_ns: rapl.show(at_ns), usage_takes_ns=taken_ns
    )
    first = records[0]
    assert header["boottime_ns"] == first["boottime_ns"] == START_NS
    for line in records[1:]:
        elapsed_ns = line["boottime_ns"] - first["boottime_ns"]
        assert line["energy_uj"] == [zone.energy_uj(elapsed_ns) for zone in rapl.zones]
        assert line["measured_ns"] == [elapsed_ns] * len(rapl.zones)
    assert records[-1]["kind"] == "end"


def test_header_has_the_fields_of_the_format(rapl: FakeRapl, tmp_path: Path) -> None:
    header = run(tmp_path, 2, [RaplPowercap(str(rapl.sysfs))], lambda at_ns: rapl.show(at_ns))[0]
    assert sorted(header) == sorted(
        [
            "kind",
            "schema",
            "sidecar",
            "run_id",
            "cluster",
            "job_id",
            "restart",
            "array_job_id",
            "array_task_id",
            "node",
            "uid",
            "boot_id",
            "wall_ns",
            "boottime_ns",
            "interval_s",
            "record_s",
            "cpus_alloc",
            "cpus_node",
            "cores_node",
            "cpu_limit_uw",
            "cpu_model",
            "memory_node_b",
            "memory_alloc_b",
            "exclusive",
            "gpus",
            "gpus_promised",
            "gpus_unread",
            "cpu_time_source",
            "usage",
            "channels",
            "absent",
        ]
    )
    assert " ".join(header["channels"][0]) == (
        "component domain source quality boundary scope counted range_uj detail gpu_uuid"
    )


def test_suspended_for_longer_than_a_wrap(rapl: FakeRapl, tmp_path: Path) -> None:
    """At 20 s the machine sleeps for an hour: that hour is not measured, and no tick is made up for."""
    for zone in rapl.zones:
        zone.range_uj = AMD_RANGE_UJ
        (zone.path / "max_energy_range_uj").write_text(f"{AMD_RANGE_UJ}\n")
    slept: list[bool] = []

    def tick(at_ns: int) -> int | None:
        rapl.show(at_ns)
        if at_ns == 20 * S and not slept:
            slept.append(True)
            return 3600 * S
        return None

    lines = run(tmp_path, 3650, [RaplPowercap(str(rapl.sysfs))], tick)
    end = lines[-1]
    measured_s = 3650 - 3601
    assert end["measured_ns"][0] == measured_s * S
    assert end["energy_uj"][0] == rapl.zones[0].energy_uj(measured_s * S)
    assert end["gaps"][0] == 1
    assert "gaps" not in lines[1]
    assert "resets" not in end
    assert len(lines) < 12


def test_failed_reads_in_the_middle(rapl: FakeRapl, tmp_path: Path) -> None:
    """package-0 cannot be read from 12 to 27 s: what it had counted, null meanwhile, and whole again afterwards."""
    path = rapl.zones[0].path / "energy_uj"

    def tick(at_ns: int) -> None:
        rapl.show(at_ns)
        if 12 * S <= at_ns <= 37 * S:
            path.write_text("-")

    lines = run(tmp_path, 45, [RaplPowercap(str(rapl.sysfs))], tick)
    records = [line for line in lines if line["kind"] == "record"]
    told = [0, 1_000_000_000, 1_100_000_000, None, 4_000_000_000]
    assert [record["energy_uj"][0] for record in records[:5]] == told
    assert [record["measured_ns"][0] // S for record in records[:5]] == [0, 10, 11, 11, 40]
    assert records[2]["read_ns"] == [START_NS + 11 * S, *[None] * 6]
    assert [index for index, record in enumerate(records) if "read_ns" in record] == [2]
    assert records[4]["errors"][0] == 26
    assert lines[-1]["energy_uj"] == [zone.energy_uj(45 * S) for zone in rapl.zones]
    assert lines[-1]["errors"][1:] == [0] * 6


def test_a_failed_last_reading_loses_no_energy(rapl: FakeRapl, tmp_path: Path) -> None:
    """A sensor that died long before the end, whatever lines were lost meanwhile, and one that died at the end."""
    first, second = (rapl.zones[index].path / "energy_uj" for index in (0, 1))

    def tick(at_ns: int) -> None:
        rapl.show(at_ns)
        if at_ns >= 12 * S:
            first.write_text("-")
        if at_ns >= 40 * S:
            second.write_text("-")

    end = run(tmp_path, 40, [RaplPowercap(str(rapl.sysfs))], tick)[-1]
    assert end["energy_uj"][:2] == [rapl.zones[0].energy_uj(11 * S), rapl.zones[1].energy_uj(39 * S)]
    assert end["measured_ns"][:2] == [11 * S, 39 * S]
    assert end["read_ns"][:3] == [START_NS + 11 * S, START_NS + 39 * S, None]


def test_standing_counter_is_null(rapl: FakeRapl, tmp_path: Path) -> None:
    """In a virtual machine the counters may be there and never move."""
    lines = run(tmp_path, 30, [RaplPowercap(str(rapl.sysfs))], lambda _at_ns: rapl.show(0))
    end = lines[-1]
    assert [value for value, c in zip(end["energy_uj"], lines[0]["channels"], strict=True) if c["counted"]] == [
        None
    ] * 4
    assert end["measured_ns"][0] == 0
    # a core may rest, the machine as a whole may not
    told = {channel["domain"]: value for channel, value in zip(lines[0]["channels"], end["energy_uj"], strict=True)}
    assert (told["psys"], told["package-0/core"]) == (None, 0)
    assert "read_ns" not in end


class PowerSensor:
    """A device of 100 W whose readings can hang; ``may_block`` puts it in a thread."""

    name = "test-power"
    component = "gpu"
    may_block = False

    def open(self) -> Opened:
        channel = Channel("gpu", "gpu-0", self.name, quantity=POWER_UW, max_w=3000, detail="x", scope="job")
        return Opened([channel], [Absent("gpu", "other", "because")], [Gpu(0, "GPU-1", "Test")])

    def read(self) -> list[int | None]:
        return [100_000_000]

    def close(self) -> None:
        pass


def test_power_is_integrated(tmp_path: Path) -> None:
    lines = run(tmp_path, 60, [PowerSensor()], lambda _at_ns: None)
    gpu = {"index": 0, "uuid": "GPU-1", "name": "Test", "limit_uw": None, "domain": "gpu-0"}
    assert lines[0]["gpus"] == [gpu]
    assert lines[0]["absent"] == [{"component": "gpu", "source": "other", "reason": "because"}]
    assert lines[-1]["energy_uj"] == [6_000_000_000]


@pytest.mark.parametrize("interval_s", [20, 60])
def test_power_is_integrated_at_any_pace(tmp_path: Path, interval_s: int) -> None:
    end = run(tmp_path, 600, [PowerSensor()], lambda _at_ns: None, interval_s=interval_s, record_s=60)[-1]
    assert (end["energy_uj"], end["measured_ns"]) == ([60_000_000_000], [600 * S])


def test_sensor_that_throws_costs_its_own_channels_only(rapl: FakeRapl, tmp_path: Path) -> None:
    class Broken(PowerSensor):
        def read(self) -> list[int | None]:
            raise RuntimeError("driver")

    lines = run(tmp_path, 20, [RaplPowercap(str(rapl.sysfs)), Broken()], lambda at_ns: rapl.show(at_ns))
    assert lines[-1]["energy_uj"][0] == rapl.zones[0].energy_uj(20 * S)
    assert lines[-1]["energy_uj"][7] is None
    assert lines[-1]["errors"][7] > 20


def test_sensor_that_cannot_be_opened_is_absent(tmp_path: Path) -> None:
    class Broken(PowerSensor):
        def open(self) -> Opened:
            raise RuntimeError("driver")

    header = run(tmp_path, 5, [Broken()], lambda _at_ns: None)[0]
    assert header["absent"] == [{"component": "gpu", "source": "test-power", "reason": "RuntimeError: driver"}]
