"""Figures of a record: sums since the session began, memory over time, and what stands for each."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from hpcfrugal.sidecar.gpu_busy import GpuBusy
from hpcfrugal.sidecar.identity import Identity
from hpcfrugal.sidecar.usage import FOREIGN, HIDDEN, MemoryTime, Usage

S = 1_000_000_000
PAGE_B = os.sysconf("SC_PAGE_SIZE")
JOB = "/slurm/uid_1000/job_17"


class Node:
    """A procfs with one process, 10, and optionally the job's control group; the clock stands until it is moved."""

    def __init__(self, root: Path, *, version: int = 0) -> None:
        self.proc = root / "proc"
        self.group = root / "cgroup" / JOB.lstrip("/")
        self.now_ns = 500 * S
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "stat").write_text("cpu  100 0 50 1000 7 0 0 0 0 0\n")
        own = {0: "0::/\n", 1: f"2:cpuacct:{JOB}/step_0\n3:memory:{JOB}/step_0\n", 2: f"0::{JOB}/step_0\n"}[version]
        (self.proc / "self/cgroup").write_text(own)
        fstype, options = ("cgroup2", "rw") if version == 2 else ("cgroup", "rw,cpuacct,memory")
        mount = f"30 25 0:30 / {root / 'cgroup'} rw shared:9 - {fstype} {fstype} {options}\n"
        (self.proc / "self/mountinfo").write_text(mount)
        self.group.mkdir(parents=True)
        self.process()
        self.show_init()

    def clock_ns(self) -> int:
        return self.now_ns

    def process(self, *, pages: int = 10, faults: tuple[int, int] = (0, 0), io_b: tuple[int, int] = (0, 0)) -> None:
        folder = self.proc / "10"
        folder.mkdir(exist_ok=True)
        fields = ["S", 1, 1, 1, 0, -1, 0, faults[0], 0, faults[1], 0, 7, 0, 0, 0, 20, 0, 1, 0, 5, 0, pages, 0]
        (folder / "stat").write_text("10 (bash) " + " ".join(map(str, fields)))
        (folder / "io").write_text(f"read_bytes: {io_b[0]}\nwrite_bytes: {io_b[1]}\n")

    def show_init(self) -> None:
        (self.proc / "1").mkdir()
        (self.proc / "1/stat").write_text("1 (systemd) S 0 1 1 0 -1 0 0 0 0 0 7 0 0 0 20 0 1 0 5 0 1 0")

    def usage(self, root_pid: int | None = 10, **more: Any) -> Usage:
        who = Identity(run_id="r", job_id="17", cluster="lab", node="n1", in_slurm=True)
        return Usage(str(self.proc), who, None, root_pid, clock_ns=self.clock_ns, **more)


def test_memory_over_time_is_the_trapezoid() -> None:
    memory = MemoryTime()
    for at_s, value_b in ((0, 0), (2, 4096 * 1024), (4, 4096 * 1024), (5, None), (6, 1024), (7, 1024)):
        memory.update(at_s * S, value_b)
    assert (memory.kib_s, memory.known_ns) == (4096 + 2 * 4096 + 1, 5 * S)


def test_cpu_time_is_at_most_that_of_the_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcfrugal.sidecar.usage.cpus_online", lambda: 2)
    node = Node(tmp_path)
    usage = node.usage()
    usage.restart()
    usage.read()
    node.now_ns += 8 * S
    stat = node.proc / "10/stat"
    fields = stat.read_text().split()
    fields[15] = "121000"
    stat.write_text(" ".join(fields))
    record = usage.read()
    assert record["job_cpu_us"] == 2 * (8_000_000 + 10_000)
    assert record["node_busy_us"] == record["job_cpu_us"]


def test_processes_where_there_is_no_group(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.process(faults=(100, 3), io_b=(4096, 8192))
    usage = node.usage()
    usage.restart()
    first = usage.read()
    assert [first[name] for name in ("page_faults_minor", "page_faults_major", "io_read_b", "io_write_b")] == [0] * 4
    assert (first["memory_kib_s"], first["memory_ns"]) == (0, 0)
    node.now_ns += 10 * S
    node.process(pages=30, faults=(150, 5), io_b=(4196, 8193))
    second = usage.read()
    assert [second[name] for name in ("page_faults_minor", "page_faults_major", "io_read_b", "io_write_b")] == [
        50, 2, 100, 1
    ]  # fmt: skip
    assert (second["memory_kib_s"], second["memory_ns"]) == (200 * PAGE_B // 1024, 10 * S)
    assert "io_partial" not in second
    assert "gpu_busy_us" not in second
    usage.restart()
    third = usage.read()
    assert (third["page_faults_minor"], third["memory_kib_s"]) == (0, 0)
    assert usage.header() == {
        "sources": {
            "memory": "proc-tree",
            "page_faults": "proc-tree",
            "io": "proc-tree",
            "gpu_busy": None,
            "hardware_counters": None,
        },
        "reasons": {"gpu_busy": "no NVIDIA GPU of the job was found", "hardware_counters": "not requested"},
    }


def test_short_job_is_looked_at_between_its_records(tmp_path: Path) -> None:
    """10 pages, from second 1 on 110: the mean of 9 seconds is found without a record between."""
    node = Node(tmp_path)
    usage = node.usage()
    usage.restart()
    usage.read()
    for _ in range(9):
        node.now_ns += S
        node.process(pages=110)
        usage.sample_memory()
    (tmp_path / "proc/10/stat").write_text("gone")
    last = usage.read()
    # 60 pages in the first second, 110 in the seven up to the last look; of the ninth nothing is known
    assert (last["memory_kib_s"], last["memory_ns"]) == (830 * PAGE_B // 1024, 8 * S)


@pytest.mark.parametrize("version", [1, 2])
def test_the_control_group_comes_first_and_bytes_come_from_processes(tmp_path: Path, version: int) -> None:
    node = Node(tmp_path, version=version)
    node.process(faults=(9, 9), io_b=(1, 1))
    names = ("memory.current", "cpu.stat") if version == 2 else ("memory.usage_in_bytes", "cpuacct.usage")
    prefix = "" if version == 2 else "pgfault 1\npgmajfault 1\ntotal_"
    (node.group / names[0]).write_text("1048576\n")
    (node.group / names[1]).write_text("usage_usec 5\n" if version == 2 else "5000\n")
    (node.group / "memory.stat").write_text(f"anon 4\n{prefix}pgfault 1000\n{prefix[-6:]}pgmajfault 10\n")
    usage = node.usage()
    usage.restart()
    usage.read()
    (node.group / "memory.stat").write_text(f"anon 4\n{prefix}pgfault 1500\n{prefix[-6:]}pgmajfault 30\n")
    node.process(faults=(99, 99), io_b=(11, 21))
    for _ in range(4):
        node.now_ns += S
        usage.sample_memory()
    record = usage.read()
    assert (record["page_faults_minor"], record["page_faults_major"]) == (480, 20)
    assert (record["io_read_b"], record["io_write_b"]) == (10, 20)
    assert (record["memory_kib_s"], record["memory_ns"]) == (4096, 4 * S)
    sources = cast(dict[str, Any], usage.header()["sources"])
    assert sources["memory"] == sources["page_faults"] == usage.cpu_time_source == f"cgroup-v{version}"
    assert sources["io"] == "proc-tree"


@pytest.mark.parametrize("content", ["", "pgfault 5\n", "pgfault x\npgmajfault 1\n", "pgfault -5\npgmajfault 1\n"])
def test_group_without_page_faults_leaves_them_to_the_processes(tmp_path: Path, content: str) -> None:
    node = Node(tmp_path, version=2)
    (node.group / "memory.current").write_text("4096\n")
    (node.group / "cpu.stat").write_text("usage_usec 5\n")
    (node.group / "memory.stat").write_text(content)
    usage = node.usage()
    sources = cast(dict[str, Any], usage.header()["sources"])
    assert (sources["memory"], sources["page_faults"]) == ("cgroup-v2", "proc-tree")


def test_unknown_inputs_give_an_unknown_figure_with_its_reason(tmp_path: Path) -> None:
    node = Node(tmp_path)
    who = Identity(run_id="r", job_id="r", cluster="local", node="n1", in_slurm=False)
    usage = Usage(str(node.proc), who, None, None, clock_ns=node.clock_ns)
    usage.restart()
    record = usage.read()
    for name in ("job_cpu_us", "memory_b", "page_faults_minor", "page_faults_major", "io_read_b", "io_write_b"):
        assert record[name] is None
    reasons = cast(dict[str, str], usage.header()["reasons"])
    assert reasons["io"] == "unknown control group and first process of the job"


def test_hidden_processes_in_procfs_are_reported(tmp_path: Path) -> None:
    """What srun starts is waited for by a daemon of root's, of which nothing is to be seen."""
    node = Node(tmp_path, version=2)
    (node.group / "memory.current").write_text("4096\n")
    (node.group / "memory.stat").write_text("pgfault 5\npgmajfault 1\n")
    (node.proc / "1/stat").unlink()
    reasons = cast(dict[str, str], node.usage().header()["reasons"])
    assert {name for name, reason in reasons.items() if reason == HIDDEN} == {"cpu_time", "io"}
    without_group = Node(tmp_path / "plain")
    (without_group.proc / "1/stat").unlink()
    reasons = cast(dict[str, str], without_group.usage().header()["reasons"])
    assert {name for name, reason in reasons.items() if reason == HIDDEN} == {
        "cpu_time", "io", "memory", "page_faults"
    }  # fmt: skip


def test_process_ids_of_another_namespace_are_reported(tmp_path: Path) -> None:
    node = Node(tmp_path)
    shutil.rmtree(node.proc / "self")
    (node.proc / "self").symlink_to(str(os.getpid() + 1))
    usage = node.usage()
    usage.restart()
    assert usage.read()["job_cpu_us"] is None
    assert cast(dict[str, str], usage.header()["reasons"])["cpu_time"] == FOREIGN


def test_gpus_and_counters_since_the_session_began(tmp_path: Path) -> None:
    node = Node(tmp_path)
    busy = GpuBusy(node.clock_ns)
    counts: dict[str, int | None] = {"instructions": 1000, "cycles": None}

    class Counters:
        reason = None
        missing: ClassVar[dict[str, str]] = {}

        def read(self) -> dict[str, int | None]:
            return dict(counts)

    usage = node.usage(gpu_busy=busy, counters=Counters())
    for _ in range(3):
        busy.update([50])
        node.now_ns += S
    usage.restart()
    usage.read()
    busy.update([50])
    node.now_ns += S
    busy.update([20])
    counts["instructions"] = 1700
    record = usage.read()
    assert (record["gpu_busy_us"], record["gpu_seen_us"]) == (700_000, 2_000_000)
    assert (record["instructions"], record["cycles"]) == (700, None)
    sources = cast(dict[str, Any], usage.header()["sources"])
    assert (sources["gpu_busy"], sources["hardware_counters"]) == ("nvml", "perf-event")
    usage._counters.missing["cache_misses"] = "none here"  # type: ignore[union-attr]
    assert usage.header()["reasons"] == {"hardware_counters": "cache_misses: none here"}
    usage._counters.missing.clear()  # type: ignore[union-attr]
    busy.reasons.append("GPU-b: in MIG mode")
    assert usage.header()["reasons"] == {"gpu_busy": "GPU-b: in MIG mode"}
