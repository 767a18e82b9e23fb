"""Power meters of the settings: whether they return samples of one node for the last minutes."""

from __future__ import annotations

import time
from collections.abc import Mapping

from hpcfrugal.core.errors import InputError, SourceError
from hpcfrugal.core.host import this_host
from hpcfrugal.core.text import plain
from hpcfrugal.doctor.finding import Finding, Level
from hpcfrugal.doctor.settings import mistakes
from hpcfrugal.meters.base import SECOND_NS, Meter, Refusal, node_matcher
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
    here = this_host()
    node = here if meter.nodes is None or node_matcher(meter.nodes)(here) else meter.nodes[0]
    what = f"{meter.source}, {meter.detail} ({origin.place})"
    now_ns = time.time_ns()
    level: Level = "gap"
    advice: str | None = None
    try:
        answer = meter.fetch([node], now_ns - _WINDOW_NS, now_ns).get(node)
        if isinstance(answer, Refusal):
            level, found, advice = "fault", f"{node}: {answer.reason}", "correct its settings"
        elif answer is None or not answer.points:
            found = f"no sample of {node} in the last {_WINDOW_NS // SECOND_NS} s"
            advice = 'list the nodes that it covers: nodes = "..." in its settings'
        else:
            level = "ok"
            found = f"{len(answer.points)} samples of {node} in the last {_WINDOW_NS // SECOND_NS} s"
    except SourceError as error:
        found, advice = str(error), "the energy of whole nodes is unknown until it answers; each sync tries again"
    return Finding(_AREA, meter.name, level, plain(f"{what}: {found}", 400), advice)
