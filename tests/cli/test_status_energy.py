"""The energy that `status` shows of a job that has just ended is that of its report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm, sacct_row
from fake_spool import FakeSpool
from sandbox import Sandbox

IDLE = '[nodes."n[1-4]"]\nidle_power_w = {cpu = 40, dram = 4}\n'


@pytest.mark.parametrize("killed", [False, True])
def test_the_idle_power_of_the_settings_is_in_it_at_once(box: Sandbox, tmp_path: Path, killed: bool) -> None:
    spool = FakeSpool(tmp_path)
    run = spool.run()
    run.samples([run.header(exclusive=False, cpus_alloc=4), *run.records([100, 10], 60)])
    if not killed:
        run.end()
    slurm = FakeSlurm(tmp_path / "slurm", cluster="lab")
    slurm.answer("scontrol", "ClusterName = lab\nSelectType = select/cons_tres\nSelectTypeParameters = CR_CORE\n")
    slurm.answer("sinfo", "n1|8|NO\n")
    slurm.sacct(sacct_row("17", "TIMEOUT" if killed else "COMPLETED"))
    box.settings(IDLE)
    box.env |= {
        "PATH": f"{slurm.bin}:{box.env['PATH']}",
        "HPCFRUGAL_BACKEND": "slurm_cli",
        "HPCFRUGAL_SPOOL": str(spool.root),
    }
    (row,) = json.loads(box.ok("status", "--all", "--json"))
    assert len(slurm.calls("sinfo")) == 1
    (job,) = json.loads(box.ok("report", "--since", "all", "--json"))["jobs"]
    # 4 of 8 CPUs hold half of the idle 44 W; of the 66 W above it a job that used 1 of 4 busy CPUs has a quarter.
    assert row["energy_j"] == job["energy_j"]["total"] == pytest.approx(60 * (44 / 2 + 66 / 4), rel=0.001)
    assert len(slurm.calls("sinfo")) == 1


def test_a_mistake_in_the_settings_of_nodes_hides_no_energy(box: Sandbox, tmp_path: Path) -> None:
    spool = FakeSpool(tmp_path)
    spool.whole_run()
    box.settings(IDLE.replace("cpu", "cpus"))
    box.env |= {"HPCFRUGAL_SPOOL": str(spool.root)}
    done = box.run("status", "--all", "--json")
    (row,) = json.loads(done.out)
    assert row["energy_j"] == 6600
    (warning,) = done.err.splitlines()
    assert warning.startswith("warning: settings of nodes are not used: ")
    assert "idle_power_w.cpus" in warning
