"""What the nodes of a running job draw now, from the ends of its sample files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcfrugal.core.record import MAX_INT
from hpcfrugal.core.safe_read import UnsafeFile, open_owned, parse_json
from hpcfrugal.spool import JobKey, RunDir

_TAIL_BYTES = 64 * 1024


@dataclass(slots=True)
class Draw:
    """Power over the newest record and energy so far of all nodes of a run, as read and not attributed.

    Whatever several of its jobs (the tasks of an array, on one node) read counts once. A component of which
    nothing was read is not there.
    """

    power_w: dict[str, float] = field(default_factory=dict)
    energy_uj: dict[str, int] = field(default_factory=dict)

    @property
    def total_power_w(self) -> float | None:
        """Sum of what is known, None where nothing is."""
        return sum(self.power_w.values()) if self.power_w else None

    @property
    def total_energy_uj(self) -> int | None:
        """Sum of what is known, None where nothing is."""
        return sum(self.energy_uj.values()) if self.energy_uj else None


def read_draw(run_dir: RunDir) -> Draw:
    """Read the header and the newest records of every sample file of a run; files of others do not count."""
    owner_uid = run_dir.path.stat().st_uid
    power_w: dict[tuple[str | None, str, str], float] = {}
    energy_uj: dict[tuple[str | None, str, str], int] = {}
    for path, name in run_dir.files("samples"):
        header, records = _ends(path, owner_uid)
        for index, (component, domain) in _counted(header):
            key = (name.node, component, domain)
            known = [record for record in records if _energy(record, index) is not None]
            # A record without time behind it, as the first one is, holds zeros that nobody has measured.
            if known and known[-1]["measured_ns"][index] > 0:
                energy_uj[key] = max(energy_uj.get(key, 0), _energy(known[-1], index) or 0)
            if len(known) > 1 and records[-1] is known[-1] and known[-1].get("kind") == "record":
                span_ns = known[-1]["measured_ns"][index] - known[-2]["measured_ns"][index]
                spent_uj = (_energy(known[-1], index) or 0) - (_energy(known[-2], index) or 0)
                if span_ns > 0 and spent_uj >= 0:
                    power_w[key] = spent_uj * 1000 / span_ns
    draw = Draw()
    for (_, component, _), watts in power_w.items():
        draw.power_w[component] = draw.power_w.get(component, 0.0) + watts
    for (_, component, _), spent_uj in energy_uj.items():
        draw.energy_uj[component] = draw.energy_uj.get(component, 0) + spent_uj
    return draw


def sidecars_done(run_dir: RunDir) -> bool:
    """Whether every job of a run that has an end record has samples too, closed by their last record on each node."""
    try:
        owner_uid = run_dir.path.stat().st_uid
    except FileNotFoundError:
        return True  # taken away: nothing is to come
    closed: dict[JobKey, bool] = {}
    for path, name in run_dir.files("samples"):
        if name.job is not None:
            _, records = _ends(path, owner_uid)
            over = bool(records) and records[-1].get("kind") == "end"
            closed[name.job] = closed.get(name.job, True) and over
    return all(closed.get(name.job, False) for _, name in run_dir.files("end") if name.job is not None)


def _ends(path: Path, owner_uid: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The last header and the records after it, as far as the first line and the end of the file hold them."""
    try:
        file, state = open_owned(path, owner_uid)
    except UnsafeFile:
        return {}, []  # `ledger check` says why
    with file:
        try:
            lines = [file.readline(_TAIL_BYTES * 16)]
            file.seek(max(file.tell(), state.size - _TAIL_BYTES))
            lines += file.read(_TAIL_BYTES).splitlines()
        except OSError:
            return {}, []
    header: dict[str, Any] = {}
    records: list[dict[str, Any]] = []
    for line in lines:
        try:
            data = parse_json(line)
        except ValueError:
            continue  # torn, the middle of a line, or no JSON
        if isinstance(data, dict) and data.get("kind") == "header":
            header, records = data, []
        elif isinstance(data, dict):
            records.append(data)
    return header, records


def _counted(header: dict[str, Any]) -> Iterable[tuple[int, tuple[str, str]]]:
    channels = header.get("channels")
    for index, channel in enumerate(channels if isinstance(channels, list) else []):
        if isinstance(channel, dict) and channel.get("counted") is True:
            yield index, (str(channel.get("component")), str(channel.get("domain")))


def _energy(record: dict[str, Any], index: int) -> int | None:
    """One channel's microjoules, None where the record has none or is not one."""
    try:
        energy_uj, measured_ns = record["energy_uj"][index], record["measured_ns"][index]
    except (KeyError, IndexError, TypeError):
        return None
    sound = all(type(value) is int and 0 <= value <= MAX_INT for value in (energy_uj, measured_ns))
    return energy_uj if sound else None
