"""Tables that ship with the package, each row with its source. ``SOURCES.md`` names authors and licences."""

from __future__ import annotations

import csv
from decimal import Decimal
from functools import cache
from importlib.resources import files

from hpcfrugal.accounting.model import Tdp, TdpTable


@cache
def cpu_tdp() -> TdpTable:
    """Thermal design power of CPU packages and their cores."""
    return _table("cpu_tdp.csv")


@cache
def gpu_tdp() -> TdpTable:
    """Thermal design power of GPUs."""
    return _table("gpu_tdp.csv")


def _table(name: str) -> TdpTable:
    text = files("hpcfrugal.accounting.tables").joinpath(name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    rows = [
        Tdp(row["model"], int(Decimal(row["tdp_w"]) * 1000), int(row["cores"]), row["source"])
        for row in csv.DictReader(lines)
    ]
    fallback = next(row for row in rows if row.model == "Any")
    return TdpTable(tuple(row for row in rows if row is not fallback), fallback)
