"""The built zipapp on nodes without RAPL: Cray, Grace, AMD; and its options for its own limits."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_meters import FakeCray, amd_gpu, grace, kfd
from fake_rapl import FakeRapl
from sidecar_process import SidecarProcess, clean_environ


def test_cray_node_with_amd_gpus(zipapp: Path, run_dir: Path, tmp_path: Path) -> None:
    sysfs = tmp_path / "sys"
    cray = FakeCray(sysfs, {"energy": 900, "cpu_energy": 200, "memory_energy": 50, "accel0_energy": 300})
    amd_gpu(sysfs, 0, 0xC1, 300, unique="00000000deadbeef")
    kfd(sysfs, [0xC1])
    environ = {"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "n1", "ROCR_VISIBLE_DEVICES": "0"}
    with SidecarProcess(zipapp, run_dir, sysfs, environ=environ) as it:
        it.wait_for_records(1)
        begun_s = time.monotonic()
        for _ in range(10):
            time.sleep(0.1)
            cray.show(int((time.monotonic() - begun_s) * 1e9))
        elapsed_s = time.monotonic() - begun_s
        code, _, stderr = it.stop()
        lines = it.lines()
    assert (code, stderr) == (0, "")
    found = {channel["component"]: index for index, channel in enumerate(lines[0]["channels"])}
    sources = {channel["component"]: channel["source"] for channel in lines[0]["channels"]}
    assert sources == {"cpu": "pm-counters", "dram": "pm-counters", "gpu": "hwmon", "node": "pm-counters"}
    energy_uj = lines[-1]["energy_uj"]
    assert energy_uj[found["node"]] == pytest.approx(900e6 * elapsed_s, rel=0.3)
    gpu_s = lines[-1]["measured_ns"][found["gpu"]] / 1e9
    assert energy_uj[found["gpu"]] == pytest.approx(300e6 * gpu_s, rel=1e-6)
    assert lines[0]["gpus"][0]["uuid"] == "GPU-00000000deadbeef"


def test_grace_node(zipapp: Path, run_dir: Path, tmp_path: Path) -> None:
    sysfs = tmp_path / "sys"
    for number, (what, watts) in enumerate((("Module", 600), ("Grace", 250), ("CPU", 150), ("SysIO", 30))):
        grace(sysfs, number, what, 0, watts)
    with SidecarProcess(zipapp, run_dir, sysfs) as it:
        it.wait_for_records(4)
        code, _, stderr = it.stop()
        lines = it.lines()
    assert (code, stderr) == (0, "")
    measured_s = [nanoseconds / 1e9 for nanoseconds in lines[-1]["measured_ns"]]
    assert min(measured_s) > 0.5
    watts_seen = [uj / 1e6 / s for uj, s in zip(lines[-1]["energy_uj"], measured_s, strict=True)]
    assert watts_seen == pytest.approx([150, 30, 250, 70, 600])
    assert [channel["counted"] for channel in lines[0]["channels"]] == [True, True, False, True, True]


@pytest.mark.slow
def test_small_file_limit(zipapp: Path, run_dir: Path, rapl: FakeRapl) -> None:
    arguments = ["--file-limit", "12000"]
    with SidecarProcess(zipapp, run_dir, rapl.sysfs, arguments=arguments, interval_s=0.05, record_s=0.05) as it:
        time.sleep(3)
        code, _, stderr = it.stop()
        assert it.file is not None
        size_b = it.file.stat().st_size
        kinds = [line["kind"] for line in it.lines()]
    assert code == 0
    assert stderr == "hpcfrugal sidecar: the sample file is close to its size limit; writing records less often\n"
    assert size_b <= 12000
    assert kinds[-1] == "end"
    assert 8 < len(kinds) < 30


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--cpu-budget", "0", "is not between 0.01 and 100 percent"),
        ("--cpu-budget", "nan", "is not between 0.01 and 100 percent"),
        ("--cpu-budget", "x", "is not a percentage"),
        ("--file-limit", "-1", "is not a number of bytes"),
    ],
)
def test_wrong_limits(zipapp: Path, option: str, value: str, message: str) -> None:
    command = [sys.executable, "-I", "-S", str(zipapp), "--run-dir", "/tmp", "--run-id", "r", option, value]
    done = subprocess.run(command, env=clean_environ({}), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_readable_powercap_opens_nothing_else_s(zipapp: Path, run_dir: Path, rapl: FakeRapl, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    prefix = ["strace", "-f", "-e", "trace=open,openat", "-o", str(trace)]
    with SidecarProcess(
        zipapp, run_dir, rapl.sysfs, prefix=prefix, arguments=["--until-eof"], stdin=subprocess.PIPE
    ) as it:
        it.wait_for_records(2)
        assert it.process.stdin is not None
        it.process.stdin.close()
        it.process.stdin = None
        assert it.ended()[0] == 0
    text = trace.read_text()
    assert "event_source" not in text
    assert "paranoid" not in text
    assert "pm_counters" not in text
    assert "ctypes" not in text
    opened = [line for line in text.splitlines() if "openat(" in line and "= -1" not in line]
    assert len(opened) < 80
