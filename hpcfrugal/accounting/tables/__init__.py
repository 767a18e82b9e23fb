"""Tables that ship with the package, each row with its source. ``SOURCES.md`` names authors and licences."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from importlib.resources import files

from hpcfrugal.accounting.model import Tdp, TdpTable, cpu_key


@cache
def cpu_tdp() -> dict[str, Tdp]:
    """Thermal design power of CPU packages and their cores, by ``cpu_key`` of their names."""
    return {cpu_key(row.model): row for row in _rows("cpu_tdp.csv")}


@cache
def gpu_tdp() -> TdpTable:
    """Thermal design power of GPUs."""
    rows = _rows("gpu_tdp.csv")
    fallback = next(row for row in rows if row.model == "Any")
    return TdpTable(tuple(row for row in rows if row is not fallback), fallback)


def _rows(name: str) -> list[Tdp]:
    return [
        Tdp(row["model"], int(Decimal(row["tdp_w"]) * 1000), int(row.get("cores") or 1), row["source"])
        for row in table_rows(name)
    ]


def table_rows(name: str) -> Iterator[dict[str, str]]:
    """The rows of a table of this folder; lines that begin with # are comments."""
    text = files("hpcfrugal.accounting.tables").joinpath(name).read_text(encoding="utf-8")
    yield from csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
