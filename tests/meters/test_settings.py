"""Tables of meters: what each makes, and every mistake at once."""

from __future__ import annotations

import os
import pwd
import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from named_tables import named_table

from hpcfrugal.core.errors import InputError
from hpcfrugal.meters.base import Meter, node_matcher, same_host
from hpcfrugal.meters.ipmi_dcmi import IpmiDcmi
from hpcfrugal.meters.kwollect import Kwollect
from hpcfrugal.meters.powerlog import LoggedMeter
from hpcfrugal.meters.prometheus import Prometheus
from hpcfrugal.meters.redfish import Redfish
from hpcfrugal.meters.settings import KINDS, read_meters
from hpcfrugal.settings.section import NamedTable

PROMETHEUS = {"kind": "prometheus", "url": "https://prom.example.org/", "query": 'watts{node="{node}"}'}


def table(name: str = "rack3", **values: Any) -> dict[str, NamedTable]:
    return {name: named_table("meters", name, values, "/etc/x.toml")}


def one(**values: Any) -> Meter:
    return read_meters(table(**values))["rack3"]


def problems(**values: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_meters(table(**values))
    return [str(problem) for problem in caught.value.problems]


def test_prometheus() -> None:
    meter = one(**PROMETHEUS, unit="kWh", nodes="n[1-3]", step="30s", cluster="big", token_file="/etc/token")
    assert meter.cluster == "big"
    assert isinstance(meter, Prometheus)
    assert (meter.url, meter.unit, meter.nodes) == ("https://prom.example.org", "kWh", ("n1", "n2", "n3"))
    assert (meter.terms.step_ns, meter.terms.max_gap_ns) == (30 * 10**9, 90 * 10**9)
    assert meter.token_file == Path("/etc/token")
    assert [node for node in ("n1", "n2.example.org", "n4", "n4.n1") if node_matcher(meter.nodes)(node)] == [
        "n1",
        "n2.example.org",
    ]


def test_names_with_and_without_their_domain() -> None:
    covers = node_matcher(("n1.a.org", "n2"))
    assert [covers(node) for node in ("n1.a.org", "n1", "n1.b.org", "n2", "n2.a.org", "n3")] == [
        True, True, False, True, True, False,
    ]  # fmt: skip
    assert same_host("n1", "n1.a.org")
    assert same_host("n1.a.org", "n1")
    assert not same_host("n1.a.org", "n1.b.org")


def test_a_path_may_start_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    meter = one(**PROMETHEUS, token_file="~/token")
    assert isinstance(meter, Prometheus)
    assert meter.token_file == Path("/home/alice/token")
    assert "names a user that does not exist" in problems(**PROMETHEUS, token_file="~no-such-user-here/token")[0]


def test_the_examples_of_the_manual() -> None:
    """The settings in docs/meters.md are accepted, and the keys in its tables are those that are read."""
    text = (Path(__file__).parents[2] / "docs/meters.md").read_text()
    first, second = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    tables = tomllib.loads(first)["meters"]
    named = {name: named_table("meters", name, values) for name, values in tables.items()}
    assert [one.source for one in read_meters(named).values()] == [
        "prometheus", "kwollect", "ipmi-dcmi", "redfish",
    ]  # fmt: skip
    assert one(**{**PROMETHEUS, **tomllib.loads(second)})
    every = {key for model in KINDS.values() for key in model.known_keys} - {"name", "kind"}
    assert {"url", "query", "power_control", "settle"} <= every
    assert every - set(re.findall(r"`([a-z_]+)`", text)) == set()


def test_kwollect_has_the_wattmeter_as_its_metric() -> None:
    meter = one(kind="kwollect", url="https://api.grid5000.fr/stable/sites/lyon/metrics", step=1)
    assert isinstance(meter, Kwollect)
    assert meter.metric == "wattmetre_power_watt"
    assert node_matcher(meter.nodes)("anything")


def test_dcmi_and_redfish_are_read_from_a_log() -> None:
    found = one(kind="ipmi-dcmi", log="/var/lib/power", timeout="5s")
    assert isinstance(found, IpmiDcmi)
    assert (found.source, found.log, found.owner) == ("ipmi-dcmi", Path("/var/lib/power"), 0)
    assert (found.command, found.timeout) == (None, timedelta(seconds=5))
    assert found.is_local
    found = one(kind="redfish", log="/p", nodes="n[1-2]", url="https://{node}-bmc:8443", chassis="1", owner=os.getuid())
    assert isinstance(found, Redfish)
    assert found.url == "https://{node}-bmc:8443"
    assert found.owner == os.getuid()
    assert not found.is_local


def test_a_command_for_other_nodes_needs_their_names() -> None:
    command = ["ipmitool", "-H", "{node}-bmc", "dcmi", "power", "reading"]
    found = one(kind="ipmi-dcmi", log="/p", nodes="n1", command=command)
    assert isinstance(found, LoggedMeter)
    assert not found.is_local
    (problem,) = problems(kind="ipmi-dcmi", log="/p", command=command)
    assert problem.startswith("/etc/x.toml: meters.rack3.nodes: is missing")


def test_the_owner_can_be_a_name() -> None:
    found = one(kind="ipmi-dcmi", log="/p", owner=pwd.getpwuid(os.getuid()).pw_name)
    assert isinstance(found, LoggedMeter)
    assert found.owner == os.getuid()
    (problem,) = problems(kind="ipmi-dcmi", log="/p", owner="nobody-of-this-name")
    assert "is not a user of this machine" in problem
    assert "needs a user's name or number" in problems(kind="ipmi-dcmi", log="/p", owner=1.5)[0]


def test_every_mistake_of_every_table_at_once() -> None:
    tables = {
        **table("a", kind="promethus", url="x"),
        **table("b", kind="prometheus", url="ftp://x", unit="Watt", stepp=5, nodes="n[1-", max_power_w=-1),
        **table("c d", kind="kwollect", url="https://x?y=1", timeout=0, tls_verify="no"),
    }
    with pytest.raises(InputError) as caught:
        read_meters(tables)
    said = [str(problem) for problem in caught.value.problems]
    expected = [
        "meters.a.kind: is not a kind of meter: 'promethus' (did you mean prometheus?)",
        "meters.b.nodes: ",
        "meters.b.max_power_w: needs a number from 1 to 1e+07",
        "meters.b.url: needs a URL, such as https://",
        "meters.b.unit: needs one of W, kW, J, kJ, Wh, kWh",
        "meters.b.query: is missing (for example ",
        "meters.b.stepp: is not a setting of this kind of meter (did you mean step?)",
        "meters.c d: has a name that does not fit a file name",
        "meters.c d.url: needs a URL without ? and #",
        "meters.c d.timeout: needs a time from 0.1s to 5m",
        "meters.c d.tls_verify: needs true or false",
    ]
    assert len(said) == len(expected), said
    for text, start in zip(said, expected, strict=True):
        assert text.startswith(f"/etc/x.toml: {start}")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"token": "s3cret"}, "token: must not be in a settings file (use token_file or token_env)"),
        ({"url": "https://me:s3cret@prom"}, "url: must not hold credentials"),
        ({"url": "http://prom.example.org", "token_env": "T"}, "url: sends credentials without encryption"),
        ({"user": "me"}, "password_file: is missing"),
        ({"password_env": "P"}, "user: is missing"),
        ({"token_env": "T", "token_file": "/t"}, "token_env: cannot be combined with token_file"),
        ({"token_env": "T", "user": "me", "password_env": "P"}, "token_file: cannot be combined with user"),
        ({"token_file": "relative"}, "token_file: needs an absolute path"),
        ({"query": "watts"}, "query: needs {node} in place of the node's name"),
        ({"query": 'watts{n="{node}"} + {nodes}'}, "query: needs {node}"),
        ({"query": 'watts{n="{node}"}', "node_label": "n"}, "query: needs {nodes}"),
        ({"query": 'watts{n="{nodes}"}', "node_label": 5}, "node_label: needs a text on one line"),
        ({"query": "watts{n=`{node}`}"}, "query: has a string in backticks"),
        ({"nodes": "(null)"}, "nodes: names no node"),
        ({"query": 5}, "query: needs a text on one line"),
        ({"url": "https://prom/{node}"}, "url: needs a URL"),
        ({"url": "https://prom:port"}, "url: needs a URL"),
        ({"url": "https://prom\t.example.org"}, "url: needs a URL"),
        ({"url": " https://prom.example.org"}, "url: needs a URL"),
        ({"url": "https://prom.example.org/\0"}, "url: needs a URL"),
    ],
)
def test_mistakes(change: dict[str, Any], where: str) -> None:
    (problem,) = problems(**{**PROMETHEUS, **change})
    assert problem.startswith(f"/etc/x.toml: meters.rack3.{where}")
    assert "s3cret" not in problem


def test_redfish_needs_nodes_and_a_place_for_their_names() -> None:
    said = problems(kind="redfish", log="/p", url="https://bmc", power_control=-1)
    assert [text.split(": ")[1:3] for text in said] == [
        ["meters.rack3.nodes", 'is missing (for example "n[1-100]")'],
        ["meters.rack3.url", "needs {node} in place of the node's name (for example https://{node}-bmc)"],
        ["meters.rack3.power_control", "needs a whole number from 0 to 999"],
    ]


def test_credentials_may_travel_on_loopback() -> None:
    assert one(**{**PROMETHEUS, "url": "http://127.0.0.1:9090", "token_env": "T"})
