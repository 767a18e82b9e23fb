"""``hpcfrugal site init``: the settings that it writes, what it marks as a guess, and what it refuses."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm
from sandbox import Sandbox

from hpcfrugal.settings.idle_power import read_idle_powers
from hpcfrugal.settings.origin import SettingOrigin
from hpcfrugal.settings.section import NamedTable
from hpcfrugal.sidecar.sensors.rapl_powercap import RULE
from hpcfrugal.spool.agent_layout import agent_folder

NODES = """\
n1|64|2|16|257000|(null)|ib|NO
n2|64|2|16|257000|(null)|ib|NO
g1|128|2|64|515000|gpu:a100:4(S:0-1)|ib,gpu|NO
n3|64|2|16|257000|(null)|ib|NO
"""
AGENT_HEADER = {
    "kind": "header", "schema": 1, "agent": "0.1.0", "node": "g1", "boot_id": "b", "wall_ns": 1_795_000_000 * 10**9,
    "boottime_ns": 10**9, "interval_s": 1.0, "record_s": 60.0, "cpus_node": 128, "cores_node": 64,
    "cpu_limit_uw": None, "cpu_model": "AMD EPYC 7763 64-Core Processor", "memory_node_b": 512 * 10**9,
    "cpu_time_source": "cgroup-v2", "gpus": [], "channels": [], "absent": [],
}  # fmt: skip


@pytest.fixture
def site(box: Sandbox, tmp_path: Path) -> Sandbox:
    slurm = FakeSlurm(tmp_path / "slurm", cluster="c1")
    slurm.answer("sinfo", NODES)
    box.env["PATH"] = f"{slurm.bin}:{box.env['PATH']}"
    return box


def test_nodes_that_are_alike_are_a_class_with_marked_guesses(site: Sandbox, tmp_path: Path) -> None:
    text = site.ok("site", "init", "-o", "-", "--spool", tmp_path / "s", "--operators", "root")
    assert tomllib.loads(text) == {
        "site": {
            "cluster": "c1", "spool": str(tmp_path / "s"), "operators": "root",
            "ledger": str(tmp_path / "s/ledger/ledger.db"), "published": str(tmp_path / "s/published"),
        },
        "carbon": {},
    }  # fmt: skip
    assert "# n[1-3]: 3 nodes, 64 CPUs, 32 cores, 251.0 GiB, ib, model of the CPU unknown\n" in text
    assert "# g1: 1 node, 128 CPUs, 128 cores, 502.9 GiB, gpu:a100:4, ib,gpu, model of the CPU unknown\n" in text
    assert "# tdp_w = 208  # guess: model of the CPU unknown, 6.5 W per core\n" in text
    assert "# idle_power_w = {cpu = 24.96}  # guess: 0.12 of tdp_w; measure it on an empty node\n" in text


def test_the_commented_classes_are_settings_once_they_are_in_force(site: Sandbox) -> None:
    text = site.ok("site", "init", "-o", "-")
    in_force = re.sub(r"^# (\[nodes|idle_power_w|tdp_w|source)", r"\1", text, flags=re.M)
    tables = tomllib.loads(in_force)["nodes"]
    origin = SettingOrigin("test")
    powers = read_idle_powers({name: NamedTable(name, values, origin) for name, values in tables.items()})
    assert {node: power.tdp_uw for node, power in powers.items()} == {
        "n1": 208_000_000, "n2": 208_000_000, "n3": 208_000_000, "g1": 832_000_000,
    }  # fmt: skip
    assert powers["n1"].power_uw == (("cpu", 24_960_000),)


def test_values_that_were_not_given_are_guesses_and_those_of_the_settings_are_not(site: Sandbox) -> None:
    text = site.ok("site", "init", "-o", "-")
    assert 'spool = "/shared/hpcfrugal"  # guess: ' in text
    assert 'operators = "root"  # guess: ' in text
    site.settings('[site]\nspool = "/srv/energy"\noperators = "root"\n')
    text = site.ok("site", "init", "-o", "-")
    assert '\nspool = "/srv/energy"\noperators = "root"\n' in text


def test_the_model_of_the_cpu_comes_from_an_agent(site: Sandbox, tmp_path: Path) -> None:
    folder = agent_folder(tmp_path / "s", "g1")
    folder.mkdir(parents=True)
    (folder / "2026-11-21.jsonl").write_text(json.dumps(AGENT_HEADER) + "\n")
    (folder / "2026-11-22.jsonl").write_text("{")
    text = site.ok("site", "init", "-o", "-", "--spool", tmp_path / "s")
    assert "# g1: 1 node, 128 CPUs, 64 cores, 502.9 GiB, gpu:a100:4, ib,gpu, AMD EPYC 7763 64-Core Processor\n" in text
    assert "# tdp_w = 280  # guess: AMD EPYC 7763: 280 W, 64 cores\n" in text


def test_it_writes_the_files_of_nodes_and_a_checklist(site: Sandbox, tmp_path: Path) -> None:
    config = tmp_path / "etc/config.toml"
    out = site.ok("site", "init", "-o", config, "--spool", tmp_path / "a b", "--operators", "root")
    written = {str(path.relative_to(config.parent)): path.read_text() for path in config.parent.rglob("*.*")}
    assert sorted(written) == [
        "config.toml", "nodes/60-rapl.rules", "nodes/hpcfrugal-agent.service", "nodes/hpcfrugal.conf",
    ]  # fmt: skip
    assert written["nodes/60-rapl.rules"] == f"{RULE}\n"
    assert written["nodes/hpcfrugal.conf"] == (
        f'd "{tmp_path}/a b" 0755 root root -\nd "{tmp_path}/a b/agents" 0750 root root -\n'
        f'd "{tmp_path}/a b/users" 3773 root root -\nd "{tmp_path}/a b/ledger" 2750 root root -\n'
        f'd "{tmp_path}/a b/published" 0711 root root -\n'
    )
    unit = site.ok("site", "agent", "--spool", tmp_path / "a b", "--group", "root", "--unit")
    assert written["nodes/hpcfrugal-agent.service"] == unit
    for step, words in enumerate(("guess", "systemd-tmpfiles --create", "compute nodes", "systemctl enable"), 1):
        assert re.search(rf"^{step}\. .*{words}", out, re.M)
    assert all(str(config.parent / name) in out for name in written)


def test_no_file_is_overwritten_and_all_that_exist_are_named(site: Sandbox, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("mine")
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes/hpcfrugal.conf").symlink_to("nowhere")
    done = site.run("site", "init", "-o", config)
    assert (done.code, done.out, config.read_text()) == (2, "", "mine")
    assert f"{config}: already exists (name another file with -o, or move this one away)" in done.err
    assert f"{tmp_path}/nodes/hpcfrugal.conf: already exists" in done.err
    assert [path.name for path in (tmp_path / "nodes").iterdir()] == ["hpcfrugal.conf"]


def test_trouble_is_one_sentence(site: Sandbox, box: Sandbox, tmp_path: Path) -> None:
    done = site.run("site", "init", "-o", "-", "--operators", "no-such-group")
    assert (done.code, "--operators: there is no group 'no-such-group' on this machine" in done.err) == (2, True)
    (tmp_path / "file").touch()
    done = site.run("site", "init", "-o", tmp_path / "file/config.toml")
    assert (done.code, f"{tmp_path}/file/config.toml cannot be written: " in done.err) == (3, True)
    done = box.run("site", "init", "-o", "-", env={"PATH": str(tmp_path / "none")})
    assert (done.code, "Traceback" in done.err, done.out) == (3, False, "")


def test_a_mistake_in_the_site_section_is_a_finding_of_doctor_with_its_line(box: Sandbox) -> None:
    box.settings('[carbon]\nzone = "FR"\n\n[site]\nspool = "relative"\noperator = "root"\n')
    found = json.loads(box.run("doctor", "--json").out)["findings"]
    whats = [one["found"] for one in found if one["level"] == "fault" and one["area"] == "settings"]
    assert any(re.search(r"config\.toml:5: site\.spool: needs an absolute path", what) for what in whats)
    assert any(re.search(r"config\.toml:6: site\.operator: is not a setting", what) for what in whats)
