"""``hpcfrugal report --nodes``: what was read, what went to jobs, and the rest, as a table and as JSON."""

from __future__ import annotations

import csv
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_agent import FakeAgent
from fake_spool import BOOT_NS, GPU, PSYS, SECOND, START_NS, FakeRun, FakeSpool

from hpcfrugal.cli.root import main
from hpcfrugal.ledger.nodes import find_nodes
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(spool: FakeSpool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Run the program on the test's spool and ledger, without Slurm."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HPCFRUGAL_SPOOL", str(spool.root))
    monkeypatch.setenv("HPCFRUGAL_LEDGER", str(spool.ledger))
    monkeypatch.setenv("PATH", "")

    def run(*argv: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["report", "--nodes", "--since", "all", *argv])
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return run


def shared(spool: FakeSpool, job_id: str, later_s: float = 0, **header: Any) -> FakeRun:
    run = spool.run(job_id)
    later_ns = round(later_s * SECOND)
    clocks = {"wall_ns": START_NS + later_ns, "boottime_ns": BOOT_NS + later_ns}
    lines = [{**line, **{key: line[key] + later_ns for key in clocks}} for line in run.records([100, 10], 60)]
    run.samples([run.header(job_id, exclusive=False, **clocks, **header), *lines], job_id)
    return run


def test_the_json_closes_in_integers(spool: FakeSpool, call: Call) -> None:
    shared(spool, "17")
    shared(spool, "18", 7.7)
    code, out, _ = call("--json")
    document = json.loads(out)
    assert (code, document["schema"], document["missing"]) == (0, 1, [])
    (node,) = document["nodes"]
    assert node["energy_uj"] == sum(one["energy_uj"] for one in node["channels"]) == 110 * 67_700_000
    for one in (node, *node["channels"]):
        assert one["to_jobs_uj"] + one["rest_uj"] == one["energy_uj"]
    package = node["channels"][0]
    assert sum(job["energy_uj"] for job in package["jobs"]) == package["to_jobs_uj"]
    assert [job["job_id"] for job in package["jobs"]] == ["17", "18"]
    assert (package["read_s"], package["measured_s"]) == (67.7, 67.7)
    assert (package["idle_power"], package["jobs_without_share"]) == ("not included", [])
    assert node["last_reading_at"] > node["first_reading_at"]


def test_the_table_names_nodes_parts_and_unknown_shares(spool: FakeSpool, call: Call) -> None:
    shared(spool, "17")
    run = spool.run("18")
    lines = [{**line, "job_cpu_us": None} for line in run.records([100, 300], 60)]
    channels = [run.header()["channels"][0], PSYS]
    hostile = "n\x1b[31m2"
    run.samples([run.header("18", node=hostile, channels=channels, exclusive=False), *lines], "18", node=hostile)
    code, out, _ = call()
    assert code == 0
    assert "\x1b[31m" not in out
    rows = [line.split() for line in out.splitlines()]
    assert ["n1", "cpu", "package-0", "rapl-powercap", "1.67", "0.417", "1.25", "1", "00:01:00"] in rows
    assert ["n1", "total", "1.83", "0.458", "1.38", "1"] in rows
    assert any("(node)" in line for line in out.splitlines())
    assert "Rest: idle and system" in out
    assert (
        "Idle power is not known for all jobs, so it is not separated everywhere: n\N{REPLACEMENT CHARACTER}[31m2, n1."
        in out
    )
    assert "1 job with an unknown share, which is in the rest." in out


def test_idle_power_that_is_known_for_a_part_of_the_time_is_partly_included(spool: FakeSpool, call: Call) -> None:
    shared(spool, "17").nodes()

    def idle_power() -> set[str | None]:
        (node,) = json.loads(call("--json")[1])["nodes"]
        return {one["idle_power"] for one in node["channels"]}

    assert idle_power() == {"included"}
    assert "Idle power is not known" not in call()[1]
    shared(spool, "18", 100)
    assert idle_power() == {"partly included"}
    assert "Idle power is not known for all jobs, so it is not separated everywhere: n1." in call()[1]


def test_gpus_that_are_read_by_different_sources_are_added_up(spool: FakeSpool, call: Call) -> None:
    run = spool.run("17")
    channels = [GPU, {**GPU, "domain": "gpu-1", "gpu_uuid": "GPU-b", "source": "nvml-power"}]
    gpus = [{"index": 0, "uuid": "GPU-a", "name": "x"}, {"index": 1, "uuid": "GPU-b", "name": "x"}]
    run.samples([run.header(channels=channels, gpus=gpus), *run.records([200, 300], 60)])
    (node,) = json.loads(call("--json")[1])["nodes"]
    assert node["energy_j"] == node["to_jobs_j"] == 500 * 60
    assert [(one["counted"], one["idle_power"]) for one in node["channels"]] == [(True, None), (True, None)]


def test_the_csv_has_a_line_a_channel(spool: FakeSpool, call: Call) -> None:
    shared(spool, "17")
    found = list(csv.DictReader(io.StringIO(call("--csv")[1])))
    assert [(one["node"], one["component"], one["energy_j"]) for one in found] == [
        ("n1", "cpu", "6000.0"),
        ("n1", "dram", "600.0"),
    ]
    assert {one["rest_j"] for one in found} == {"4500.0", "450.0"}
    for one in found:
        for name in ("energy", "to_jobs", "rest"):
            assert float(one[f"{name}_kwh"]) == pytest.approx(float(one[f"{name}_j"]) / 3.6e6)


def test_without_samples_there_is_a_message(spool: FakeSpool, call: Call) -> None:
    spool.run("17")
    assert call()[:2] == (0, "No node was sampled by a job in this period.\n")
    assert json.loads(call("--json")[1])["nodes"] == []


def test_what_the_agent_of_a_node_read_counts_in_place_of_what_sidecars_read(spool: FakeSpool, call: Call) -> None:
    """The agent begins 30 s after a job with a sidecar: 50 W of the job's 100 W are its own share by the sidecar."""
    shared(spool, "17").slurm(nodes=("n1",))
    for node in ("n1", "n2"):
        agent = FakeAgent(spool.root, node, START_NS + 30 * SECOND)
        agent.start("17" if node == "n1" else "19", 7)
        agent.advance(900)
        agent.record("end")
    document = json.loads(call("--json")[1])
    assert document["nodes_with_agents"] == ["n1", "n2"]
    alone, both = document["nodes"]  # that of no known cluster first
    figures = ((one["component"], one["source"], one["energy_uj"], one["to_jobs_uj"]) for one in both["channels"])
    assert sorted(figures) == [
        ("cpu", "agent", 17 * 900 * 10**6, 7 * 900 * 10**6),
        ("cpu", "rapl-powercap", 100 * 30 * 10**6, 25 * 30 * 10**6),
        ("dram", "agent", 17 * 225 * 10**6, 7 * 225 * 10**6),
        ("dram", "rapl-powercap", 10 * 30 * 10**6, 10 * 30 * 10**6 // 4),
        ("node", "agent", 17 * 1350 * 10**6, 7 * 1350 * 10**6),
    ]
    assert [one["counted"] for one in both["channels"]] == [True] * 4 + [False]
    assert {one["jobs"][0]["run_id"] for one in both["channels"]} == {spool_run(spool)}
    assert alone["channels"][0]["jobs"] == [
        {"run_id": None, "job_id": "19", "restart": 0, "energy_uj": 6_300_000_000, "dynamic_j": 6300.0, "idle_j": 0.0}
    ]
    for node in (both, alone):
        counted = [one for one in node["channels"] if one["counted"]]
        assert node["energy_uj"] == sum(one["energy_uj"] for one in counted)
        for one in (node, *node["channels"]):
            assert one["to_jobs_uj"] + one["rest_uj"] == one["energy_uj"]
    text = " ".join(call()[1].split())
    assert "Source agent: the agents of n[1-2], which have the energy of all jobs;" in text
    rows = list(csv.DictReader(io.StringIO(call("--csv")[1])))
    assert [(row["node"], row["source"]) for row in rows if row["component"] == "cpu"] == [
        ("n2", "agent"),
        ("n1", "agent"),
        ("n1", "rapl-powercap"),
    ]


def spool_run(spool: FakeSpool) -> str:
    (path,) = spool.root.glob("*/*/run.json")
    return path.parent.name


def test_jobs_that_an_agent_saw_outside_the_period_are_not_listed(spool: FakeSpool) -> None:
    agent = FakeAgent(spool.root, "n1", START_NS)
    agent.start("18", 7)
    agent.start("19", 7)
    agent.advance(300)
    agent.end("18")
    agent.record()
    agent.advance(900)
    agent.start("20", 7)
    agent.advance(300)
    agent.record("end")
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        (node,) = find_nodes(connection, spool.root, START_NS + 600 * SECOND, START_NS + 900 * SECOND).nodes
    assert {job_id for _, job_id, _ in node.jobs} == {"19"}


@pytest.mark.parametrize(("since_s", "until_s"), [(0, 86_400), (100, 86_400), (0, 450), (310, 777)])
def test_of_an_agent_the_part_of_the_period_counts(spool: FakeSpool, since_s: int, until_s: int) -> None:
    agent = FakeAgent(spool.root, "n1", START_NS)
    agent.start("19", 7)
    agent.advance(900)
    agent.record("end")
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        span = (START_NS + since_s * SECOND, START_NS + until_s * SECOND)
        (node,) = find_nodes(connection, spool.root, *span).nodes
    total = node.total
    watts, inside_s = 17 * 1.25, min(until_s, 900) - since_s
    assert total.energy_uj == pytest.approx(watts * inside_s * 10**6)
    assert total.jobs_uj + total.residual_uj == total.energy_uj
    assert node.channels["cpu", "package-0", "agent"].sum.measured_ns == inside_s * SECOND


def test_a_vanished_file_is_named(spool: FakeSpool, call: Call) -> None:
    shared(spool, "17")
    shared(spool, "18")
    call()
    next(spool.root.rglob("17.0.n1.jsonl")).unlink()
    assert "Not counted: 1 sample file: " in call()[1]


def test_the_reason_for_no_table_is_shown(spool: FakeSpool, call: Call) -> None:
    modelled = spool.run("17")
    modelled.samples([modelled.header(channels=[]), *modelled.records([], 60)])
    said = call()[1].replace("\n", " ")
    assert said.startswith("No node energy is known in this period (1 job with samples). The samples contain no")
    modelled.end()
    gone = shared(spool, "18")
    modelled.run_dir.samples("17", 0, "n1").unlink()
    call()
    gone.run_dir.samples("18", 0, "n1").unlink()
    said = call()[1].replace("\n", " ")
    assert said.startswith("No node energy is known in this period (2 jobs with samples). Not counted: 2 sample")
    for run in (modelled, gone):
        assert f"{run.run_dir.run_id}/" in said, "each by name"
    assert json.loads(call("--json")[1])["sampled_jobs"] == 2


def test_options_about_jobs_cannot_be_combined_with_nodes(spool: FakeSpool, call: Call) -> None:
    code, _, err = call("17", "--user", "a", "--project", "p", "--tag", "a=b", "--by", "user")
    assert code == 2
    for option in ("JOB", "--user", "--project", "--tag", "--by"):
        assert f"{option}: cannot be combined with --nodes" in err


def test_wrong_idle_power_in_the_settings_ends_with_2(spool: FakeSpool, call: Call, tmp_path: Path) -> None:
    settings = tmp_path / "config/hpcfrugal/config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text('[nodes."n[1-4]"]\nidle_power_w = {cpu = -1}\n[nodes.n2]\nidle = 3\n')
    code, _, err = call()
    assert code == 2
    assert "nodes.n[1-4].idle_power_w.cpu: " in err
    assert "nodes.n[1-4] names too: n2" in err
    assert "nodes.n2.idle: " in err


def test_64_jobs_of_a_minute_on_one_node_take_little_time(spool: FakeSpool, call: Call) -> None:
    for number in range(64):
        shared(spool, str(100 + number), number / 16, cpus_alloc=1, cpus_node=64)
    call()
    began = time.perf_counter()
    code, out, _ = call("--json", "--no-sync")
    taken_s = time.perf_counter() - began
    (node,) = json.loads(out)["nodes"]
    assert (code, node["sampled_jobs"]) == (0, 64)
    assert node["to_jobs_uj"] + node["rest_uj"] == node["energy_uj"]
    assert taken_s < 5, taken_s


def test_json_needs_no_rich(spool: FakeSpool, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    shared(spool, "17")
    call()
    monkeypatch.setitem(sys.modules, "rich", None)
    assert call("--json", "--no-sync")[0] == 0
