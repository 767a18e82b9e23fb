"""Runs that were planned on a forecast, and what the intensity was, for tests of grams and savings."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from fake_spool import SECOND, START_NS, FakeRun, FakeSpool, iso

from hpcfrugal.spool.intensity import IntensitySource, KnownIntensity, keep_intensities

UJ_PER_KWH = 3_600_000 * 10**6

HOUR = 3600
FETCHED_NS = START_NS + 365 * 24 * HOUR * SECOND
"""Long after all that is told."""

FR = IntensitySource("FR", "average", "energy-charts")


def tell(
    spool: FakeSpool, level: float | None, start_s: float, end_s: float, source: IntensitySource = FR, **more: Any
) -> None:
    """Keep one level from second to second after START."""
    told: dict[str, Any] = {"fetched_ns": FETCHED_NS, "issued_ns": None, "settled": True, **more}
    interval = KnownIntensity(START_NS + round(start_s * SECOND), START_NS + round(end_s * SECOND), level, **told)
    keep_intensities(spool.root, source, [interval])


def plan(start_s: float = -HOUR, levels: tuple[float | None, ...] = (400.0,) * 5, **changes: Any) -> dict[str, Any]:
    """A plan of which the counterfactual starts at ``start_s``, on hours of a forecast from START - 2 h on."""
    forecast = {
        "zone": "FR", "signal": "average", "kind": "forecast", "issued_at": iso(-3 * HOUR), "provider": "energy-charts",
        "start": iso(-2 * HOUR), "step_s": HOUR, "g_per_kwh": list(levels),
    }  # fmt: skip
    return {
        "schema": 1, "policy": "low-carbon", "action": "wait", "zone": "FR", "signal": "average",
        "provider": "energy-charts", "issued_at": iso(-3 * HOUR), "start_at": iso(0),
        "counterfactual": {"start_at": iso(start_s), "wait_s": 0}, "expected": {"saving": 0.25}, "forecast": forecast,
        **changes,
    }  # fmt: skip


def segment(run: FakeRun, restart: int, at_s: float, length_s: float = 60, watts: float = 110, **slurm: Any) -> None:
    """An attempt on a node of its own, ``at_s`` after START."""
    shift = round(at_s * SECOND)
    lines = [run.header(restart=restart), *run.records([watts - 10, 10], length_s)]
    run.samples([{**line, "wall_ns": line["wall_ns"] + shift} for line in lines], restart=restart)
    run.end(start_s=at_s, end_s=at_s + length_s, restart=restart)
    run.slurm(start_s=at_s, end_s=at_s + length_s, restart=restart, **slurm)


def kwh(energy_j: float) -> Fraction:
    return Fraction(round(energy_j * 1e6), UJ_PER_KWH)
