"""Meters through the real program: jobs of this machine, a power that is known, sync, report, doctor and the agent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from ipmi_programs import IPMITOOL, program
from meter_server import MeterServer, as_json, kwollect, prometheus, square_j, square_w
from sandbox import Sandbox, wait_until

from hpcfrugal.core.record import codec
from hpcfrugal.meters.powerlog import append
from hpcfrugal.spool.documents import EndDocument

NODE = os.uname().nodename.split(".")[0]
STEP_S = 0.005


def settings(box: Sandbox, name: str = "rack3", **values: Any) -> None:
    """A table of the user's settings."""
    folder = box.home / ".config/hpcfrugal"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    with (folder / "config.toml").open("a") as file:
        file.write("\n".join([f"[meters.{name}]", *lines, ""]))


def a_prometheus(box: Sandbox, server: MeterServer, **changes: Any) -> None:
    query = 'node_power{instance="{node}"}'
    values = {"kind": "prometheus", "url": server.url, "query": query, "step": STEP_S, "timeout": "2s"}
    settings(box, **(values | changes))


def run_job(box: Sandbox, *command: str, share: bool = False) -> str:
    """Run a command under the sidecar; its job id."""
    told = json.loads(box.ok("run", "--json", *(["--share"] if share else []), "--", *command))
    return str(told["run_id"])


def reported(box: Sandbox, job_id: str) -> dict[str, Any]:
    (job,) = json.loads(box.ok("report", "--json", "--job", job_id))["jobs"]
    return job  # type: ignore[no-any-return]


def channel(job: dict[str, Any]) -> dict[str, Any]:
    (found,) = [item for item in job["channels"] if item["domain"].startswith("meter:")]
    return found  # type: ignore[no-any-return]


def span_ns(box: Sandbox, job_id: str) -> tuple[int, int]:
    """When the job started and ended, as it is read from the spool: two seconds since 1970, each to the microsecond."""
    (path,) = box.spool.glob(f"*/{job_id}/*.end.json")
    end = codec(EndDocument).read(json.loads(path.read_text()), [])
    assert end.started_wall_ns is not None
    assert end.ended_wall_ns is not None
    return end.started_wall_ns, end.ended_wall_ns


@pytest.mark.parametrize(
    ("unit", "value"),
    [("W", lambda _, at: square_w(at)), ("J", lambda _, at: square_j(at))],
    ids=["gauge", "counter"],
)
@pytest.mark.slow
def test_a_square_wave_is_found_again(
    box: Sandbox, server: MeterServer, unit: str, value: Callable[[str, float], float]
) -> None:
    prometheus(server, value, step_s=STEP_S, nodes=(NODE,))
    a_prometheus(box, server, unit=unit)
    job_id = run_job(box, "sleep", "3")
    time.sleep(0.1)
    box.ok("ledger", "sync")
    job = reported(box, job_id)
    found = channel(job)
    start_ns, end_ns = span_ns(box, job_id)
    truth_j = square_j(end_ns / 1e9) - square_j(start_ns / 1e9)
    assert found["energy_j"] == pytest.approx(truth_j, rel=0.001)
    assert found["node_energy_j"] == found["energy_j"]
    assert (found["source"], found["attribution"], found["counted"]) == ("prometheus", "exclusive", False)
    assert found["measured_s"] == (end_ns - start_ns) / 1e9
    assert job["boundary"] == "components"
    asked = len(server.asked)
    assert asked == 1
    box.ok("ledger", "sync")
    assert len(server.asked) == asked
    assert "agrees with the spool" in box.ok("ledger", "check")


def test_kwollect(box: Sandbox, server: MeterServer) -> None:
    kwollect(server, lambda *_: 250.0, step_s=0.1)
    settings(box, kind="kwollect", url=f"{server.url}/metrics", step=0.1, settle=0)
    job_id = run_job(box, "sleep", "1")
    time.sleep(0.2)
    found = channel(reported(box, job_id))
    start_ns, end_ns = span_ns(box, job_id)
    assert found["energy_j"] == pytest.approx(250 * (end_ns - start_ns) / 1e9, rel=0.001)
    assert (found["domain"], found["source"]) == ("meter:rack3", "kwollect")


def test_a_share_of_this_machine(box: Sandbox, server: MeterServer) -> None:
    prometheus(server, lambda *_: 200.0, step_s=STEP_S, nodes=(NODE,))
    a_prometheus(box, server)
    job_id = run_job(box, "sh", "-c", "timeout 1 sh -c 'while :; do :; done'; true", share=True)
    time.sleep(0.1)
    found = channel(reported(box, job_id))
    assert found["attribution"] == "cpu-share"
    assert 0 < found["energy_j"] <= found["node_energy_j"]
    assert found["node_energy_j"] == pytest.approx(200 * found["measured_s"], rel=1e-6)


def test_a_meter_that_is_down_is_reported_in_one_line_and_tried_again(box: Sandbox, server: MeterServer) -> None:
    server.always("/api/v1/query", answer=as_json({"status": "error", "error": "out of memory"}, 503))
    a_prometheus(box, server)
    for _ in range(3):
        job_id = run_job(box, "true")
    done = box.run("ledger", "sync")
    assert done.code == 0
    warnings = [line for line in done.err.splitlines() if line.startswith("warning:")]
    reason = f"{server.url}: server error (HTTP 503): out of memory"
    assert warnings == [f"warning: meter rack3: {reason}; the next sync tries again"]
    assert not list(box.spool.glob("*/*/*.meter"))
    prometheus(server, lambda *_: 100.0, step_s=STEP_S, nodes=(NODE,))
    assert channel(reported(box, job_id))["energy_j"] is not None
    assert len(list(box.spool.glob("*/*/*.meter"))) == 3


def test_what_is_not_there_yet_is_noted(box: Sandbox, server: MeterServer) -> None:
    prometheus(server, lambda *_: 100.0, step_s=STEP_S, nodes=(NODE,), until_s=lambda: 0.0)
    a_prometheus(box, server)
    job_id = run_job(box, "true")
    done = box.run("ledger", "sync")
    said = "note: meters have no complete readings for 1 node yet; the next sync tries again\n"
    assert (done.code, done.err) == (0, said)
    (box.home / ".config/hpcfrugal/config.toml").unlink()
    a_prometheus(box, server, settle=0)
    done = box.run("report", "--job", job_id)
    assert "meter:rack3 not used: prometheus has no samples of this node while the job ran" in " ".join(
        done.out.split()
    )


def test_mistakes_in_the_settings_do_not_prevent_a_report(box: Sandbox) -> None:
    settings(box, kind="prometheus", url="http://x", quary="y")
    job_id = run_job(box, "true")
    done = box.run("report", "--job", job_id)
    assert done.code == 0
    assert "warning: meter rack3 is not read: " in done.err
    assert "meters.rack3.quary: is not a setting of this kind of meter (did you mean query?)" in done.err
    done = box.run("doctor", "--json")
    assert done.code == 3
    found = [item for item in json.loads(done.out)["findings"] if item["area"] == "meters"]
    assert [item["level"] for item in found] == ["fault", "fault"]


def test_a_mistake_in_one_meter_leaves_the_others_working(box: Sandbox, server: MeterServer) -> None:
    prometheus(server, lambda *_: 100.0, step_s=STEP_S, nodes=(NODE,))
    settings(box, "wrong", kind="prometheus", url=server.url, quary="y")
    a_prometheus(box, server, name="good")
    job_id = run_job(box, "sleep", "0.3")
    time.sleep(0.1)
    done = box.run("ledger", "sync")
    assert done.code == 0
    assert "warning: meter wrong is not read: " in done.err
    assert "meter good" not in done.err
    assert channel(reported(box, job_id))["domain"] == "meter:good"


@pytest.mark.slow
def test_doctor_asks_each_meter(box: Sandbox, server: MeterServer) -> None:
    prometheus(server, lambda *_: 100.0, step_s=60, nodes=("n7",))
    a_prometheus(box, server, name="good", nodes="n[7-9]")
    a_prometheus(box, server, name="silent", nodes="n8")
    settings(box, "down", kind="kwollect", url="http://127.0.0.1:1/metrics")
    found = {
        item["subject"]: item
        for item in json.loads(box.run("doctor", "--json").out)["findings"]
        if item["area"] == "meters"
    }
    assert {name: item["level"] for name, item in found.items()} == {"good": "ok", "silent": "gap", "down": "gap"}
    assert "samples of n7 in the last 600 s" in found["good"]["found"]
    assert "no sample of n8" in found["silent"]["found"]
    assert "cannot be reached" in found["down"]["found"]


def put_ipmitool(box: Sandbox, text: str = IPMITOOL) -> None:
    folder = box.home / "bin"
    program(folder, "ipmi-dcmi", f"cat <<X\n{text}\nX")
    box.env["PATH"] = f"{folder}{os.pathsep}{box.env['PATH']}"


def test_the_agent_reads_once(box: Sandbox) -> None:
    log = box.home / "power"
    put_ipmitool(box)
    settings(box, "dcmi", kind="ipmi-dcmi", log=str(log), owner=os.getuid())
    assert box.ok("site", "power", "dcmi", "--once") == f"{NODE} 346 W\n"
    assert json.loads(box.ok("site", "power", "dcmi", "--once", "--json")) == {"power_w": {NODE: 346.0}}
    assert box.ok("site", "power", "dcmi", "--once", "--node", "n7") == "n7 346 W\n"
    assert sorted(path.name for path in log.glob("*/*")) == sorted([f"{NODE}.jsonl", "n7.jsonl"])
    put_ipmitool(box, IPMITOOL.replace("activated", "deactivated"))
    done = box.run("site", "power", "dcmi", "--once")
    assert (done.code, done.out) == (1, "")
    assert done.err == f"dcmi: {NODE}: power measurement is not active: 'deactivated'\n"


@pytest.mark.slow
def test_from_the_agent_to_the_report(box: Sandbox) -> None:
    log = box.home / "power"
    put_ipmitool(box)
    settings(box, "dcmi", kind="ipmi-dcmi", log=str(log), owner=os.getuid(), step=0.1)
    agent = subprocess.Popen(
        [*box.program, "site", "power", "dcmi"], env=box.env, cwd=box.work, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: list(log.glob(f"*/{NODE}.jsonl")))
        job_id = run_job(box, "sleep", "1")
        time.sleep(0.5)
    finally:
        agent.send_signal(signal.SIGTERM)
        _, said = agent.communicate(timeout=15)
    assert (agent.returncode, said) == (0, f"dcmi: 1 node into {log}\n")
    found = channel(reported(box, job_id))
    start_ns, end_ns = span_ns(box, job_id)
    assert found["energy_j"] == pytest.approx(346 * (end_ns - start_ns) / 1e9, rel=0.001)
    assert (found["source"], found["detail"]) == ("ipmi-dcmi", str(log))


def test_redfish_of_many_nodes(box: Sandbox, server: MeterServer) -> None:
    root = "/redfish/v1/Chassis"
    server.always(root, answer=as_json({"Members": [{"@odata.id": f"{root}/1"}]}))
    server.always(f"{root}/1", answer=as_json({"Power": {"@odata.id": f"{root}/1/Power"}}))
    server.always(f"{root}/1/Power", answer=as_json({"PowerControl": [{"PowerConsumedWatts": 290}]}))
    # The board of node 1 is there; nothing listens at the address of node 2.
    url = server.url.replace("127.0.0.1", "127.0.0.{node}")
    settings(box, "bmc", kind="redfish", log=str(box.home / "power"), nodes="[1-2]", url=url)
    done = box.run("site", "power", "bmc", "--once", "--json")
    assert (done.code, json.loads(done.out)) == (1, {"power_w": {"1": 290.0, "2": None}})
    assert done.err.startswith(f"bmc: 2: {url.replace('{node}', '2')}: cannot be reached: ")
    assert box.ok("site", "power", "bmc", "--once", "--node", "1") == "1 290 W\n"


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["none"], 2, "the settings have no meter 'none'"),
        (["prom"], 2, "prometheus meters are read at sync"),
        (["elsewhere"], 3, f"this machine, {NODE}, is not one of the meter's nodes"),
        (["elsewhere", "--node", "n[1-"], 2, "'--node': 'n[1-' does not close its bracket"),
        (["elsewhere", "--node", "n[1-2]"], 2, "--node: names several"),
        (["bad"], 2, "meters.bad.log: is missing"),
        (["elsewhere", "--interval", "0"], 2, "0.1<=x<=3600"),
    ],
)
def test_mistakes_with_the_agent(box: Sandbox, argv: list[str], code: int, said: str) -> None:
    settings(box, "prom", kind="prometheus", url="https://x", query="{node}")
    settings(box, "elsewhere", kind="ipmi-dcmi", log="/p", nodes="no-such-node")
    settings(box, "bad", kind="ipmi-dcmi")
    done = box.run("site", "power", *argv, "--once")
    assert done.code == code, done
    assert said in done.err
    assert "Traceback" not in done.err


def test_without_meters_a_sync_loads_nothing_of_them(box: Sandbox) -> None:
    job_id = run_job(box, "true")
    loaded = box.home / "loaded.json"
    code = (
        "import json, sys\nfrom hpcfrugal.cli import main\ntry:\n    main(['ledger', 'sync'])\nexcept SystemExit:\n"
        f"    json.dump(sorted(sys.modules), open({str(loaded)!r}, 'w'))\n"
    )
    subprocess.run([box.program[0], "-c", code], env=box.env, cwd=box.work, check=True, capture_output=True)
    modules = json.loads(loaded.read_text())
    assert "hpcfrugal.ledger.sync" in modules
    assert not [name for name in modules if name == "httpx" or name.startswith("hpcfrugal.meters")]
    assert reported(box, job_id)["channels"]


def test_a_log_of_another_user_is_refused_at_sync(box: Sandbox) -> None:
    log = box.home / "power"
    settings(box, "dcmi", kind="ipmi-dcmi", log=str(log), owner=os.getuid() + 1)
    run_job(box, "true")
    append(log, NODE, time.time_ns(), 100.0, "ipmi-dcmi")
    done = box.run("ledger", "sync")
    assert done.code == 0
    assert "; the next sync tries again" in done.err
    assert f"belongs to uid {os.getuid()}" in done.err
    assert not list(box.spool.glob("*/*/*.meter"))
