"""Power meters of the settings: whether they return samples of one node for the last minutes."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping

from hpcfrugal.core.errors import InputError, SourceError
from hpcfrugal.core.text import plain
from hpcfrugal.doctor.finding import Finding
from hpcfrugal.doctor.settings import mistakes
from hpcfrugal.meters.base import SECOND_NS, Meter, Refusal, node_matcher, short_name
from hpcfrugal.meters.settings import read_meters
from hpcfrugal.settings.origin import SettingOrigin
from hpcfrugal.settings.section import NamedTable

_WINDOW_NS = 600 * SECOND_NS
_AREA = "meters"


def meter_findings(tables: Mapping[str, NamedTable]) -> list[Finding]:
    """One finding for each meter, and one for each mistake in the others."""
    findings = []
    for name, table in tables.items():
        try:
            findings += [_finding(meter, table.origin) for meter in read_meters({name: table}).values()]
        except InputError as error:
            findings += mistakes(_AREA, error.problems)
    return findings


def _finding(meter: Meter, origin: SettingOrigin) -> Finding:
    here = short_name(socket.gethostname())
    node = here if meter.nodes is None or node_matcher(meter.nodes)(here) else meter.nodes[0]
    what = f"{meter.source}, {meter.detail} ({origin.place})"
    now_ns = time.time_ns()
    try:
        answer = meter.fetch([node], now_ns - _WINDOW_NS, now_ns).get(node)
    except SourceError as error:
        advice = "the energy of whole nodes is unknown until it answers; each sync tries again"
        return Finding(_AREA, meter.name, "gap", plain(f"{what}: {error}", 400), advice)
    if isinstance(answer, Refusal):
        return Finding(
            _AREA, meter.name, "fault", plain(f"{what}: {node}: {answer.reason}", 400), "correct its settings"
        )
    if answer is None or not answer.points:
        advice = 'list the nodes that it covers: nodes = "..." in its settings'
        found = plain(f"{what}: no sample of {node} in the last {_WINDOW_NS // SECOND_NS} s", 400)
        return Finding(_AREA, meter.name, "gap", found, advice)
    found = f"{what}: {len(answer.points)} samples of {node} in the last {_WINDOW_NS // SECOND_NS} s"
    return Finding(_AREA, meter.name, "ok", plain(found, 400))
