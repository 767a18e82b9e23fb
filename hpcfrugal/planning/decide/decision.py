"""Decides when a job runs, from its bounds, its run times, the waits in the queue and a forecast. Pure.

Starts are between the soonest and the latest safe one, minus a margin for a longer wait in the queue. ``low-carbon``
takes the start with the least expected carbon, if it saves enough; ``budget`` the first start within the budget. An
interruptible job may run in segments instead. Expected values are those of ``Shrinkage``.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import NormalDist

from hpcfrugal.carbon.extension import extended, with_estimates
from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import DataError
from hpcfrugal.core.format import rough_percent
from hpcfrugal.core.time import from_us, instant_us, iso, span_us
from hpcfrugal.planning.optimise.errors import NotCovered
from hpcfrugal.planning.optimise.runtimes import Runtimes
from hpcfrugal.planning.optimise.segments import plan_segments
from hpcfrugal.planning.optimise.shrinkage import DEFAULT_ERROR, ErrorGrowth, Shrinkage
from hpcfrugal.planning.optimise.window import Window, candidates

MIN_SAVING = 0.04
"""The least saving for which a job waits, as a share of the soonest start's carbon; jobs may set their own.

scripts/bench/decide prints what other values would save, and how many jobs would be worse off.
"""

AS_GOOD = 0.01
"""The earliest start counts whose expected saving falls short of the largest one by at most this share of it.

scripts/bench/decide: the mean wait is 1 to 2 % shorter, for 0.2 % of the saving at most.
"""

BAND = (0.1, 0.9)
"""Quantiles of the saving that are shown: the middle 80 %."""

_HOUR = timedelta(hours=1)
_ROUNDING = 1e-9
_ZERO = 1e-3  # g/kWh: below this there is nothing to save, and shares are undefined

_REACH = timedelta(hours=6)
"""So far from a known value a run at the soonest start is estimated: the time by which errors are correlated."""


@dataclass(frozen=True, slots=True)
class Interruptions:
    """Run times of a checkpoint and of a restart, and the minimum length of a segment."""

    checkpoint: timedelta
    restart: timedelta
    min_segment: timedelta


@dataclass(frozen=True, slots=True)
class Question:
    """Inputs of a decision. ``last`` is the latest start to plan with; ``soonest`` may be equal to it.

    ``budget_g`` needs ``power_w``. ``interruptions`` is None for a job that cannot be interrupted. ``error`` None: the
    forecast is exact.
    """

    soonest: datetime
    last: datetime
    runtimes: Runtimes
    min_saving: float = MIN_SAVING
    budget_g: float | None = None
    power_w: float | None = None
    interruptions: Interruptions | None = None
    error: ErrorGrowth | None = DEFAULT_ERROR


@dataclass(frozen=True, slots=True)
class Outcome:
    """One start. Intensities are means over the expected run: by the forecast, and expected.

    ``grams`` is None if the power is unknown.
    """

    start_at: datetime
    forecast_g_per_kwh: float
    expected_g_per_kwh: float
    grams: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """When to run: ``then``, which is ``now`` if the job does not wait. ``segments`` are several windows or none.

    ``best`` is the earliest start with about the least expected carbon, chosen or not; ``sd_g_per_kwh`` the standard
    deviation of the difference between ``now`` and ``then``. ``reason`` is one sentence; ``notes`` name assumptions.
    ``now_estimated``: the forecast has a gap at the soonest start, and ``now`` is estimated from the values around it.
    """

    now: Outcome
    then: Outcome
    best: Outcome
    sd_g_per_kwh: float
    reason: str
    series: CarbonSeries
    segments: tuple[Window, ...] = ()
    notes: tuple[str, ...] = ()
    now_estimated: bool = False

    @property
    def waits(self) -> bool:
        """Whether it starts later than the soonest start, or runs in segments."""
        return bool(self.segments) or self.then.start_at > self.now.start_at

    @property
    def saving(self) -> float:
        """The expected saving, as a share of a run now; 0 if there is nothing to save."""
        return self._share(self.now.expected_g_per_kwh - self.then.expected_g_per_kwh)

    @property
    def best_saving(self) -> float:
        """The expected saving of ``best``."""
        return self._share(self.now.expected_g_per_kwh - self.best.expected_g_per_kwh)

    @property
    def band(self) -> tuple[float, float]:
        """The middle 80 % of the possible savings."""
        low, high = (self.saving + NormalDist().inv_cdf(share) * self._share(self.sd_g_per_kwh) for share in BAND)
        return low, high

    def _share(self, g_per_kwh: float) -> float:
        level = self.now.expected_g_per_kwh
        return g_per_kwh / level if level > _ZERO else 0.0

    def start_now(self, reason: str) -> Decision:
        """The same decision without a wait."""
        return replace(self, then=self.now, sd_g_per_kwh=0.0, segments=(), reason=reason)


def decide(series: CarbonSeries, question: Question) -> Decision:
    """The decision on a forecast.

    Raises NotCovered if the forecast does not cover a run at the soonest start, and has no values near it.
    """
    series, last, notes = _fitted(series, question)
    starts = _Candidates.of(series, replace(question, last=last))
    decision = starts.by_budget() if question.budget_g is not None else starts.by_saving()
    if starts.now_estimated:
        notes.append("the forecast has no value for part of a run now; a start now is estimated from the values around")
    return replace(decision, notes=(*notes, *decision.notes), now_estimated=starts.now_estimated)


def _best(soonest: int, expected: Mapping[int, float], question: Question) -> int:
    """The earliest start that saves nearly as much as the one with the least expected carbon; see ``AS_GOOD``.

    One that saves ``min_saving`` does not give way to one that does not. An exact forecast leaves no doubt.
    """
    lowest = min(expected, key=lambda start: (expected[start], start))
    if question.error is None:
        return lowest
    most_g, least_g = expected[soonest] - expected[lowest], question.min_saving * expected[soonest]
    enough_g = most_g * (1 - AS_GOOD)
    if most_g >= least_g:
        enough_g = max(enough_g, least_g)
    return min(start for start in expected if start == lowest or expected[soonest] - expected[start] >= enough_g)


@dataclass(frozen=True, slots=True)
class _Candidates:
    """All starts that have to be compared, with the mean intensity of a run from each by the forecast.

    ``series`` is the forecast, with estimates for a run at the soonest start only if ``now_estimated``; ``places`` are
    the expected values of the forecast alone.
    """

    series: CarbonSeries
    question: Question
    lengths: tuple[tuple[int, float], ...]
    levels: dict[int, float]
    shrinkage: Shrinkage
    places: CarbonSeries
    now_estimated: bool
    now: Outcome
    best: Outcome

    @classmethod
    def of(cls, series: CarbonSeries, question: Question) -> _Candidates:
        soonest, last = instant_us(question.soonest), instant_us(question.last)
        runtimes = question.runtimes
        lengths = tuple((span_us(duration), share) for duration, share in runtimes.points)
        starts = {start for length, _ in lengths for start in candidates(series.edges_us, soonest, last, length)}
        by_start = ((start, run_level(series, start, lengths)) for start in sorted(starts))
        levels = {start: level for start, level in by_start if level is not None}
        whole, known = series, tuple(value is not None for value in series.values)
        if soonest not in levels:
            until = question.soonest + runtimes.longest
            estimated = with_estimates(series, question.soonest, max(question.soonest, min(until, series.end)), _REACH)
            level = None if estimated is None else run_level(estimated, soonest, lengths)
            if estimated is None or level is None:
                raise NotCovered(series, question.soonest, until, runtimes.longest)
            whole, levels[soonest] = estimated, level
            known = tuple(series.value_at(edge) is not None for edge in whole.edges_us[:-1])
        shrinkage = Shrinkage.of(whole, question.error, question.soonest)
        expected_values = zip(shrinkage.expected.values, known, strict=True)
        places = replace(shrinkage.expected, values=tuple(value if one else None for value, one in expected_values))
        expected = {start: run_level(shrinkage.expected, start, lengths) or 0.0 for start in levels}
        best = _best(soonest, expected, question)
        now, then = (
            Outcome(from_us(start), levels[start], expected[start], _grams(expected[start], question))
            for start in (soonest, best)
        )
        return cls(series, question, lengths, levels, shrinkage, places, whole is not series, now, then)

    def by_saving(self) -> Decision:
        """The start with the least expected carbon, or segments, if that saves enough; otherwise the soonest."""
        whole = self._decision(self.best, "")
        found = self._in_segments(whole)
        least = self.question.min_saving
        if found.waits and found.saving >= least:
            return replace(found, reason=f"{rough_percent(found.saving)} less carbon expected than if started now")
        if whole.best_saving > 0:
            reason = f"waiting until {_clock(self.best.start_at)} would save {rough_percent(whole.best_saving)}"
            return self._decision(self.now, f"{reason}, less than the required {rough_percent(least)}")
        return self._decision(self.now, "no later start is expected to have less carbon")

    def by_budget(self) -> Decision:
        """The first start within the budget; if there is none, the one with the least carbon."""
        budget_g, power_w = self.question.budget_g, self.question.power_w
        assert budget_g is not None
        if power_w is None or power_w <= 0:
            return self.by_saving()
        kwh = power_w / 1000 * (self.question.runtimes.mean / _HOUR)
        found = self._first_within(budget_g / kwh)
        if found is None:
            least_g = self.best.forecast_g_per_kwh * kwh
            reason = f"no start stays within the budget of {budget_g:.4g} g; the lowest is about {least_g:.4g} g"
            return self._decision(self.best, reason)
        start, level = found
        reason = f"the first start within the budget of {budget_g:.4g} g"
        expected = run_level(self.shrinkage.expected, start, self.lengths) or 0.0
        return self._decision(Outcome(from_us(start), level, expected, _grams(expected, self.question)), reason)

    def _first_within(self, most: float) -> tuple[int, float] | None:
        """The first start with a level of at most ``most``, and its level; None if there is none.

        Between two neighbours the level is linear, so the first start may lie there, unless a gap is between them.
        """
        before: tuple[int, float] | None = None
        for start, level in sorted(self.levels.items()):
            if level > most:
                before = (start, level)
                continue
            if before is not None:
                share = (before[1] - most) / (before[1] - level)
                between = before[0] + math.ceil((start - before[0]) * share)
                found = run_level(self.series, between, self.lengths)
                if found is not None and found <= most * (1 + _ROUNDING):
                    return between, found
            return start, level
        return None

    def _in_segments(self, whole: Decision) -> Decision:
        """The job in segments, if it is interruptible and that has less carbon than one run."""
        costs, runtimes = self.question.interruptions, self.question.runtimes
        if costs is None:
            return whole
        work = runtimes.mean
        try:
            # Up to this end, the rest of the job still has time for its full time limit.
            windows = plan_segments(
                self.places, self.question.soonest, self.question.last + work, work,
                checkpoint=costs.checkpoint, restart=costs.restart, min_segment=costs.min_segment,
            )  # fmt: skip
        except NotCovered:
            return whole
        if len(windows) < 2:
            return whole
        # Per kWh of an uninterrupted run, so that the overhead of interruptions counts.
        spent = [(window.end_at - window.start_at) / work for window in windows]
        expected = sum(share * window.mean_g_per_kwh for share, window in zip(spent, windows, strict=True))
        if expected >= whole.then.expected_g_per_kwh:
            return whole
        forecast = (self.series.mean(window.start_at, window.end_at) or 0.0 for window in windows)
        level = sum(share * mean for share, mean in zip(spent, forecast, strict=True))
        return self._decision(
            Outcome(windows[0].start_at, level, expected, _grams(expected, self.question)), "", windows
        )

    def _decision(self, then: Outcome, reason: str, segments: tuple[Window, ...] = ()) -> Decision:
        sd = 0.0
        if then is not self.now:
            slots = self.shrinkage.expected
            difference = _slot_shares(slots, self._run(instant_us(then.start_at)))
            if segments:
                work = span_us(self.question.runtimes.mean)
                spans = ((instant_us(one.start_at), instant_us(one.end_at), 1 / work) for one in segments)
                difference = _slot_shares(slots, spans)
            for slot, share in _slot_shares(slots, self._run(instant_us(self.now.start_at))).items():
                difference[slot] = difference.get(slot, 0.0) - share
            sd = self.shrinkage.sd(difference)
        return Decision(self.now, then, self.best, sd, reason, self.series, segments)

    def _run(self, start: int) -> Iterable[tuple[int, int, float]]:
        """A run from ``start``, as spans with the share of its energy in each of their microseconds."""
        time = sum(share * length for length, share in self.lengths)
        return ((start, start + length, share / time) for length, share in self.lengths)


def _grams(g_per_kwh: float, question: Question) -> float | None:
    if question.power_w is None:
        return None
    return question.power_w / 1000 * (question.runtimes.mean / _HOUR) * g_per_kwh


def _slot_shares(series: CarbonSeries, spans: Iterable[tuple[int, int, float]]) -> dict[int, float]:
    """The share of a run's energy in each slot, by the slot's index."""
    shares: dict[int, float] = {}
    for start, end, per_us in spans:
        slot = bisect_right(series.edges_us, start) - 1
        while start < end and slot < len(series.values):
            until = min(end, series.edges_us[slot + 1])
            shares[slot] = shares.get(slot, 0.0) + (until - start) * per_us
            start, slot = until, slot + 1
    return shares


def run_level(series: CarbonSeries, start: int, lengths: Sequence[tuple[int, float]]) -> float | None:
    """Mean g/kWh of the energy of a run from ``start`` (microseconds) over its expected duration; None if unknown.

    ``lengths`` are the possible durations in microseconds with their shares.
    """
    scale = 1 << series.sums.shift
    cost, time = 0.0, 0.0
    for length, share in lengths:
        part = series.cost_between(start, start + length)
        if part is None:
            return None
        # Integers are divided first: either may exceed the range of a float.
        cost += share * (part / scale)
        time += share * length
    return cost / time


def _fitted(series: CarbonSeries, question: Question) -> tuple[CarbonSeries, datetime, list[str]]:
    """The series, extended to cover a run at the soonest start, the latest start, and notes on the assumptions."""
    notes: list[str] = []
    soonest, last = question.soonest, question.last
    longest = question.runtimes.longest
    known_to = series.end
    if soonest + longest > known_to:
        last = max(soonest, min(last, known_to))
        try:
            series = extended(series, last + longest)
        except DataError:
            return series, last, notes
        notes.append(f"the forecast ends at {iso(known_to)}, before the job does; its last day is repeated after that")
    elif last + longest > known_to:
        notes.append(f"the forecast ends at {iso(known_to)}; later runs were not considered")
    return series, last, notes


def _clock(moment: datetime) -> str:
    return iso(moment.replace(microsecond=0))
