"""Jobs of bob that share a node: the division closes exactly, and what Slurm and the site say of the node is in it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import SPOOL, Lab, until_sampled
from .test_jobs import Alice

pytestmark = pytest.mark.lab

SETTINGS = '[nodes."n[3-4]"]\nidle_power_w = {cpu = 50.0, dram = 5.0}\nsource = "a wattmeter"\n'
SPIN = "end=$((SECONDS + 15)); while [ $SECONDS -lt $end ]; do :; done"


@pytest.fixture
def bob(lab: Lab) -> Iterator[Alice]:
    lab.install()
    one = Alice(lab, "bob")
    one.write(".config/hpcfrugal/config.toml", SETTINGS)
    subprocess.run(["rm", "-rf", one.data], check=True)
    yield one
    subprocess.run(["rm", "-rf", one.home / ".config", one.data], check=True)


def test_jobs_on_one_node_close_and_a_job_of_all_its_cpus_has_it_alone(bob: Alice) -> None:
    def job(name: str, command: str, cpus: int, node: str) -> str:
        sampled = until_sampled(f"{bob.home}/{SPOOL}")
        return bob.submit(
            {
                "name": name,
                "command": f"{sampled}; {command}",
                "resources": {"cpus_per_task": cpus, "nodelist": node, "time": 5},
            }
        )

    jobs = [job("spin", SPIN, 2, "n3"), job("spin4", SPIN, 4, "n3"), job("idle", "sleep 12", 1, "n3")]
    whole = job("whole", "sleep 12", 8, "n4")
    states = bob.wait(*jobs, whole)
    assert {row["state"] for row in states.values()} == {"COMPLETED"}

    found: list[dict[str, Any]] = json.loads(bob.hpcfrugal("report", "--nodes", "--json").stdout)["nodes"]
    assert [node["node"] for node in found] == ["n3", "n4"]
    for node in found:
        for one in (node, *node["channels"]):
            assert one["to_jobs_uj"] + one["rest_uj"] == one["energy_uj"] > 0
        assert node["energy_uj"] == sum(one["energy_uj"] for one in node["channels"] if one["counted"])
    shared, alone = found
    assert (shared["sampled_jobs"], alone["sampled_jobs"], alone["rest_uj"]) == (3, 1, 0)
    package = next(one for one in shared["channels"] if one["domain"] == "package-0")
    assert {item["job_id"] for item in package["jobs"]} == set(jobs)
    assert all(item["idle_j"] > 0 for item in package["jobs"])

    (report,) = bob.report(whole)
    assert {one["attribution"] for one in report["channels"] if one["counted"]} == {"exclusive"}
    assert "all 8 CPUs that Slurm counts" in report["channels"][0]["inputs"]
    (report,) = bob.report(jobs[0])
    assert report["idle_power"] == "known: cpu 50 W (a wattmeter); dram 5 W (a wattmeter)"
    assert [session["slurm_cpus"] for session in report["sidecar_sessions"]] == [8]
