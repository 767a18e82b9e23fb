"""A cumulative counter at any instant: linear interpolation between its points."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import ge, gt, sub

from hpcfrugal.core.quick import dataclass


def differences(values: Sequence[int]) -> list[int]:
    """How much each value is above the one before it."""
    return list(map(sub, values[1:], values))


def rises(values: Sequence[int | None]) -> list[int] | None:
    """``differences`` of a counter; None where a value is not known, or less than the one before it."""
    if None in values[:1]:
        return None
    try:
        found = differences(values)  # type: ignore[arg-type]
    except TypeError:  # a value is not known
        return None
    return found if min(found, default=0) >= 0 else None


@dataclass(frozen=True, slots=True)
class CumulativeSeries:
    """Values of a counter that never decreases, at strictly ascending instants in ns of one clock.

    Raises ``ValueError`` for instants out of order and for a decreasing value.
    """

    times_ns: tuple[int, ...]
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.times_ns) != len(self.values) or not self.times_ns:
            raise ValueError("a series needs a value for each of one or more instants")
        if any(map(ge, self.times_ns, self.times_ns[1:])):
            raise ValueError("instants out of order")
        if any(map(gt, self.values, self.values[1:])):
            raise ValueError("a counter that decreases")

    @classmethod
    def of(cls, times_ns: Sequence[int], values: Sequence[int]) -> CumulativeSeries | None:
        """A series of values at instants; of several at one instant the last counts. None without any."""
        if len(set(times_ns)) == len(times_ns):
            return cls(tuple(times_ns), tuple(values)) if times_ns else None
        found = dict(zip(times_ns, values, strict=True))
        return cls(tuple(found), tuple(found.values()))

    @property
    def start_ns(self) -> int:
        return self.times_ns[0]

    @property
    def end_ns(self) -> int:
        return self.times_ns[-1]

    @property
    def rise(self) -> int:
        """How much the counter rose in all."""
        return self.values[-1] - self.values[0]

    def covers(self, start_ns: int, end_ns: int) -> bool:
        """Whether ``[start_ns, end_ns]`` lies between the first and the last point."""
        return self.start_ns <= start_ns and end_ns <= self.end_ns

    def at(self, instant_ns: int) -> int:
        """The value at an instant, rounded down, so that differences add up exactly for any division of time.

        Raises ``ValueError`` outside of the series.
        """
        if not self.covers(instant_ns, instant_ns):
            raise ValueError("outside of the series")
        after = bisect_right(self.times_ns, instant_ns)
        start_ns, value = self.times_ns[after - 1], self.values[after - 1]
        if start_ns == instant_ns:
            return value
        rise = self.values[after] - value
        return value + rise * (instant_ns - start_ns) // (self.times_ns[after] - start_ns)

    def between(self, start_ns: int, end_ns: int) -> int:
        """How much the counter rose from one instant to another."""
        return self.at(end_ns) - self.at(start_ns)

    def rises(self, times_ns: Sequence[int]) -> list[int]:
        """``between`` for consecutive ``times_ns``, which are sorted, in one pass.

        Raises ``ValueError`` outside of the series.
        """
        if not times_ns:
            return []
        if not self.covers(times_ns[0], times_ns[-1]):
            raise ValueError("outside of the series")
        at, values = self.times_ns, self.values
        after = bisect_right(at, times_ns[0])
        own = slice(after - 1, after - 1 + len(times_ns))
        if tuple(times_ns) == at[own]:
            return differences(values[own])
        found: list[int] = []
        for instant_ns in times_ns:
            while after < len(at) and at[after] <= instant_ns:
                after += 1
            start_ns, value = at[after - 1], values[after - 1]
            if start_ns != instant_ns:
                value += (values[after] - value) * (instant_ns - start_ns) // (at[after] - start_ns)
            found.append(value)
        return differences(found)

    def clip(self, start_ns: int, end_ns: int) -> CumulativeSeries | None:
        """The part in ``[start_ns, end_ns]``; None if it is empty."""
        start_ns, end_ns = max(start_ns, self.start_ns), min(end_ns, self.end_ns)
        if end_ns <= start_ns:
            return None
        if (start_ns, end_ns) == (self.start_ns, self.end_ns):
            return self
        inside = slice(bisect_right(self.times_ns, start_ns), bisect_left(self.times_ns, end_ns))
        values = (self.at(start_ns), *self.values[inside], self.at(end_ns))
        return CumulativeSeries((start_ns, *self.times_ns[inside], end_ns), values)
