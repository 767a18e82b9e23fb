"""Samples from a query to Prometheus, or to another server with its HTTP API.

A plain selector (``ipmi_dcmi_power_watts{instance="{node}"}``) is fetched as ``selector[range]``, which gives the
samples as they were scraped, with their own times. Any other expression goes to ``query_range``, which evaluates it at
each step: a value may then be as old as the scrape interval, and a target that was down for less than five minutes
leaves no gap. Format of the answers: https://prometheus.io/docs/prometheus/latest/querying/api/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from hpcfrugal.core.errors import SourceError
from hpcfrugal.core.section import Fault, optional, required
from hpcfrugal.meters.access import MeterClient, ServerMeter
from hpcfrugal.meters.base import SECOND_NS, MeterAnswer, PowerSeries, Refusal, Unit, same_host
from hpcfrugal.settings.values import SingleLine, Url, one_of

MAX_POINTS = 10_000
"""Samples of one series per request; Prometheus returns at most 11 000."""

_NODES_AT_ONCE = 50

_Labels = tuple[tuple[str, str], ...]
_BySeries = dict[_Labels, dict[int, float]]

_SELECTOR = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\s*(?:\{(?:[^{}\"']|\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')*\})?")
_ESCAPED = re.compile(r"[\"'\\\x00-\x1f\x7f]")
_REGEX_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")


def quoted(text: str) -> str:
    """``text`` escaped for a PromQL string in single or double quotes.

    >>> quoted('a"} or up{x="')
    'a\\\\x22} or up{x=\\\\x22'
    """
    return _ESCAPED.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def alternatives(nodes: Sequence[str]) -> str:
    """A regular expression (RE2, as in PromQL) that matches these names and no others."""
    return "|".join(_REGEX_SPECIAL.sub(lambda match: "\\" + match[0], node) for node in nodes)


class Prometheus(ServerMeter):
    """One query. ``{node}`` in it stands for a node, or ``{nodes}`` for several, distinguished by ``node_label``."""

    url: str = required(Url, "", "https://prometheus.example.org")
    unit: Unit = optional(one_of(Unit), default="W")
    node_label: str | None = optional(SingleLine)
    """Label with the name of the node, in an answer for several nodes; None: one query per node."""
    query: str = required(SingleLine, "", "'ipmi_dcmi_power_consumption_watts{instance=\"{node}\"}'")

    def contradictions(self) -> list[Fault]:
        """A query that does not name its nodes in the way that ``node_label`` demands; see also ``ServerMeter``."""
        found, query = super().contradictions(), self.query or ""
        wanted, other = ("{node}", "{nodes}") if self.node_label is None else ("{nodes}", "{node}")
        if wanted not in query or other in query:
            hint = '{node} for one node a query; {nodes} with node_label = "LABEL" for several'
            what = f"needs {wanted} in place of the node's name, and no {other}"
            found.append(Fault(("query",), what, hint, (("node_label",),)))
        if "`" in query:
            what = "has a string in backticks, where names cannot be escaped"
            found.append(Fault(("query",), what, "use double quotes"))
        return found

    @property
    def detail(self) -> str:
        return f"{self.host} {self.query}"

    def fetch(self, nodes: Sequence[str], start_ns: int, end_ns: int) -> Mapping[str, MeterAnswer]:
        """See ``Meter.fetch``."""
        asked = [node for node in nodes if _can_be_asked(node)]
        at_once = 1 if self.node_label is None else _NODES_AT_ONCE
        answers: dict[str, MeterAnswer] = {}
        with closing(MeterClient(self)) as client:
            for at in range(0, len(asked), at_once):
                some = asked[at : at + at_once]
                # Only one of the two is in the query.
                query = self.query.replace("{node}", quoted(some[0])).replace("{nodes}", quoted(alternatives(some)))
                answers |= self._answers(self._ask(client, query, start_ns, end_ns), some)
        return answers

    def _ask(self, client: MeterClient, query: str, start_ns: int, end_ns: int) -> _BySeries:
        """Samples by the labels of their series. The range is split so that no answer exceeds a server's limit."""
        found: _BySeries = {}
        raw = _SELECTOR.fullmatch(query) is not None
        span_ns = MAX_POINTS * self.terms.step_ns
        while start_ns < end_ns:
            until_ns = min(start_ns + span_ns, end_ns)
            if raw:
                # The range is open on its left in Prometheus 3, so adjacent requests overlap by one millisecond.
                length_ms = (until_ns - start_ns) // 10**6 + 1
                data = _data(client, "query", {"query": f"{query}[{length_ms}ms]", "time": _seconds(until_ns)})
            else:
                params = {"query": query, "start": _seconds(start_ns), "end": _seconds(until_ns)}
                data = _data(client, "query_range", params | {"step": _seconds(self.terms.step_ns)})
            for item in data:
                labels, points = _series(item)
                found.setdefault(labels, {}).update(points)
            start_ns = until_ns
        return found

    def _answers(self, found: _BySeries, nodes: Sequence[str]) -> dict[str, MeterAnswer]:
        mine: dict[str, list[Mapping[int, float]]] = {}
        for labels, points in found.items():
            node = nodes[0] if self.node_label is None else _node_of(dict(labels).get(self.node_label, ""), nodes)
            if node is not None:
                mine.setdefault(node, []).append(points)
        answers: dict[str, MeterAnswer] = {}
        for node, several in mine.items():
            if len(several) > 1:
                answers[node] = Refusal(
                    f"the query returns {len(several)} series for one node; use sum() or select one"
                )
            else:
                answers[node] = PowerSeries.of(several[0], self.unit)
        return answers


def _can_be_asked(node: str) -> bool:
    """False for names that are not UTF-8, since no label can have them."""
    return node.isascii() or not any(0xD800 <= ord(char) <= 0xDFFF for char in node)


def _node_of(label: str, nodes: Sequence[str]) -> str | None:
    """The node of a label: its name, with or without a port, with or without its domain."""
    host = label.partition(":")[0]
    for node in nodes:
        if node in (label, host):
            return node
    return next((node for node in nodes if same_host(node, host)), None)


def _seconds(time_ns: int) -> str:
    """Seconds with three decimals, the resolution of Prometheus."""
    whole, rest = divmod(time_ns // 10**6, 1000)
    return f"{whole}.{rest:03}"


def _data(client: MeterClient, endpoint: str, params: Mapping[str, str]) -> list[Any]:
    """The result list of an answer of type matrix. Raises ``SourceError``."""
    answer = client.get(f"/api/v1/{endpoint}", params, error_key="error", may_post=True)
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or answer.get("status") != "success" or not isinstance(data, dict):
        reason = str(answer.get("error", "")) if isinstance(answer, dict) else ""
        raise SourceError(f"the query failed: {reason[:200] or 'the answer is not from a Prometheus server'}")
    if answer.get("warnings"):
        raise SourceError(f"the query was answered only in part: {str(answer['warnings'])[:200]}")
    result = data.get("result")
    if data.get("resultType") != "matrix" or not isinstance(result, list):
        raise SourceError(f"the query returns no time series but a {str(data.get('resultType'))[:20]!r}")
    return result


def _series(item: Any) -> tuple[_Labels, dict[int, float]]:
    try:
        labels = tuple(sorted((str(key), str(value)) for key, value in item["metric"].items()))
        points = {
            round(float(at_s) * 1000) * (SECOND_NS // 1000): float(value) for at_s, value in item.get("values", [])
        }
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        raise SourceError("a series in the answer does not have Prometheus's format") from None
    return labels, points
