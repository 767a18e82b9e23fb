"""The carbon intensity of one zone over time: half-open, piecewise-constant intervals in g CO2e per kWh.

A series has a zone, a signal, a provider and a time of issue, and is actual or forecast. An unknown value is a gap
(None), never 0. Sums are exact: each float is taken at its binary value and added up as an integer, so that two windows
of equal cost compare as equal.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict, Unpack

from hpcfrugal.core.carbon_signal import MAX_G_PER_KWH, SIGNALS, Signal
from hpcfrugal.core.errors import DataError
from hpcfrugal.core.time import from_us, instant_us, is_in_datetime_range, iso, parse_iso, span_us

SeriesKind = Literal["actual", "forecast"]
SERIES_KINDS: tuple[SeriesKind, ...] = ("actual", "forecast")


class SeriesLabels(TypedDict):
    """What describes a series besides its values; see ``CarbonSeries``."""

    zone: str
    signal: Signal
    kind: SeriesKind
    issued_at: NotRequired[datetime | None]
    provider: NotRequired[str | None]


class Slot(NamedTuple):
    """One interval ``[start, end)``; ``g_per_kwh`` is None in a gap. ``estimated_by``: see ``CarbonSeries``."""

    start: datetime
    end: datetime
    g_per_kwh: float | None
    estimated_by: str | None = None


class Sums(NamedTuple):
    """Exact prefix sums at the edges, in g/kWh * 2**shift * microseconds, and the length of the gaps up to there."""

    shift: int
    levels: tuple[int, ...]
    costs: tuple[int, ...]
    gaps_us: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CarbonSeries:
    """See the module; made by :meth:`from_values`, :meth:`from_intervals` or :meth:`from_json`.

    ``edges_us`` are the edges of the slots in microseconds since 1970-01-01T00:00Z, one more than ``values``.
    ``estimated_by`` names the method for each actual value that the provider has not from measurements, None for the
    others; it is empty if there is no such value. A series with ``assumed_from`` was extended by the model
    ``assumed_by``; its values from that time on were not issued.

    Raises DataError if a value is negative, not a number or above MAX_G_PER_KWH, or if the edges do not ascend.
    """

    edges_us: tuple[int, ...]
    values: tuple[float | None, ...]
    zone: str
    signal: Signal
    kind: SeriesKind
    issued_at: datetime | None = None
    provider: str | None = None
    assumed_from: datetime | None = None
    assumed_by: str | None = None
    estimated_by: tuple[str | None, ...] = ()
    sums: Sums = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
            raise DataError(f"carbon intensity of {self.zone!r} refused: {'; '.join(problems[:3])}{more}")
        object.__setattr__(self, "sums", _sums(self.edges_us, self.values))

    def _problems(self) -> Iterator[str]:
        if not isinstance(self.zone, str) or not self.zone:
            yield "no zone"
        if not isinstance(self.provider, str | None):
            yield f"provider {self.provider!r} is not a text"
        if self.signal not in SIGNALS:
            yield f"unknown signal {self.signal!r}; known: {', '.join(SIGNALS)}"
        if self.kind not in SERIES_KINDS:
            yield f"unknown kind {self.kind!r}; known: {', '.join(SERIES_KINDS)}"
        for name in ("issued_at", "assumed_from"):
            moment = getattr(self, name)
            if moment is not None and moment.utcoffset() is None:
                yield f"{name} {moment.isoformat()} has no time zone"
        if not self.values:
            yield "no intervals"
        if len(self.edges_us) != len(self.values) + 1:
            yield f"{len(self.values)} values need {len(self.values) + 1} edges, not {len(self.edges_us)}"
            return
        if self.estimated_by and len(self.estimated_by) != len(self.values):
            yield f"{len(self.values)} values with {len(self.estimated_by)} methods of estimation"
        if not all(isinstance(method, str | None) for method in self.estimated_by):
            yield "a method of estimation that is not a text"
        if not all(map(is_in_datetime_range, self.edges_us)):
            yield "times outside the years 1 to 9999"
            return
        for index, value in enumerate(self.values):
            if self.edges_us[index] >= self.edges_us[index + 1]:
                yield f"the interval at {_shown(self.edges_us[index])} ends at {_shown(self.edges_us[index + 1])}"
            if value is not None and _wrong(value):
                yield f"{value!r} g/kWh at {_shown(self.edges_us[index])}"

    # Constructors ----------------------------------------------------------------------------------------------

    @classmethod
    def from_values(
        cls, start: datetime, step: timedelta, g_per_kwh: Iterable[float | None], **labels: Unpack[SeriesLabels]
    ) -> CarbonSeries:
        """A series of slots of equal length, the first beginning at ``start``; None is a gap.

        Raises DataError as the class does, and for a naive ``start`` or a step that is not positive.
        """
        values = tuple(g_per_kwh)
        first, length = _instant(start, labels["zone"]), span_us(step)
        if length <= 0:
            raise DataError(f"carbon intensity of {labels['zone']!r} refused: step of {step}")
        edges = tuple(first + index * length for index in range(len(values) + 1))
        return cls(edges, _floats(values), **labels)

    @classmethod
    def from_intervals(
        cls, intervals: Iterable[tuple[datetime, datetime, float | None]], **labels: Unpack[SeriesLabels]
    ) -> CarbonSeries:
        """A series of ``(start, end, g/kWh or None)`` in order of time; the time between two of them is a gap.

        Raises DataError as the class does, and if intervals overlap, are out of order or have no time zone.
        """
        edges: list[int] = []
        values: list[float | None] = []
        for start, end, value in intervals:
            first, last = _instant(start, labels["zone"]), _instant(end, labels["zone"])
            if edges and first < edges[-1]:
                raise DataError(
                    f"carbon intensity of {labels['zone']!r} refused: the interval at {iso(start)} begins before "
                    f"the end of the previous one ({_shown(edges[-1])})"
                )
            if edges and first > edges[-1]:
                edges.append(first)
                values.append(None)
            if not edges:
                edges.append(first)
            edges.append(last)
            values.append(value)
        return cls(tuple(edges), _floats(values), **labels)

    @classmethod
    def from_json(cls, document: object) -> CarbonSeries:
        """The series that :meth:`to_json` wrote. Raises DataError for anything else."""
        if not isinstance(document, Mapping):
            raise DataError("a carbon series must be a JSON object")
        try:
            moments = {name: parse_iso(document[name]) for name in ("issued_at", "assumed_from") if document.get(name)}
            fields: dict[str, Any] = {name: document[name] for name in ("zone", "signal", "kind")}
            fields |= {"issued_at": moments.get("issued_at"), "provider": document.get("provider")}
            if "intervals" in document:
                made = cls.from_intervals(
                    ((parse_iso(a), parse_iso(b), g) for a, b, g in document["intervals"]), **fields
                )
            else:
                step = timedelta(seconds=document["step_s"])
                made = cls.from_values(parse_iso(document["start"]), step, document["g_per_kwh"], **fields)
            if "assumed_from" in moments:
                made = replace(made, assumed_from=moments["assumed_from"], assumed_by=document.get("assumed_by"))
            if document.get("estimated_by"):
                made = replace(made, estimated_by=tuple(document["estimated_by"]))
            return made
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise DataError(f"not a carbon series: {why}") from error

    def to_json(self) -> dict[str, Any]:
        """A JSON object: ``start``, ``step_s`` and ``g_per_kwh`` if all slots are equally long, else ``intervals``."""
        document: dict[str, Any] = {
            "zone": self.zone,
            "signal": self.signal,
            "kind": self.kind,
            "issued_at": iso(self.issued_at) if self.issued_at else None,
            "provider": self.provider,
        }
        if self.assumed_from is not None:
            document |= {"assumed_from": iso(self.assumed_from), "assumed_by": self.assumed_by}
        if self.estimated_by:
            document["estimated_by"] = list(self.estimated_by)
        step = self.step
        if step is None:
            return document | {"intervals": [[iso(one.start), iso(one.end), one.g_per_kwh] for one in self.slots()]}
        length: int | float = step.total_seconds()
        length = int(length) if step % timedelta(seconds=1) == timedelta() else length
        return document | {"start": iso(self.start), "step_s": length, "g_per_kwh": list(self.values)}

    # Queries --------------------------------------------------------------------------------------------------

    @property
    def start(self) -> datetime:
        """Start of the first interval."""
        return from_us(self.edges_us[0])

    @property
    def end(self) -> datetime:
        """End of the last interval."""
        return from_us(self.edges_us[-1])

    @property
    def step(self) -> timedelta | None:
        """The length of a slot, if all are equally long."""
        lengths = {after - before for before, after in pairwise(self.edges_us)}
        return timedelta(microseconds=lengths.pop()) if len(lengths) == 1 else None

    @property
    def has_gaps(self) -> bool:
        """Whether any interval between start and end is unknown."""
        return self.sums.gaps_us[-1] > 0

    def slots(self) -> Iterator[Slot]:
        """The intervals in the order of time, gaps included."""
        for index, value in enumerate(self.values):
            method = self.estimated_by[index] if self.estimated_by else None
            yield Slot(from_us(self.edges_us[index]), from_us(self.edges_us[index + 1]), value, method)

    def at(self, moment: datetime) -> float | None:
        """g/kWh at an instant; None in a gap, before the start and from the end on."""
        return self.value_at(instant_us(moment))

    def mean(self, start: datetime, end: datetime) -> float | None:
        """Mean g/kWh over ``[start, end)``, or the value at ``start`` if both are equal; None as in ``at``."""
        first, last = instant_us(start), instant_us(end)
        if first == last:
            return self.at(start)
        cost = self.cost_between(first, last)
        return None if cost is None else cost / ((last - first) << self.sums.shift)

    def slice(self, start: datetime, end: datetime) -> CarbonSeries:
        """The part within ``[start, end)``, cut at both. Raises DataError if there is none."""
        first, last = max(instant_us(start), self.edges_us[0]), min(instant_us(end), self.edges_us[-1])
        if first >= last:
            raise DataError(f"no carbon intensity of {self.zone!r} between {iso(start)} and {iso(end)}")
        begin, stop = bisect_right(self.edges_us, first) - 1, bisect_right(self.edges_us, last - 1)
        edges = (first, *self.edges_us[begin + 1 : stop], last)
        return replace(self, edges_us=edges, values=self.values[begin:stop], estimated_by=self.estimated_by[begin:stop])

    def overlaid(self, newer: CarbonSeries) -> CarbonSeries:
        """This series with the values of ``newer``, where known, in place of its own; issued when ``newer`` was.

        Raises DataError if the two differ in zone, signal, kind or provider.
        """
        for name in ("zone", "signal", "kind", "provider"):
            mine, theirs = getattr(self, name), getattr(newer, name)
            if mine != theirs:
                raise DataError(f"carbon series of different {name} cannot be joined: {mine!r} and {theirs!r}")
        edges = sorted({*self.edges_us, *newer.edges_us})
        values: list[float | None] = []
        methods: list[str | None] = []
        for edge in edges[:-1]:
            source = self if newer.value_at(edge) is None else newer
            values.append(source.value_at(edge))
            index = source.slot_index(edge)
            methods.append(source.estimated_by[index] if source.estimated_by and index is not None else None)
        return replace(
            self, edges_us=tuple(edges), values=tuple(values), issued_at=newer.issued_at,
            estimated_by=tuple(methods) if any(methods) else (),
        )  # fmt: skip

    # For the planner: whole microseconds and exact costs -----------------------------------------------------------

    def slot_index(self, moment_us: int) -> int | None:
        """Which slot holds an instant; None outside the series."""
        if not self.edges_us[0] <= moment_us < self.edges_us[-1]:
            return None
        return bisect_right(self.edges_us, moment_us) - 1

    def value_at(self, moment_us: int) -> float | None:
        """g/kWh at an instant; None in a gap and outside the series."""
        index = self.slot_index(moment_us)
        return None if index is None else self.values[index]

    def cost_between(self, start_us: int, end_us: int) -> int | None:
        """The exact integral in g/kWh * 2**shift * microseconds; None if any of it is unknown."""
        if end_us < start_us:
            raise ValueError("the end is before the start")
        if start_us < self.edges_us[0] or end_us > self.edges_us[-1]:
            return None
        cost_1, gap_1 = self._until(start_us)
        cost_2, gap_2 = self._until(end_us)
        return cost_2 - cost_1 if gap_1 == gap_2 else None

    def _until(self, moment_us: int) -> tuple[int, int]:
        index = min(bisect_right(self.edges_us, moment_us), len(self.values)) - 1
        rest = moment_us - self.edges_us[index]
        cost, gap = self.sums.costs[index], self.sums.gaps_us[index]
        if self.values[index] is None:
            return cost, gap + rest
        return cost + self.sums.levels[index] * rest, gap


def _wrong(value: object) -> bool:
    return not isinstance(value, float) or not 0 <= value <= MAX_G_PER_KWH


def _floats(values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Integers as floats, so that a series is the same after a round trip; other values as they are, to be refused."""
    return tuple(float(value) if type(value) is int and abs(value) < 2**53 else value for value in values)


def _instant(moment: datetime, zone: str) -> int:
    try:
        return instant_us(moment)
    except ValueError as error:
        raise DataError(f"carbon intensity of {zone!r} refused: {error}") from error


def _shown(moment_us: int) -> str:
    return iso(from_us(moment_us))


def _sums(edges_us: Sequence[int], values: Sequence[float | None]) -> Sums:
    ratios = [(0, 1) if value is None else value.as_integer_ratio() for value in values]
    shift = max(below.bit_length() - 1 for _, below in ratios)
    # A float's denominator is a power of two, so each becomes a whole number at the finest of them.
    levels = tuple(above << (shift - below.bit_length() + 1) for above, below in ratios)
    costs, gaps_us = [0], [0]
    for index, value in enumerate(values):
        length = edges_us[index + 1] - edges_us[index]
        costs.append(costs[-1] + levels[index] * length)
        gaps_us.append(gaps_us[-1] + (length if value is None else 0))
    return Sums(shift, levels, tuple(costs), tuple(gaps_us))
