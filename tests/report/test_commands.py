"""``hpcfrugal report`` and ``hpcfrugal ledger`` as a user calls them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fake_spool import BOOT_NS, START_NS, FakeSpool
from program import Result, call_program

from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.user import user_name
from hpcfrugal.slurm import node_facts, states

HOSTILE = "[red]a[/] \x1b]0;owned\x07\x1b[2J\n'; DROP TABLE jobs; --\u202e" + "x" * 300


Call = Callable[..., Result]


@pytest.fixture
def call(spool: FakeSpool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Run the program on the test's spool and ledger, without Slurm."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HPCFRUGAL_SPOOL", str(spool.root))
    monkeypatch.setenv("HPCFRUGAL_LEDGER", str(spool.ledger))
    monkeypatch.setattr(states, "refresh_states", lambda root, backend, runs: states.Refreshed())
    monkeypatch.setattr(node_facts, "available", lambda: False)

    return partial(call_program, capsys)


def document(result: Result) -> Any:
    assert result.code == 0, result.err
    return json.loads(result.out)


def test_sync_then_report_as_json(spool: FakeSpool, call: Call) -> None:
    run = spool.whole_run()
    assert call("ledger", "sync") == Result(0, "1 run, 1 changed, 5 files read\n", "")
    found = document(call("report", "--since", "2026-11", "--json"))
    assert found["period"] == {"since": "2026-11-01T00:00:00.000000Z", "until": None}
    (job,) = found["jobs"]
    channels = job.pop("channels")
    expected = {
        "cluster": "lab",
        "job_id": "17",
        "restart": 0,
        "run_id": run.run_id,
        "name": "train",
        "user": "alice",
        "project": "climate",
        "phase": "training",
        "state": "COMPLETED",
        "exit_code": 0,
        "started_at": "2026-11-21T10:00:00.000000Z",
        "ended_at": "2026-11-21T10:01:00.000000Z",
        "elapsed_s": 60.0,
        "energy_j": {"total": 6600.0, "cpu": 6000.0, "dram": 600.0, "gpu": None, "node": None},
        "boundary": "components",
        "measured_j": 6600.0,
        "modelled_j": None,
        "energy_low_j": None,
        "energy_high_j": None,
        "coverage": 1.0,
        "complete": True,
        "unknown": [],
    }
    assert {key: job[key] for key in expected} == expected
    assert channels[0] == {
        "node": "n1",
        "component": "cpu",
        "domain": "package-0",
        "source": "rapl-powercap",
        "quality": "measured",
        "boundary": "components",
        "attribution": "exclusive",
        "counted": True,
        "energy_j": 6000.0,
        "low_j": None,
        "high_j": None,
        "node_energy_j": 6000.0,
        "coverage": 1.0,
        "measured_s": 60.0,
        "max_w": None,
        "errors": 0,
        "resets": None,
        "gaps": None,
        "first_boottime_ns": BOOT_NS,
        "last_boottime_ns": BOOT_NS + 60 * 10**9,
        "first_wall_ns": START_NS,
        "last_wall_ns": START_NS + 60 * 10**9,
        "gpu_uuid": None,
        "detail": "/sys/class/powercap/intel-rapl:0",
        "inputs": None,
        "idle_power": None,
        "idle_j": None,
        "reason": None,
    }
    assert job["sidecar_sessions"][0]["job_cpu_s"] == 60.0
    assert found["totals"]["energy_j"]["total"] == 6600.0
    assert found["groups"] == []


def test_unknown_is_null_in_json_and_unknown_in_the_table(spool: FakeSpool, call: Call) -> None:
    run = spool.run()
    run.slurm("FAILED")
    call("ledger", "sync")
    (job,) = document(call("report", "17", "--json"))["jobs"]
    assert job["energy_j"] == {"total": None, "cpu": None, "dram": None, "gpu": None, "node": None}
    assert (job["measured_j"], job["modelled_j"], job["complete"]) == (None, None, False)
    assert job["unknown"] == ["n1 cpu: no samples", "n1 dram: no samples"]
    table = call("report", "--since", "all").out
    assert "unknown" in table
    assert "1 job without known energy" in table
    assert "no samples: the sidecar did not run there" in call("report", "17").out


def test_a_job_that_waits_is_not_reported_as_unknown_energy(spool: FakeSpool, call: Call) -> None:
    spool.run()
    call("ledger", "sync")
    assert "without known energy" not in call("report", "--since", "all").out
    assert document(call("report", "--since", "all", "--json"))["totals"]["jobs_not_started"] == 1


def test_the_detail_shows_the_source_of_each_number(spool: FakeSpool, call: Call) -> None:
    run = spool.run()
    absent = [{"component": "dram", "source": "rapl-powercap", "reason": "denied: /sys/x"}]
    header = run.header(channels=[run.header()["channels"][0]], absent=absent, exclusive=False)
    run.samples([header, *run.records([100], 60)])
    run.slurm()
    call("ledger", "sync")
    out = call("report", "17").out
    for text in (
        "COMPLETED, exit code 0",
        "2026-11-21 10:00:00 – 10:01:00, elapsed 00:01:00 (source: slurm)",
        "rapl-powercap",
        "model-memory",
        "cpu-share",
        "n1: dram: modelled: rapl-powercap: denied: /sys/x",
        "0.2 W/GB x 8.000 GB allocated",
        "idle power of the node unknown",
        "10:00:00.000",
    ):
        assert text in out
    assert "dram dram" not in out
    assert all(line == line.rstrip() for line in out.splitlines()), "no blanks at the end of a line"
    assert out.count("denied: /sys/x") == 1
    assert max(len(line) for line in out.splitlines()) <= 220


COMMIT, LOCK = "1a2b3c4" + "d" * 33, "9f8e7d6" + "c" * 57


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ({"git_commit": COMMIT, "git_clean": True, "dvc_lock_sha256": None}, "1a2b3c4"),
        ({"git_commit": COMMIT, "git_clean": False, "dvc_lock_sha256": None}, "1a2b3c4 (with uncommitted changes)"),
        ({"git_commit": COMMIT, "git_clean": True, "dvc_lock_sha256": LOCK}, "1a2b3c4, dvc.lock 9f8e7d6"),
        ({"git_commit": None, "git_clean": None, "dvc_lock_sha256": LOCK}, "dvc.lock 9f8e7d6"),
    ],
)
def test_the_version_of_the_code_is_in_every_form(
    spool: FakeSpool, call: Call, code: dict[str, Any], shown: str
) -> None:
    spool.whole_run("17", code=code)
    spool.whole_run("18")
    call("ledger", "sync")
    assert re.search(rf"^Code +{re.escape(shown)}$", call("report", "17").out, re.MULTILINE)
    assert "Code" not in call("report", "18").out
    (job,) = document(call("report", "17", "--json"))["jobs"]
    assert job["code"] == code
    (other,) = document(call("report", "18", "--json"))["jobs"]
    assert other["code"] == dict.fromkeys(code)
    first, second = csv.DictReader(io.StringIO(call("report", "--csv", "--since", "all").out))
    assert {name: first[name] for name in code} == {name: str("" if one is None else one) for name, one in code.items()}
    assert {second[name] for name in code} == {""}
    with closing(sqlite3.connect(spool.ledger)) as connection:
        columns = f"SELECT {', '.join(code)} FROM jobs_energy ORDER BY job_id"
        assert connection.execute(columns).fetchall() == [tuple(code.values()), (None, None, None)]


def test_csv_has_energies_in_three_units_and_a_column_for_each_tag(spool: FakeSpool, call: Call) -> None:
    spool.whole_run("17")
    tags = {"phase": "training", "a,b": HOSTILE, "seed": 7}
    spool.whole_run("18", spec={"name": "other", "tags": tags})
    spool.whole_run("19", spec={"name": "none"})
    call("ledger", "sync")
    first, second, third = csv.DictReader(io.StringIO(call("report", "--csv", "--since", "all").out))
    assert [(row["energy_kwh"], row["energy_wh"], row["energy_j"]) for row in (first, second, third)] == [
        (str(6600 / 3.6e6), str(6600 / 3.6e3), "6600.0")
    ] * 3
    assert [name for name in first if name.startswith("tag:")] == ["tag:a,b", "tag:phase", "tag:project", "tag:seed"]
    assert (first["tag:project"], first["tag:phase"], first["tag:seed"]) == ("climate", "training", "")
    assert (second["tag:project"], second["tag:seed"]) == ("", "7")
    assert second["tag:a,b"].startswith("[red]a[/]")
    assert {third[name] for name in third if name.startswith("tag:")} == {""}
    (total,) = csv.DictReader(io.StringIO(call("report", "--csv", "--since", "all", "--by", "user").out))
    assert float(total["energy_kwh"]) == pytest.approx(3 * 6600 / 3.6e6)


def test_the_unit_of_the_text_is_that_of_the_option_then_of_the_settings(
    spool: FakeSpool, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.whole_run()
    call("ledger", "sync")
    for options in (["17"], ["--since", "all"], ["--since", "all", "--by", "user"], ["--since", "all", "--nodes"]):
        assert "[Wh]" in call("report", *options).out
        assert "[kJ]" in call("report", "--unit", "kj", *options).out
        with monkeypatch.context() as patch:
            patch.setenv("HPCFRUGAL_ENERGY_UNIT", "kWh")
            assert "[kWh]" in call("report", *options).out
            assert "[Wh]" in call("report", "--unit", "auto", *options).out
    assert "6,600" in call("report", "--unit", "J", "17").out
    assert r"\[J\]" in call("report", "--unit", "J", "--markdown", *options).out
    assert call("report", "--unit", "J", "--csv").err == "error: --csv: cannot be combined with --unit\n"
    assert "'btu' is none of J, kJ, MJ, Wh, kWh, MWh, auto\n" in call("report", "--unit", "btu").err
    monkeypatch.setenv("HPCFRUGAL_ENERGY_UNIT", "BTU")
    assert "HPCFRUGAL_ENERGY_UNIT" in call("report").err


def test_a_remark_on_several_domains_is_shown_once(spool: FakeSpool, call: Call) -> None:
    run = spool.run()
    gpus = [{"index": index, "uuid": f"GPU-{index}", "name": "Tesla V100-SXM2-16GB"} for index in range(3)]
    absent = [{"component": "gpu", "source": "nvml-energy", "reason": "denied; ask; again"}] * 2
    absent.append({"component": "cpu", "source": "rapl-perf", "reason": "not here"})
    header = run.header(gpus=gpus, absent=absent)
    for node in ("n1", "n2"):
        run.samples([{**header, "node": node}, *run.records([100, 10], 60)], node=node)
    run.slurm(nodes=("n1", "n2"))
    call("ledger", "sync")
    lines = call("report", "17").out.splitlines()
    assert lines[-3:] == [
        "n1, n2: cpu: rapl-perf not used: not here",
        "n1, n2: gpu gpu-0, gpu-1, gpu-2: modelled: nvml-energy: denied; ask; again",
        "n1, n2: gpu gpu-0, gpu-1, gpu-2: model: 55% of 300 W (NVIDIA Tesla V100) x time held; "
        "its use and the workload unknown",
    ]


def test_peaks_resets_and_gaps_are_shown(spool: FakeSpool, call: Call) -> None:
    run = spool.run()
    lines = run.records([100, 10], 60)
    lines[3] |= {"max_w": [1234.56, 12], "note": {"slowed": 4.0}}
    lines[-1] |= {"resets": [1, 0], "gaps": [0, 2]}
    run.samples([run.header(), *lines])
    run.slurm()
    call("ledger", "sync")
    (job,) = document(call("report", "17", "--json"))["jobs"]
    content = [(channel["max_w"], channel["resets"], channel["gaps"]) for channel in job["channels"]]
    assert content == [(1234.56, 1, 0), (12.0, 0, 2)]
    assert job["sidecar_sessions"][0]["slowed"] == 4.0
    out = call("report", "17").out
    assert "1,234.6" in out
    for text in (
        "n1: cpu package-0: the counter was reset 1 time:",
        "n1: dram dram-0: 2 gaps between readings",
        "n1: sampled up to 4 times less often",
    ):
        assert text in out


def test_without_samples_the_log_is_shown(spool: FakeSpool, call: Call) -> None:
    run = spool.run()
    run.samples([run.header(), *run.records([100, 10], 60)])
    run.slurm(nodes=("n1", "n2"))
    log = run.run_dir.path / "17.0.sidecar.log"
    log.write_text("srun: lost node\nsrun: fatal: \x1b[31mno\n")
    unheard = spool.run("18")
    (unheard.run_dir.path / "18.0.sidecar.log").write_text("no Python 3.9 or newer here\n")
    call("ledger", "sync")
    out = call("report", "17").out
    assert (
        "n2: no samples: the sidecar did not run there, or could not write; the sidecar's log ends: srun: fatal" in out
    )
    assert "\x1b" not in out
    assert document(call("report", "17", "--json"))["jobs"][0]["sidecar_log"].startswith("srun: fatal: ")
    assert "job: no samples; the sidecar's log ends: no Python 3.9 or newer here" in call("report", "18").out


def test_missing_idle_power_is_noted_wherever_a_share_is_counted(spool: FakeSpool, call: Call) -> None:
    run = spool.run("17")
    run.samples([run.header(exclusive=False), *run.records([100, 10], 60)])
    run.slurm()
    spool.whole_run("18", user="bob")
    call("ledger", "sync")
    note = "Idle power of shared nodes is not included (1 job with a share"
    expected: dict[str, list[str | None]] = {"": [], "user": ["not included", None], "day": ["not included"]}
    for by, groups in expected.items():
        grouped = ("report", "--since", "all", *(["--by", by] if by else []))
        found = document(call(*grouped, "--json"))
        assert found["totals"]["idle_power"] == "not included"
        assert [group["idle_power"] for group in found["groups"]] == groups
        assert [job["idle_power"] for job in found["jobs"]] == ([] if by else ["not included", None])
        assert note in call(*grouped).out
        (first, *_) = csv.DictReader(io.StringIO(call(*grouped, "--csv").out))
        assert first["idle_power"] == "not included"
    assert note not in call("report", "--since", "all", "--user", "bob").out
    assert document(call("report", "--since", "all", "--user", "bob", "--json"))["totals"]["idle_power"] is None


def test_known_idle_power_is_shown_with_its_source(spool: FakeSpool, call: Call) -> None:
    run = spool.run("17")
    run.samples([run.header(exclusive=False), *run.records([100, 10], 60)])
    run.slurm()
    run.nodes()
    call("ledger", "sync")
    known = "known: cpu 40 W (a wattmeter); dram 4 W (a wattmeter)"
    for by in ("user", "day"):
        found = document(call("report", "--since", "all", "--by", by, "--json"))
        assert found["totals"]["idle_power"] == "included"
        assert [group["idle_power"] for group in found["groups"]] == ["included"]
        assert "Idle power of shared nodes" not in call("report", "--since", "all", "--by", by).out
    found = document(call("report", "--since", "all", "--json"))
    assert [job["idle_power"] for job in found["jobs"]] == [known]
    (first, *_) = csv.DictReader(io.StringIO(call("report", "--since", "all", "--csv").out))
    assert first["idle_power"] == known
    channel = found["jobs"][0]["channels"][0]
    assert (channel["idle_power"], channel["idle_j"], channel["energy_j"]) == ("40 W (a wattmeter)", 600.0, 1500.0)
    assert "2 of 8 CPUs' part of the idle energy" in call("report", "17").out
    # A second node of which it is not known takes the word away again.
    run.samples([run.header(exclusive=False, node="n2"), *run.records([100, 10], 60)], node="n2")
    found = document(call("report", "--since", "all", "--json"))
    assert (found["totals"]["idle_power"], found["jobs"][0]["idle_power"]) == ("not included", "not included")


def test_a_node_that_counts_twice_is_marked(spool: FakeSpool, call: Call) -> None:
    spool.whole_run("17", backend="run")
    spool.whole_run("18", backend="run", user="bob")
    call("ledger", "sync")
    found = document(call("report", "--since", "all", "--by", "user", "--json"))
    assert (found["totals"]["overlapping_node_time"], found["totals"]["overlapping_jobs"]) == (True, ["17", "18"])
    assert [group["overlapping_node_time"] for group in found["groups"]] == [False, False]
    assert "Counted twice: " in call("report", "--since", "all").out
    (row,) = csv.DictReader(io.StringIO(call("report", "--since", "all", "--by", "project", "--csv").out))
    assert row["overlapping_node_time"] == "True"
    assert "at the same time: 17, 18." in call("report", "--since", "all", "--by", "project").out
    assert "Counted twice" not in call("report", "--since", "all", "--user", "bob").out


def test_vanished_files_are_reported_and_kept(spool: FakeSpool, call: Call) -> None:
    run = spool.whole_run()
    call("ledger", "sync")
    run.run_dir.samples("17", 0, "n1").unlink()
    name = f"{run.run_id}/17.0.n1.jsonl"
    result = call("ledger", "sync", "--json")
    assert json.loads(result.out)["files_vanished"] == [name]
    assert f"no longer in the spool, kept in the ledger: 1 file of existing runs: {name}" in result.err
    result = call("ledger", "check")
    assert (result.code, result.err) == (0, "")
    assert f"not compared: 1 file of existing runs: {name}" in result.out
    assert json.loads(call("ledger", "check", "--json").out)["files_vanished"] == [name]
    result = call("ledger", "rebuild")
    assert result.code == 4
    assert "--drop-vanished" in result.err
    assert document(call("report", "17", "--json"))["jobs"][0]["energy_j"]["total"] == 6600.0


def test_several_of_one_name_are_listed(spool: FakeSpool, call: Call) -> None:
    run = spool.run()
    for restart in range(4):
        run.samples([run.header(restart=restart), *run.records([100, 10], 60)], restart=restart)
    call("ledger", "sync")
    out = call("report", "17").out
    assert "17 r3" in out
    assert "4 jobs" in out
    assert "7.33" in out


def test_groups_by_account_partition_and_qos(spool: FakeSpool, call: Call) -> None:
    for job_id, content in (("17", {}), ("18", {"account": "chemistry", "partition": "long", "qos": "low"})):
        run = spool.run(job_id)
        run.samples([run.header(job_id), *run.records([100, 10], 60)], job_id)
        run.slurm(job_id=job_id, **content)
    local = spool.run("19")
    local.samples([local.header("19"), *local.records([100, 10], 60)], "19")
    local.end(job_id="19")
    call("ledger", "sync")
    cuts = {"account": ["chemistry", "physics"], "partition": ["batch", "long"], "qos": ["low", "normal"]}
    for by, keys in cuts.items():
        found = document(call("report", "--since", "all", "--by", by, "--json"))
        assert [group["key"] for group in found["groups"]] == [{by: key} for key in (*keys, None)]
        assert all(group["jobs"] == 1 for group in found["groups"])
        assert by.capitalize() in call("report", "--since", "all", "--by", by).out.splitlines()[0]
    found = document(call("report", "--since", "all", "--json"))
    assert [job["qos"] for job in found["jobs"]] == ["normal", "low", None]


@pytest.mark.parametrize(
    "by",
    [
        *("user", "project", "phase", "account", "partition", "qos", "name", "node", "component", "day", "month"),
        *("tag:project", "user,month", "component,node"),
    ],
)
def test_groupings_in_all_forms(spool: FakeSpool, call: Call, by: str) -> None:
    spool.whole_run("17")
    spool.whole_run("18", user="bob")
    call("ledger", "sync")
    found = document(call("report", "--since", "all", "--by", by, "--json"))
    keys = by.split(",")
    assert found["by"] == keys
    assert sum(group["energy_j"]["total"] for group in found["groups"]) == 13200.0
    rows = list(csv.DictReader(io.StringIO(call("report", "--since", "all", "--by", by, "--csv").out)))
    assert [{key: row[key] for key in keys} for row in rows] == [group["key"] for group in found["groups"]]
    assert sum(float(row["energy_j"]) for row in rows) == 13200.0
    assert "3.67" in call("report", "--since", "all", "--by", by).out


def test_filters(spool: FakeSpool, call: Call) -> None:
    spool.whole_run("17")
    spool.whole_run("18", user="bob", spec={"name": "x", "tags": {"project": "fusion", "run": "a=b"}})
    call("ledger", "sync")

    def ids(*options: str) -> list[str]:
        return [job["job_id"] for job in document(call("report", "--json", *options))["jobs"]]

    assert ids("--since", "all") == ["17", "18"]
    assert ids("--month", "2026-11", "--user", "bob") == ["18"]
    assert ids("--month", "2026-10") == []
    assert ids("--since", "all", "--project", "climate") == ["17"]
    assert ids("--since", "all", "--tag", "project=fusion", "--tag", "run=a=b") == ["18"]
    assert ids("--since", "2026-11-21T10:00:01") == []
    assert ids("--until", "2026-11-21") == ["17", "18"]
    assert ids("--until", "2026-11-20") == []
    assert ids("--job", "18") == ["18"]
    assert call("report", "--month", "2020-01").out.startswith("No jobs in this period.")


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (["--since", "soon"], "--since"),
        (["--until", "soon"], "--until"),
        (["--since", "2026-11-21", "--until", "2026-11-19"], "--until"),
        (["--month", "2026-11", "--since", "7d"], "--month"),
        (["--month", "2026-13"], "--month"),
        (["--month", "0000-01"], "--month"),
        (["--month", "9999-12"], "--month"),
        (["--month", "7d"], "--month"),
        (["--by", "colour"], "--by"),
        (["--tag", "x"], "--tag"),
        (["--json", "--csv"], "--csv"),
        (["17", "--job", "18"], "--job"),
        (["4711"], "4711"),
    ],
)
def test_bad_options_end_with_2_and_name_the_option(
    spool: FakeSpool, call: Call, options: list[str], where: str
) -> None:
    spool.whole_run()
    call("ledger", "sync")
    result = call("report", *options)
    assert result.code == 2
    assert result.err.startswith(f"error: {where}: ")
    assert result.out == ""


def test_all_mistakes_are_named_at_once_and_before_anything_is_read(spool: FakeSpool, call: Call) -> None:
    spool.whole_run()
    wrong = ("--since", "soon", "--until", "x", "--by", "colour", "--tag", "x", "--all", "--unit", "J", "--csv")
    result = call("report", *wrong)
    assert result.code == 2
    assert [line.split(": ")[1] for line in result.err.splitlines()] == [
        *("--by", "--tag", "--since", "--until", "--all", "--csv"),
    ]
    assert not spool.ledger.exists()


@pytest.mark.parametrize("form", [[], ["17"], ["--by", "project"], ["--csv"], ["--csv", "--by", "project"], ["--json"]])
def test_hostile_names_print_harmlessly(spool: FakeSpool, call: Call, form: list[str]) -> None:
    run = spool.run(spec={"name": HOSTILE, "tags": {"project": HOSTILE, HOSTILE: HOSTILE}}, user=HOSTILE)
    node = "n\x1b[31m"
    absent = [{"component": "cpu", "source": HOSTILE, "reason": HOSTILE}]
    header = run.header(node=node, channels=[], absent=absent, cpu_model=HOSTILE)
    run.samples([header, *run.records([], 60)], node=node)
    run.slurm(state=HOSTILE, nodes=(node,))
    result = call("ledger", "sync")
    assert (result.code, result.err) == (0, "")
    period = [] if form == ["17"] else ["--since", "all"]
    result = call("report", *period, *form)
    assert result.code == 0
    assert not any(ord(c) < 32 and c != "\n" for c in result.out)
    assert "\u202e" not in result.out
    if form != ["--json"]:
        assert "[red]a[/]" in result.out


def test_csv_cells_are_never_formulas(spool: FakeSpool, call: Call) -> None:
    spool.whole_run(spec={"name": "=cmd|'/c calc'!A1", "tags": {}})
    call("ledger", "sync")
    (row,) = csv.DictReader(io.StringIO(call("report", "--since", "all", "--csv").out))
    assert row["name"] == "'=cmd|'/c calc'!A1"
    assert (row["energy_j"], row["gpu_j"], row["complete"]) == ("6600.0", "", "True")


def test_a_missing_and_a_damaged_ledger_name_the_command_that_helps(spool: FakeSpool, call: Call) -> None:
    result = call("report", "--no-sync")
    assert result.code == 3
    assert "hpcfrugal ledger sync" in result.err
    spool.whole_run()
    call("ledger", "sync")
    spool.ledger.write_bytes(b"garbage" * 1000)
    for command in (["report"], ["ledger", "sync"], ["ledger", "check"], ["ledger", "export"]):
        result = call(*command)
        assert result.code == 4
        assert "hpcfrugal ledger rebuild" in result.err
    assert call("ledger", "rebuild").code == 0
    assert document(call("report", "17", "--json"))["jobs"][0]["energy_j"]["total"] == 6600.0


def test_slurm_out_of_reach_is_one_warning(spool: FakeSpool, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(root: Path, backend: object, runs: object) -> int:
        raise SetupError("slurm_load_jobs error:\n Unable to contact\x1b[31m slurm controller")

    spool.whole_run()
    monkeypatch.setattr(states, "refresh_states", unreachable)
    result = call("ledger", "sync")
    assert (result.code, result.out) == (3, "1 run, 1 changed, 5 files read\n")
    assert result.err.count("\n") == 1
    assert result.err.startswith("warning: Slurm was not queried")
    assert "\x1b" not in result.err


def test_a_job_is_found_by_its_name_and_by_parts_of_its_run_id(spool: FakeSpool, call: Call) -> None:
    run = spool.whole_run()
    for text in ("train", "latest", run.run_id[:9], run.run_id[-10:]):
        assert document(call("report", text, "--json"))["jobs"][0]["run_id"] == run.run_id
    assert "2026: is not a job in the ledger" in call("report", "2026").err
    spool.run("18")
    result = call("report", "train")
    assert (result.code, "train: means 2 jobs, the last of them 17, 18" in result.err) == (2, True)


def test_report_syncs_first_unless_told_not_to(spool: FakeSpool, call: Call) -> None:
    assert "No jobs in this period" in call("report").out
    spool.whole_run()
    other = ("report", "--ledger", str(spool.ledger), "--since", "all", "--json")
    assert document(call(*other))["jobs"] == []
    assert document(call("report", "--no-sync", "--since", "all", "--json"))["jobs"] == []
    assert len(document(call("report", "--since", "all", "--json"))["jobs"]) == 1
    assert len(document(call(*other))["jobs"]) == 1


def test_check_path_and_export(spool: FakeSpool, call: Call) -> None:
    run = spool.whole_run()
    call("ledger", "sync")
    assert call("ledger", "path").out == f"{spool.ledger}\n"
    assert call("ledger", "check", "--strict") == Result(0, "the ledger is sound and agrees with the spool\n", "")
    first = call("ledger", "export").out
    assert call("ledger", "rebuild", "--json").code == 0
    assert call("ledger", "export").out == first
    assert '"job_id": "17"' in first
    with run.run_dir.samples("17", 0, "n1").open("a") as file:
        file.write("garbage\n")
    unread = "changed since the last sync (run `hpcfrugal ledger sync`): 1 run\nthe ledger is sound"
    assert call("ledger", "check") == Result(0, f"{unread} and agrees with the spool except for these runs\n", "")
    assert call("ledger", "check", "--quick") == Result(0, f"{unread}\n", "")
    assert json.loads(call("ledger", "check", "--json").out)["runs_not_synced"] == [run.run_id]
    result = call("ledger", "sync")
    assert "problems in 1 file;" in result.err
    assert "problems" not in call("ledger", "sync").err
    assert call("ledger", "check").code == 0
    with closing(sqlite3.connect(spool.ledger)) as connection, connection:
        connection.execute("UPDATE jobs SET qos = NULL")
    connection.close()
    result = call("ledger", "check")
    assert result.code == 4
    assert "differs from the spool in 2 rows" in result.err
    assert call("ledger", "rebuild").code == 0
    result = call("ledger", "check", "--strict", "--json")
    assert result.code == 4
    assert json.loads(result.out)["problems"] == [f"{run.run_id}/17.0.n1.jsonl: 1 line: not valid JSON"]


def test_rebuild_warns_before_it_forgets(spool: FakeSpool, call: Call) -> None:
    run = spool.whole_run()
    call("ledger", "sync")
    run.run_dir.path.rename(spool.root.parent / "away")
    assert "no longer in the spool" in call("ledger", "sync").err
    result = call("ledger", "rebuild")
    assert result.code == 4
    assert "--drop-vanished" in result.err
    assert call("ledger", "rebuild", "--drop-vanished").code == 0


def test_a_terminal_that_is_not_utf8_gets_question_marks(
    spool: FakeSpool, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.whole_run(spec={"name": "Größe", "tags": {}})
    call("ledger", "sync")
    ascii_out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", ascii_out)
    assert call("report", "--since", "all").code == 0
    ascii_out.flush()
    assert b"Gr??e" in ascii_out.buffer.getvalue()  # type: ignore[attr-defined]


def test_sync_and_report_need_no_pandas(spool: FakeSpool, call: Call) -> None:
    # It takes half a second to import.
    spool.user = user_name()
    spool.whole_run("17")
    call("ledger", "sync")
    spool.whole_run("18")
    code = (
        "import sys\nfrom hpcfrugal.cli.root import main\n"
        "for argv in (['ledger', 'sync'], ['report', '--since', 'all']):\n"
        "    try:\n        main(argv)\n    except SystemExit as end:\n        assert end.code == 0\n"
        "assert not {'pandas', 'numpy'} & set(sys.modules)\n"
    )
    env = {**os.environ, "PATH": ""}  # no Slurm, wherever this runs
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, env=env
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 changed" in done.stdout


@pytest.mark.parametrize("nodes", [(), ("--nodes",)])
@pytest.mark.parametrize(
    ("when", "there"),
    [
        (("--since", "0001-01-01"), True),
        (("--since", "99999w"), True),
        (("--until", "9000-01-01"), True),
        (("--since", "9000-01-01"), False),
        (("--until", "0001-01-01"), False),
    ],
)
def test_times_beyond_what_the_ledger_can_hold_are_times(
    spool: FakeSpool, call: Call, nodes: tuple[str, ...], when: tuple[str, ...], there: bool
) -> None:
    spool.whole_run()
    found = document(call("report", *nodes, *when, "--json"))
    assert len(found["nodes" if nodes else "jobs"]) == there


def test_names_that_are_not_text_match_nothing(spool: FakeSpool, call: Call) -> None:
    """An argument that is not UTF-8 comes with surrogates in it, which SQLite refuses."""
    spool.whole_run()
    lone = os.fsdecode(b"\xff")
    result = call("report", lone)
    assert (result.code, result.err.count("Traceback")) == (2, 0)
    assert "is not a job in the ledger" in result.err
    for option in (("--user", lone), ("--project", lone), ("--tag", f"{lone}={lone}")):
        assert document(call("report", *option, "--since", "all", "--json"))["jobs"] == []
    assert document(call("report", "--by", f"tag:{lone}", "--since", "all", "--json"))["totals"]["jobs"] == 1
    assert call("report", "--by", "tag:").code == 2


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE texts SET name = '[\"n1\"' WHERE text = (SELECT nodes FROM jobs)", "an invalid text"),
        ("UPDATE texts SET name = CAST(x'ff6c' AS TEXT) WHERE text = (SELECT user FROM jobs)", "decode"),
        ("UPDATE channels SET kind = 99 WHERE kind = 1", "an invalid text"),
        ("DELETE FROM nodes", "an invalid text"),
        ("UPDATE jobs SET cluster = 99", "an invalid text"),
        ("DROP TABLE missing_sensors", "missing_sensors"),
        ("DROP TABLE texts", "texts"),
        ("ALTER TABLE jobs RENAME COLUMN sidecar_log TO sidecar_log_", "column"),
    ],
)
def test_a_ledger_with_damaged_content_is_refused(spool: FakeSpool, call: Call, statement: str, says: str) -> None:
    spool.whole_run()
    call("ledger", "sync")
    connection = sqlite3.connect(spool.ledger, isolation_level=None)
    connection.execute(statement)
    connection.close()
    result = call("report", "--no-sync", "--since", "all", "--json")
    assert (result.code, "Traceback" in result.err) == (4, False)
    assert f"the ledger {spool.ledger} is damaged" in result.err
    assert says in result.err
    assert "ledger rebuild" in result.err


@pytest.mark.parametrize(
    ("dictionary", "by"), [("texts", "user"), ("texts", "tag:phase"), ("nodes", "node"), ("places", "day")]
)
def test_groups_of_a_ledger_that_lacks_an_entry_are_refused(
    spool: FakeSpool, call: Call, dictionary: str, by: str
) -> None:
    spool.whole_run(carbon={"zone": "FR", "pue": 1.25})
    call("ledger", "sync")
    connection = sqlite3.connect(spool.ledger, isolation_level=None)
    connection.execute(f"DELETE FROM {dictionary}")
    connection.close()
    result = call("report", "--no-sync", "--since", "all", "--by", by)
    assert (result.code, "Traceback" in result.err) == (4, False)
    assert f"the ledger {spool.ledger} is damaged: {dictionary} has no entry " in result.err


def test_a_run_is_reported_whole_in_a_narrow_terminal(
    spool: FakeSpool, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert call("run", "--", "true").code == 0
    result = call("report", "latest", "--no-sync")
    assert any("Quality" in line and "Energy" in line for line in result.out.splitlines())
