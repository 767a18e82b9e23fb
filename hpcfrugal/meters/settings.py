"""The meters of the settings: the tables ``[meters.NAME]``, each read by the model of its kind."""

from __future__ import annotations

from collections.abc import Mapping

from hpcfrugal.core.errors import Problem, did_you_mean
from hpcfrugal.meters.base import Meter
from hpcfrugal.meters.ipmi_dcmi import IpmiDcmi
from hpcfrugal.meters.kwollect import Kwollect
from hpcfrugal.meters.prometheus import Prometheus
from hpcfrugal.meters.redfish import Redfish
from hpcfrugal.settings.section import NamedTable, read_table, read_tables

KINDS: Mapping[str, type[Meter]] = {
    "prometheus": Prometheus,
    "kwollect": Kwollect,
    "ipmi-dcmi": IpmiDcmi,
    "redfish": Redfish,
}


def read_meters(tables: Mapping[str, NamedTable]) -> dict[str, Meter]:
    """The meters of the settings by name, in the order of the files.

    Raises:
        InputError: every mistake in every table.
    """
    return read_tables(tables, _read)


def _read(table: NamedTable, problems: list[Problem]) -> Meter | None:
    kind = table.values.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        what = "is missing" if kind is None else f"is not a kind of meter: {str(kind)[:40]!r}"
        problems.append(Problem(str(table.origin.below("kind")), what, did_you_mean(str(kind)[:40], KINDS)))
        return None
    return read_table(model, table, problems)
