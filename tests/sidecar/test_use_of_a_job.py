"""The zipapp beside a real job: what it says of its use, against what the kernel says, and how few files it opens."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_nvml import FakeNvml
from fake_rapl import FakeRapl, Zone, build
from sidecar_process import SidecarProcess

pytestmark = pytest.mark.serial

JOB = """
import os, resource, subprocess, sys
sys.stdin.readline()
write = "import os, sys; fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT); "
write += "os.write(fd, bytes(2_000_000)); os.fsync(fd)"
subprocess.run([sys.executable, "-c", write, sys.argv[1]], check=True)
data = bytearray(60_000_000)
for page in range(0, len(data), 4096): data[page] = 1
print("ready", flush=True)
sys.stdin.readline()
both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(sum(use.ru_minflt for use in both), flush=True)
sys.stdin.readline()
"""


def test_usage_against_the_kernels_own_figures(
    zipapp: Path, run_dir: Path, rapl: FakeRapl, tmp_path: Path, make_nvml: Callable[..., FakeNvml]
) -> None:
    environ = {**make_nvml(period_ms=200).environ(), "CUDA_VISIBLE_DEVICES": "0,1"}
    command = [sys.executable, "-c", JOB, str(tmp_path / "data")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as job:
        assert job.stdin is not None
        assert job.stdout is not None
        arguments = ["--root-pid", str(job.pid), "--hardware-counters"]
        with SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=environ, arguments=arguments, interval_s=0.05) as it:
            first = it.wait_for_records(1)[1]
            job.stdin.write("\n")
            assert job.stdout.readline() == "ready\n"
            time.sleep(1.5)
            job.stdin.write("\n")
            faults = int(job.stdout.readline())
            code, _, stderr = it.stop()
            lines = it.lines()
        job.communicate("\n")
    header, end = lines[0], lines[-1]
    assert (code, stderr) == (0, "")
    assert header["usage"]["sources"]["io"] == "proc-tree"
    # the process had faults before the first record, as it started
    assert 14_000 <= end["page_faults_minor"] <= faults
    assert end["io_write_b"] >= 2_000_000
    assert "io_partial" not in end
    mean_b = end["memory_kib_s"] * 1024 * 10**9 / end["memory_ns"]
    assert first["memory_b"] < mean_b <= end["memory_peak_b"]
    assert end["memory_peak_b"] > 60_000_000
    assert end["memory_ns"] == pytest.approx(end["boottime_ns"] - header["boottime_ns"], abs=10**8)
    # a square wave of 75 and 25 percent, on two devices
    assert end["gpu_seen_us"] == pytest.approx(2 * (end["boottime_ns"] - first["boottime_ns"]) / 1000, rel=0.15)
    assert 0.4 <= end["gpu_busy_us"] / end["gpu_seen_us"] <= 0.6
    if header["usage"]["sources"]["hardware_counters"] is None:
        assert "instructions" not in end
        assert header["usage"]["reasons"]["hardware_counters"]
    else:
        assert end["instructions"] > 1_000_000
        assert end["counters_cpu_us"] > 0


def test_a_gpu_without_a_utilisation_reading(
    zipapp: Path, run_dir: Path, rapl: FakeRapl, make_nvml: Callable[..., FakeNvml]
) -> None:
    nvml = make_nvml()
    nvml.switch_on("no-use")
    environ = {**nvml.environ(), "CUDA_VISIBLE_DEVICES": "0"}
    with SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=environ) as it:
        lines = it.wait_for_records(3)
        it.stop()
    assert lines[0]["usage"]["sources"]["gpu_busy"] is None
    assert lines[0]["usage"]["reasons"]["gpu_busy"].startswith(f"{nvml.uuid(0)}: NVML error 3")
    assert "gpu_busy_us" not in lines[-1]
    assert lines[-1]["energy_uj"][-1] is not None


def test_use_of_a_shared_gpu_is_not_the_jobs(
    zipapp: Path, run_dir: Path, rapl: FakeRapl, make_nvml: Callable[..., FakeNvml]
) -> None:
    nvml = make_nvml(mig=0)
    environ = {**nvml.environ(), "CUDA_VISIBLE_DEVICES": nvml.slice_uuid(0)}
    with SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=environ) as it:
        lines = it.wait_for_records(2)
        it.stop()
    assert lines[0]["usage"]["reasons"]["gpu_busy"] == f"{nvml.uuid(0)}: the job holds {nvml.slice_uuid(0)}"
    assert "gpu_busy_us" not in lines[-1]


@pytest.mark.slow
def test_lost_gpu_is_not_looked_at_meanwhile(
    zipapp: Path, run_dir: Path, rapl: FakeRapl, make_nvml: Callable[..., FakeNvml]
) -> None:
    nvml = make_nvml()
    environ = {**nvml.environ(), "CUDA_VISIBLE_DEVICES": "0"}
    with SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=environ) as it:
        it.wait_for(lambda lines: lines and lines[-1].get("gpu_seen_us", 0) > 0)
        nvml.switch_on("lost-0")
        it.wait_for(lambda lines: lines[-1]["energy_uj"][-1] is None)
        seen = it.wait_for_records(1 + len(it.lines()))[-1]["gpu_seen_us"]
        later = it.wait_for_records(3 + len(it.lines()))[-1]["gpu_seen_us"]
        it.stop()
    assert later == seen


OPEN = re.compile(r' open(?:at2?)?\((?:AT_FDCWD, )?"([^"]*)".* = \d+$')


@pytest.mark.skipif(shutil.which("strace") is None, reason="counted by strace")
@pytest.mark.parametrize("slurm", [True, False])
def test_few_files_at_the_start(
    zipapp: Path, run_dir: Path, tmp_path: Path, make_nvml: Callable[..., FakeNvml], slurm: bool
) -> None:
    """Four RAPL zones and two GPUs on a machine with hundreds of processes: fewer than 80 opened, all included."""
    zones = ("package-0", "dram", "package-1", "dram")
    names = ("intel-rapl:0", "intel-rapl:0:0", "intel-rapl:1", "intel-rapl:1:0")
    tree = build(tmp_path / "sys", [Zone(entry, name, 50) for entry, name in zip(names, zones, strict=True)])
    log = tmp_path / "log"
    strace = ["strace", "-f", "-o", str(log), "-e", "trace=open,openat,openat2,write"]
    environ = {**make_nvml().environ(), "CUDA_VISIBLE_DEVICES": "0,1"} | ({"SLURM_JOB_ID": "17"} if slurm else {})
    more = {"environ": environ, "arguments": ["--root-pid", str(os.getpid()), "--until-eof"], "prefix": strace}
    with SidecarProcess(zipapp, run_dir, tree.sysfs, stdin=subprocess.PIPE, **more) as it:
        header = it.wait_for_records(1)[0]
        assert it.process.stdin is not None
        it.process.stdin.close()
        it.process.wait(20)
    opened = [found[1] for line in _before_the_header(log) for found in [OPEN.search(line)] if found]
    assert len(header["channels"]) == 6
    assert any(path.endswith(f"{os.getpid()}/stat") for path in opened)
    assert len(opened) < 80, opened


def _before_the_header(log: Path) -> list[str]:
    lines = log.read_text().splitlines()
    return lines[: next(index for index, line in enumerate(lines) if re.search(r'write\(\d+, "\{', line))]
