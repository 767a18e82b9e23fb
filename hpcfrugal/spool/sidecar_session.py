"""One session of the sidecar on a node, its records as columns: an hour has hundreds, a long job a hundred thousand.

What is kept of each record are the counters that energy is derived from. Of the rest the newest or the greatest value
is kept, as records come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, repeat
from operator import le
from typing import Any

from hpcfrugal.core.text import clean_text
from hpcfrugal.spool.sample_header import Header
from hpcfrugal.spool.sample_record import (
    MAX_SESSION_NS,
    BadLine,
    SampleRecord,
    most_cpu_us,
    most_energy_uj,
    parse_record,
    record_lines,
)
from hpcfrugal.spool.use import USE_FIELDS

_COLUMNS = ("boottime_ns", "job_cpu_us", "node_busy_us", "memory_b")
_CPU_TIMES = ("job_cpu_us", "node_busy_us")
_NEWEST = ("resets", "gaps", "assumed_ns")
_BY_CHANNEL = ("energy_uj", "measured_ns", "max_w", "read_ns")


@dataclass(slots=True)
class SidecarSession:
    """The header of a session, and its records. Columns have one item a record, those of channels are in the order of
    the header's channels. ``SampleRecord`` says what the items are.

    ``read_ns`` is empty where every reading stands at the time of its record. ``ended_clock_ns`` is the wall clock at
    the last record; ``errors``, ``resets``, ``gaps``, ``assumed_ns`` and ``use`` are the newest that are known,
    ``peak_w`` is the highest power of each channel, ``slowed`` how many times further apart samples were at most than
    configured. ``end_reason``: why it ended, if it did so in order. Of a session that is read on, ``read_before``
    records were read before, of which the last is the first of the columns; ``longest_before_ns`` is the longest time
    between them.
    """

    header: Header
    boottime_ns: list[int] = field(default_factory=list)
    job_cpu_us: list[int | None] = field(default_factory=list)
    node_busy_us: list[int | None] = field(default_factory=list)
    memory_b: list[int | None] = field(default_factory=list)
    energy_uj: list[list[int | None]] = field(default_factory=list)
    measured_ns: list[list[int]] = field(default_factory=list)
    read_ns: list[list[int | None]] = field(default_factory=list)
    ended_clock_ns: int | None = None
    errors: tuple[int, ...] = ()
    resets: tuple[int, ...] | None = None
    gaps: tuple[int, ...] | None = None
    assumed_ns: tuple[int, ...] | None = None
    peak_w: list[float | None] = field(default_factory=list)
    memory_peak_b: int | None = None
    slowed: float | None = None
    use: dict[str, Any] = field(default_factory=dict)
    end_reason: str | None = None
    read_before: int = 0
    longest_before_ns: int = 0

    def __post_init__(self) -> None:
        if not self.energy_uj:
            self.energy_uj = [[] for _ in self.header.channels]
            self.measured_ns = [[] for _ in self.header.channels]
            self.peak_w = [None for _ in self.header.channels]

    def __len__(self) -> int:
        return len(self.boottime_ns)

    @property
    def records(self) -> int:
        """How many records it has."""
        return max(0, self.read_before - 1) + len(self)

    @property
    def ended_ns(self) -> int:
        """The time since boot of the last record, or of the header where there is none."""
        return self.boottime_ns[-1] if self.boottime_ns else self.header.boottime_ns

    @property
    def elapsed_ns(self) -> int:
        return self.ended_ns - self.header.boottime_ns

    @property
    def times_ns(self) -> list[int]:
        """The times since boot of the header and of the records."""
        return [self.header.boottime_ns, *self.boottime_ns]

    @property
    def longest_ns(self) -> int:
        """The longest time without a record."""
        times_ns = self.boottime_ns if self.read_before else self.times_ns
        lengths_ns: list[int] = [new_ns - old_ns for old_ns, new_ns in pairwise(times_ns)]
        return max([self.longest_before_ns, *lengths_ns])

    def wall_of(self, boottime_ns: int) -> int:
        """Wall time of an instant since boot, by the clocks of the header."""
        return self.header.wall_ns + boottime_ns - self.header.boottime_ns

    def to_json(self) -> dict[str, Any]:
        """What is needed to read on: all but the header, and of the columns their last items."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "header"}
        for name in _COLUMNS:
            found[name] = found[name][-1:]
        for name in ("energy_uj", "measured_ns"):
            found[name] = [column[-1:] for column in found[name]]
        return {**found, "read_before": self.records, "longest_before_ns": self.longest_ns}

    @classmethod
    def from_json(cls, header: Header, data: Mapping[str, Any]) -> SidecarSession:
        """The session of ``to_json``."""
        rows = {name: None if data[name] is None else tuple(data[name]) for name in ("errors", *_NEWEST)}
        return cls(header, **{**data, **rows})

    def extend(self, lines: Sequence[bytes]) -> bool:
        """Append records, as lines of JSON. False, and none is appended, where they have to be looked at one by one."""
        found = record_lines(len(self.header.channels)).columns(lines)
        if found is None or "end" in found["kind"][:-1]:
            return False
        columns = _by_channel(found)
        read_later = not all(_within(column, columns["boottime_ns"]) for column in columns.get("read_ns", ()))
        if read_later or self._refusal(columns) is not None:
            return False
        self._append(columns)
        if found["kind"][-1] == "end":
            self.end_reason = _ended_because(found.get("reason", (None,))[-1])
        return True

    def add(self, data: Mapping[str, Any], bad: Counter[str]) -> None:
        """Append one record, a JSON object; fields that are wrong but not needed are counted in ``bad``.

        Raises ``BadLine`` where it does not count.
        """
        record = parse_record(data, len(self.header.channels), bad)
        columns = _by_channel(
            {
                name: (value,)
                for of, names in ((record, SampleRecord.__dataclass_fields__), (record.use, USE_FIELDS))
                for name in names
                if (value := getattr(of, name)) is not None
            }
        )
        if (reason := self._refusal(columns)) is not None:
            raise BadLine(reason)
        if record.note is not None and record.note.slowed is not None:
            self.slowed = max(record.note.slowed, self.slowed or 0)
        self._append(columns)
        if data.get("kind") == "end":
            self.end_reason = _ended_because(data.get("reason"))

    def _refusal(self, columns: Mapping[str, Any]) -> str | None:
        """Why a record of these does not count."""
        times_ns = columns["boottime_ns"]  # in order, else it runs backwards
        start_ns = self.header.boottime_ns
        if not start_ns <= times_ns[0] <= times_ns[-1] <= start_ns + MAX_SESSION_NS:
            return "record before its header or a year after it"
        if _exceed(columns["energy_uj"], most_energy_uj, times_ns, start_ns):
            return "record of more energy than there can be"
        if _exceed([columns[name] for name in _CPU_TIMES if name in columns], most_cpu_us, times_ns, start_ns):
            return "record of more CPU time than there can be"
        pairs = zip([self.boottime_ns, *self.measured_ns], [times_ns, *columns["measured_ns"]], strict=True)
        if not all(_follows(before, column) for before, column in pairs):
            return "record runs backwards"
        return None

    def _append(self, columns: Mapping[str, Any]) -> None:
        unknown = (None,) * len(columns["boottime_ns"])
        if "read_ns" in columns and not self.read_ns:
            self.read_ns = [[None] * len(self) for _ in self.header.channels]
        self.boottime_ns += columns["boottime_ns"]
        self.job_cpu_us += columns.get("job_cpu_us", unknown)
        self.node_busy_us += columns.get("node_busy_us", unknown)
        self.memory_b += columns.get("memory_b", unknown)
        for index, (energies_uj, measured_ns) in enumerate(
            zip(columns["energy_uj"], columns["measured_ns"], strict=True)
        ):
            self.energy_uj[index] += energies_uj
            self.measured_ns[index] += measured_ns
        for own, read_ns in zip(self.read_ns, columns.get("read_ns", repeat(unknown)), strict=False):
            own += read_ns
        for index, peaks_w in enumerate(columns.get("max_w", ())):
            if (peak_w := _highest(peaks_w)) is not None:
                self.peak_w[index] = max(peak_w, self.peak_w[index] or 0)
        self.ended_clock_ns = columns["wall_ns"][-1]
        self.errors = tuple(columns["errors"][-1])
        for name in _NEWEST:
            if name in columns:
                setattr(self, name, tuple(columns[name][-1]))
        self.memory_peak_b = newest(columns.get("memory_peak_b", ()), self.memory_peak_b)
        for name in USE_FIELDS:
            if name in columns:
                self.use[name] = newest(columns[name], self.use.get(name))


def _by_channel(columns: dict[str, Any]) -> dict[str, Any]:
    """The same columns, those of lists as one column for each channel."""
    for name in _BY_CHANNEL:
        if name in columns:
            columns[name] = list(zip(*columns[name], strict=True))
    return columns


def _ended_because(reason: Any) -> str:
    return clean_text(reason) if isinstance(reason, str) else "?"


def newest(values: Sequence[Any], default: Any = None) -> Any:
    """The last value that is known."""
    for value in reversed(values):
        if value is not None:
            return value
    return default


def _highest(values: Sequence[Any]) -> Any:
    """The greatest of the known values; None where there is none."""
    try:
        return max(values)
    except TypeError:  # one of several is not known
        return max((value for value in values if value is not None), default=None)


def _exceed(
    columns: Sequence[Sequence[int | None]], most: Callable[[int], int], times_ns: Sequence[int], start_ns: int
) -> bool:
    """Whether a known value of a column is more than there can be at its time, by how long that is after the start."""
    least = most(times_ns[0] - start_ns)
    if all((_highest(column) or 0) <= least for column in columns):
        return False
    limits = [most(at_ns - start_ns) for at_ns in times_ns]
    return not all(_within(column, limits) for column in columns)


def _within(values: Sequence[int | None], most: Iterable[int]) -> bool:
    """Whether no known value exceeds its limit."""
    if None in values:
        return all(value is None or value <= limit for value, limit in zip(values, most, strict=True))
    return all(map(le, values, most))  # type: ignore[arg-type]


def _follows(before: Sequence[int], values: Sequence[int]) -> bool:
    """Whether a counter never falls, from the last of ``before`` on."""
    return [*values] == sorted(values) and (not before or before[-1] <= values[0])
