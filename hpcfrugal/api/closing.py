"""The closed energy of a site's nodes: from the ledger, and from the power meters of the settings."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from hpcfrugal.accounting.closure import WallSpan
from hpcfrugal.ledger.closure import ClosedNode, MeteredDay, add_meters, closed_nodes, known_jobs_uj
from hpcfrugal.ledger.clusters import figures_of_clusters
from hpcfrugal.ledger.due import DAY_NS
from hpcfrugal.meters.base import Meter, node_matcher
from hpcfrugal.meters.daily import DailyReadings, read_between
from hpcfrugal.spool.meter_days import MeteredNode

_ALL_OF = 0.99
"""A meter that read this part of a time read all of it, as far as a ratio is concerned."""


def closed_site(
    connection: sqlite3.Connection,
    meters: Sequence[Meter],
    readings: DailyReadings,
    within: WallSpan,
    nodes: Sequence[str] | None,
    suspend_s: int | None,
) -> dict[str, ClosedNode]:
    """The nodes of the agents in the ledger, of the clusters that it knows, and of the meters; ``nodes`` None: all.

    ``within`` are whole days (UTC), the last of which may end now. Where several meters have a node, the first in the
    settings counts.
    """
    found = closed_nodes(connection, within, nodes, suspend_s)
    named = {node for one in figures_of_clusters(connection).values() for node in one.class_by_node}
    wanted = set(nodes) if nodes is not None else named.union(found)
    metered: dict[tuple[str, int], MeteredDay] = {}
    for meter in meters:
        covers = node_matcher(meter.nodes)
        own = sorted({node for node in wanted.union(meter.nodes or () if nodes is None else ()) if covers(node)})
        for day_ns, read in readings.of(meter, own, *within) if own else ():
            key = read.node, day_ns // DAY_NS
            if key not in metered and (day := _metered_day(meter, read, found.get(read.node), day_ns)) is not None:
                metered[key] = day
    return add_meters(found, metered, known_jobs_uj(connection, within), connection, suspend_s)


def _metered_day(meter: Meter, read: MeteredNode, one: ClosedNode | None, day_ns: int) -> MeteredDay | None:
    energy_uj, measured_ns = read_between(read, 0, DAY_NS)
    if not measured_ns:
        return None
    at = None if one is None else one.days.get(day_ns // DAY_NS)
    beside_uj: int | None = None
    if at is not None and at.balance is not None and at.boundary == "components":
        parts = [(max(start_ns - day_ns, 0), min(end_ns - day_ns, DAY_NS)) for start_ns, end_ns in at.spans]
        both = [read_between(read, *part) for part in parts]
        if sum(read_ns for _, read_ns in both) >= _ALL_OF * sum(end_ns - start_ns for start_ns, end_ns in parts):
            beside_uj = sum(part_uj for part_uj, _ in both) or None
    return MeteredDay(f"meter:{meter.name}", energy_uj, measured_ns, beside_uj)
