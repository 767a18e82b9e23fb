"""``site closure`` as an operator uses it: agents' files in the spool, a meter's log, a cluster's power saving."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_agent import FakeAgent
from fake_spool import SECOND, START_NS
from meter_server import MeterServer, prometheus
from sandbox import Sandbox

from hpcfrugal.meters.powerlog import log_file
from hpcfrugal.spool.cluster_documents import ClusterFacts, NodeClass, store_cluster_document

DAY_NS = 86_400 * SECOND
MIDNIGHT_NS = START_NS // DAY_NS * DAY_NS
DAY = "2026-11-21"


@pytest.fixture
def site(box: Sandbox) -> Sandbox:
    """n1: two hours with two jobs, 60 W and 30 W of package-0, and 10 W of nothing; n2: three hours without a job."""
    spool = box.home / ".local/share/hpcfrugal/spool"
    first = FakeAgent(spool, "n1", MIDNIGHT_NS + 3600 * SECOND)
    first.advance(3600)
    first.start("900", 60)
    first.advance(1800)
    first.end("900")
    first.start("901", 30)
    first.advance(1800)
    first.end("901")
    first.record("end")
    second = FakeAgent(spool, "n2", MIDNIGHT_NS)
    second.advance(3 * 3600)
    second.record("end")
    box.ok("ledger", "sync")
    return box


def closure(box: Sandbox, *options: str | Path) -> dict[str, Any]:
    command = ("site", "closure", "--month", "2026-11", "--json")
    found: dict[str, Any] = json.loads(box.ok(*command, *options))
    return found


def metered(box: Sandbox, from_ns: int) -> None:
    """200 W by a meter of n1 and n3 for a day."""
    folder = box.home / "power"
    for node in ("n1", "n3"):
        path = log_file(folder, node, from_ns)
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        walls_ns = (from_ns + at * 60 * SECOND for at in range(1441))
        path.write_text(
            "".join(json.dumps({"wall_ns": at_ns, "power_w": 200, "source": "ipmi-dcmi"}) + "\n" for at_ns in walls_ns)
        )
        path.chmod(0o644)
    table = f'kind = "ipmi-dcmi"\nnodes = "n1,n3"\nlog = "{folder}"\nowner = {os.getuid()}\nstep = "60 s"\n'
    box.settings(f"[meters.dcmi]\n{table}")


def test_jobs_idle_and_the_rest_are_the_node(site: Sandbox) -> None:
    """Package and memory: 1.25 times the power of package-0. The node's own sensor: 1.5 times."""
    found = closure(site)
    days = {node["node"]: node["days"] for node in found["nodes"]}
    ((one,), (two,)) = days["n1"], days["n2"]
    watts = 1_250_000
    assert (one["day"], one["boundary"], one["meter"], one["agent"]) == (DAY, "components", "rapl-powercap", True)
    assert one["jobs_uj"] == (60 + 30) * 1800 * watts
    # the first job counts from the sample before the one that found it
    assert (one["idle_uj"], one["system_uj"]) == (10 * 3599 * watts, 10 * 3601 * watts)
    assert one["undivided_uj"] == 0
    assert one["node_uj"] == one["jobs_uj"] + one["idle_uj"] + one["system_uj"]
    assert one["ratio"] == pytest.approx(1.25 / 1.5)
    assert one["gap_s"] == 86_400 - 7200
    assert (two["idle_uj"], two["node_uj"], two["unattributed_uj"]) == (10 * 10_800 * watts, 10 * 10_800 * watts, 0)
    totals = found["totals"]
    for name in ("node_uj", "jobs_uj", "idle_uj", "unattributed_uj", "could_be_off_uj", "meter_uj"):
        assert totals[name] == one[name] + two[name]
    assert (totals["nodes"], totals["node_days"]) == (2, 2)


def test_what_power_saving_could_have_switched_off(site: Sandbox) -> None:
    """Without a rule of Slurm an example of 600 s; n1 was idle for an hour, n2 for three."""

    def off(found: dict[str, Any]) -> list[float]:
        return [node["days"][0]["could_be_off_uj"] / 12.5e6 for node in found["nodes"]]

    found = closure(site)
    assert off(found) == [pytest.approx(3600 - 690, abs=1), pytest.approx(10_800 - 690, abs=1)]
    assert {node["suspend_is_set"] for node in found["nodes"]} == {False}
    assert off(closure(site, "--suspend-time", "3600")) == [0, pytest.approx(10_800 - 3690, abs=1)]
    spool = site.home / ".local/share/hpcfrugal/spool"
    facts = ClusterFacts("c1", (), (NodeClass("n[1-2]", 8),), 1200, 100, 500)
    store_cluster_document(spool, facts)
    site.ok("ledger", "sync")
    assert off(closure(site)) == [pytest.approx(3600 - 1800, abs=1), pytest.approx(10_800 - 1800, abs=1)]
    text = " ".join(site.ok("site", "closure", "--month", "2026-11").split())
    assert (
        "in times without jobs of more than 1800 s (SuspendTime 1200 s + SuspendTimeout 100 s + ResumeTimeout 500 s)."
    ) in text


def test_the_month_as_text_and_as_csv(site: Sandbox) -> None:
    site.env["COLUMNS"] = "150"
    text = " ".join(site.ok("site", "closure", "--month", "2026-11", "--unit", "kWh").split())
    assert "2 nodes, 2 node days: 0.119 kWh" in text
    assert "Largest unattributed part: n1 15.4 %." in text
    assert "Not read on days with readings: n1 22.0 h, n2 21.0 h." in text
    assert "no SuspendTime of Slurm is known, so that is an example: `--suspend-time`." in text
    assert "n1 ██████████████░░░··· 0.0813 0.0563 0.0125 0.0125 0.0101 0.0975 0.83" in text
    assert "n2 ░░░░░░░░░░░░░░░░░░░░ 0.0375 0 0.0375 0 0.0351 0.0450 0.83" in text
    by_day = site.ok("site", "closure", "--month", "2026-11", "--node", "n1")
    assert DAY in by_day
    assert "n2" not in by_day
    rows = list(csv.DictReader(io.StringIO(site.ok("site", "closure", "--month", "2026-11", "--csv"))))
    assert [(row["node"], row["day"]) for row in rows] == [("n1", DAY), ("n2", DAY)]
    assert all(int(row["node_uj"]) == int(row["jobs_uj"]) + int(row["idle_uj"]) + int(row["system_uj"]) for row in rows)
    assert "No node was read in this period" in site.ok("site", "closure", "--month", "2026-10")


def test_a_meter_of_the_node_is_compared_and_stands_alone_where_there_is_no_agent(site: Sandbox) -> None:
    """200 W by the meter all day, of n1 and of n3, which has no agent and no job."""
    metered(site, MIDNIGHT_NS)
    found = {node["node"]: node["days"][0] for node in closure(site)["nodes"]}
    assert set(found) == {"n1", "n2", "n3"}
    assert (found["n1"]["meter"], found["n1"]["meter_uj"]) == ("meter:dcmi", 200 * 86_400 * 10**6)
    assert found["n1"]["ratio"] == pytest.approx(found["n1"]["node_uj"] / (200 * 7200 * 10**6))
    assert (found["n3"]["agent"], found["n3"]["boundary"], found["n3"]["gap_s"]) == (False, "node", 0)
    assert (found["n3"]["node_uj"], found["n3"]["unattributed_uj"]) == (200 * 86_400 * 10**6,) * 2
    assert (found["n3"]["idle_uj"], found["n3"]["could_be_off_uj"]) == (None, None)
    without = {node["node"] for node in closure(site, "--no-meters")["nodes"]}
    assert without == {"n1", "n2"}


def test_of_all_time_meters_are_not_asked_for_days_before_the_ledgers_first(site: Sandbox) -> None:
    metered(site, MIDNIGHT_NS - 1000 * DAY_NS)
    found: dict[str, Any] = json.loads(site.ok("site", "closure", "--since", "all", "--json"))
    assert {node["node"]: [day["day"] for day in node["days"]] for node in found["nodes"]} == {"n1": [DAY], "n2": [DAY]}


@pytest.fixture
def server() -> Iterator[MeterServer]:
    """A Prometheus that has 200 W of n1 and n3 each 60 s, and nothing of n2."""
    made = MeterServer()
    prometheus(made, lambda node, at_s: 200.0, step_s=60, nodes=("n1", "n3"))
    yield made
    made.close()


def by_server(box: Sandbox, server: MeterServer, query: str = 'watts{instance=~"{nodes}"}') -> None:
    nodes = 'nodes = "n[1-3]"\nnode_label = "instance"\nstep = "60 s"'
    box.settings(f'[meters.pdu]\nkind = "prometheus"\nurl = "{server.url}"\nquery = \'{query}\'\n{nodes}\n')


def test_a_meter_is_asked_once_about_a_day_that_is_over(site: Sandbox, server: MeterServer) -> None:
    by_server(site, server)
    period = ("site", "closure", "--since", "2026-11-20", "--until", DAY, "--json")
    first = json.loads(site.ok(*period))
    days = {node["node"]: {day["day"]: day["meter_uj"] for day in node["days"]} for node in first["nodes"]}
    whole = 200 * 86_400 * 10**6
    assert days["n1"] == days["n3"] == {"2026-11-20": whole, DAY: whole}
    asked = len(server.asked)
    assert asked == 2
    assert json.loads(site.ok(*period))["nodes"] == first["nodes"]
    assert len(server.asked) == asked
    # one more day, and not the others
    site.ok("site", "closure", "--since", "2026-11-19", "--until", DAY, "--json")
    assert len(server.asked) == asked + 1
    assert json.loads(site.ok(*period, "--refresh"))["nodes"] == first["nodes"]
    assert len(server.asked) == asked + 3
    # a node that nobody asked about, and another source
    site.ok(*period, "--node", "n1")
    assert len(server.asked) == asked + 3
    by_server(site, server, 'other_watts{instance=~"{nodes}"}')
    site.ok(*period)
    assert len(server.asked) == asked + 5


def test_what_is_kept_of_a_meter_counts_while_it_does_not_answer(site: Sandbox, server: MeterServer) -> None:
    by_server(site, server)
    period = ("site", "closure", "--since", "2026-11-20", "--until", DAY, "--json")
    first = json.loads(site.ok(*period))
    server.routes.clear()
    again = site.run("site", "closure", "--since", "2026-11-19", "--until", DAY, "--json")
    assert json.loads(again.out)["nodes"] == first["nodes"]
    assert again.err.count("meter pdu: ") == 1


def test_a_file_of_readings_that_is_wrong_is_named_and_stays(site: Sandbox, server: MeterServer) -> None:
    by_server(site, server)
    period = ("site", "closure", "--since", DAY, "--until", DAY, "--json")
    first = json.loads(site.ok(*period))
    (path,) = site.home.glob(f"**/meters/pdu/{DAY}.json")
    content = json.loads(path.read_text())
    content["nodes"][0]["energy_uj"].pop()
    path.write_text(json.dumps(content))
    again = site.run(*period)
    assert json.loads(again.out)["nodes"] == first["nodes"]
    assert f"{path} is not valid: nodes: n1 has not 288 steps" in " ".join(again.err.split())
    assert json.loads(path.read_text()) == content


def test_where_readings_cannot_be_kept_the_meter_is_asked_each_time(site: Sandbox, server: MeterServer) -> None:
    by_server(site, server)
    path = site.home / ".local/share/hpcfrugal/spool/meters"
    path.write_text("")
    for number in (1, 2):
        found = site.run("site", "closure", "--since", "2026-11-20", "--until", DAY, "--json")
        assert len(json.loads(found.out)["nodes"]) == 3
        assert " ".join(found.err.split()).count("readings cannot be kept, so it is asked each time") == 1
        assert len(server.asked) == 2 * number
