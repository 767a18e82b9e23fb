"""Intensities from what each type of generation produced, with the life-cycle factors of the tables. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from hpcfrugal.accounting.tables.electricity import generation_factors
from hpcfrugal.carbon.readings import Point, parse_intensity
from hpcfrugal.core.errors import ForecastError

BASELINE = timedelta(days=1)
"""So long before a range the generation is requested too, to find out which types are usual. Of a single hour for which
only some types are published yet, nothing else shows that others are missing."""

_MOST_UNKNOWN = 0.25
_MOST_MISSING = 0.1

GenerationMix = dict[str, float]
"""MW by type of generation, named as in ``generation_factors``; types that are not known at a time are left out."""


def mix_intensities(
    rows: Sequence[tuple[datetime, GenerationMix]], start: datetime, end: datetime
) -> tuple[list[Point], tuple[str, ...]]:
    """The intensity at each time of ``rows`` in ``[start, end)``, and notes on what is left out.

    A time at which types with a tenth or more of the usual generation are unknown is a gap. Raises ForecastError.
    """
    usual = _usual(rows)
    wanted = [(at, mix) for at, mix in rows if start <= at < end]
    if not wanted:
        raise ForecastError("no intensities")
    _, notes = mean_of_mixes([mix for _, mix in wanted])
    points = [
        (at, parse_intensity(mean_of_mixes([mix])[0], at) if _is_whole(mix, usual) else None) for at, mix in wanted
    ]
    return points, ("calculated from the generation mix, without imports", *notes)


def mean_of_mixes(mixes: Sequence[GenerationMix]) -> tuple[float, tuple[str, ...]]:
    """g/kWh of the types with a factor, and a note of the share without. Raises ForecastError above a quarter."""
    factors = generation_factors()
    known = unknown = emitted = 0.0
    for mix in mixes:
        for kind, mw in mix.items():
            if mw > 0:
                known += mw if kind in factors else 0.0
                unknown += 0.0 if kind in factors else mw
                emitted += mw * factors.get(kind, 0.0)
    if known <= 0:
        raise ForecastError("no generation of a known type")
    share = unknown / (known + unknown)
    if share > _MOST_UNKNOWN:
        raise ForecastError(f"{share:.0%} of the generation is of types without a known emission factor")
    return emitted / known, (
        f"{share:.1%} of the generation is of types without a known emission factor and is left out",
    ) if share else ()


def _usual(rows: Sequence[tuple[datetime, GenerationMix]]) -> GenerationMix:
    """Mean MW of each type over the times at which it is known."""
    known: dict[str, list[float]] = {}
    for _, mix in rows:
        for kind, mw in mix.items():
            known.setdefault(kind, []).append(max(0.0, mw))
    return {kind: sum(values) / len(values) for kind, values in known.items()}


def _is_whole(mix: GenerationMix, usual: GenerationMix) -> bool:
    """Whether the unknown types at a time make up little of the generation: types are published one by one."""
    missing = sum(mw for kind, mw in usual.items() if kind not in mix)
    return missing < sum(usual.values()) * _MOST_MISSING and any(mw > 0 for mw in mix.values())
