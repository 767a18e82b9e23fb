"""A driver's library that ends its process: the packages lose no joule, and the GPU's counter is read again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_nvml import FakeNvml
from fake_rapl import FakeRapl, Stepper
from sidecar_process import SidecarProcess

pytestmark = pytest.mark.serial

DEATHS = {
    "abort": "its process ended by signal 6 (Aborted)",
    "crash": "its process ended by signal 11 (Segmentation fault)",
    "exit": "its process ended with exit code 5",
}
GIVEN_UP = "; 3 times in a row, so it is not read any more"
JOB = {"CUDA_VISIBLE_DEVICES": "0,1"}


def sessions(lines: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The lines of each session."""
    starts = [index for index, line in enumerate(lines) if line["kind"] == "header"]
    return [lines[start:end] for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]


def absences(session: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(entry["component"], entry["source"], entry["reason"]) for entry in session[0]["absent"]]


def assert_packages_are_exact(lines: list[dict[str, Any]], tree: FakeRapl, stepper: Stepper, least_s: float) -> None:
    """Each zone's energy is that of the time which it was measured, from the first line to the last."""
    slack_s = 2 * stepper.longest_pause_ns / 1e9 + 0.002
    parts = sessions(lines)
    span_ns = lines[-1]["boottime_ns"] - lines[1]["boottime_ns"]
    assert span_ns >= least_s * 1e9
    for index, zone in enumerate(tree.zones):
        energy_j = sum(part[-1]["energy_uj"][index] for part in parts) / 1e6
        measured_ns = sum(part[-1]["measured_ns"][index] for part in parts)
        assert abs(measured_ns - span_ns) < 0.2e9, zone.name
        assert abs(energy_j - zone.watts * measured_ns / 1e9) <= len(parts) * zone.watts * slack_s, zone.name
        assert sum(part[-1]["errors"][index] for part in parts) == 0


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("moment", ["load", "init"])
def test_driver_that_dies_at_once(
    zipapp: Path, run_dir: Path, rapl: FakeRapl, make_nvml: Callable[..., FakeNvml], death: str, moment: str
) -> None:
    nvml = make_nvml()
    nvml.switch_on(f"{death}-{moment}")
    with Stepper(rapl) as stepper, SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=nvml.environ() | JOB) as it:
        it.wait_for_records(4)
        code, seconds, stderr = it.stop()
        lines = it.lines()
    assert code == 0
    assert seconds < 1
    assert absences(sessions(lines)[-1]) == [("gpu", "nvml-energy", DEATHS[death] + GIVEN_UP)]
    assert stderr.splitlines()[-1] == f"hpcfrugal sidecar: nvml-energy: {DEATHS[death]}{GIVEN_UP}"
    assert_packages_are_exact(lines, rapl, stepper, 0.5)


def test_a_gpu_may_be_missing_where_none_was_named(
    zipapp: Path, run_dir: Path, rapl: FakeRapl, make_nvml: Callable[..., FakeNvml]
) -> None:
    """A local job has all GPUs of the machine; that there is none is not known here."""
    nvml = make_nvml()
    command = ["env", "-u", "CUDA_VISIBLE_DEVICES"]
    for fault, unread in ((None, 0), ("abort-init", 1)):
        if fault is not None:
            nvml.switch_on(fault)
        folder = run_dir / str(fault)
        folder.mkdir()
        with SidecarProcess(zipapp, folder, rapl.sysfs, environ=nvml.environ(), prefix=command) as it:
            header = it.wait_for_records(1)[0]
        assert (header["gpus_promised"], header["gpus_unread"]) == (None, unread)


@pytest.mark.slow
@pytest.mark.parametrize("death", DEATHS)
def test_driver_that_dies_once_is_read_again(
    zipapp: Path, run_dir: Path, rapl: FakeRapl, make_nvml: Callable[..., FakeNvml], death: str
) -> None:
    """The energy of the time without it is in the difference of its counter."""
    nvml = make_nvml(period_ms=700)
    with (
        Stepper(rapl) as stepper,
        SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=nvml.environ() | JOB, interval_s=0.05, record_s=0.1) as it,
    ):
        it.wait_for_records(2)
        nvml.switch_on(f"{death}-once")
        it.wait_for(lambda lines: lines[-1]["energy_uj"][7] is None)
        it.wait_for(lambda lines: len(sessions(lines)) == 2)
        it.wait_for(lambda lines: lines[-1].get("energy_uj", [0] * 8)[7])
        code, _, stderr = it.stop()
        lines = it.lines()
    assert code == 0
    # on a busy machine the new process may take longer to start than a sample waits
    assert stderr.splitlines()[0] == f"hpcfrugal sidecar: nvml-energy: {DEATHS[death]}"
    before, after = sessions(lines)
    assert absences(before) == []
    assert absences(after) == [("gpu", "nvml-energy", DEATHS[death])]
    assert_packages_are_exact(lines, rapl, stepper, 1.0)
    for gpu in (7, 8):
        true_uj = nvml.truth_uj(lines[1]["boottime_ns"], lines[-1]["boottime_ns"])
        found_uj = before[-1]["energy_uj"][gpu] + after[-1]["energy_uj"][gpu]
        assert abs(found_uj - true_uj) < 0.02 * true_uj
        assert before[-1]["errors"][gpu] > 10
        assert before[-1]["resets"] == [0] * 9 if "resets" in before[-1] else True
        measured_ns = before[-1]["measured_ns"][gpu] + after[-1]["measured_ns"][gpu]
        assert abs(measured_ns - (lines[-1]["boottime_ns"] - lines[1]["boottime_ns"])) < 0.2e9


@pytest.mark.slow
@pytest.mark.parametrize("death", DEATHS)
def test_driver_that_keeps_dying_is_given_up(
    zipapp: Path, run_dir: Path, rapl: FakeRapl, make_nvml: Callable[..., FakeNvml], death: str
) -> None:
    nvml = make_nvml(devices=1)
    with (
        Stepper(rapl) as stepper,
        SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=nvml.environ() | JOB, interval_s=0.05, record_s=0.2) as it,
    ):
        it.wait_for_records(2)
        nvml.switch_on(death)
        it.wait_for(lambda lines: len(sessions(lines)) == 2)
        time.sleep(0.5)
        assert it.stop()[0] == 0
        lines = it.lines()
    before, after = sessions(lines)
    assert before[-1]["energy_uj"][7] is None
    assert max(line["energy_uj"][7] or 0 for line in before[1:]) > 0
    assert ("gpu", "nvml-energy", DEATHS[death] + GIVEN_UP) in absences(after)
    assert after[-1]["energy_uj"][7] is None
    assert_packages_are_exact(lines, rapl, stepper, 3.0)


def test_death_is_named_where_the_caller_ignores_its_children(
    zipapp: Path, run_dir: Path, rapl: FakeRapl, make_nvml: Callable[..., FakeNvml]
) -> None:
    nvml = make_nvml(devices=1)
    nvml.switch_on("abort-init")
    prefix = ["bash", "-c", 'trap "" CHLD; exec "$@"', "bash"]
    with SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=nvml.environ() | JOB, prefix=prefix) as it:
        header = it.wait_for_records(1)[0]
        assert it.stop()[0] == 0
    assert [entry["reason"] for entry in header["absent"]] == [DEATHS["abort"] + GIVEN_UP]


def test_death_just_before_the_end_is_named(
    zipapp: Path, run_dir: Path, rapl: FakeRapl, make_nvml: Callable[..., FakeNvml]
) -> None:
    nvml = make_nvml(devices=1)
    with SidecarProcess(zipapp, run_dir, rapl.sysfs, environ=nvml.environ() | JOB) as it:
        it.wait_for_records(3)
        nvml.switch_on("abort-once")
        it.wait_for(lambda lines: lines[-1]["energy_uj"][7] is None)
        code, seconds, _ = it.stop()
        lines = it.lines()
    assert code == 0
    assert seconds < 1
    before, after = sessions(lines)
    assert ("gpu", "nvml-energy", DEATHS["abort"]) in absences(after)
    assert [line["kind"] for line in after] == ["header", "record", "end"]
    assert max(line["energy_uj"][7] or 0 for line in before[1:]) > 0
