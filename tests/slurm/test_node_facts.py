"""Facts of nodes are stored once for each finished job, with one query of Slurm for all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from fake_slurm import FakeSlurm
from fake_spool import FakeRun, FakeSpool

from hpcfrugal.core.errors import SetupError
from hpcfrugal.settings.idle_power import IdlePower
from hpcfrugal.slurm.node_facts import store_nodes, store_run_nodes

POWERS = {"n1": IdlePower((("cpu", 60_000_000),), "a wattmeter")}
CONFIG = "ClusterName = lab\nSelectType = select/cons_tres\nSelectTypeParameters = {}\n"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path / "slurm", cluster="lab")
    monkeypatch.setenv("PATH", f"{fake.bin}{os.pathsep}{os.environ['PATH']}")
    fake.answer("scontrol", CONFIG.format("CR_CORE_MEMORY"))
    fake.answer("sinfo", "n1|8|NO\nn1|8|EXCLUSIVE\nn2|1024|NO\nn2|1024|FORCE:4\n")
    return fake


@pytest.fixture
def spool(tmp_path: Path) -> FakeSpool:
    return FakeSpool(tmp_path)


def sampled(spool: FakeSpool, job_id: str = "17", nodes: tuple[str, ...] = ("n1",), **changes: Any) -> FakeRun:
    run = spool.run(job_id, **changes)
    for node in nodes:
        run.samples([run.header(job_id, node=node), *run.records([100, 10], 20)], job_id, node=node)
    return run


def kept(run: FakeRun, job_id: str = "17") -> list[dict[str, Any]] | None:
    path = run.run_dir.nodes_json(job_id, 0)
    return json.loads(path.read_text())["nodes"] if path.exists() else None


def test_all_jobs_that_are_over_are_asked_about_at_once(spool: FakeSpool, slurm: FakeSlurm) -> None:
    over, ended, running = sampled(spool, "17", ("n1", "n2")), sampled(spool, "18", ("n3",)), sampled(spool, "19")
    over.slurm(job_id="17")
    ended.end(job_id="18")
    running.slurm("RUNNING", end_s=None, job_id="19")
    assert store_nodes(spool.root, POWERS) == []
    assert kept(over) == [
        {
            "node": "n1", "slurm_cpus": 8, "oversubscribed": False,
            "idle_power_uw": {"cpu": 60_000_000}, "idle_power_source": "a wattmeter", "tdp_uw": None,
        },
        {
            "node": "n2", "slurm_cpus": 1024, "oversubscribed": True,
            "idle_power_uw": {}, "idle_power_source": None, "tdp_uw": None,
        },
    ]  # fmt: skip
    unknown = {
        "slurm_cpus": None,
        "oversubscribed": None,
        "idle_power_uw": {},
        "idle_power_source": None,
        "tdp_uw": None,
    }
    assert kept(ended, "18") == [{"node": "n3", **unknown}]
    assert kept(running, "19") is None
    (call,) = slurm.calls("sinfo")
    assert "--nodes=n[1-3]" in call


def test_design_power_of_the_settings_is_kept(spool: FakeSpool, slurm: FakeSlurm) -> None:
    run = sampled(spool)
    run.slurm()
    store_nodes(spool.root, {"n1": IdlePower((), "data sheet", 450_000_000)})
    (node,) = kept(run) or [{}]
    assert (node["tdp_uw"], node["idle_power_uw"], node["idle_power_source"]) == (450_000_000, {}, None)


def test_what_is_kept_is_not_asked_again_and_not_changed(spool: FakeSpool, slurm: FakeSlurm) -> None:
    run = sampled(spool)
    run.slurm()
    store_nodes(spool.root, POWERS)
    before = kept(run)
    slurm.answer("sinfo", "n1|16|NO\n")
    store_nodes(spool.root, {})
    assert kept(run) == before
    assert len(slurm.calls("sinfo")) == 1
    run.run_dir.nodes_json("17", 0).unlink()
    store_nodes(spool.root, {})
    assert kept(run) == [
        {
            "node": "n1",
            "slurm_cpus": 16,
            "oversubscribed": False,
            "idle_power_uw": {},
            "idle_power_source": None,
            "tdp_uw": None,
        }
    ]


@pytest.mark.parametrize(("parameters", "shared"), [("CR_MEMORY", True), ("CR_CPU", False), ("NONE", True)])
def test_cpus_that_slurm_does_not_give_out_may_be_shared(
    spool: FakeSpool, slurm: FakeSlurm, parameters: str, shared: bool
) -> None:
    slurm.answer("scontrol", CONFIG.format(parameters))
    run = sampled(spool)
    run.slurm()
    store_nodes(spool.root, {})
    assert (kept(run) or [{}])[0]["oversubscribed"] is shared


def test_a_local_job_needs_no_slurm(spool: FakeSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    run, other = sampled(spool), sampled(spool, "18")
    for one in (run, other):
        one.cluster = "local:here"
        one.submitted("17" if one is run else "18")
    run.end()
    other.end(job_id="18")
    assert store_run_nodes(run.run_dir, POWERS) == []
    assert kept(run) == [
        {
            "node": "n1", "slurm_cpus": None, "oversubscribed": None,
            "idle_power_uw": {"cpu": 60_000_000}, "idle_power_source": "a wattmeter", "tdp_uw": None,
        }
    ]  # fmt: skip
    assert kept(other, "18") is None
    assert store_nodes(spool.root, {}) == []
    assert kept(other, "18") is not None


def test_jobs_wait_for_a_slurm_that_is_not_there_or_another(
    spool: FakeSpool, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = sampled(spool)
    run.slurm()
    slurm.answer("scontrol", "ClusterName = other\n")
    assert store_nodes(spool.root, POWERS) == []
    assert (kept(run), slurm.calls("sinfo")) == (None, [])
    slurm.answer("scontrol", CONFIG.format("CR_CPU"))
    slurm.answer("sinfo", err="sinfo: error: down", code=1)
    with pytest.raises(SetupError, match="sinfo failed"):
        store_nodes(spool.root, POWERS)
    monkeypatch.setenv("PATH", "")
    assert store_nodes(spool.root, POWERS) == []
    assert kept(run) is None


def test_a_name_that_is_not_a_node_is_not_passed_to_slurm(spool: FakeSpool, slurm: FakeSlurm) -> None:
    nasty = "a'; rm -rf ~ #"
    run = sampled(spool, nodes=(nasty,))
    run.slurm()
    assert store_nodes(spool.root, {}) == []
    assert (kept(run) or [{}])[0]["node"] == nasty
    assert slurm.calls("sinfo") == []


def test_a_directory_that_cannot_be_written_is_named(spool: FakeSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    run = sampled(spool)
    run.cluster = "local:here"
    run.submitted("17")
    run.end()
    monkeypatch.setattr("hpcfrugal.slurm.node_facts.write_document", _full)
    (line,) = store_nodes(spool.root, {})
    assert line.endswith("17.0.nodes.json: the nodes of job 17 cannot be written: No space left on device")


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")
