"""From samples to energy: a pure integrator in integers.

A gauge is integrated by the trapezoidal rule between neighbouring samples (Abramowitz and Stegun, Handbook of
Mathematical Functions, 25.4.2): exact for power that changes evenly between samples, and without bias for jumps
that are unrelated to the sampling. A counter means constant power between its samples. The energy at an instant between
two samples is interpolated in the same way; before the first and after the last sample it is unknown.

Left out and counted as errors: values that are not finite, negative, 0 W (a node that runs a job draws power; many BMCs
return 0 without a reading) or above ``max_power_w``, and samples that are not later than the one before. If a counter
falls, it was reset, and the energy between the two samples is unknown. Gaps longer than ``max_gap_ns`` are not bridged.
All of these reduce ``measured_ns``.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field

from hpcfrugal.meters.base import PowerSeries, Terms

_PARTS = 2 * 10**9
"""Halves of a microwatt-nanosecond in a microjoule: sums of trapezoids stay integers in this unit."""

MAX_JOULES = 4e12
"""A counter above this is invalid: ten years at 10 kW are 3.2e12 J, and microjoules of it fit 63 bits."""


@dataclass(frozen=True, slots=True)
class EnergyReading:
    """Energy and time from the start of a curve up to an instant, with the errors, resets and gaps up to then."""

    energy_parts: int
    measured_ns: int
    errors: int
    resets: int
    gaps: int

    def energy_uj_since(self, before: EnergyReading) -> int:
        """Microjoules between two readings, rounded down."""
        return (self.energy_parts - before.energy_parts) // _PARTS


@dataclass(frozen=True, slots=True)
class _Piece:
    """Energy between two samples; ``first_uw`` and ``last_uw`` are the power at its ends."""

    start_ns: int
    end_ns: int
    first_uw: int
    last_uw: int
    energy_parts: int

    def parts_until(self, at_ns: int) -> int:
        span_ns, whole_ns = at_ns - self.start_ns, self.end_ns - self.start_ns
        if span_ns == whole_ns:
            return self.energy_parts
        if self.first_uw == self.last_uw:
            return self.energy_parts * span_ns // whole_ns
        return (2 * self.first_uw * span_ns * whole_ns + (self.last_uw - self.first_uw) * span_ns**2) // whole_ns


@dataclass(slots=True)
class Curve:
    """The intervals of a series in order of time, with sums up to the start of each."""

    pieces: list[_Piece] = field(default_factory=list)
    first_ns: int | None = None
    last_ns: int | None = None
    _starts: list[int] = field(default_factory=list)
    _before: list[tuple[int, int]] = field(default_factory=list)
    _sums: tuple[int, int] = (0, 0)
    _peaks: list[tuple[int, float]] = field(default_factory=list)
    _errors_ns: list[int] = field(default_factory=list)
    _resets_ns: list[int] = field(default_factory=list)
    _gaps_ns: list[int] = field(default_factory=list)

    def at(self, at_ns: int) -> EnergyReading:
        """The sums at an instant."""
        index = bisect_right(self._starts, at_ns) - 1
        parts, measured_ns = (0, 0)
        if index >= 0:
            piece = self.pieces[index]
            parts, measured_ns = self._before[index]
            until_ns = min(at_ns, piece.end_ns)
            parts += piece.parts_until(until_ns)
            measured_ns += until_ns - piece.start_ns
        return EnergyReading(
            parts,
            measured_ns,
            bisect_right(self._errors_ns, at_ns),
            bisect_right(self._resets_ns, at_ns),
            bisect_right(self._gaps_ns, at_ns),
        )

    def peak_w(self, after_ns: int, until_ns: int) -> float | None:
        """The highest power that was sampled in ``(after_ns, until_ns]``."""
        low = bisect_right(self._peaks, (after_ns, math.inf))
        high = bisect_right(self._peaks, (until_ns, math.inf))
        return max((power_w for _, power_w in self._peaks[low:high]), default=None)

    def _add(self, piece: _Piece) -> None:
        self._before.append(self._sums)
        self._starts.append(piece.start_ns)
        self.pieces.append(piece)
        parts, measured_ns = self._sums
        self._sums = (parts + piece.energy_parts, measured_ns + piece.end_ns - piece.start_ns)

    def _sample(self, at_ns: int) -> None:
        self.first_ns = at_ns if self.first_ns is None else self.first_ns
        self.last_ns = at_ns


def curve(series: PowerSeries, terms: Terms) -> Curve:
    """The energy under a series."""
    made = Curve()
    is_power = series.quantity == "power"
    highest = terms.max_power_w if is_power else MAX_JOULES
    before: tuple[int, int] | None = None
    for at_ns, value in series.points:
        good = math.isfinite(value) and 0 <= value <= highest and (value > 0 or not is_power)
        if not good or (before is not None and at_ns <= before[0]):
            made._errors_ns.append(at_ns)
            continue
        millionths = round(value * 1e6)
        made._sample(at_ns)
        if is_power:
            made._peaks.append((at_ns, value))
        if before is not None:
            start_ns, start = before
            span_ns, rise = at_ns - start_ns, millionths - start
            # An impossible jump: the counter was reset in between, or it is another meter.
            if not is_power and not 0 <= rise * 1000 <= terms.max_power_w * span_ns:
                made._resets_ns.append(at_ns)
            elif span_ns > terms.max_gap_ns:
                made._gaps_ns.append(start_ns)
            elif is_power:
                made._add(_Piece(start_ns, at_ns, start, millionths, (start + millionths) * span_ns))
            else:
                power_uw = rise * 10**9 // span_ns
                made._peaks.append((at_ns, power_uw / 1e6))
                made._add(_Piece(start_ns, at_ns, power_uw, power_uw, rise * _PARTS))
        before = (at_ns, millionths)
    # Samples out of order add their errors at their own times.
    made._errors_ns.sort()
    return made


def grid(start_ns: int, end_ns: int, step_ns: int) -> list[int]:
    """Start, end and the multiples of ``step_ns`` between them."""
    first = start_ns - start_ns % step_ns + step_ns
    return [start_ns, *range(first, end_ns, step_ns), *([end_ns] if end_ns > start_ns else [])]


def reaches(made: Curve, until_ns: int) -> bool:
    """Whether there is a sample at this instant or later, so that later samples change nothing before it."""
    return made.last_ns is not None and made.last_ns >= until_ns
