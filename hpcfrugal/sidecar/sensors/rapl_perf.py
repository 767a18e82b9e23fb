"""RAPL through perf_event, for a domain whose powercap file is denied or missing.

The kernel's ``power`` event source counts packages and memory in units of 2^-32 J (Linux:
arch/x86/events/rapl.c) and accumulates the hardware's 32 bits into 64 by itself. Its events are system-wide,
which needs ``perf_event_paranoid`` at 0 or below, or CAP_PERFMON (Linux: Documentation/admin-guide/
perf-security.rst). Per-core counters (``power_core``) are inside the package and are not opened. The mask of Linux
6.10 and 6.11 has a CPU of each die on AMD and Hygon, whose counter is that of the package: there one is opened.
"""

from __future__ import annotations

import os

from ..node import cpu_vendor
from ..perf_event import open_event
from ..sysfs import parse_count, parse_cpus, read_count, read_text, text_or_empty, value_after, why
from .base import FILE_TIMEOUT_S, Absent, Channel, Opened
from .rapl_powercap import COUNTS_PER_PACKAGE, DRAM_MAX_W, NO_COUNTERS, PACKAGE_MAX_W, RAPL_FROZEN_NS

RAPL_PERF = "rapl-perf"

_EVENTS = {"cpu": "energy-pkg", "dram": "energy-ram"}

_CAP_SYS_ADMIN = 21
_CAP_PERFMON = 38


class RaplPerf:
    """The domains of one component (cpu or dram) that are not in ``have``."""

    name = RAPL_PERF
    may_block = True
    timeout_s = FILE_TIMEOUT_S
    advice = NO_COUNTERS
    advice_if_denied = (
        "or: kernel.perf_event_paranoid = 0 in /etc/sysctl.d/, which opens system-wide counters to all users"
    )

    def __init__(self, sysfs: str, proc: str, component: str, have: frozenset[str]) -> None:
        self.component = component
        self._pmu = f"{sysfs}/bus/event_source/devices/power"
        self._cpus = f"{sysfs}/devices/system/cpu"
        self._proc = proc
        self._have = have
        self._fds: list[int] = []
        self._factor = (0, 1)

    def open(self) -> Opened:
        """Open one counter a package; nothing is loaded where the event source is missing or refused."""
        event = f"{self._pmu}/events/{_EVENTS[self.component]}"
        if not os.path.exists(event):
            return self._none(f"no such file: {event}")
        refused = self._refused()
        if refused:
            return self._none(refused)
        try:
            kind = parse_count(read_text(f"{self._pmu}/type", 32).encode())
            config = parse_event(read_text(event, 64))
            unit = read_text(event + ".unit", 32)
            factor = parse_scale(read_text(event + ".scale", 64))
            cpus = parse_cpus(read_text(f"{self._pmu}/cpumask"))
        except OSError as error:
            return self._none(why(error, str(error.filename or event)))
        if kind is None or config is None or factor is None or unit != "Joules" or not cpus or kind >= 1 << 32:
            return self._none(f"unknown format: {event}")
        # joules to microjoules
        self._factor = (factor[0] * 1_000_000, factor[1])
        return self._open_all(kind, config, cpus)

    def read(self) -> list[int | None]:
        """Microjoules since the counter was opened, rounded down."""
        over, under = self._factor
        values: list[int | None] = []
        for fd in self._fds:
            try:
                data = os.read(fd, 8)
            except OSError:
                data = b""
            values.append(int.from_bytes(data, "little") * over // under if len(data) == 8 else None)
        return values

    def close(self) -> None:
        """Close the counters."""
        for fd in self._fds:
            os.close(fd)
        self._fds = []

    def _none(self, reason: str) -> Opened:
        return Opened([], [Absent(self.component, RAPL_PERF, reason)], [])

    def _open_all(self, kind: int, config: int, cpus: list[int]) -> Opened:
        channels: list[Channel] = []
        absent: list[Absent] = []
        for cpu, domain in self._domains(cpus):
            if domain in self._have:
                continue
            try:
                fd = open_event(kind, config, pid=-1, cpu=cpu)  # of all processes
            except OSError as error:
                absent.append(Absent(self.component, RAPL_PERF, why(error, f"{self._pmu} on CPU {cpu}"), domain))
                continue
            self._fds.append(fd)
            max_w = PACKAGE_MAX_W if self.component == "cpu" else DRAM_MAX_W
            detail = f"perf_event {_EVENTS[self.component]} on CPU {cpu}"
            channels.append(
                Channel(self.component, domain, RAPL_PERF, max_w=max_w, detail=detail, frozen_ns=RAPL_FROZEN_NS)
            )
        return Opened(channels, absent, [])

    def _domains(self, cpus: list[int]) -> list[tuple[int, str]]:
        """Each CPU of the mask with its domain, named as powercap does."""
        places = [(cpu, self._id(cpu, "physical_package_id"), self._id(cpu, "die_id")) for cpu in cpus]
        packages = [package for _, package, _ in places]
        named = []
        once = len(set(packages)) < len(packages) and cpu_vendor(self._proc) in COUNTS_PER_PACKAGE
        for index, (cpu, package, die) in enumerate(places):
            if once and package in packages[:index]:
                continue
            alone = once or packages.count(package) == 1
            name = f"package-{package}" if alone else f"package-{package}-die-{die}"
            named.append((cpu, name if self.component == "cpu" else f"{name}/dram"))
        return named

    def _id(self, cpu: int, what: str) -> str:
        number = read_count(f"{self._cpus}/cpu{cpu}/topology/{what}")
        # a machine without this file gets a name that cannot be taken for another's
        return f"cpu{cpu}" if number is None else str(number)

    def _refused(self) -> str | None:
        """Why this process may not count system-wide, None where it may."""
        if os.uname().machine != "x86_64":
            return f"RAPL perf events exist on x86_64 only, this is {os.uname().machine}"
        path = f"{self._proc}/sys/kernel/perf_event_paranoid"
        try:
            level = read_text(path, 32)
        except OSError as error:
            return why(error, path)
        if level in ("-1", "0") or _may_count(self._proc):
            return None
        return f"denied: {path} is {level[:8]}"


def _may_count(proc: str) -> bool:
    """Whether a capability stands above the paranoia level (capabilities(7))."""
    text = value_after(text_or_empty(f"{proc}/self/status").encode(), b"CapEff", b":")
    try:
        held = int(text, 16)
    except ValueError:
        return False
    return bool(held >> _CAP_PERFMON & 1 or held >> _CAP_SYS_ADMIN & 1)


def parse_event(text: str) -> int | None:
    """The number in ``event=0x02``; None for any other form."""
    name, _, value = text.partition("=")
    digits = value[2:]
    if name != "event" or value[:2] != "0x" or not 1 <= len(digits) <= 8:
        return None
    return int(digits, 16) if all(char in "0123456789abcdefABCDEF" for char in digits) else None


def parse_scale(text: str) -> tuple[int, int] | None:
    """A decimal such as ``2.3283064365386962890625e-10`` (2^-32) as an exact fraction above 0; None for others."""
    mantissa, _, power = text.lower().partition("e")
    whole, _, decimals = mantissa.partition(".")
    digits = whole + decimals
    sign, size = (-1, power[1:]) if power[:1] == "-" else (1, power.removeprefix("+") if power else "0")
    if not (digits.isascii() and digits.isdigit() and size.isascii() and size.isdigit()):
        return None
    if len(digits) > 40 or len(size) > 2 or not int(digits):
        return None
    tens = sign * int(size) - len(decimals)
    return (int(digits) * 10**tens, 1) if tens >= 0 else (int(digits), 10**-tens)
