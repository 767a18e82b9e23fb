"""Samples from Grid'5000's metrics API, which is that of Kwollect.

``GET <url>?nodes=a,b&metrics=NAME&start_time=..&end_time=..`` answers with a list of objects ``timestamp`` (ISO 8601
with its offset), ``device_id`` (the node's short name), ``metric_id``, ``value`` and ``labels``. Description:
https://www.grid5000.fr/w/Monitoring_Using_Kwollect.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from hpcfrugal.core.errors import SourceError
from hpcfrugal.core.host import short_name
from hpcfrugal.core.section import optional, required
from hpcfrugal.core.time import instant_ns, parse_iso
from hpcfrugal.meters.access import MeterClient, ServerMeter
from hpcfrugal.meters.base import SECOND_NS, MeterAnswer, PowerSeries, Refusal, Unit
from hpcfrugal.settings.values import SingleLine, Url, one_of

MAX_ROWS = 50_000
"""Samples in one request, over all of its nodes."""

_NODES_AT_ONCE = 50
_HOST = re.compile(r"[A-Za-z0-9_-]{1,63}")


class Kwollect(ServerMeter):
    """One metric of one site."""

    url: str = required(Url, "", "https://api.grid5000.fr/stable/sites/lyon/metrics")
    metric: str = optional(SingleLine, default="wattmetre_power_watt")
    unit: Unit = optional(one_of(Unit), default="W")

    @property
    def detail(self) -> str:
        return f"{self.url} {self.metric}"

    def fetch(self, nodes: Sequence[str], start_ns: int, end_ns: int) -> Mapping[str, MeterAnswer]:
        """See ``Meter.fetch``."""
        asked = [node for node in nodes if _HOST.fullmatch(short_name(node))]
        found: dict[str, dict[str, dict[int, float]]] = {}
        with closing(MeterClient(self)) as client:
            for at in range(0, len(asked), _NODES_AT_ONCE):
                some = [short_name(node) for node in asked[at : at + _NODES_AT_ONCE]]
                span_ns = max(1, MAX_ROWS // len(some)) * self.terms.step_ns
                for begin_ns in range(start_ns, end_ns, span_ns):
                    for row in self._rows(client, some, begin_ns, min(begin_ns + span_ns, end_ns)):
                        self._take(row, found)
        return {node: self._answer(found[short_name(node)]) for node in asked if short_name(node) in found}

    def _rows(self, client: MeterClient, nodes: Sequence[str], start_ns: int, end_ns: int) -> list[Any]:
        params = {
            "nodes": ",".join(nodes),
            "metrics": self.metric,
            "start_time": str(start_ns // SECOND_NS),
            "end_time": str(-(-end_ns // SECOND_NS)),
        }
        rows = client.get("", params, error_key="message")
        if not isinstance(rows, list):
            raise SourceError("the answer is not a list of samples")
        return rows

    def _take(self, row: Any, found: dict[str, dict[str, dict[int, float]]]) -> None:
        """Add a sample by device and labels. Several sets of labels mean several meters of one device."""
        try:
            if row["metric_id"] != self.metric:
                return
            at = parse_iso(row["timestamp"])
            labels = json.dumps(row.get("labels") or {}, sort_keys=True)
            value = float("nan") if row["value"] is None else float(row["value"])
            at_ns = instant_ns(at)
            found.setdefault(short_name(str(row["device_id"])), {}).setdefault(labels, {})[at_ns] = value
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
            raise SourceError("a sample in the answer does not have Kwollect's format") from None

    def _answer(self, by_labels: Mapping[str, Mapping[int, float]]) -> MeterAnswer:
        if len(by_labels) > 1:
            return Refusal(f"the metric has {len(by_labels)} series for one node: {', '.join(sorted(by_labels))[:200]}")
        (points,) = by_labels.values()
        return PowerSeries.of(points, self.unit)
