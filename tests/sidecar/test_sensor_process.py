"""A sensor's process that ends or hangs, and what the sidecar makes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpcfrugal.sidecar.gpu_busy import GpuBusy
from hpcfrugal.sidecar.sensor_calls import SensorFailed, open_sensor, read_sensor
from hpcfrugal.sidecar.sensor_child import UseOfGpus
from hpcfrugal.sidecar.sensor_messages import BadMessage, decode, encode
from hpcfrugal.sidecar.sensor_process import SensorProcess
from hpcfrugal.sidecar.sensors.base import Absent, Channel, Gpu, Opened

START_AGAIN_AFTER = 30
GIVEN_UP_AFTER = 3


class Meter:
    """Counts its reads; does what ``acts`` has for the number of the read, 0 being the opening."""

    name = "meter"
    component = "gpu"
    may_block = True
    advice = "ask the meter"

    def __init__(self, use: UseOfGpus, acts: dict[int, Callable[[], Any]], first: int = 0) -> None:
        self.use = use
        self.acts = acts
        self.reads = first

    def open(self) -> Opened:
        self.acts.get(0, lambda: None)()
        self.use.reasons.append("GPU-b: no such value")
        channels = [
            Channel("gpu", f"gpu-{index}", "meter", max_w=3000, detail="d\te", gpu_uuid=f"GPU-{index}")
            for index in range(2)
        ]
        return Opened(channels, [Absent("gpu", "meter", "one is lost")], [Gpu(1, "GPU-1", "Ä100", 400)], 7)

    def read(self) -> list[int | None]:
        self.reads += 1
        found = self.acts.get(self.reads, lambda: None)()
        self.use.update([50, None])
        return [self.reads, None] if found is None else found

    def close(self) -> None:
        pass


@pytest.fixture
def run() -> Any:
    """Makes a process of a meter, which ends with the test."""
    made: list[SensorProcess] = []

    def make(acts: dict[int, Callable[[], Any]] | None = None, **options: Any) -> SensorProcess:
        process = SensorProcess("meter", "gpu", lambda use: Meter(use, acts or {}), **options)
        made.append(process)
        return process

    yield make
    for process in made:
        process.close()


def test_what_the_sensor_finds_and_reads_arrives(run: Any) -> None:
    busy = GpuBusy(lambda: next(clock))
    clock = iter(range(0, 100 * 10**9, 10**9))
    process = run(busy=busy)
    opened = open_sensor(process)
    assert [channel.header() for channel in opened.channels] == [
        Channel("gpu", f"gpu-{index}", "meter", max_w=3000, detail="d e", gpu_uuid=f"GPU-{index}").header()
        for index in range(2)
    ]
    assert [absent.header() for absent in opened.absent] == [Absent("gpu", "meter", "one is lost").header()]
    assert [absent.advice for absent in opened.absent] == ["ask the meter"]
    assert [vars(gpu) for gpu in opened.gpus] == [vars(Gpu(1, "GPU-1", "Ä100", 400))]
    assert opened.cpu_limit_uw == 7
    assert [read_sensor(process, 2) for _ in range(3)] == [[1, None], [2, None], [3, None]]
    assert busy.reasons == ["GPU-b: no such value"]
    assert busy.read_us() == (1_000_000, 2_000_000)
    assert process.problems == []


def test_error_of_the_sensor_is_its_reason(run: Any) -> None:
    def fail() -> None:
        raise ValueError("no meter\there")

    process = run({0: fail})
    assert [entry.reason for entry in open_sensor(process).absent] == ["ValueError: no meter here"]
    process = run({1: fail, 2: lambda: [1, 2, 3], 3: lambda: ["x", 8]})
    open_sensor(process)
    for reason in ("ValueError: no meter here", "3 values for 2 channels"):
        with pytest.raises(SensorFailed, match=f"^{reason}$"):
            process.read()
    assert process.read() == [None, 8]


def test_components_in_other_gpus_that_there_are_not_are_refused() -> None:
    class Elsewhere(Meter):
        def open(self) -> Opened:
            return Opened([], [], [], in_other_gpus=("node",))

    reasons = [entry.reason for entry in open_sensor(Elsewhere(UseOfGpus(), {})).absent]
    assert reasons == ["ValueError: meter returned invalid components in other GPUs"]


ENDS: list[tuple[Callable[[], Any], str]] = [
    (os.abort, "its process ended by signal 6 (Aborted)"),
    (lambda: os.kill(os.getpid(), signal.SIGSEGV), "its process ended by signal 11 (Segmentation fault)"),
    (lambda: os._exit(3), "its process ended with exit code 3"),
    (lambda: os.closerange(3, 4096), "its process ended with exit code 0"),
    (lambda: time.sleep(60), "its process did not answer in time and was killed"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("end", "reason"), ENDS)
def test_end_of_the_process_is_a_pause(run: Any, end: Callable[[], Any], reason: str) -> None:
    """It is started again, 30 reads after its first start, and named once it reads again."""
    process = run({2: end}, read_timeout_s=1)
    open_sensor(process)
    assert process.read() == [1, None]
    readings = [process.read() for _ in range(START_AGAIN_AFTER - 2)]
    assert readings == [[None, None]] * (START_AGAIN_AFTER - 2)
    assert process.problems == []
    assert process.read() == [1, None]
    assert process.problems == []
    assert process.read() == [None, None]  # it ends again
    assert process.problems == [reason]


@pytest.mark.parametrize(("end", "reason"), ENDS[:3])
def test_process_that_lived_long_is_started_again_at_once(run: Any, end: Callable[[], Any], reason: str) -> None:
    process = run({START_AGAIN_AFTER: end})
    open_sensor(process)
    readings = [process.read()[0] for _ in range(START_AGAIN_AFTER + 1)]
    assert readings == [*range(1, START_AGAIN_AFTER), None, 1]
    process.settle()
    assert process.problems == [reason]


@pytest.mark.parametrize(("end", "reason"), ENDS[:3])
def test_process_that_ends_at_each_start_is_given_up(run: Any, end: Callable[[], Any], reason: str) -> None:
    process = run({0: end})
    opened = open_sensor(process)
    assert opened.channels == []
    said = f"{reason}; {GIVEN_UP_AFTER} times in a row, so it is not read any more"
    assert [entry.header() for entry in opened.absent] == [Absent("gpu", "meter", said).header()]
    assert process.problems == []


def test_process_that_ends_at_each_read_is_given_up(run: Any) -> None:
    process = run({1: os.abort})
    open_sensor(process)
    assert [process.read() for _ in range(200)] == [[None, None]] * 200
    (said,) = process.problems
    assert said == "its process ended by signal 6 (Aborted); 3 times in a row, so it is not read any more"


@pytest.mark.slow
def test_process_that_hangs_while_it_starts_again(run: Any) -> None:
    starts = iter(range(10))

    def make(use: UseOfGpus) -> Meter:
        return Meter(use, {1: os.abort} if number == 0 else {0: lambda: time.sleep(60)})

    process = SensorProcess("meter", "gpu", make, open_timeout_s=1)
    number = next(starts)
    open_sensor(process)
    number = 1
    begun_s = time.monotonic()
    for _ in range(2 * START_AGAIN_AFTER + 1):
        assert process.read() == [None, None]
    assert process.problems == [
        "its process did not answer in time and was killed; 3 times in a row, so it is not read any more"
    ]
    assert 2 <= time.monotonic() - begun_s < 10


def test_device_that_is_gone_after_the_start_reads_none(run: Any) -> None:
    """The values keep their places, whatever the new process finds."""

    class Fewer(Meter):
        def open(self) -> Opened:
            opened = super().open()
            del opened.channels[0]
            opened.channels.append(Channel("gpu", "gpu-9", "meter", max_w=3000, detail="another"))
            return opened

        def read(self) -> list[int | None]:
            return [11, 99]

    kinds = [Meter, Fewer]
    process = SensorProcess("meter", "gpu", lambda use: kinds[len(used)](use, {1: os.abort} if not used else {}))
    used: list[int] = []
    open_sensor(process)
    used.append(1)
    readings = [process.read() for _ in range(START_AGAIN_AFTER + 1)]
    process.close()
    assert readings[-1] == [None, 11]


def test_cpu_time_of_all_processes_counts(run: Any) -> None:
    def burn() -> None:
        end_s = time.process_time() + 0.2
        while time.process_time() < end_s:
            pass

    def burn_and_die() -> None:
        burn()
        os.abort()

    process = run({1: burn, 2: burn_and_die})
    open_sensor(process)
    process.read()
    assert 0.2e9 <= process.cpu_ns < 0.4e9
    process.read()
    assert 0.4e9 <= process.cpu_ns < 0.8e9


HOLDER = """
import os, sys, time
from hpcfrugal.sidecar.sensor_process import SensorProcess
from hpcfrugal.sidecar.sensors.base import Channel, Opened
class Meter:
    name, component, may_block = "m", "gpu", True
    def open(self):
        print("a library's own words", flush=True)
        return Opened([Channel("gpu", "gpu-0", "m", max_w=1, detail="d")], [], [])
    def read(self):
        time.sleep(60)
held = open("/etc/hostname")
process = SensorProcess("m", "gpu", lambda use: Meter())
process.open()
print(process._process._pid, flush=True)
if sys.argv[1] == "hang":
    process.read()
time.sleep(60)
"""


@pytest.mark.parametrize("state", ["idle", "hang"])
def test_ends_with_the_sidecar_and_holds_nothing_of_it(state: str) -> None:
    """Also where that is killed, and it does not look at its input."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, state], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        folder = Path(f"/proc/{pid}")
        held = {fd.name: os.readlink(fd) for fd in (folder / "fd").iterdir()}
        theirs = {os.readlink(fd) for fd in Path(f"/proc/{holder.pid}/fd").iterdir()}
        limits = (folder / "limits").read_text()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
            os.kill(pid, number)
        time.sleep(0.1)
        assert folder.exists()
        holder.kill()
        holder.wait()
        deadline_s = time.monotonic() + 5
        while folder.exists() and "Z" not in (folder / "stat").read_text().split()[2]:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    # its two pipes, of which the sidecar has the other ends
    assert [held.pop(number) for number in "012"] == ["/dev/null"] * 3
    assert len(set(held.values())) == len(held) == 2
    assert all(target.startswith("pipe:") for target in held.values())
    assert set(held.values()) < theirs
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]


@pytest.mark.parametrize(
    "values",
    [{}, {"a": None, "b": True, "c": False}, {"n": -3, "big": 10**30}, {"t": "", "u": "none", "v": "=ü'\u2028x"}],
)
def test_messages_arrive_as_they_were(values: dict[str, Any]) -> None:
    line = encode("kind", values)
    assert line.endswith("\n")
    assert decode(line[:-1]) == ("kind", values)


def test_message_is_one_line_of_plain_values() -> None:
    assert decode(encode("k", {"t": "a\nb\tc\0d", "f": 1.5})[:-1]) == ("k", {"t": "a b c d", "f": "1.5"})


@pytest.mark.parametrize("line", ["k\ta", "k\ta=", "k\ta=1.5", "k\ta=\u00b2", "k\ta=" + "9" * 50, "k\ta=--1"])
def test_invalid_messages_are_refused(line: str) -> None:
    with pytest.raises(BadMessage):
        decode(line)
