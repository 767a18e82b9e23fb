"""The sidecar at its worst beside a job at its end: a driver that hangs, and more than one sidecar."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from fake_nvml import FakeNvml
from fake_rapl import FakeRapl, Stepper
from sidecar_process import DEADLINE_S, RUN_ID, SidecarProcess, read_lines

from hpcfrugal.job import job_from_mapping
from hpcfrugal.job.render import render_script
from hpcfrugal.sidecar import __main__ as sidecar
from hpcfrugal.sidecar import log

pytestmark = pytest.mark.serial

MOST_DELAY_S = 2.0
"""By which the sidecar may hold up a job's end."""


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang", "hang-init"])
def test_job_ends_in_time_while_nvml_blocks(
    zipapp: Path, run_dir: Path, tmp_path: Path, make_nvml: Callable[..., FakeNvml], fault: str
) -> None:
    """The whole batch script: the driver blocks each call for 30 s from the middle of the job on, or from its start.
    The job's exit code and output are its own, it ends in time, and the sidecar's last line is there."""
    nvml = make_nvml(devices=1)
    if fault == "hang-init":
        nvml.switch_on(fault)
    (run_dir / "sidecar.pyz").write_bytes(zipapp.read_bytes())
    spec = job_from_mapping(
        {"name": "t", "command": "echo begun; while [ ! -e go ]; do sleep 0.05; done; echo done; exit 6"}
    )
    rendered = render_script(
        spec, flags=[], script=None, run_id=RUN_ID, run_dir=run_dir, slurm=True, pythons=[sys.executable]
    )
    script = tmp_path / "slurm_script"
    script.write_text(rendered.text)
    environ = {**nvml.environ(), "PATH": os.environ["PATH"], "HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": "0"}
    environ |= {"SLURM_JOB_ID": "17", "SLURM_CLUSTER_NAME": "c", "SLURMD_NODENAME": "n1"}
    file = run_dir / "17.0.n1.jsonl"
    process = subprocess.Popen(
        ["/bin/bash", script], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline_s = time.monotonic() + DEADLINE_S
        while not (file.exists() and len(read_lines(file)) >= 2):
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        if fault == "hang":
            nvml.switch_on(fault)
            time.sleep(1.5)  # past the next sample
        told_s = time.monotonic()
        (tmp_path / "go").touch()
        out, err = process.communicate(timeout=DEADLINE_S)
        took_s = time.monotonic() - told_s
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, out, err) == (6, "begun\ndone\n", "")
    assert took_s < MOST_DELAY_S
    lines = read_lines(file)
    assert (lines[-1]["kind"], lines[-1]["reason"]) == ("end", "stopped")
    if fault == "hang":
        assert lines[0]["channels"][0]["source"] == "nvml-energy"
        assert lines[-1]["energy_uj"] == [None]
    else:
        assert {"component": "gpu", "source": "nvml-energy", "reason": "no response within 1 s"} in lines[0]["absent"]
    assert json.loads((run_dir / "17.0.end.json").read_text())["exit_code"] == 6


@pytest.mark.slow
def test_other_channels_lose_no_joule_while_nvml_blocks(
    zipapp: Path, run_dir: Path, rapl: FakeRapl, make_nvml: Callable[..., FakeNvml]
) -> None:
    """Two seconds in which the driver does not answer: the packages' energy is true all the while."""
    nvml = make_nvml()
    environ = {**nvml.environ(), "CUDA_VISIBLE_DEVICES": "0,1"}
    with (
        Stepper(rapl) as stepper,
        SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=environ, interval_s=0.1, record_s=0.2) as it,
    ):
        it.wait_for_records(2)
        nvml.switch_on("hang")
        it.wait_for(lambda lines: lines[-1]["energy_uj"][7] is None)
        time.sleep(2)
        it.stop()
        lines = it.lines()
    slack_s = 2 * stepper.longest_pause_ns / 1e9 + 0.002
    hung = [line for line in lines[1:] if line["energy_uj"][7] is None]
    assert len(hung) >= 5
    for line in hung:
        assert line["errors"][:7] == [0] * 7
        for index, zone in enumerate(rapl.zones):
            true_j = zone.watts * line["measured_ns"][index] / 1e9
            assert abs(line["energy_uj"][index] / 1e6 - true_j) <= zone.watts * slack_s, zone.name
    span_ns = lines[-1]["boottime_ns"] - lines[1]["boottime_ns"]
    assert abs(lines[-1]["measured_ns"][0] - span_ns) < 0.2e9


def test_sampling_continues_with_normal_priority(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(_path: str) -> list[str]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(log, "_logged", set())
    monkeypatch.setattr(os, "listdir", refuse)
    sidecar._lower_priority()
    assert capfd.readouterr().err == "hpcfrugal sidecar: cannot lower the CPU priority: Too many open files\n"


def test_one_of_many_that_start_at_once_writes(zipapp: Path, run_dir: Path, rapl: FakeRapl) -> None:
    """Eight for one job and node in the same moment, as a job step of eight tasks would start them."""
    with ExitStack() as stack:
        started = [stack.enter_context(SidecarProcess(zipapp, run_dir, rapl.sysfs)) for _ in range(8)]
        deadline_s = time.monotonic() + DEADLINE_S
        while sum(it.process.poll() is None for it in started) > 1:
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        left = [it for it in started if it.process.poll() is not None]
        writer = next(it for it in started if it not in left)
        writer.wait_for_records(3)
        for it in left:
            code, _, stderr = it.ended()
            assert code == 0
            assert stderr == "hpcfrugal sidecar: another sidecar already samples this job on this node; exiting\n"
        assert writer.stop()[0] == 0
        lines = writer.lines()
    kinds = [line["kind"] for line in lines]
    assert kinds == ["header", *["record"] * (len(kinds) - 2), "end"]
