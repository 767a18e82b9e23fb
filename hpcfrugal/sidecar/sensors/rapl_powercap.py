"""RAPL energy counters through the kernel's powercap class (Intel, and AMD since Linux 5.8).

Zones are ``intel-rapl:N`` (package-N, package-N-die-M or psys) with children ``intel-rapl:N:M`` (core,
uncore, dram); the class directory links to children as well, so a zone is known by its real path. The same
package may be shown a second time by ``intel-rapl-mmio``: then the MSR one is taken. Package contains core
and uncore, dram stands beside it, psys contains all of them (kernel: Documentation/power/powercap).
"""

from __future__ import annotations

import os

from ..sysfs import CountFile, parse_count, read_bytes, read_text, why
from .base import TYPE_CHECKING, Absent, Channel, Opened

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = "rapl-powercap"

PACKAGE_MAX_W = 1000
DRAM_MAX_W = 400
PSYS_MAX_W = 4000
"""Watts that no such domain draws today (packages up to 500 W, psys the whole board), for telling a reset."""


class _Zone:
    __slots__ = ("domain", "interface", "kind", "parent", "path")

    def __init__(self, path: str, interface: str, kind: str, parent: str | None) -> None:
        self.path = path
        self.interface = interface
        self.kind = kind
        self.parent = parent
        self.domain = kind if parent is None else f"{parent}/{kind}"


class RaplPowercap:
    """All readable RAPL zones below ``sysfs`` (normally /sys)."""

    name = SOURCE
    component = "cpu"
    may_block = False

    def __init__(self, sysfs: str) -> None:
        self._class = os.path.join(sysfs, "class/powercap")
        self._files: list[CountFile] = []

    def open(self) -> Opened:
        """Find the zones; each component that has none gets an ``Absent`` with the reason."""
        channels: list[Channel] = []
        try:
            zones = list(self._zones())
        except OSError as error:
            reason = why(error, self._class)
            return Opened([], [Absent("cpu", SOURCE, reason), Absent("dram", SOURCE, reason)], [])
        # MSR before MMIO and TPMI, so that the usual interface wins
        zones.sort(key=lambda zone: (zone.interface != "intel-rapl", zone.path))
        interfaces: dict[str, str] = {}
        refused: dict[str, Absent] = {}
        for zone in zones:
            if interfaces.get(zone.domain, zone.interface) != zone.interface:
                continue
            opened = self._open_zone(zone)
            if isinstance(opened, Absent):
                refused.setdefault(zone.domain, opened)
            else:
                interfaces[zone.domain] = zone.interface
                channels.append(opened)
        # what the other interface of the same domain did give is not absent
        absent = [entry for domain, entry in refused.items() if domain not in interfaces]
        known = {channel.component for channel in channels if channel.counted}
        known.update([entry.component for entry in absent])
        for component, what in (("cpu", "package"), ("dram", "dram")):
            if component not in known:
                absent.append(Absent(component, SOURCE, f"no {what} zone in {self._class}"))
        _tell_apart(channels)
        return Opened(channels, absent, [])

    def read(self) -> list[int | None]:
        """The counters now, in microjoules."""
        return [file.read_count() for file in self._files]

    def close(self) -> None:
        """Close the counters."""
        for file in self._files:
            file.close()
        self._files = []

    def _zones(self) -> Iterator[_Zone]:
        names = sorted(os.listdir(self._class))
        seen: set[str] = set()
        for name in names:
            interface, _, number = name.partition(":")
            if "rapl" not in interface or not number.isdigit():
                continue
            path = os.path.join(self._class, name)
            real = os.path.realpath(path)
            kind = _name_of(path)
            if kind is None or real in seen:
                continue
            seen.add(real)
            yield _Zone(path, interface, kind, None)
            nested = [entry for entry in _listdir(path) if entry.startswith(name + ":")]
            linked = [entry for entry in names if entry.startswith(name + ":") and entry not in nested]
            children = [os.path.join(path, entry) for entry in nested]
            children += [os.path.join(self._class, entry) for entry in linked]
            for child_path in children:
                real = os.path.realpath(child_path)
                child_kind = _name_of(child_path)
                if child_kind is None or real in seen:
                    continue
                seen.add(real)
                yield _Zone(child_path, interface, child_kind, kind)

    def _open_zone(self, zone: _Zone) -> Channel | Absent:
        component, counted, boundary, max_w = _meaning(zone)
        path = os.path.join(zone.path, "energy_uj")
        try:
            file = CountFile(path)
        except OSError as error:
            return Absent(component, SOURCE, why(error, path), zone.domain if counted else None)
        try:
            content = file.read_bytes(64)
        except OSError as error:
            file.close()
            return Absent(component, SOURCE, why(error, path), zone.domain if counted else None)
        if parse_count(content) is None:
            file.close()
            return Absent(component, SOURCE, f"not a counter: {path}", zone.domain if counted else None)
        self._files.append(file)
        return Channel(
            component,
            zone.domain,
            SOURCE,
            max_w=max_w,
            boundary=boundary,
            counted=counted,
            range_uj=_range_of(zone.path),
            detail=zone.path,
        )


def _meaning(zone: _Zone) -> tuple[str, bool, str, int]:
    """Component, whether it is counted, boundary and largest watts of a zone."""
    if zone.kind == "psys":
        return "node", False, "node", PSYS_MAX_W
    if zone.kind == "dram":
        return "dram", True, "components", DRAM_MAX_W
    counted = zone.parent is None and zone.kind.startswith("package")
    return "cpu", counted, "components", PACKAGE_MAX_W


def _tell_apart(channels: list[Channel]) -> None:
    """Number domains that two zones of one interface share, in the order of their zones."""
    times: dict[str, int] = {}
    for channel in channels:
        count = times.get(channel.domain, 0) + 1
        times[channel.domain] = count
        if count > 1:
            channel.domain = f"{channel.domain}#{count}"


def _name_of(path: str) -> str | None:
    try:
        return read_text(os.path.join(path, "name"), 64) or None
    except OSError:
        return None


def _range_of(path: str) -> int | None:
    try:
        return parse_count(read_bytes(os.path.join(path, "max_energy_range_uj"), 64)) or None
    except OSError:
        return None


def _listdir(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []
