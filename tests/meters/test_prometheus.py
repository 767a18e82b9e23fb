"""Prometheus on loopback: the documented answers, and whatever else a server may say."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from meter_server import MeterServer, as_json, prometheus, square_j, square_w

from hpcfrugal.core.errors import SourceError, Unreachable
from hpcfrugal.meters.base import SECOND_NS, PowerSeries, Refusal
from hpcfrugal.meters.prometheus import Prometheus, alternatives, quoted

T0 = 1_700_000_000
HOSTILE = 'n1"} or up{x="'


def meter(server: MeterServer, query: str = 'watts{instance="{node}"}', **changes: object) -> Prometheus:
    keys = {"name": "p", "kind": "prometheus", "url": server.url, "timeout": 2, "query": query, "step": 1}
    return Prometheus(**keys | changes)


def fetch(one: Prometheus, nodes: list[str], seconds: float) -> dict[str, PowerSeries]:
    found = one.fetch(nodes, T0 * SECOND_NS, round((T0 + seconds) * SECOND_NS))
    assert all(isinstance(answer, PowerSeries) for answer in found.values()), found
    return found  # type: ignore[return-value]


def test_a_selector_gives_the_samples_as_they_were_scraped(server: MeterServer) -> None:
    prometheus(server, lambda _, at: square_w(at), step_s=1.0)
    found = fetch(meter(server), ["n1"], 4)
    assert found["n1"].quantity == "power"
    assert found["n1"].points == [((T0 + k) * SECOND_NS, square_w(k)) for k in range(5)]
    path, params, _ = server.asked[0]
    assert (path, params["query"], params["time"]) == ("/api/v1/query", 'watts{instance="n1"}[4001ms]', f"{T0 + 4}.000")


def test_an_expression_goes_step_by_step(server: MeterServer) -> None:
    prometheus(server, lambda _, at: square_w(at), step_s=1.0)
    found = fetch(meter(server, 'sum(watts{instance="{node}"})'), ["n1"], 4)
    assert [power_w for _, power_w in found["n1"].points] == [100, 300, 100, 300, 100]
    assert server.asked[0][0] == "/api/v1/query_range"


@pytest.mark.parametrize("query", ['watts{instance="{node}"}', 'sum(watts{instance="{node}"})'])
def test_a_long_range_is_cut_without_losing_or_doubling_samples(server: MeterServer, query: str) -> None:
    prometheus(server, lambda _, at: square_w(at), step_s=1.0)
    found = fetch(meter(server, query), ["n1"], 25_000)
    assert len(server.asked) == 3
    assert [at for at, _ in found["n1"].points] == [(T0 + k) * SECOND_NS for k in range(25_001)]


def test_units(server: MeterServer) -> None:
    prometheus(server, lambda _, at: at - T0, step_s=1.0)
    found = fetch(meter(server, unit="kWh"), ["n1"], 2)
    assert found["n1"] == PowerSeries("energy", [((T0 + k) * SECOND_NS, k * 3.6e6) for k in range(3)])


def test_many_nodes_in_one_query(server: MeterServer) -> None:
    nodes = [f"n{k}.cluster" for k in range(1, 121)]
    prometheus(server, lambda node, _: float(node[1:].partition(".")[0]), step_s=1.0, nodes=(*nodes, "n1xcluster"))
    one = meter(server, 'watts{instance=~"{nodes}"}', node_label="instance")
    found = fetch(one, nodes, 1)
    assert {node: series.points[0][1] for node, series in found.items()} == {
        f"n{k}.cluster": float(k) for k in range(1, 121)
    }
    assert len(server.asked) == 3
    assert {headers["method"] for _, _, headers in server.asked} == {"GET"}


def test_a_long_query_goes_into_the_body(server: MeterServer) -> None:
    nodes = [f"node-with-a-name-of-some-length-{k}" for k in range(1, 51)]
    prometheus(server, lambda *_: 5.0, step_s=1.0, nodes=tuple(nodes))
    found = fetch(meter(server, 'watts{instance=~"{nodes}"}', node_label="instance"), nodes, 1)
    assert set(found) == set(nodes)
    assert [headers["method"] for _, _, headers in server.asked] == ["POST"]


@pytest.mark.parametrize("label", ["n1", "n1:9100", "n1.example.org:9100", "n1.example.org"])
def test_a_label_may_have_a_port_and_a_domain(server: MeterServer, label: str) -> None:
    answer = {"resultType": "matrix", "result": [{"metric": {"instance": label}, "values": [[T0, "5"]]}]}
    server.always("/api/v1/query", answer=as_json({"status": "success", "data": answer}))
    found = fetch(meter(server, 'watts{instance=~"({nodes})(:.*)?"}', node_label="instance"), ["n1", "n10"], 1)
    assert found == {"n1": PowerSeries("power", [(T0 * SECOND_NS, 5.0)])}


def test_several_series_for_one_node_are_refused(server: MeterServer) -> None:
    result = [{"metric": {"psu": psu}, "values": [[T0, "5"]]} for psu in "12"]
    server.always(
        "/api/v1/query", answer=as_json({"status": "success", "data": {"resultType": "matrix", "result": result}})
    )
    answer = meter(server).fetch(["n1"], T0 * SECOND_NS, (T0 + 1) * SECOND_NS)["n1"]
    assert answer == Refusal("the query returns 2 series for one node; use sum() or select one")


def test_an_answer_without_a_series_is_refused(server: MeterServer) -> None:
    prometheus(server, lambda _, at: square_w(at), step_s=1.0)
    assert fetch(meter(server), ["n2"], 4) == {}


def test_nan_comes_through_for_the_integrator_to_count(server: MeterServer) -> None:
    prometheus(server, lambda _, at: "NaN" if at == T0 + 1 else 5.0, step_s=1.0)
    values = [power_w for _, power_w in fetch(meter(server), ["n1"], 2)["n1"].points]
    assert values[0] == 5.0
    assert values[1] != values[1]


def test_a_name_cannot_leave_its_string(server: MeterServer) -> None:
    prometheus(server, lambda _, at: square_j(at), step_s=1.0, nodes=("n1", HOSTILE))
    assert fetch(meter(server), [HOSTILE], 1) == {}
    query = server.asked[0][1]["query"]
    assert query == 'watts{instance="n1\\x22} or up{x=\\x22"}[1001ms]'
    assert re.fullmatch(r'watts\{instance="(?:[^"\\]|\\.)*"\}\[1001ms\]', query)
    for text in ("a\\", 'a"', "a'", "a\nb", "a`b", "\x7f", "ü"):
        inside = quoted(text)
        assert not re.search(r"[\"'\n\x7f]", inside)
        # What the server's Go reads from it is the name again.
        assert json.loads('"' + re.sub(r"\\x(..)", r"\\u00\1", inside) + '"') == text
    assert re.fullmatch(alternatives(["a.b", "c|d", "e*"]), "a.b")
    assert not re.fullmatch(alternatives(["a.b", "c|d", "e*"]), "axb")
    assert re.fullmatch(alternatives(["a.b", "c|d", "e*"]), "c|d")


def test_a_name_that_is_not_text_is_not_requested(server: MeterServer) -> None:
    prometheus(server, lambda _, at: square_w(at), step_s=1.0)
    assert fetch(meter(server), ["n\udcff"], 1) == {}
    assert server.asked == []


BAD = {
    "401": ((401, "text/plain", b"no"), "refused access (HTTP 401)"),
    "500": ((500, "text/plain", b"oops"), "server error (HTTP 500)"),
    "503 with a reason": (
        as_json({"status": "error", "error": "query timed out"}, 503),
        "server error (HTTP 503): query timed out",
    ),
    "html": ((200, "text/html", b"<html>login</html>"), "sent an HTML page instead of JSON"),
    "cut": ((200, "application/json", b'{"status":"success","data":{"resul'), "sent invalid or incomplete JSON"),
    "empty": ((200, "application/json", b""), "sent an empty answer"),
    "nan": ((200, "application/json", b'{"status": NaN}'), "sent invalid JSON: NaN"),
    "error": (as_json({"status": "error", "error": "bad"}), "the query failed: bad"),
    "list": (as_json([1]), "not from a Prometheus server"),
    "vector": (
        as_json({"status": "success", "data": {"resultType": "vector", "result": []}}),
        "returns no time series but a 'vector'",
    ),
    "values": (
        as_json({"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1]]}]}}),
        "does not have",
    ),
    "warnings": (
        as_json({"status": "success", "warnings": ["a store is gone"], "data": {"resultType": "matrix", "result": []}}),
        "answered only in part: ['a store is gone']",
    ),
    "redirect": ((302, "text/plain", b""), "redirects to another URL (HTTP 302)"),
}


@pytest.mark.parametrize("name", BAD)
def test_unusable_answers_are_refused(server: MeterServer, name: str) -> None:
    answer, said = BAD[name]
    server.always("/api/v1/query", answer=answer)
    with pytest.raises(SourceError, match=re.escape(said)):
        fetch(meter(server), ["n1"], 1)
    assert len(server.asked) == 1


def test_a_slow_server_and_one_that_is_not_there(server: MeterServer) -> None:
    server.always("/api/v1/query", answer=as_json({}), after_s=1.0)
    with pytest.raises(SourceError, match=r"did not answer (within 0|in time)"):
        fetch(meter(server, timeout=0.2), ["n1"], 1)
    with pytest.raises(SourceError, match="cannot be reached"):
        fetch(meter(server, url="http://127.0.0.1:1"), ["n1"], 1)


def test_a_server_that_trickles_is_not_waited_for(server: MeterServer) -> None:
    server.always("/api/v1/query", answer=as_json({"padding": "x" * 1000}))
    server.piece, server.pause_s = 1, 0.05
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"did not answer (within 0.2 s|in time)"):
        fetch(meter(server, timeout=0.2), ["n1"], 1)
    assert time.monotonic() - began < 25  # the whole answer takes 50 s


def test_credentials_go_with_the_request_and_into_no_message(
    server: MeterServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.always("/api/v1/query", answer=(401, "text/plain", b""))
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    monkeypatch.setenv("PASSWORD", "s3cret")
    for credentials, header in (
        ({"token_file": str(file)}, "Bearer s3cret"),
        ({"user": "me", "password_env": "PASSWORD"}, "Basic bWU6czNjcmV0"),
    ):
        with pytest.raises(SourceError) as caught:
            fetch(meter(server, **credentials), ["n1"], 1)
        assert server.asked[-1][2]["authorization"] == header
        assert "s3cret" not in str(caught.value)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("s3cret", 0o644, "credentials can be read by others"),
        ("", 0o600, "needs 1 line"),
        ("s3cret\nmore", 0o600, "needs 1 line"),
        (None, 0o600, "cannot be read: No such file"),
    ],
)
def test_secrets_that_cannot_be_used(
    server: MeterServer, tmp_path: Path, text: str | None, mode: int, said: str
) -> None:
    file = tmp_path / "token"
    if text is not None:
        file.write_text(text)
        file.chmod(mode)
    with pytest.raises(SourceError, match=said) as caught:
        fetch(meter(server, token_file=str(file)), ["n1"], 1)
    assert "s3cret" not in str(caught.value)
    assert server.asked == []


def test_requests_to_this_machine_bypass_the_proxy(server: MeterServer, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = MeterServer()
    try:
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("METER_TOKEN", "s3cret")
        prometheus(server, lambda _, at: square_w(at), step_s=1.0)
        assert fetch(meter(server, token_env="METER_TOKEN"), ["n1"], 4)
        assert proxy.asked == []
    finally:
        proxy.close()


def test_an_untrusted_certificate(server: MeterServer, tmp_path: Path) -> None:
    """The loopback server speaks no TLS at all, which is refused too; a list that is none is named."""
    with pytest.raises(SourceError, match="cannot be reached"):
        fetch(meter(server, url=server.url.replace("http:", "https:")), ["n1"], 1)
    bad = tmp_path / "ca.pem"
    bad.write_text("no certificate")
    with pytest.raises(SourceError, match=r"ca.pem: not a file of certificates"):
        fetch(meter(server, url="https://127.0.0.1:1", ca_file=str(bad)), ["n1"], 1)
