"""scripts/bench/sensors: that its simulated machine, its runs and its tables work, with a run of a few seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.alone]

BENCH = Path(__file__).resolve().parents[2] / "scripts" / "bench"
SENSORS = str(BENCH / "sensors")


def sensors(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SENSORS, *words], capture_output=True, text=True, check=False, timeout=120)


def can_make_namespaces() -> bool:
    if os.geteuid() != 0 or any(shutil.which(name) is None for name in ("unshare", "setpriv", "gcc")):
        return False
    trial = ["unshare", "--mount", "--propagation", "private", "--net", "mount", "-t", "tmpfs", "trial", "/mnt"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_make_namespaces(), reason="needs root, mount namespaces, setpriv and gcc")
def test_the_sidecar_against_the_truth(tmp_path: Path) -> None:
    """The simulated counters move every 5 ms, the window has 3 s."""
    output = tmp_path / "found.json"
    options = ["--tools", "hpcfrugal", "--cases", "steady,denied", "--seconds", "3", "--venv", sys.prefix]
    done = sensors(*options, "--cache", str(tmp_path), "--output", str(output), "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert json.loads(output.read_text()) == found
    (steady,), (denied,) = found["cases"]["steady"], found["cases"]["denied"]
    for component in ("cpu", "dram", "gpu"):
        assert steady["energy_j"][component] == pytest.approx(steady["truth_j"][component], rel=0.01)
    assert steady["truth_j"]["cpu"] == pytest.approx(300, rel=0.2)
    assert denied["energy_j"]["cpu"] is None
    assert denied["energy_j"]["dram"] is None
    assert denied["energy_j"]["gpu"] == pytest.approx(denied["truth_j"]["gpu"], rel=0.01)
    assert "cpu: denied: " in denied["says"]
    assert steady["processes"] == 2  # the sidecar and that of the GPUs
    assert 0 < steady["cpu_life_s"] < 3
    shown = sensors("--show", str(output))
    assert shown.returncode == 0, shown.stderr
    rows = [line.split(" | ") for line in shown.stdout.splitlines() if line.startswith("| ")]
    assert ["| denied", "cpu", "none |"] in rows
    assert ["| denied", "dram", "none |"] in rows


def test_cells_distinguish_estimates_zeros_and_errors(tmp_path: Path) -> None:
    run = {"killed": False, "modelled": ["dram"], "from_ns": 0, "to_ns": 10_000_000_000, "warned": False}
    truth = {"cpu": 1000.0, "dram": 100.0, "gpu": 2000.0}
    results = [
        {**run, "tool": "one", "truth_j": truth, "energy_j": {"cpu": 1001.0, "dram": 230.0, "gpu": 0.0}},
        {**run, "tool": "two", "truth_j": truth, "energy_j": {"cpu": 550.0, "gpu": None}, "within": {"dram": "cpu"}},
        {"killed": False, "tool": "three", "failed": "no such | counter"},
    ]
    found = {
        **{"command": "sensors", "at": "2026-01-02T03:04:05+00:00", "commit": "c", "took_s": 60, "system": "s"},
        **{"kernel": "k", "cpus": 2, "cpu_model": "m", "python": "p", "load_1min": 0, "load_1min_after": 0},
        **{"others_cpus": 0.0, "at_once": 1, "peers": {}, "seconds": 10, "missing": {"four": "no network"}},
        "cases": {"steady": results},
    }
    file = tmp_path / "found.json"
    file.write_text(json.dumps(found))
    shown = sensors("--show", str(file)).stdout
    assert "| steady | cpu | +0.100 | -50.0 | failed |\n" in shown
    assert "| steady | dram | model: 23.0 W for 10 | in cpu | failed |\n" in shown
    assert "| steady | gpu | 0 J | none | failed |\n" in shown
    assert "steady, three: no such | counter\n" in shown
    assert "four could not be installed: no network\n" in shown


@pytest.mark.parametrize("words", [("--cases", "steady,unheard-of"), ("--tools", "x")])
def test_unknown_names_are_refused(words: tuple[str, str]) -> None:
    done = sensors(*words)
    assert done.returncode == 2
    assert words[1].rpartition(",")[2] in done.stderr
