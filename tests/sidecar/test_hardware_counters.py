"""The counters against real processes by way of the kernel's software events, and what refuses them."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpcfrugal.sidecar import perf_event
from hpcfrugal.sidecar.hardware_counters import HardwareCounters

TASK_CLOCK = ("task_clock", 1, 1)
PAGE_FAULTS = ("page_faults", 1, 2)

CHILD = """
import resource, sys
data = bytearray(int(sys.argv[1]) * 4096)
for page in range(0, len(data), 4096): data[page] = 1
used = resource.getrusage(resource.RUSAGE_SELF)
"""

PARENT = f"""
import subprocess, sys, resource
sys.stdin.readline()
for _ in range(3):
    subprocess.run([sys.executable, "-c", {CHILD!r}, "5000"], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_minflt, used.ru_utime + used.ru_stime, flush=True)
sys.stdin.readline()
"""


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


@pytest.mark.serial
def test_children_that_are_over_stay_in_the_count() -> None:
    """Three children of 5000 pages each, started after the counters were opened, gone before they are read."""
    with _start() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        counters = HardwareCounters("/proc", process.pid, [PAGE_FAULTS, TASK_CLOCK])
        assert counters.reason is None
        first = counters.read()
        process.stdin.write("\n")
        faults, cpu_s = process.stdout.readline().split()
        last = counters.read()
        process.communicate("\n")
        after = counters.read()
        counters.close()
    counted = {name: (last[name] or 0) - (first[name] or 0) for name in last}
    # the kernel's own part of the faults (exec, copies) is left out
    assert 15_000 <= counted["page_faults"] <= int(faults) + 2000
    assert abs(counted["counters_cpu_us"] / 1e6 - float(cpu_s)) <= 0.1 + 0.2 * float(cpu_s)
    assert counted["task_clock"] // 1000 == pytest.approx(counted["counters_cpu_us"], rel=0.02, abs=2000)
    assert last["counters_enabled_ns"] == last["counters_running_ns"]
    assert (after["page_faults"] or 0) >= (last["page_faults"] or 0)
    assert set(counters.read().values()) == {None}


def test_what_was_started_before_the_counters_is_counted_too() -> None:
    """A child waits already when the counters are opened, and starts three of its own afterwards."""
    script = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {PARENT!r}])\n"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        _wait_for_child(process.pid)
        counters = HardwareCounters("/proc", process.pid, [PAGE_FAULTS])
        process.stdin.write("\n")
        faults, cpu_s = process.stdout.readline().split()
        found = counters.read()
        process.communicate("\n")
        counters.close()
    assert 15_000 <= (found["page_faults"] or 0) <= int(faults) + 2000
    assert (found["counters_cpu_us"] or 0) / 1e6 >= 0.8 * float(cpu_s) - 0.05


def _wait_for_child(pid: int) -> None:
    deadline = time.monotonic() + 20
    while not Path(f"/proc/{pid}/task/{pid}/children").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_no_counters_of_that_kind() -> None:
    counters = HardwareCounters("/proc", os.getpid(), [("none", 0, 0xFFFF)])
    assert counters.reason is not None
    assert set(counters.read().values()) == {None}


def test_one_of_two_events_is_there() -> None:
    counters = HardwareCounters("/proc", os.getpid(), [("none", 0, 0xFFFF), PAGE_FAULTS])
    assert counters.reason is None
    assert counters.missing == {"none": "the CPU has no such counters, or the virtual machine hides them"}
    found = counters.read()
    assert found["none"] is None
    assert found["page_faults"] is not None
    counters.close()


def test_no_root_process() -> None:
    counters = HardwareCounters("/proc", None)
    assert counters.reason == "the batch script runs on another node; tasks that srun launches are not its children"
    assert set(counters.read().values()) == {None}


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EACCES, "denied: {proc}/sys/kernel/perf_event_paranoid is 3"),
        (errno.EPERM, "denied: {proc}/sys/kernel/perf_event_paranoid is 3"),
        (errno.ENOENT, "the CPU has no such counters, or the virtual machine hides them"),
        (errno.EOPNOTSUPP, "the CPU has no such counters, or the virtual machine hides them"),
        (errno.EMFILE, "too many open files"),
    ],
)
def test_refusals_are_reported(number: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_words: object, **_more: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(perf_event, "open_event", refuse)
    folder = tmp_path / "sys/kernel"
    folder.mkdir(parents=True)
    (folder / "perf_event_paranoid").write_text("3\n")
    assert HardwareCounters(str(tmp_path), 1).reason == reason.format(proc=tmp_path)
    (folder / "perf_event_paranoid").unlink()
    assert "denied" not in reason or "not readable" in (HardwareCounters(str(tmp_path), 1).reason or "")


def test_without_the_cpu_time_there_is_no_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []

    def open_event(kind: int, _config: int, **_more: object) -> int:
        if kind == 1:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        opened.append(os.open("/dev/null", os.O_RDONLY))
        return opened[-1]

    monkeypatch.setattr(perf_event, "open_event", open_event)
    counters = HardwareCounters(str(tmp_path), 1)
    assert counters.reason == "too many open files"
    assert set(counters.read().values()) == {None}
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


def test_counters_that_took_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Value, time enabled, time running, as the kernel gives them: half, whole, never, torn."""
    values = [(10, 1000, 500), (20, 1000, 1000), (0, 1000, 0), (30,), (7_000_000, 1, 1)]
    left = iter(values)

    def open_event(*_words: object, **_more: object) -> int:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        path.write_bytes(b"".join(number.to_bytes(8, sys.byteorder) for number in next(left)))
        return os.open(path, os.O_RDONLY)

    monkeypatch.setattr(perf_event, "open_event", open_event)
    counters = HardwareCounters(str(tmp_path), 1)
    assert counters.read() == {
        "instructions": 10,
        "cycles": 20,
        "cache_references": None,
        "cache_misses": None,
        "counters_enabled_ns": 1000,
        "counters_running_ns": 0,
        "counters_cpu_us": 7000,
    }
    counters.close()


def test_the_attributes_are_those_of_the_kernel() -> None:
    """task-clock of this very process, counted in user and kernel mode alike."""
    fd = perf_event.open_event(1, 1, pid=0, cpu=-1)
    before = resource.getrusage(resource.RUSAGE_THREAD)
    first_ns = int.from_bytes(os.read(fd, 8), sys.byteorder)
    while resource.getrusage(resource.RUSAGE_THREAD).ru_utime - before.ru_utime < 0.05:
        pass
    counted_ns = int.from_bytes(os.read(fd, 8), sys.byteorder) - first_ns
    os.close(fd)
    assert 40_000_000 <= counted_ns <= 1_000_000_000
