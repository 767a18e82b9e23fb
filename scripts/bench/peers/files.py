"""What is in the files that a tracker leaves, and the sidecar's own in particular."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COUNTED = ("cpu", "dram", "gpu")


class Failed(Exception):
    """Something that could not be run or read; the text says why."""


def sums(channels: Sequence[dict[str, Any]], energy_uj: Sequence[int | None]) -> dict[str, float | None]:
    """Joules by component of the channels that count; None for a component without one, or with a failed reading."""
    found: dict[str, float | None] = {}
    for name in (*COUNTED, "psys"):
        values = [value for item, value in zip(channels, energy_uj, strict=True) if _is_part(item, name)]
        read = [value for value in values if value is not None]
        found[name] = sum(read) / 1e6 if read and len(read) == len(values) else None
    return found


def _is_part(channel: dict[str, Any], name: str) -> bool:
    if name == "psys":
        return bool(channel["domain"] == "psys")
    return bool(channel["counted"]) and channel["component"] == name


def one_session(file: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Header and records of a sidecar's file. Raises Failed where a sensor came up late and began another session."""
    header, *records = [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]]
    if any(line["kind"] == "header" for line in records):
        raise Failed("a sensor came up late: more than one session")
    return header, records


def spooled(file: Path, killed_ns: int) -> dict[str, Any]:
    """What is in a sidecar's file whose process was killed."""
    header, records = one_session(file)
    energy_j = sums(header["channels"], records[-1]["energy_uj"])
    return {
        "bytes": file.stat().st_size,
        "energy_j": sum(energy_j[name] or 0 for name in COUNTED),
        "lost_s": max(0.0, (killed_ns - records[-1]["boottime_ns"]) / 1e9),
    }


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
