"""Power usage effectiveness of a data centre (PUE, ISO/IEC 30134-2), one number or a number for each month."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import field
from datetime import UTC, datetime
from itertools import chain, pairwise

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.time import instant_ns

_MONTH = re.compile(r"([1-9]\d{3})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class MonthlyPue:
    """The PUE by UTC month, ``(("2026-01", 1.18), ...)`` in order.

    A month without a figure has that of the last month before it; times before the first month have that of the first.
    """

    months: tuple[tuple[str, float], ...]
    _starts_ns: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        starts = [month_start_ns(month) for month, _ in self.months]
        if not starts or starts != sorted(set(starts)):
            raise ValueError("needs at least one month, each once and in order")
        object.__setattr__(self, "_starts_ns", tuple(starts))

    def __str__(self) -> str:
        return ", ".join(f"{month} {figure:g}" for month, figure in self.months)

    def at(self, instant_ns: int) -> float:
        """The figure at an instant."""
        return self.months[max(0, bisect_right(self._starts_ns, instant_ns) - 1)][1]

    def within(self, start_ns: int, end_ns: int) -> Iterator[tuple[int, int, float]]:
        """``[start_ns, end_ns)`` in parts, each with its figure."""
        cuts = (cut for cut in self._starts_ns[1:] if start_ns < cut < end_ns)
        for first_ns, last_ns in pairwise(chain((start_ns,), cuts, (end_ns,))):
            yield first_ns, last_ns, self.at(first_ns)


Pue = float | MonthlyPue


def month_start_ns(month: str) -> int:
    """When ``2026-01`` begins in UTC. Raises ValueError for anything else."""
    found = _MONTH.fullmatch(month)
    if found is None:
        raise ValueError('needs a month, such as "2026-01"')
    return instant_ns(datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC))


def pue_at(pue: Pue | None, instant_ns: int) -> float | None:
    """The figure at an instant."""
    return pue.at(instant_ns) if isinstance(pue, MonthlyPue) else pue


def single_pue(pue: Pue | None, start_ns: int, end_ns: int) -> float | None:
    """The figure of all of ``[start_ns, end_ns)``; None where it changes, or is not known."""
    if not isinstance(pue, MonthlyPue):
        return pue
    figures = {figure for _, _, figure in pue.within(start_ns, max(end_ns, start_ns + 1))}
    return figures.pop() if len(figures) == 1 else None


def mean_pue(pue: Pue | None, start_ns: int, end_ns: int) -> float | None:
    """The mean over ``[start_ns, end_ns)``, for power that is constant; of an empty span, the figure at its start."""
    if not isinstance(pue, MonthlyPue):
        return pue
    parts = list(pue.within(start_ns, end_ns))
    if len(parts) == 1 or start_ns >= end_ns:
        return pue.at(start_ns)
    return sum((last_ns - first_ns) * figure for first_ns, last_ns, figure in parts) / (end_ns - start_ns)
