"""The built zipapp as a process: clocks, signals, faults and everything that a node can do to it."""

from __future__ import annotations

import ast
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_nvml import FakeNvml
from fake_rapl import FakeRapl, Stepper, two_sockets
from sidecar_process import RUN_ID, SidecarProcess, clean_environ, deny, without_override
from small_disk import fill

SIDECAR = Path(__file__).resolve().parents[2] / "hpcfrugal/sidecar"


def column(lines: list[dict[str, Any]], source: str) -> int:
    """Index of the first channel of a source."""
    return [channel["source"] for channel in lines[0]["channels"]].index(source)


@pytest.mark.serial
def test_energy_against_the_truth(
    zipapp: Path, run_dir: Path, tmp_path: Path, make_nvml: Callable[..., FakeNvml]
) -> None:
    """Two sockets whose counters all wrap after 1 s, and two GPUs on a square wave, for 3 s."""
    tree = two_sockets(tmp_path / "sys", range_uj=2_000_000_000)
    for zone in tree.zones:
        zone.start_uj = zone.range_uj - zone.energy_uj(1_000_000_000)
    nvml = make_nvml(period_ms=700)
    environ = {**nvml.environ(), "CUDA_VISIBLE_DEVICES": "0,1"}
    with Stepper(tree) as stepper, SidecarProcess(zipapp, run_dir, tree.sysfs, environ=environ, interval_s=0.05) as it:
        time.sleep(3)
        code, _, stderr = it.stop()
        lines = it.lines()
    assert (code, stderr) == (0, "")
    header, first, end = lines[0], lines[1], lines[-1]
    assert header["absent"] == []
    assert end["reason"] == "stopped"
    slack_s = 2 * stepper.longest_pause_ns / 1e9 + 0.002
    watts = {channel["domain"]: zone.watts for channel, zone in zip(header["channels"], tree.zones, strict=False)}
    assert len(watts) == 7
    for index, (domain, power_w) in enumerate(watts.items()):
        true_j = power_w * end["measured_ns"][index] / 1e9
        assert abs(end["energy_uj"][index] / 1e6 - true_j) <= power_w * slack_s, domain
        assert end["measured_ns"][index] > 2.5e9
    gpu = column(lines, "nvml-energy")
    true_uj = nvml.truth_uj(first["boottime_ns"], end["boottime_ns"])
    assert abs(end["energy_uj"][gpu] - true_uj) < 0.01 * true_uj
    assert end["errors"] == [0] * 9
    assert [gpu["uuid"] for gpu in header["gpus"]] == [nvml.uuid(0), nvml.uuid(1)]
    assert end["node_busy_us"] > 0


def test_signals_only_nudge_until_the_end_of_input(zipapp: Path, run_dir: Path, rapl: FakeRapl) -> None:
    """A job may get SIGTERM minutes before its end: that gives a record, and the pipe's end gives the end."""
    with SidecarProcess(
        zipapp, run_dir, rapl.sysfs, arguments=["--until-eof"], interval_s=60, record_s=60, stdin=subprocess.PIPE
    ) as it:
        it.wait_for_records(1)
        it.process.send_signal(signal.SIGTERM)
        it.wait_for_records(2)
        it.process.send_signal(signal.SIGINT)
        it.wait_for_records(3)
        assert it.process.stdin is not None
        it.process.stdin.write(b"not yet\n")
        it.process.stdin.flush()
        time.sleep(0.1)
        assert it.process.poll() is None
        begun = time.monotonic()
        it.process.stdin.close()
        it.process.stdin = None
        code, seconds, stderr = it.ended(begun)
        kinds = [line["kind"] for line in it.lines()]
        reason = it.lines()[-1]["reason"]
    assert (code, stderr, reason) == (0, "", "stopped")
    assert seconds < 1
    assert kinds == ["header", "record", "record", "record", "end"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_ends_a_long_sleep_at_once(zipapp: Path, run_dir: Path, rapl: FakeRapl, number: int) -> None:
    with SidecarProcess(zipapp, run_dir, rapl.sysfs, interval_s=60, record_s=60) as it:
        it.wait_for_records(1)
        code, seconds, stderr = it.stop(number)
        end = it.lines()[-1]
    assert (code, stderr, end["kind"], end["reason"]) == (0, "", "end", "stopped")
    assert seconds < 1


def test_signal_at_any_moment_of_the_start(zipapp: Path, run_dir: Path, rapl: FakeRapl) -> None:
    for delay_ms in range(0, 60, 12):
        with SidecarProcess(zipapp, run_dir, rapl.sysfs) as it:
            time.sleep(delay_ms / 1000)
            code, seconds, stderr = it.stop()
        assert code in (0, -signal.SIGTERM)
        assert stderr == ""
        assert seconds < 1


def test_user_signals_are_not_for_us(zipapp: Path, run_dir: Path, rapl: FakeRapl) -> None:
    with SidecarProcess(zipapp, run_dir, rapl.sysfs) as it:
        it.wait_for_records(1)
        it.process.send_signal(signal.SIGUSR1)
        it.process.send_signal(signal.SIGUSR2)
        it.wait_for_records(4)
        assert it.stop()[0] == 0


def test_header_and_baseline_come_at_once(zipapp: Path, run_dir: Path, rapl: FakeRapl) -> None:
    environ = {
        "SLURM_JOB_ID": "17",
        "SLURM_RESTART_COUNT": "1",
        "SLURMD_NODENAME": "n1",
        "SLURM_CLUSTER_NAME": "lab",
        "SLURM_CPUS_ON_NODE": "8",
        "SLURM_MEM_PER_NODE": "0",
    }
    arguments = ["--exclusive", f"--root-pid={os.getpid()}"]
    with SidecarProcess(
        zipapp, run_dir, rapl.sysfs, environ=environ, arguments=arguments, interval_s=60, record_s=60
    ) as it:
        lines = it.wait_for_records(1)
        assert it.file is not None
        assert it.file.name == "17.1.n1.jsonl"
        assert it.file.stat().st_mode & 0o777 == 0o600
        it.stop()
    header, record = lines
    assert (header["run_id"], header["cluster"], header["restart"]) == (RUN_ID, "lab", 1)
    assert (header["exclusive"], header["cpus_alloc"], header["uid"]) == (True, 8, os.getuid())
    assert header["memory_alloc_b"] == header["memory_node_b"] > 0
    assert header["cpu_time_source"] == "proc-tree"
    assert record["energy_uj"] == [0] * 7
    assert record["job_cpu_us"] == 0


@pytest.mark.serial
def test_end_of_the_root_process(zipapp: Path, run_dir: Path, rapl: FakeRapl) -> None:
    with (
        subprocess.Popen(["sleep", "60"]) as root,
        SidecarProcess(
            zipapp, run_dir, rapl.sysfs, arguments=["--root-pid", str(root.pid)], interval_s=30, record_s=30
        ) as it,
    ):
        it.wait_for_records(1)
        root.kill()
        root.wait()
        code, seconds, _ = it.ended(time.monotonic())
        end = it.lines()[-1]
    assert (code, end["kind"], end["reason"]) == (0, "end", "orphaned")
    assert seconds < 1


def test_root_process_that_is_gone_already(zipapp: Path, run_dir: Path, rapl: FakeRapl) -> None:
    with subprocess.Popen(["true"]) as root:
        root.wait()
    with SidecarProcess(zipapp, run_dir, rapl.sysfs, arguments=["--root-pid", str(root.pid)]) as it:
        assert it.ended()[0] == 0
        assert [line["kind"] for line in it.lines()] == ["header", "record", "end"]


def test_cpu_time_of_the_job(zipapp: Path, run_dir: Path, rapl: FakeRapl) -> None:
    burn = "import time\nwhile time.process_time() < 0.5: pass\ninput()"
    with subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE) as root:
        with SidecarProcess(zipapp, run_dir, rapl.sysfs, arguments=["--root-pid", str(root.pid)]) as it:
            # what the root had used before the first record is not in it
            lines = it.wait_for(lambda lines: lines[1:] and lines[-1]["job_cpu_us"] and lines[-1]["node_busy_us"] > 0)
            it.stop()
        root.communicate()
    assert 0 < lines[-1]["job_cpu_us"] <= 600_000
    assert lines[-1]["memory_b"] > 1_000_000


def test_kill_loses_no_more_than_one_record(zipapp: Path, run_dir: Path, rapl: FakeRapl) -> None:
    with SidecarProcess(zipapp, run_dir, rapl.sysfs) as it:
        it.wait_for_records(3)
        it.stop(signal.SIGKILL)
        assert it.file is not None
        # a line torn by the kill, then the job is started again
        with it.file.open("ab") as file:
            file.write(b'{"kind":"record","boot')
    with SidecarProcess(zipapp, run_dir, rapl.sysfs) as again:
        again.wait_for(lambda lines: sum(line["kind"] == "header" for line in lines) == 2)
        assert again.stop()[0] == 0
        kinds = [line["kind"] for line in again.lines()]
    assert kinds[:4] == ["header", "record", "record", "record"]
    assert kinds[-1] == "end"


def test_second_sidecar_leaves_with_a_line(zipapp: Path, run_dir: Path, rapl: FakeRapl) -> None:
    with SidecarProcess(zipapp, run_dir, rapl.sysfs) as first:
        first.wait_for_records(1)
        with SidecarProcess(zipapp, run_dir, rapl.sysfs) as second:
            code, _, stderr = second.ended()
        assert code == 0
        assert stderr == "hpcfrugal sidecar: another sidecar already samples this job on this node; exiting\n"
        first.stop()
        assert sum(line["kind"] == "header" for line in first.lines()) == 1


def test_run_directory_that_does_not_exist(zipapp: Path, tmp_path: Path, rapl: FakeRapl) -> None:
    with SidecarProcess(zipapp, tmp_path / "none", rapl.sysfs) as it:
        it.wait_for_handlers()
        time.sleep(0.7)  # some records
        code, _, stderr = it.stop()
    assert code == 0
    assert stderr.count("\n") == 1
    assert "No such file or directory; sampling continues" in stderr


def test_run_directory_removed_half_way(zipapp: Path, run_dir: Path, rapl: FakeRapl) -> None:
    with SidecarProcess(zipapp, run_dir, rapl.sysfs) as it:
        it.wait_for_records(2)
        shutil.rmtree(run_dir)
        time.sleep(0.8)
        code, seconds, stderr = it.stop()
    assert code == 0
    assert seconds < 1
    assert stderr.count("\n") == 1


def test_disk_that_fills_and_empties(zipapp: Path, small_disk: Path, rapl: FakeRapl) -> None:
    with SidecarProcess(zipapp, small_disk, rapl.sysfs, interval_s=0.05, record_s=0.05) as it:
        it.wait_for_records(2)
        ballast = small_disk / "ballast"
        fill(ballast)
        count = -1
        while count != len(it.lines()):  # until nothing has been added for a second
            count = len(it.lines())
            time.sleep(1)
        ballast.unlink()
        it.wait_for(lambda lines: len(lines) > count)
        code, _, stderr = it.stop()
        last = it.lines()[-1]
    assert code == 0
    assert last["kind"] == "end"
    assert stderr.count("\n") == 1
    assert "No space left on device" in stderr


def test_denied_counters_are_absent(zipapp: Path, run_dir: Path, rapl: FakeRapl, tmp_path: Path) -> None:
    for zone in rapl.zones:
        deny(zone.path / "energy_uj")
    with SidecarProcess(zipapp, run_dir, rapl.sysfs, prefix=without_override()) as it:
        lines = it.wait_for_records(2)
        it.stop()
    assert lines[0]["channels"] == []
    reasons = {(entry["component"], entry["reason"]) for entry in lines[0]["absent"]}
    package = rapl.powercap / "intel-rapl:0"
    assert ("cpu", f"denied: {package}/energy_uj") in reasons
    assert ("dram", f"denied: {package}/intel-rapl:0:1/energy_uj") in reasons
    assert lines[-1]["energy_uj"] == []


@pytest.mark.slow
def test_a_hung_driver_does_not_stop_other_sensors(
    zipapp: Path, run_dir: Path, rapl: FakeRapl, make_nvml: Callable[..., FakeNvml]
) -> None:
    """An NVML call that blocks for 30 s: the other channels go on, the end comes in time."""
    nvml = make_nvml()
    environ = {**nvml.environ(), "CUDA_VISIBLE_DEVICES": "0,1"}
    with (
        Stepper(rapl),
        SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=environ, interval_s=0.1, record_s=0.5) as it,
    ):
        it.wait_for_records(2)
        nvml.switch_on("hang")
        lines = it.wait_for(lambda lines: lines[-1]["energy_uj"][7] is None)
        seen = len(lines)
        lines = it.wait_for(lambda lines: len(lines) >= seen + 2)
        code, seconds, stderr = it.stop()
        lines = it.lines()
    assert (code, lines[-1]["kind"]) == (0, "end")
    assert seconds < 1
    assert stderr == "hpcfrugal sidecar: nvml-energy does not respond; sampling continues without it\n"
    # what they had counted before, of that time
    known = [line for line in lines if line["kind"] == "record" and line["errors"][7] == 0][-1]
    assert lines[-1]["energy_uj"][7:] >= known["energy_uj"][7:] > [0, 0]
    assert max(lines[-1]["read_ns"][7:]) < lines[-1]["boottime_ns"] - 0.5e9
    assert lines[-1]["errors"][7] > 3
    assert lines[-1]["errors"][:7] == [0] * 7
    # Not against the record just before: a counter that stands still for a moment is only credited when it moves.
    assert lines[-1]["measured_ns"][0] - lines[1]["measured_ns"][0] > 0.5e9


@pytest.mark.slow
def test_hung_driver_that_comes_back(
    zipapp: Path, run_dir: Path, rapl: FakeRapl, make_nvml: Callable[..., FakeNvml]
) -> None:
    nvml = make_nvml(devices=1)
    environ = {**nvml.environ(), "CUDA_VISIBLE_DEVICES": "0"}
    with SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=environ) as it:
        it.wait_for_records(2)
        nvml.switch_on("hang")
        it.wait_for(lambda lines: lines[-1]["energy_uj"][7] is None)
        nvml.switch_off("hang")
        it.wait_for(lambda lines: lines[-1]["energy_uj"][7] is not None)
        it.stop()
        lines = it.lines()
    true_uj = nvml.truth_uj(lines[1]["boottime_ns"], lines[-1]["boottime_ns"])
    assert lines[-1]["energy_uj"][7] == pytest.approx(true_uj, rel=0.15)


@pytest.mark.slow
@pytest.mark.serial
def test_slow_driver_gets_a_session_of_its_own(
    zipapp: Path, run_dir: Path, rapl: FakeRapl, make_nvml: Callable[..., FakeNvml]
) -> None:
    """NVML takes longer to start than the header waits: the CPU is sampled, the GPU follows."""
    nvml = make_nvml(devices=1)
    nvml.switch_on("hang-init")
    environ = {**nvml.environ(), "CUDA_VISIBLE_DEVICES": "0"}
    with SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=environ) as it:
        lines = it.wait_for_records(2)
        assert lines[0]["absent"] == [{"component": "gpu", "source": "nvml-energy", "reason": "no response within 1 s"}]
        assert len(lines[0]["channels"]) == 7
        nvml.switch_off("hang-init")
        it.wait_for(lambda lines: sum(line["kind"] == "header" for line in lines) == 2)
        it.wait_for(lambda lines: lines[-1]["energy_uj"][7:] not in ([], [0]) if "energy_uj" in lines[-1] else False)
        assert it.stop()[0] == 0
        lines = it.lines()
    second = next(index for index, line in enumerate(lines) if index and line["kind"] == "header")
    assert lines[second]["absent"] == []
    assert len(lines[second]["channels"]) == 8
    assert lines[second + 1]["energy_uj"] == [0] * 8
    assert lines[second - 1]["kind"] == "record"


def test_slow_driver_does_not_hold_up_the_end(
    zipapp: Path, run_dir: Path, rapl: FakeRapl, make_nvml: Callable[..., FakeNvml]
) -> None:
    nvml = make_nvml()
    nvml.switch_on("hang-init")
    environ = {**nvml.environ(), "CUDA_VISIBLE_DEVICES": "0"}
    with SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=environ) as it:
        it.wait_for_handlers()
        time.sleep(0.1)
        code, seconds, _ = it.stop()
        lines = it.lines()
    assert code == 0
    assert seconds < 1
    assert [line["kind"] for line in lines] == ["header", "record", "end"]


def test_lost_gpu_is_null_and_the_other_goes_on(
    zipapp: Path, run_dir: Path, rapl: FakeRapl, make_nvml: Callable[..., FakeNvml]
) -> None:
    nvml = make_nvml()
    environ = {**nvml.environ(), "CUDA_VISIBLE_DEVICES": "0,1"}
    with SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=environ) as it:
        it.wait_for_records(2)
        nvml.switch_on("lost-1")
        it.wait_for(lambda lines: lines[-1]["energy_uj"][8] is None)
        it.stop()
        end = it.lines()[-1]
    assert end["energy_uj"][7] > end["energy_uj"][8] > 0
    assert end["read_ns"][8] < end["boottime_ns"]
    assert end["read_ns"][7] is None
    assert end["errors"][7] == 0
    assert end["errors"][8] > 0


@pytest.mark.slow
def test_driver_reload(zipapp: Path, run_dir: Path, rapl: FakeRapl, make_nvml: Callable[..., FakeNvml]) -> None:
    """The driver goes away and comes back; the library is started anew within 30 reads."""
    nvml = make_nvml(devices=1)
    environ = {**nvml.environ(), "CUDA_VISIBLE_DEVICES": "0"}
    with SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=environ, interval_s=0.05, record_s=0.1) as it:
        it.wait_for_records(2)
        nvml.switch_on("unloaded")
        it.wait_for(lambda lines: lines[-1]["energy_uj"][7] is None)
        nvml.switch_off("unloaded")
        it.wait_for(lambda lines: lines[-1]["energy_uj"][7] is not None)
        assert it.stop()[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--run-dir is missing"),
        (["--run-dir", "/tmp", "--run-id"], "--run-id needs a value"),
        (["--bogus", "1"], "unknown argument '--bogus'"),
        (["--run-dir", "/tmp", "--run-id", "r", "--interval", "0"], "--interval: 0 is not between 0.05"),
        (["--run-dir", "/tmp", "--run-id", "r", "--interval", "nan"], "--interval: nan is not between"),
        (["--run-dir", "/tmp", "--run-id", "r", "--record", "x"], "--record: 'x' is not a number of seconds"),
        (["--run-dir", "/tmp", "--run-id", "r", "--root-pid", "-1"], "--root-pid: '-1' is not a process id"),
    ],
)
def test_wrong_command_line(zipapp: Path, arguments: list[str], message: str) -> None:
    command = [sys.executable, "-I", "-S", str(zipapp), *arguments]
    done = subprocess.run(command, env=clean_environ({}), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr


def test_hostile_node_name_is_refused_in_a_line(zipapp: Path, run_dir: Path, rapl: FakeRapl) -> None:
    environ = {"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "../../evil\nname"}
    with SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=environ) as it:
        code, _, stderr = it.ended()
    assert code == 0
    assert stderr.count("\n") == 1
    assert "cannot be part of a file name" in stderr


def test_source_compiles_on_python_3_9() -> None:
    for path in SIDECAR.rglob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 9))


def test_imports_only_the_standard_library_and_pynvml() -> None:
    for path in SIDECAR.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            for name in names:
                assert name.split(".")[0] in {*sys.stdlib_module_names, "pynvml"}, (path, name)


def test_heavy_modules_are_not_loaded(zipapp: Path) -> None:
    """What the whole sidecar imports, on a node without a GPU."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import hpcfrugal_sidecar.__main__; print(*sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(zipapp)], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    heavy = {"argparse", "ctypes", "dataclasses", "enum", "inspect", "json", "logging", "pynvml", "re", "signal"}
    heavy |= {"subprocess", "tempfile", "threading", "typing", "zlib"}
    assert heavy & loaded == set()


@pytest.mark.serial
def test_costs_little(zipapp: Path, run_dir: Path, rapl: FakeRapl, make_nvml: Callable[..., FakeNvml]) -> None:
    """Peak memory, and CPU time for 40 ticks, as a coarse guard; scripts/bench has the figures."""
    environ = {**make_nvml().environ(), "CUDA_VISIBLE_DEVICES": "0,1"}
    with SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=environ, interval_s=0.05, record_s=0.5) as it:
        it.wait_for_records(5)
        status = Path(f"/proc/{it.process.pid}/status").read_text()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        it.stop()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak_kib = int(status.split("VmHWM:")[1].split()[0])
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert peak_kib <= 15 * 1024
    assert used_s < 0.5


def test_steps_back_from_the_cpu_with_all_its_threads(
    zipapp: Path, run_dir: Path, rapl: FakeRapl, make_nvml: Callable[..., FakeNvml]
) -> None:
    environ = {**make_nvml().environ(), "CUDA_VISIBLE_DEVICES": "0,1"}
    with SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=environ) as it:
        it.wait_for_records(2)
        threads = [int(name) for name in os.listdir(f"/proc/{it.process.pid}/task")]
        assert len(threads) > 1
        assert {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads} == {19}
