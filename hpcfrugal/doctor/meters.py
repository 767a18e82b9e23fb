"""Power meters of the settings: whether they answer, asked about one node for the last minutes."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping

from hpcfrugal.core.errors import InputError
from hpcfrugal.core.text import plain
from hpcfrugal.doctor.finding import Finding
from hpcfrugal.meters.base import SECOND_NS, Meter, MeterError, Refusal, coverage, short
from hpcfrugal.meters.settings import configured
from hpcfrugal.settings.config import ConfigEntry

_WINDOW_NS = 600 * SECOND_NS
_AREA = "meters"


def meter_findings(entries: Mapping[str, ConfigEntry]) -> list[Finding]:
    """One finding for each meter, or for each mistake in their settings."""
    try:
        meters = [one.meter for one in configured(entries).values()]
    except InputError as error:
        return [
            Finding(_AREA, "settings", "fault", plain(f"{problem.where}: {problem.what}", 300), problem.hint)
            for problem in error.problems
        ]
    return [_finding(meter) for meter in meters]


def _finding(meter: Meter) -> Finding:
    here = short(socket.gethostname())
    node = here if meter.nodes is None or coverage(meter.nodes)(here) else meter.nodes[0]
    what = f"{meter.source}, {meter.detail}"
    now_ns = time.time_ns()
    try:
        answer = meter.fetch([node], now_ns - _WINDOW_NS, now_ns).get(node)
    except MeterError as error:
        advice = "energy of whole nodes stays unknown until it answers; jobs are asked about again at each sync"
        return Finding(_AREA, meter.name, "gap", plain(f"{what}: {error}", 400), advice)
    if isinstance(answer, Refusal):
        return Finding(
            _AREA, meter.name, "fault", plain(f"{what}: {node}: {answer.reason}", 400), "change its settings"
        )
    if answer is None or not answer.points:
        advice = "ask about a node that it has: nodes in its settings names them"
        found = plain(f"{what}: no sample of {node} in the last {_WINDOW_NS // SECOND_NS} s", 400)
        return Finding(_AREA, meter.name, "gap", found, advice)
    found = f"{what}: {len(answer.points)} samples of {node} in the last {_WINDOW_NS // SECOND_NS} s"
    return Finding(_AREA, meter.name, "ok", plain(found, 400))
