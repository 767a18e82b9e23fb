"""The closed energy of a site's nodes: from the ledger, and from the power meters of the settings."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from hpcfrugal.accounting.closure import WallSpan
from hpcfrugal.ledger.closure import ClosedNode, MeteredDay, add_meters, closed_nodes, known_jobs_uj
from hpcfrugal.ledger.clusters import figures_of_clusters
from hpcfrugal.ledger.due import DAY_NS
from hpcfrugal.meters.base import Meter, node_matcher
from hpcfrugal.meters.daily import curves_by_day
from hpcfrugal.meters.integrate import Curve

_ALL_OF = 0.99
"""A meter that read this part of a time read all of it, as far as a ratio is concerned."""


def closed_site(
    connection: sqlite3.Connection,
    meters: Sequence[Meter],
    within: WallSpan,
    nodes: Sequence[str] | None,
    suspend_s: int | None,
    troubles: list[str],
) -> dict[str, ClosedNode]:
    """The nodes of the agents in the ledger, of the clusters that it knows, and of the meters; ``nodes`` None: all.

    Meters that do not answer are named in ``troubles``. Where several have a node, the first in the settings counts.
    """
    found = closed_nodes(connection, within, nodes, suspend_s)
    named = {node for one in figures_of_clusters(connection).values() for node in one.class_by_node}
    wanted = set(nodes) if nodes is not None else named.union(found)
    metered: dict[tuple[str, int], MeteredDay] = {}
    for meter in meters:
        covers = node_matcher(meter.nodes)
        own = sorted({node for node in wanted.union(meter.nodes or () if nodes is None else ()) if covers(node)})
        for node, span, curve in curves_by_day(meter, own, *within, troubles) if own else ():
            day = span[0] // DAY_NS
            if (node, day) not in metered and (read := _read(meter, curve, span, found.get(node), day)) is not None:
                metered[node, day] = read
    return add_meters(found, metered, known_jobs_uj(connection, within), connection, suspend_s)


def _read(meter: Meter, curve: Curve, span: WallSpan, one: ClosedNode | None, day: int) -> MeteredDay | None:
    first, last = curve.at(span[0]), curve.at(span[1])
    measured_ns = last.measured_ns - first.measured_ns
    if not measured_ns:
        return None
    at = None if one is None else one.days.get(day)
    beside_uj: int | None = None
    if at is not None and at.balance is not None and at.boundary == "components":
        parts = [(max(start, span[0]), min(end, span[1])) for start, end in at.spans]
        readings = [(curve.at(start), curve.at(end)) for start, end in parts]
        read_ns = sum(after.measured_ns - before.measured_ns for before, after in readings)
        if read_ns >= _ALL_OF * sum(end - start for start, end in parts):
            beside_uj = sum(after.energy_uj_since(before) for before, after in readings) or None
    return MeteredDay(f"meter:{meter.name}", last.energy_uj_since(first), measured_ns, beside_uj)
