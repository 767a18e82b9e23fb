"""The idle power of the node by component: that of the site's settings, else the lowest that the agent has seen while
no job was on the node.

The latter is a mean over the time between two records. It is kept in a file beside those of the days, so that it is
there after a restart. A figure is in force from the next header on.
"""

from __future__ import annotations

import os

from ..energy_split import IDLE_COMPONENTS, idle_groups, steady_energies_uj
from ..log import log
from ..sysfs import text_or_empty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..sensor_in_use import ActiveChannel

IDLE_FILE = "lowest_power"
"""A line with a component and its microwatts for each."""

SEEN = "the lowest that the agent has seen without jobs"

_NEARLY = 0.99
"""A channel that was read for so much of a time was read all of it: sensors skip a sample now and then."""


def measured_idle_groups(entries: Sequence[ActiveChannel]) -> list[tuple[str, list[int]]]:
    """``idle_groups`` of the channels that are measured."""
    measured = [(index, one.channel) for index, one in enumerate(entries) if one.channel.quality == "measured"]
    return idle_groups(measured)


class NodeIdlePower:
    """``set_uw`` is that of the settings, from ``source`` in words; ``path`` None: what is seen is not kept."""

    def __init__(self, set_uw: Mapping[str, int], source: str, path: str | None = None) -> None:
        self._set_uw = dict(set_uw)
        self._source = source
        self._path = path
        self._seen_uw = {} if path is None else _read(path)
        self._from: tuple[int, list[tuple[int, int]]] | None = None

    @property
    def power_uw(self) -> dict[str, int]:
        """Microwatts by component, as known now."""
        return {**self._seen_uw, **self._set_uw}

    def header(self, power_uw: Mapping[str, int]) -> list[dict[str, object]]:
        """These figures as they stand in a header line."""
        return [
            {
                "component": component,
                "power_uw": one_uw,
                "source": self._source if component in self._set_uw else SEEN,
            }
            for component, one_uw in sorted(power_uw.items())
        ]

    def begin(self, now_ns: int, entries: Sequence[ActiveChannel], *, jobs: bool) -> None:
        """Begin to look now, unless there are jobs."""
        self._from = None if jobs else (now_ns, _read_so_far(entries))

    def interrupt(self) -> None:
        """There are jobs."""
        self._from = None

    def look(self, now_ns: int, entries: Sequence[ActiveChannel], least_ns: int, *, jobs: bool) -> None:
        """Note the power since the last look, of ``least_ns`` or longer, where no job was there."""
        if self._from is not None:
            from_ns, before = self._from
            if now_ns - from_ns < least_ns:
                return
            self._note(now_ns - from_ns, before, _read_so_far(entries), entries)
        self.begin(now_ns, entries, jobs=jobs)

    def _note(
        self,
        span_ns: int,
        before: Sequence[tuple[int, int]],
        now: Sequence[tuple[int, int]],
        entries: Sequence[ActiveChannel],
    ) -> None:
        lowest_uw: dict[str, int] = {}
        for component, indices in measured_idle_groups(entries):
            read = [(now[at][0] - before[at][0], now[at][1] - before[at][1]) for at in indices]
            if component not in lowest_uw and all(read_ns >= _NEARLY * span_ns for _, read_ns in read):
                lowest_uw[component] = sum([energy_uj * 10**9 // read_ns for energy_uj, read_ns in read])
        seen_uw = self._seen_uw
        lower_uw = {
            component: one_uw
            for component, one_uw in lowest_uw.items()
            if 0 < one_uw < seen_uw.get(component, one_uw + 1)
        }
        if lower_uw:
            self._seen_uw.update(lower_uw)
            if self._path is not None:
                _write(self._path, self._seen_uw)


def idle_energy_uj(power_uw: int, start_ns: int, end_ns: int) -> int:
    """Energy of a constant power between two times. That of consecutive times adds up without loss."""
    start_uj, end_uj = steady_energies_uj(power_uw, (start_ns, end_ns))
    return end_uj - start_uj


def _read_so_far(entries: Sequence[ActiveChannel]) -> list[tuple[int, int]]:
    """Energy and measured time of each channel since the header."""
    return [(entry.meter.energy_uj or 0, entry.meter.measured_ns) for entry in entries]


def _read(path: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in text_or_empty(path).splitlines():
        component, _, power_uw = line.partition(" ")
        if component in IDLE_COMPONENTS and power_uw.isascii() and power_uw.isdigit() and len(power_uw) <= 13:
            found[component] = int(power_uw)
    return found


def _write(path: str, power_uw: Mapping[str, int]) -> None:
    new = f"{path}.new"
    try:
        with open(new, "w", encoding="ascii") as file:
            file.write("".join([f"{component} {one_uw}\n" for component, one_uw in power_uw.items()]))
        os.rename(new, path)
    except OSError as error:
        log(f"cannot write {path}: {error.strerror}", once=f"idle {error.errno}")
