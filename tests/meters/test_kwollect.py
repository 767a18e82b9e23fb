"""Grid'5000's metrics API on loopback."""

from __future__ import annotations

import pytest
from meter_server import MeterServer, as_json, kwollect

from hpcfrugal.core.errors import SourceError
from hpcfrugal.meters import kwollect as module
from hpcfrugal.meters.base import SECOND_NS, PowerSeries, Refusal
from hpcfrugal.meters.kwollect import Kwollect

T0 = 1_700_000_000
ROW = {
    "timestamp": "2025-02-02T14:39:37.003778+01:00",
    "device_id": "taurus-11",
    "metric_id": "wattmetre_power_watt",
    "value": 69.4,
    "labels": {"_device_orig": ["wattmetre1-port33"]},
}
"""A sample as the API gives it."""


def meter(server: MeterServer) -> Kwollect:
    return Kwollect(**{"name": "k", "kind": "kwollect", "url": f"{server.url}/metrics", "timeout": 2, "step": 1})


def test_a_documented_row(server: MeterServer) -> None:
    server.always("/metrics", answer=as_json([ROW, {**ROW, "timestamp": "2025-02-02T13:39:38+00:00", "value": None}]))
    answer = meter(server).fetch(["taurus-11.lyon.grid5000.fr"], 0, SECOND_NS)["taurus-11.lyon.grid5000.fr"]
    assert isinstance(answer, PowerSeries)
    assert answer.quantity == "power"
    assert answer.points[0] == (1738503577_003778_000, 69.4)
    assert answer.points[1][0] == 1738503578 * SECOND_NS
    assert answer.points[1][1] != answer.points[1][1]


def test_nodes_of_a_job_in_one_request_in_order_of_time(server: MeterServer) -> None:
    kwollect(server, lambda node, at: float(node[-1]) * 100 + at - T0, step_s=1.0)
    found = meter(server).fetch(["n1", "n2.site"], T0 * SECOND_NS, (T0 + 3) * SECOND_NS)
    assert [len(server.asked), server.asked[0][1]["nodes"]] == [1, "n1,n2"]
    assert (server.asked[0][1]["start_time"], server.asked[0][1]["end_time"]) == (str(T0), str(T0 + 3))
    for node, base in (("n1", 100), ("n2.site", 200)):
        answer = found[node]
        assert isinstance(answer, PowerSeries)
        assert [round(value) for _, value in answer.points] == [base, base + 1, base + 2]
        assert answer.points[0][0] == T0 * SECOND_NS + 3_778_000


def test_long_times_are_cut(server: MeterServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 20)
    kwollect(server, lambda *_: 5.0, step_s=1.0)
    found = meter(server).fetch(["n1", "n2"], T0 * SECOND_NS, (T0 + 25) * SECOND_NS)
    assert len(server.asked) == 3
    answer = found["n2"]
    assert isinstance(answer, PowerSeries)
    assert len(answer.points) == 25


def test_a_request_has_50_nodes_and_50000_samples_at_most(server: MeterServer) -> None:
    server.always("/metrics", answer=as_json([]))
    meter(server).fetch([f"n{number}" for number in range(51)], T0 * SECOND_NS, (T0 + 1001) * SECOND_NS)
    asked = [(len(query["nodes"].split(",")), int(query["start_time"]) - T0) for _, query, _ in server.asked]
    assert asked == [(50, 0), (50, 1000), (1, 0)]


def test_two_meters_of_one_node_are_not_mixed(server: MeterServer) -> None:
    server.always("/metrics", answer=as_json([ROW, {**ROW, "labels": {"_device_orig": ["wattmetre2-port1"]}}]))
    answer = meter(server).fetch(["taurus-11"], 0, SECOND_NS)["taurus-11"]
    assert isinstance(answer, Refusal)
    assert "2 series for one node" in answer.reason


def test_names_that_are_not_hosts_are_not_requested(server: MeterServer) -> None:
    assert meter(server).fetch(["a,b", "x&metrics=y", ""], 0, SECOND_NS) == {}
    assert server.asked == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (as_json({"code": 404}), "not a list"),
        (as_json([5]), "does not have"),
        (as_json([{**ROW, "timestamp": "yesterday"}]), "does not have"),
        (as_json([{**ROW, "timestamp": "2025-02-02T14:39:37"}]), "does not have"),
        (as_json([{**ROW, "value": 10**400}]), "does not have"),
        (as_json({"message": "unknown metric"}, 404), "not found .HTTP 404.: unknown metric"),
    ],
)
def test_unusable_answers_are_refused(server: MeterServer, answer: tuple[int, str, bytes], said: str) -> None:
    server.always("/metrics", answer=answer)
    with pytest.raises(SourceError, match=said):
        meter(server).fetch(["taurus-11"], 0, SECOND_NS)


def test_samples_of_another_metric_are_ignored(server: MeterServer) -> None:
    server.always("/metrics", answer=as_json([{**ROW, "metric_id": "bmc_node_power_watt"}]))
    assert meter(server).fetch(["taurus-11"], 0, SECOND_NS) == {}
