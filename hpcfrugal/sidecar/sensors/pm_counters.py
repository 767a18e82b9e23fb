"""HPE Cray's power management counters below /sys/cray/pm_counters.

Each file is ``<value> <unit> <wall time> us``, such as ``62186155 J 1717415041254962 us``; older systems leave
the time out. ``energy`` is the whole node, with its accelerators; ``cpu_energy``, ``memory_energy`` and
``accel<N>_energy`` are parts of it. They move at about 10 Hz, as ``freshness`` does, and ``startup`` changes
when the controller starts anew (HPE, docs-csm: User Access to Compute Node Power Data).
"""

from __future__ import annotations

import os

from ..sysfs import CountFile, Unusable, open_count, parse_count, why
from .base import FILE_TIMEOUT_S, PM_COUNTERS, TYPE_CHECKING, Absent, Channel, Opened

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_W = {"node": 20_000, "cpu": 4000, "dram": 2000, "gpu": 3000}
"""Watts that no node, all its packages, all its memory, or one accelerator module draws today."""

STALE_NS = 3_000_000_000
"""A ``freshness`` that stands for this long, at its 10 Hz, belongs to a controller that no longer measures."""

_ONE_START = 1 << 80
"""More microjoules than any counter shows: by this each start of the controller lies below the one before, so
that it reads as a counter that fell, which is a reset, however far the new count has come."""

_MAX_STARTS = 1 << 20

_MOST_FILES = 64


class PmCounters:
    """The counters of one component: node, cpu, dram or gpu."""

    name = PM_COUNTERS
    may_block = True
    timeout_s = FILE_TIMEOUT_S
    advice = "ask your operator whether the node controller works: cat /sys/cray/pm_counters/freshness"

    def __init__(self, sysfs: str, component: str, clock_ns: Callable[[], int], not_ours: str | None = None) -> None:
        """``not_ours`` says why accelerators may not be taken for the job's, None where they are all its own."""
        self.component = component
        self._folder = f"{sysfs}/cray/pm_counters"
        self._clock_ns = clock_ns
        self._not_ours = not_ours
        self._files: list[CountFile] = []
        self._startup: CountFile | None = None
        self._freshness: CountFile | None = None
        self._start: bytes | None = None
        self._starts = 0
        self._fresh: bytes | None = None
        self._fresh_ns = 0

    def open(self) -> Opened:
        """Open what there is of the component."""
        try:
            names = os.listdir(self._folder)
        except OSError as error:
            return Opened([], [Absent(self.component, PM_COUNTERS, why(error, self._folder))], [])
        wanted = self._wanted(names)
        if not wanted:
            return Opened([], [Absent(self.component, PM_COUNTERS, f"no counter for it in {self._folder}")], [])
        if self.component == "gpu" and self._not_ours is not None:
            return Opened([], [Absent("gpu", PM_COUNTERS, self._not_ours)], [])
        channels: list[Channel] = []
        absent: list[Absent] = []
        for name in wanted:
            opened = self._open_file(name)
            if isinstance(opened, Absent):
                absent.append(opened)
            else:
                channels.append(opened)
        if channels:
            self._startup = _optional(f"{self._folder}/startup")
            self._freshness = _optional(f"{self._folder}/freshness")
        return Opened(channels, absent, [])

    def read(self) -> list[int | None]:
        """The counters in microjoules; None for all while the controller stands still."""
        stale = self._is_stale()
        if self._startup is not None:
            start = _content(self._startup)
            if start is not None and start != self._start:
                if self._start is not None:
                    self._starts += 1
                self._start = start
        base_uj = (_MAX_STARTS - self._starts) * _ONE_START
        values: list[int | None] = []
        for file in self._files:
            energy_j = None if stale else _read_joules(file)
            values.append(None if energy_j is None else base_uj + energy_j * 1_000_000)
        return values

    def close(self) -> None:
        """Close the files."""
        for file in [*self._files, self._startup, self._freshness]:
            if file is not None:
                file.close()
        self._files = []
        self._startup = self._freshness = None

    def _wanted(self, names: list[str]) -> list[str]:
        whole = {"node": "energy", "cpu": "cpu_energy", "dram": "memory_energy", "gpu": "accel_energy"}[self.component]
        stem = whole.partition("_")[0]
        parts = []
        for name in names:
            number = name[len(stem) : -len("_energy")]
            if name.startswith(stem) and name.endswith("_energy") and number.isdigit():
                parts.append((int(number), name))
        numbered = [name for _, name in sorted(parts)][:_MOST_FILES]
        if self.component == "gpu" and numbered:
            return numbered
        return [whole] if whole in names else numbered

    def _open_file(self, name: str) -> Channel | Absent:
        path = f"{self._folder}/{name}"
        try:
            file, energy_j = open_count(path, parse_joules)
        except Unusable as error:
            return Absent(self.component, PM_COUNTERS, str(error))
        if not energy_j:
            # an accelerator that does not exist shows 0 (docs-csm)
            file.close()
            return Absent(self.component, PM_COUNTERS, f"reads 0 J: {path}")
        self._files.append(file)
        domain = "node" if name == "energy" else name[: -len("_energy")]
        return Channel(
            self.component,
            domain,
            PM_COUNTERS,
            max_w=MAX_W[self.component],
            detail=path,
            boundary="node" if self.component == "node" else "components",
            scope="job" if self.component == "gpu" else "node",
        )

    def _is_stale(self) -> bool:
        if self._freshness is None:
            return False
        fresh = _content(self._freshness)
        now_ns = self._clock_ns()
        if fresh != self._fresh or fresh is None:
            self._fresh = fresh
            self._fresh_ns = now_ns
        return now_ns - self._fresh_ns >= STALE_NS


def parse_joules(data: bytes) -> int | None:
    """Joules of ``<value> J [<time> us]``; None for anything else."""
    fields = data.split()
    if len(fields) < 2 or fields[1] != b"J":
        return None
    return parse_count(fields[0])


def _optional(path: str) -> CountFile | None:
    try:
        return CountFile(path)
    except OSError:
        return None


def _content(file: CountFile) -> bytes | None:
    """The counter in ``startup`` or ``freshness``, None where there is none to be read."""
    try:
        fields = file.read_bytes(64).split()
    except OSError:
        return None
    return fields[0] if fields and fields[0].isdigit() else None


def _read_joules(file: CountFile) -> int | None:
    try:
        return parse_joules(file.read_bytes(128))
    except OSError:
        return None
