"""The types of the views' columns, by their names: units and times have the same names everywhere."""

from __future__ import annotations

from typing import Literal

ColumnType = Literal["text", "integer", "decimal", "boolean", "time", "day"]

_BY_NAME: dict[str, ColumnType] = {
    **dict.fromkeys(("restart", "energy_uj", "jobs_uj", "rest_uj"), "integer"),
    "coverage": "decimal",
    "day": "day",
    **dict.fromkeys(("submitted", "started", "ended"), "time"),
    **dict.fromkeys(("complete", "counted", "embodied_complete", "git_clean"), "boolean"),
}
_UNITS = ("_kwh", "_j", "_s", "_g", "_h")


def column_type(name: str) -> ColumnType:
    """The type of a column of a view, also where no row has a value."""
    return _BY_NAME.get(name, "decimal" if name.endswith(_UNITS) else "text")
