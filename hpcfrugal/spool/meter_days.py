"""What power meters read of whole nodes by day, in the spool: ``<spool>/meters/<meter>/<YYYY-MM-DD>.json``.

A file has what one meter read of some nodes on a day (UTC) that was over, with the source of the readings: those of
another source, as where the meter's settings have changed since, do not count.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from hpcfrugal.core.files import write_json_atomic
from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.record import Range
from hpcfrugal.core.time import from_ns
from hpcfrugal.spool.json_document import document_json, read_valid, refuse
from hpcfrugal.spool.layout import METERS_DIR, own_folder

METER_STEP_NS = 300 * 10**9
"""The readings are summed up over this time, as energy is in the ledger."""

METER_STEPS = 86_400 * 10**9 // METER_STEP_NS
"""Of a day."""


@dataclass(frozen=True, slots=True)
class MeteredNode:
    """What a meter read of a node on a day: microjoules in each step, and ns of it without readings.

    Both are empty where the meter has no readings of the node on that day.
    """

    node: str
    energy_uj: Annotated[tuple[int, ...], Range()] = ()
    gap_ns: Annotated[tuple[int, ...], Range(0, METER_STEP_NS)] = ()


@dataclass(frozen=True, slots=True)
class MeterDay:
    """The content of a file. ``detail`` is the source of the readings, as the meter has it."""

    meter: str
    detail: str
    day: str
    nodes: tuple[MeteredNode, ...] = ()

    @classmethod
    def on(cls, meter: str, detail: str, day_ns: int) -> MeterDay:
        """That of the day that begins at ``day_ns``, without any node yet."""
        return cls(meter, detail, f"{from_ns(day_ns):%Y-%m-%d}")

    def path(self, spool_root: Path) -> Path:
        """Where it is."""
        return spool_root / METERS_DIR / self.meter / f"{self.day}.json"

    def kept(self, spool_root: Path) -> MeterDay:
        """The same with the nodes that one's own file has. Raises ``UnsafeFile``: one that is wrong does not count."""
        path = self.path(spool_root)
        if not path.exists():
            return self
        found, _ = read_valid(MeterDay, path, os.getuid())
        refuse([f"nodes: {one.node} has not {METER_STEPS} steps" for one in found.nodes if not _is_whole(one)])
        return found if found == replace(self, nodes=found.nodes) else self

    def keep(self, spool_root: Path, nodes: Iterable[MeteredNode]) -> MeterDay:
        """The same with these nodes too, which replace those of the same name, in the file. Raises ``OSError``."""
        merged = {one.node: one for one in (*self.nodes, *nodes)}
        made = replace(self, nodes=tuple(merged[node] for node in sorted(merged)))
        own_folder(spool_root, METERS_DIR, self.meter)
        write_json_atomic(self.path(spool_root), document_json(made))
        return made


def _is_whole(one: MeteredNode) -> bool:
    return (len(one.energy_uj), len(one.gap_ns)) in ((0, 0), (METER_STEPS, METER_STEPS))
