"""RAPL energy counters through the kernel's powercap class (Intel, and AMD since Linux 5.8).

Zones are ``intel-rapl:N`` (package-N, package-N-die-M or psys) with children ``intel-rapl:N:M`` (core,
uncore, dram); the class directory links to children as well, so a zone is known by its real path. The same
package may be shown a second time by ``intel-rapl-mmio``: then the MSR one is taken. Package contains core
and uncore, dram stands beside it, psys contains all of them (kernel: Documentation/power/powercap).

The dies of an Intel package have a counter each (Cascade Lake-AP). AMD and Hygon have one for the package, which
Linux 6.10 and 6.11 show once for each die (corrected by ``rapl_msrs_are_pkg_scope`` in
drivers/powercap/intel_rapl_common.c): there one zone of a package is taken. Where the vendor of the processor is
unknown, zones of one package with equal readings are one counter.
"""

from __future__ import annotations

import os

from ..node import cpu_vendor
from ..sysfs import CountFile, Unusable, list_folder, open_count, read_count, text_or_empty, why
from .base import FILE_TIMEOUT_S, NO_SENSOR_OF_OURS, TYPE_CHECKING, Absent, Channel, Opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RAPL_POWERCAP = "rapl-powercap"

PACKAGE_MAX_W = 1000
DRAM_MAX_W = 400
PSYS_MAX_W = 4000
"""Watts that no such domain draws today (packages up to 500 W, psys the whole machine), for detecting a reset."""

_CONSTRAINTS = 3
"""A package has at most a long-term, a short-term and a peak limit."""

RAPL_FROZEN_NS = 2_500_000_000
"""A counter of the processor moves each millisecond, one that a virtual machine's host passes on each second."""

COUNTS_PER_PACKAGE = ("AuthenticAMD", "HygonGenuine")
"""Vendors, as procfs names them, whose package counter is shared by all dies of the package."""

RULE_FILE = "/etc/udev/rules.d/60-rapl.rules"
RULE = """ACTION=="add", SUBSYSTEM=="powercap", KERNEL=="*:*", RUN+="/bin/chmod a+r /sys%p/energy_uj\""""
"""Makes the counters readable for all users whenever the kernel adds them; see docs/configuration.md."""

NO_COUNTERS = "no counters here (a virtual machine, or not x86?); energy without a sensor is modelled and marked so"

_HEX = frozenset("0123456789abcdef")


class _Zone:
    """A zone below the class directory; ``above`` is the path of the zone that it is part of."""

    def __init__(self, path: str, interface: str, kind: str, parent: _Zone | None) -> None:
        self.path = path
        self.interface = interface
        self.kind = kind
        self.parent = None if parent is None else parent.kind
        self.above = None if parent is None else parent.path
        self.domain = kind if parent is None else f"{parent.kind}/{kind}"

    def merge_dies(self) -> None:
        """Let the zone stand for its package."""
        first, slash, rest = self.domain.partition("/")
        self.domain = first.partition("-die-")[0] + slash + rest


class RaplPowercap:
    """All readable RAPL zones below ``sysfs`` (normally /sys); ``proc`` is the root of the same machine's procfs,
    None where it is not known."""

    name = RAPL_POWERCAP
    component = "cpu"
    components = ("cpu", "dram")
    may_block = True
    timeout_s = FILE_TIMEOUT_S
    advice = NO_COUNTERS
    advice_if_denied = f"readable by root only since Linux 5.10; ask an administrator for {RULE_FILE}: {RULE}"

    def __init__(self, sysfs: str, proc: str | None = None) -> None:
        self._class = os.path.join(sysfs, "class/powercap")
        self._proc = proc
        self._files: list[CountFile] = []
        self._others: list[Absent] = []

    def open(self) -> Opened:
        """Find the zones; each component that has none gets an ``Absent`` with the reason."""
        channels: list[Channel] = []
        try:
            zones = list(self._zones())
        except OSError as error:
            reason = why(error, self._class)
            return Opened([], [Absent("cpu", RAPL_POWERCAP, reason), Absent("dram", RAPL_POWERCAP, reason)], [])
        # MSR before MMIO and TPMI, so that the usual interface wins
        zones.sort(key=lambda zone: (zone.interface != "intel-rapl", zone.path))
        zones, per_package = self._one_a_counter(zones)
        cpu_limit_uw = _limit_of(zones)
        interfaces: dict[str, str] = {}
        refused: dict[str, Absent] = {}
        for zone in zones:
            taken = interfaces.get(zone.domain)
            if taken is not None and (per_package or taken != zone.interface):
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
                absent.append(Absent(component, RAPL_POWERCAP, f"no {what} zone in {self._class}"))
        _number_duplicates(channels)
        return Opened(channels, absent + self._others, [], cpu_limit_uw)

    def read(self) -> list[int | None]:
        """The counters now, in microjoules."""
        return [file.read_count() for file in self._files]

    def close(self) -> None:
        """Close the counters."""
        for file in self._files:
            file.close()
        self._files = []

    def _one_a_counter(self, zones: list[_Zone]) -> tuple[list[_Zone], bool]:
        """The zones without those that repeat a counter, and whether each domain is to be taken once."""
        if not any("-die-" in zone.kind for zone in zones) and len({_key(zone) for zone in zones}) == len(zones):
            return zones, False
        vendor = None if self._proc is None else cpu_vendor(self._proc)
        if vendor is None:
            repeated = _repeated(zones)
            return [zone for zone in zones if zone.path not in repeated and zone.above not in repeated], False
        if vendor in COUNTS_PER_PACKAGE:
            for zone in zones:
                zone.merge_dies()
            return zones, True
        return zones, False

    def _zones(self) -> Iterator[_Zone]:
        names = sorted(os.listdir(self._class))
        seen: set[str] = set()
        for name in names:
            interface, _, number = name.partition(":")
            # the kernel counts zones in hexadecimal
            if not number or not _HEX.issuperset(number):
                continue
            if "rapl" not in interface:
                self._note_other(name)
                continue
            path = os.path.join(self._class, name)
            real = os.path.realpath(path)
            kind = _name_of(path)
            if not kind or real in seen:
                continue
            seen.add(real)
            zone = _Zone(path, interface, kind, None)
            yield zone
            # the class links to the parts of a zone as well: where it does, their folder need not be looked through
            parts = [entry for entry in names if entry.startswith(name + ":")]
            for part in parts or [entry for entry in list_folder(path) if entry.startswith(name + ":")]:
                child_path = os.path.join(path, part)
                child_kind = _name_of(child_path)
                if not child_kind:
                    child_path = os.path.join(self._class, part)
                    child_kind = _name_of(child_path)
                real = os.path.realpath(child_path)
                if not child_kind or real in seen:
                    continue
                seen.add(real)
                yield _Zone(child_path, interface, child_kind, zone)

    def _note_other(self, name: str) -> None:
        """Name a zone of another kind that shows energy or power; see ``unread`` for what that means."""
        path = os.path.join(self._class, name)
        shown = [file for file in ("energy_uj", "power_uw") if os.path.exists(f"{path}/{file}")]
        if shown:
            reason = f"present and not read: {_name_of(path) or name} ({', '.join(shown)}) in {path}"
            self._others.append(Absent("node", "powercap", reason, advice=NO_SENSOR_OF_OURS))

    def _open_zone(self, zone: _Zone) -> Channel | Absent:
        component, counted, boundary, max_w = _meaning(zone)
        path = os.path.join(zone.path, "energy_uj")
        try:
            file, _ = open_count(path)
        except Unusable as error:
            return Absent(component, RAPL_POWERCAP, str(error), zone.domain if counted else None)
        self._files.append(file)
        return Channel(
            component,
            zone.domain,
            RAPL_POWERCAP,
            max_w=max_w,
            boundary=boundary,
            frozen_ns=RAPL_FROZEN_NS,
            counted=counted,
            range_uj=read_count(os.path.join(zone.path, "max_energy_range_uj")) or None,
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


def _limit_of(zones: Iterable[_Zone]) -> int | None:
    """The sum of the packages' long-term limits in microwatts, which all users may read; None where one has none.

    ``constraint_N_max_power_uw`` of the constraint ``long_term`` is the processor's thermal specification, and
    ``constraint_N_power_limit_uw`` what is enforced (kernel: Documentation/power/powercap). AMD has neither.
    """
    limits: dict[str, int | None] = {}
    for zone in zones:
        if zone.parent is None and zone.kind.startswith("package") and limits.get(zone.domain) is None:
            limits[zone.domain] = _long_term_uw(zone.path)
    found = [limit for limit in limits.values() if limit is not None]
    return sum(found) if found and len(found) == len(limits) else None


def _long_term_uw(path: str) -> int | None:
    for number in range(_CONSTRAINTS):
        if text_or_empty(f"{path}/constraint_{number}_name", 64) == "long_term":
            for name in ("max_power_uw", "power_limit_uw"):
                limit_uw = read_count(f"{path}/constraint_{number}_{name}")
                if limit_uw and limit_uw <= PACKAGE_MAX_W * 1_000_000:
                    return limit_uw
    return None


def _key(zone: _Zone) -> tuple[str, str]:
    """Interface and domain, without the die."""
    return zone.interface, zone.domain.partition("-die-")[0]


def _repeated(zones: Iterable[_Zone]) -> set[str]:
    """Paths of package zones with the same counter as another zone of their package.

    Between two reads of that other zone the same counter shows something between the two. Of two counters that
    independent, of 2^32 steps each, not one pair in ten million does so. A counter at 0 may not count at all, so it
    is not compared.
    """
    packages: dict[tuple[str, str], list[_Zone]] = {}
    for zone in zones:
        if zone.parent is None and zone.kind.startswith("package"):
            packages.setdefault(_key(zone), []).append(zone)
    repeated: set[str] = set()
    for group in packages.values():
        while len(group) > 1:
            first, rest = group[0], group[1:]
            group = []
            for zone in rest:
                if _reads_between(zone, first):
                    repeated.add(zone.path)
                else:
                    group.append(zone)
    return repeated


def _reads_between(zone: _Zone, other: _Zone) -> bool:
    """Whether the counter of ``zone`` reads as that of ``other`` does."""
    before, value, after = _count_of(other.path), _count_of(zone.path), _count_of(other.path)
    if not before or not value or not after:
        return False
    if before <= after:
        return before <= value <= after
    return value >= before or value <= after


def _number_duplicates(channels: list[Channel]) -> None:
    """Number domains that two zones of one interface share, in the order of their zones."""
    times: dict[str, int] = {}
    for channel in channels:
        count = times.get(channel.domain, 0) + 1
        times[channel.domain] = count
        if count > 1:
            channel.domain = f"{channel.domain}#{count}"


def _name_of(path: str) -> str:
    return text_or_empty(os.path.join(path, "name"), 64)


def _count_of(path: str) -> int | None:
    return read_count(os.path.join(path, "energy_uj"))
