"""A sidecar that may not read RAPL, beside a node agent that may: its energy is measured."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_rapl import FakeRapl, Stepper
from sidecar_process import DEADLINE_S, SidecarProcess, deny, without_override


@pytest.mark.skipif(os.geteuid() != 0, reason="a sidecar believes only what root has published")
def test_a_user_who_may_not_read_rapl_has_measured_energy(
    zipapp: Path, run_dir: Path, rapl: FakeRapl, tmp_path: Path
) -> None:
    published = tmp_path / "run/energy.json"
    agent_argv = [sys.executable, "-I", "-S", str(zipapp), "agent", "--node", "n1", "--folder", str(tmp_path / "out")]
    agent_argv += ["--sysfs", str(rapl.sysfs), "--interval", "0.1"]
    agent_argv += ["--publish", str(published), "--publish-step", "0.4"]
    for zone in rapl.zones:
        deny(zone.path / "energy_uj")
    with Stepper(rapl) as stepper, subprocess.Popen(agent_argv) as agent:
        try:
            deadline = time.monotonic() + DEADLINE_S
            while not (published.exists() and published.read_text().count("],[") >= 1):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            time.sleep(0.5)  # two readings, so that the power is known
            options = ["--published", str(published)]
            with SidecarProcess(zipapp, run_dir, rapl.sysfs, prefix=without_override(), arguments=options) as sidecar:
                sidecar.wait_for_records(4)
                sidecar.stop()
        finally:
            agent.terminate()
    header, *records = sidecar.lines()
    channels = {channel["domain"]: (index, channel) for index, channel in enumerate(header["channels"])}
    assert sorted(channels) == [
        "package-0", "package-0/core", "package-0/dram", "package-1", "package-1/core", "package-1/dram", "psys",
    ]  # fmt: skip
    assert {(one["source"], one["quality"], one["step_s"]) for _, one in channels.values()} == {
        ("agent", "measured", 0.4)
    }
    assert {absent["source"] for absent in header["absent"]} == {"rapl-powercap", "rapl-perf"}
    last = records[-1]
    for domain, watts in (("package-0", 100), ("package-1", 80), ("package-1/dram", 8)):
        index, _ = channels[domain]
        measured_ns = last["measured_ns"][index]
        # a counter that the test moves late is behind by the power of that time, at either end
        slack = 0.02 + 2 * stepper.longest_pause_ns / measured_ns
        assert last["energy_uj"][index] * 1000 / measured_ns == pytest.approx(watts, rel=slack)
        assert last["max_w"][index] is None
