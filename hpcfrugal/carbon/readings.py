"""Foreign figures, checked: what a provider or a file says becomes a series, or is refused in one sentence.

A figure that is not there is a gap. One that cannot be (not a number, negative, beyond ``MOST_G_PER_KWH``, at a time
that runs backwards) spoils the whole answer: who is wrong there may be wrong anywhere.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from hpcfrugal.carbon.series import CarbonSeries, Kind, Signal
from hpcfrugal.core.errors import DataError, ForecastError
from hpcfrugal.core.time import iso, parse_iso

MOST_G_PER_KWH = 5000.0
"""Above what any plant emits: old oil shale and lignite plants stay below 2000 g/kWh, life cycle included."""

Point = tuple[datetime, float | None]


def table(told: object, what: str) -> Mapping[str, Any]:
    """``told`` as a JSON object. Raises ForecastError."""
    if not isinstance(told, Mapping):
        raise ForecastError(f"gave {what} in an unknown form")
    return told


def rows(told: object, what: str) -> Sequence[Mapping[str, Any]]:
    """``told`` as a list of JSON objects. Raises ForecastError."""
    if not isinstance(told, list) or not all(isinstance(row, Mapping) for row in told):
        raise ForecastError(f"gave {what} in an unknown form")
    return told


def moment(told: object) -> datetime:
    """An instant of ISO 8601 with its zone, or seconds since 1970, in UTC. Raises ForecastError."""
    try:
        if isinstance(told, str):
            return parse_iso(told)
        if isinstance(told, int | float) and not isinstance(told, bool):
            return datetime.fromtimestamp(told, UTC)
        raise ValueError("neither text nor number")
    except (ValueError, OverflowError, OSError):
        raise ForecastError(f"gave {_shown(told)} as a time; an instant with its zone is expected") from None


def intensity(told: object, at: datetime, *, factor: float = 1.0) -> float | None:
    """A figure in g/kWh after multiplying by ``factor``; None is a gap. Raises ForecastError."""
    if told is None:
        return None
    if isinstance(told, bool) or not isinstance(told, int | float):
        raise ForecastError(f"gave {_shown(told)} as the intensity at {iso(at)}")
    try:
        value = float(told) * factor
    except OverflowError:
        value = math.inf
    if not math.isfinite(value) or not 0 <= value <= MOST_G_PER_KWH:
        raise ForecastError(f"gave {value:g} g/kWh at {iso(at)}, which cannot be")
    return value


def same_zone(told: object, asked: str) -> None:
    """Raises ForecastError where the answer is about another zone than was asked for."""
    if str(told).upper() != asked.upper():
        raise ForecastError(f"answered for zone {_shown(told)} when asked for {asked!r}")


def series_of(
    points: Iterable[Point],
    *,
    zone: str,
    signal: Signal,
    kind: Kind,
    provider: str,
    issued_at: datetime | None = None,
    step: timedelta | None = None,
) -> CarbonSeries:
    """Figures that each hold from their time on, for ``step`` or until the next, whichever is sooner.

    Without ``step`` it is the most common distance between two rows, and a row without a figure ends the one before
    it: what is unknown there is said to be. Where the next figure comes later, there is a gap. Unknown figures at both
    ends are left out.

    Raises ForecastError: no figure at all, or times that don't ascend.
    """
    told = in_order(points)
    known = [(at, value) for at, value in told if value is not None]
    if not known:
        raise ForecastError("gave no figures")
    length = _usual_step([at for at, _ in told]) if step is None else step
    stops = [at for at, value in told if step is None or value is not None]
    next_at = dict(pairwise(stops))
    try:
        intervals = [(at, min(at + length, next_at.get(at, at + length)), value) for at, value in known]
        return CarbonSeries.from_intervals(
            intervals, zone=zone, signal=signal, kind=kind, issued_at=issued_at, provider=provider,
        )  # fmt: skip
    except (DataError, OverflowError) as error:
        raise ForecastError(f"gave figures that make no series: {error}") from None


def in_order(points: Iterable[Point]) -> list[Point]:
    """The points as they are; one told twice alike counts once. Raises ForecastError where time runs back."""
    told: list[Point] = []
    for at, value in points:
        if told and at == told[-1][0]:
            if value != told[-1][1]:
                raise ForecastError(f"gave two intensities at {iso(at)}")
            continue
        if told and at < told[-1][0]:
            raise ForecastError(f"went back in time, from {iso(told[-1][0])} to {iso(at)}")
        told.append((at, value))
    return told


def row_step(points: Sequence[Point]) -> timedelta | None:
    """The shortest distance between two rows, of tables that have a row for unknown figures too."""
    return min((after - before for (before, _), (after, _) in pairwise(points)), default=None)


def figure_step(points: Sequence[Point]) -> timedelta | None:
    """The most common distance between two known figures, of tables with a figure in every other row, say."""
    times = [at for at, value in points if value is not None]
    return _usual_step(times) if len(times) > 1 else None


def _usual_step(times: Sequence[datetime]) -> timedelta:
    distances = Counter(after - before for before, after in pairwise(times))
    if not distances:
        raise ForecastError("gave a single figure without saying how long it holds")
    most = max(distances.values())
    return min(distance for distance, count in distances.items() if count == most)


def _shown(told: object) -> str:
    text = repr(told)
    return text if len(text) <= 40 else f"{text[:37]}..."
