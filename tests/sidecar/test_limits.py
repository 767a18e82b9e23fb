"""Limits of the sidecar that users can notice, by what they do on both sides of their value."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from fake_meters import FakeCray, amd_gpu, chip, grace
from fake_rapl import Zone, build
from simulated_node import SimulatedNode

from hpcfrugal.sidecar import job_wait, sensor_process
from hpcfrugal.sidecar.counter import EnergyCounter, PowerIntegral
from hpcfrugal.sidecar.job_wait import JobWait
from hpcfrugal.sidecar.sensor_in_use import ActiveChannel
from hpcfrugal.sidecar.sensor_process import SensorProcess
from hpcfrugal.sidecar.sensor_selection import SensorSelection
from hpcfrugal.sidecar.sensors.base import ENERGY_UJ, Channel, Opened
from hpcfrugal.sidecar.sensors.rapl_perf import RaplPerf
from hpcfrugal.sidecar.sensors.unread import UnreadDevices
from hpcfrugal.sidecar.sources import SensorContext, fallback_sensors, primary_sensors

S = 1_000_000_000


def channels_of(sysfs: Path, environ: dict[str, str] | None = None) -> list[Channel]:
    """All channels of a machine."""
    environ = {"CUDA_VISIBLE_DEVICES": ""} if environ is None else environ
    place = SensorContext(str(sysfs), str(sysfs), environ, lambda: 0, in_slurm=False, exclusive=True)
    selection = SensorSelection(primary_sensors(place), fallback_sensors(place), lambda: 0, lambda: False)
    return [entry.channel for entry in selection.entries]


def most_w(channel: Channel) -> int:
    """The power from which on a channel's readings are refused, to 1 W: over so long that 0.2 s do not matter."""
    low, high = 1, 10**6
    while high - low > 1:
        middle = (low + high) // 2
        meter = ActiveChannel(channel, gap_ns=10_000 * S).meter
        meter.update(0, 0 if channel.quantity == ENERGY_UJ else middle * 10**6)
        meter.update(10_000 * S, middle * 10**6 * (10_000 if channel.quantity == ENERGY_UJ else 1))
        low, high = (low, middle) if meter.resets or meter.errors else (middle, high)
    return low


def test_watts_that_no_rapl_domain_draws(tmp_path: Path) -> None:
    zones = [
        Zone("intel-rapl:0", "package-0", 1, 10**18),
        Zone("intel-rapl:0:0", "core", 1, 10**18),
        Zone("intel-rapl:0:1", "dram", 1, 10**18),
        Zone("intel-rapl:1", "psys", 1, 10**18),
    ]
    build(tmp_path, zones)
    found = {channel.domain: most_w(channel) for channel in channels_of(tmp_path)}
    assert found == {"package-0": 1000, "package-0/core": 1000, "package-0/dram": 400, "psys": 4000}


def test_watts_that_no_domain_of_perf_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fake_meters import perf_source

    monkeypatch.setattr("hpcfrugal.sidecar.sensors.rapl_perf.open_event", lambda *_, **__: os.open("/dev/null", 0))
    monkeypatch.setattr(RaplPerf, "_refused", lambda _self: None)
    perf_source(tmp_path)
    found = {channel.component: most_w(channel) for channel in channels_of(tmp_path)}
    assert found == {"cpu": 1000, "dram": 400}


def test_watts_that_no_device_of_hwmon_draws(tmp_path: Path) -> None:
    watts = {}
    for name, make in {
        "amd": lambda at: chip(at, 0, "amd_energy", {"energy1_label": "Esocket0", "energy1_input": "5"}),
        "grace": lambda at: [grace(at, number, what, 0, 100) for number, what in enumerate(("CPU", "SysIO", "Grace"))],
        "module": lambda at: grace(at, 0, "Module", 0, 100),
        "machine": lambda at: chip(at, 0, "power_meter", {"power1_average": "350000000"}),
        "amd gpu": lambda at: amd_gpu(at, 0, 0xC1, 300, unique="1"),
        "intel gpu": lambda at: chip(at, 0, "xe", {"energy1_input": "5"}),
    }.items():
        folder = tmp_path / name
        make(folder)
        watts[name] = {channel.component: most_w(channel) for channel in channels_of(folder, {})}
    assert watts == {
        "amd": {"cpu": 1000},
        "grace": {"cpu": 1000, "dram": 400},
        "module": {"node": 4000},
        "machine": {"node": 20_000},
        "amd gpu": {"gpu": 3000},
        "intel gpu": {"gpu": 3000},
    }


def test_watts_that_no_part_of_a_cray_node_draws(tmp_path: Path) -> None:
    FakeCray(tmp_path, {"energy": 900, "cpu_energy": 200, "memory_energy": 50, "accel0_energy": 300})
    found = {channel.component: most_w(channel) for channel in channels_of(tmp_path, {})}
    assert found == {"cpu": 4000, "dram": 2000, "gpu": 3000, "node": 20_000}


@pytest.mark.parametrize(("millijoules", "resets"), [(200_990, 0), (201_010, 1)])
def test_counter_may_lag_by_a_fifth_of_a_second(millijoules: int, resets: int) -> None:
    """At most 1000 W in 1 ms and in the 200 ms that it may be late."""
    counter = EnergyCounter(None, 1000)
    counter.update(0, 0)
    counter.update(S // 1000, millijoules * 1000)
    assert counter.resets == resets


@pytest.mark.parametrize(("milliseconds", "peak_w"), [(99, None), (100, 50.0)])
def test_peak_is_of_a_tenth_of_a_second_at_least(milliseconds: int, peak_w: float | None) -> None:
    counter = EnergyCounter(None, 1000)
    counter.update(0, 0)
    counter.update(milliseconds * S // 1000, 50 * milliseconds * 1000)
    assert counter.peak_w == peak_w


@pytest.mark.parametrize(("slack_ms", "peak_w"), [(99, 100.0), (101, 100 * 1000 / 1101)])
def test_peak_allows_for_times_that_are_a_tenth_uncertain(slack_ms: int, peak_w: float) -> None:
    counter = EnergyCounter(None, 1000)
    counter.update(0, 0)
    counter.update(S, 100 * 10**6, slack_ms * S // 1000)
    assert counter.peak_w == pytest.approx(peak_w, rel=1e-6)


@pytest.mark.parametrize(("seconds", "gaps"), [(10, 0), (10.1, 1)])
def test_power_is_joined_over_ten_seconds(seconds: float, gaps: int) -> None:
    power = PowerIntegral(1000)
    power.update(0, 10**8)
    power.update(round(seconds * S), 10**8)
    assert power.gaps == gaps


@pytest.mark.parametrize(
    ("moved", "seconds", "frozen"), [(False, 4.9, 0), (False, 5, 1), (True, 59.9, 0), (True, 60, 1)]
)
def test_counter_that_stands_still(moved: int, seconds: float, frozen: int) -> None:
    """For 5 s where it has never moved, and for a minute where it has."""
    counter = EnergyCounter(None, 1000, can_rest=False)
    counter.update(0, 0)
    counter.update(S * moved, 10**6 * moved)
    counter.update(S * moved + round(seconds * S), 10**6 * moved)
    assert counter.is_frozen() == bool(frozen)


@pytest.mark.parametrize(("seconds", "frozen"), [(2.4, False), (2.5, True)])
def test_rapl_that_stands_still(tmp_path: Path, seconds: float, frozen: bool) -> None:
    build(tmp_path, [Zone("intel-rapl:0", "package-0", 1, 10**18)])
    (channel,) = channels_of(tmp_path)
    meter = ActiveChannel(channel).meter
    meter.update(0, 5)
    meter.update(S, 6)
    meter.update(S + round(seconds * S), 6)
    assert meter.is_frozen() is frozen


def test_process_is_waited_for_as_long_as_nvml_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    class Forked:
        cpu_ns = 0

        def __init__(self, _serve: object) -> None:
            pass

        def ask(self) -> None:
            pass

        def answer(self, last: str, timeout_s: int) -> list[tuple[str, dict[str, Any]]]:
            asked.append((last, timeout_s))
            channel = {"component": "gpu", "domain": "gpu-0", "source": "s", "max_w": 1, "detail": ""}
            return [("channel", channel), ("values", {"0": 7})]

    monkeypatch.setattr(sensor_process, "Forked", Forked)
    process = SensorProcess("s", "gpu", cast(Any, None))
    process.open()
    assert process.read() == [7]
    assert asked == [("opened", 60), ("read", 20)]


def test_no_more_than_8_ways_to_end_are_named() -> None:
    codes = iter(range(1, 100))

    class Dying:
        name, component, may_block = "s", "gpu", True

        def __init__(self, code: int) -> None:
            self.code = code
            self.reads = 0

        def open(self) -> Opened:
            return Opened([Channel("gpu", "gpu-0", "s", max_w=1, detail="")], [], [])

        def read(self) -> list[int | None]:
            self.reads += 1
            if self.reads == 2:
                os._exit(self.code)
            return [1]

        def close(self) -> None:
            pass

    code = next(codes)
    process = SensorProcess("s", "gpu", lambda _use: Dying(code))
    process.open()
    for _ in range(12):
        while process.read() != [None]:
            pass
        code = next(codes)
        while process.read() != [1]:
            pass
    process.settle()
    process.close()
    assert process.problems == [f"its process ended with exit code {number}" for number in range(1, 9)]


def test_end_takes_at_most_one_and_a_half_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a stop the process ends by its alarm, whatever it waits for."""
    timers: list[tuple[int, float]] = []

    class Signals:
        SIGTERM, SIGINT, SIGHUP, SIGALRM, SIGUSR1, SIGUSR2, SIGCHLD, SIG_IGN, SIG_DFL, ITIMER_REAL = range(10)

        @staticmethod
        def signal(*_: object) -> None:
            pass

        @staticmethod
        def set_wakeup_fd(*_: object, **__: object) -> None:
            pass

        @staticmethod
        def setitimer(which: int, seconds: float) -> None:
            timers.append((which, seconds))

    monkeypatch.setattr(job_wait, "signal", Signals)
    wait = JobWait(None, lambda: 0)
    wait._on_signal(0, None)
    assert wait.reason == "stopped"
    assert timers == [(Signals.ITIMER_REAL, 1.5)]


def test_wait_for_sensors_at_each_sample(
    make_node: Callable[..., SimulatedNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of a second, and at the end, which the job waits for, 0.4 s."""
    waited: list[float] = []
    real = SensorSelection.sample

    def sample(self: SensorSelection, wait_s: float) -> int:
        waited.append(wait_s)
        return real(self, wait_s)

    monkeypatch.setattr(SensorSelection, "sample", sample)
    make_node().sample(5)
    assert waited == [0.25] * 5 + [0.4]


def test_source_is_replaced_after_ten_reads(make_node: Callable[..., SimulatedNode]) -> None:
    from hpcfrugal.sidecar.sensor_in_use import Fallback

    class Failing:
        name, component, may_block = "failing", "cpu", False

        def open(self) -> Opened:
            return Opened([Channel("cpu", "a", "failing", max_w=1, detail="")], [], [])

        def read(self) -> list[int | None]:
            return [None]

        def close(self) -> None:
            pass

    fallback = Fallback("cpu", lambda _component, _covered: Failing())
    selection = SensorSelection([Failing()], [fallback], lambda: 0, lambda: False)
    seen: list[bool] = []
    for _ in range(10):
        selection.sample(0)
        seen.append(bool(selection.replaceable()))
    assert seen == [False] * 9 + [True]


def test_memory_of_processes_is_looked_at_four_times_before_the_second_record(tmp_path: Path) -> None:
    """1, 2, 4 and 8 s after the start."""
    from hpcfrugal.sidecar.identity import Identity
    from hpcfrugal.sidecar.usage import Usage

    (tmp_path / "10").mkdir()
    (tmp_path / "10/stat").write_text("10 (bash) S 1 1 1 0 -1 0 0 0 0 0 7 0 0 0 20 0 1 0 5 0 10 0")
    now_ns = 0
    who = Identity(run_id="r", job_id="17", cluster=None, node="n1", in_slurm=False)
    usage = Usage(str(tmp_path), who, None, 10, clock_ns=lambda: now_ns)
    usage.restart()
    looks: list[float] = []
    tree = usage._tree
    assert tree is not None
    real = tree.read
    tree.read = lambda: looks.append(now_ns / S) or real()  # type: ignore[method-assign]
    for tenth in range(1, 2000):
        now_ns = tenth * S // 10
        usage.sample_memory()
    assert looks == [1, 2, 4, 8]


@pytest.mark.parametrize(("began_s", "counted"), [(5.5, False), (4.5, True)])
def test_process_that_began_five_seconds_before_the_job_is_older(tmp_path: Path, began_s: float, counted: bool) -> None:
    """What it had used when it was found is not the job's."""
    from hpcfrugal.sidecar.proc_tree import ProcTree

    ticks = os.sysconf("SC_CLK_TCK")

    def put(pid: int, parent: int, own: int, start: int) -> None:
        folder = tmp_path / str(pid)
        folder.mkdir(exist_ok=True)
        fields = ["S", parent, 1, 1, 0, -1, 0, 0, 0, 0, 0, own, 0, 0, 0, 20, 0, 1, 0, start, 0, 10, 0]
        (folder / "stat").write_text(f"{pid} (bash) " + " ".join(map(str, fields)))

    put(10, 1, 0, 100 * ticks)
    tree = ProcTree(str(tmp_path), 10, None, "n1")
    tree.read()
    put(11, 10, 50, 100 * ticks - round(began_s * ticks))
    tree.read()
    assert tree.read().cpu_us == (50 * 1_000_000 // ticks if counted else 0)


def test_processes_of_others_are_read_again_eight_at_a_time(tmp_path: Path) -> None:
    from hpcfrugal.sidecar import proc_tree

    for pid in range(1, 101):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (bash) S 0 1 1 0 -1 0 0 0 0 0 7 0 0 0 20 0 1 0 {pid} 0 10 0")
    tree = proc_tree.ProcTree(str(tmp_path), 10, None, "n1")
    chosen: list[int] = []
    real = tree._look

    def look(some: set[int], pids: set[int]) -> Any:
        chosen.append(len(some))
        return real(some, pids)

    tree._look = look  # type: ignore[method-assign]
    for _ in range(12):
        tree.read()
    assert chosen[:2] == [1, 25]
    assert chosen[-2:] == [9, 9]


def test_controller_of_a_cray_that_stands_still_for_three_seconds(tmp_path: Path) -> None:
    from hpcfrugal.sidecar.sensors.pm_counters import PmCounters

    FakeCray(tmp_path, {"energy": 900})
    now_ns = 0
    sensor = PmCounters(str(tmp_path), "node", lambda: now_ns)
    sensor.open()
    found: list[Sequence[int | None]] = []
    for now_ns in (0, 3 * S - 1, 3 * S):  # noqa: B007
        found.append(sensor.read())
    sensor.close()
    assert [values == [None] for values in found] == [False, False, True]


def test_four_readings_of_a_chip_are_named(tmp_path: Path) -> None:
    from hpcfrugal.sidecar.sensors.hwmon import Chips

    chip(tmp_path, 0, "pmbus", {f"power{number}_input": "1" for number in range(1, 6)})
    (absent,) = UnreadDevices(Chips(str(tmp_path)), str(tmp_path), may_use_all=True).open().absent
    assert "(power1_input, power2_input, power3_input, power4_input, ...)" in absent.reason


def test_file_grows_to_64_mib_less_64_kib_for_the_last_lines() -> None:
    from hpcfrugal.sidecar.__main__ import Arguments
    from hpcfrugal.sidecar.sampling_rate import FileBudget

    limit_b = Arguments(["--run-dir", "/r", "--run-id", "i"]).file_limit_b
    budget = FileBudget(limit_b, 0)
    most_b = 64 * 1024 * 1024 - 64 * 1024
    assert budget.has_space(most_b - 600, 600)
    assert not budget.has_space(most_b - 600, 601)


def test_hardware_counters_are_attached_to_64_threads(tmp_path: Path) -> None:
    from hpcfrugal.sidecar.hardware_counters import _threads

    for thread in range(10, 110):
        (tmp_path / "10/task" / str(thread)).mkdir(parents=True)
    (tmp_path / "10/stat").write_text("10 (bash) S 1 1 1 0 -1 0 0 0 0 0 7 0 0 0 20 0 1 0 5 0 10 0")
    assert len(_threads(str(tmp_path), 10)) == 64


def test_busy_time_is_read_from_32_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpcfrugal.sidecar import node

    for number in range(50):
        (tmp_path / f"group-{number}").mkdir()
    read: list[str] = []
    monkeypatch.setattr(node, "node_group", lambda _proc: (str(tmp_path), 2))
    monkeypatch.setattr(node, "_group_us", lambda directory, _version: read.append(directory))
    node.GroupsBusy("/proc").read_us()
    assert len(read) == 32
