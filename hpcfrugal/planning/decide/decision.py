"""The decision when a job runs, as a function of its bounds, its run times, the queue's waits and a forecast. Pure.

Starts lie between the soonest one and the latest safe one, less a margin for a longer wait in the queue. Of these
``low-carbon`` takes the one of the least expected carbon, where it saves enough to be worth the wait; ``budget`` the
first that keeps within its grams. A job that can be interrupted may run in segments instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from statistics import NormalDist

from hpcfrugal.carbon.extension import extended
from hpcfrugal.carbon.series import CarbonSeries
from hpcfrugal.core.errors import DataError
from hpcfrugal.core.format import rough_percent
from hpcfrugal.core.time import instant_us, iso, span_us
from hpcfrugal.planning.optimise.errors import NotCovered
from hpcfrugal.planning.optimise.runtimes import Runtimes
from hpcfrugal.planning.optimise.segments import plan_segments
from hpcfrugal.planning.optimise.shrinkage import ErrorGrowth, Outcome, Shrinkage
from hpcfrugal.planning.optimise.window import Window, candidates

MIN_SAVING = 0.05
"""Share of the soonest start's carbon below which nobody waits, where the job does not say."""

BAND = (0.1, 0.9)
"""Quantiles of the saving that are shown beside it: the middle 80 %."""

_HOUR = timedelta(hours=1)
_ROUNDING = 1e-9
_NOTHING = 1e-3  # g/kWh: of less than this there is nothing to save, and shares of it mean nothing

_HELD_BACK = _HOUR
"""A forecast that begins at most so much after the soonest start is taken to hold its first value until then."""


@dataclass(frozen=True, slots=True)
class Interruptions:
    """What stopping and starting again cost, and the least length of a segment."""

    checkpoint: timedelta
    restart: timedelta
    min_segment: timedelta


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be decided. ``last`` is the latest start to be planned with; ``soonest`` may be equal to it.

    ``budget_g`` needs ``power_w``. ``interruptions`` is None for a job that runs in one go;
    without ``error`` the forecast is taken at its word.
    """

    soonest: datetime
    last: datetime
    runtimes: Runtimes
    min_saving: float = MIN_SAVING
    budget_g: float | None = None
    power_w: float | None = None
    interruptions: Interruptions | None = None
    error: ErrorGrowth | None = field(default_factory=ErrorGrowth)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is best. ``segments`` has several windows where it is to run in several.

    ``waits`` is false where it is to start as soon as it can; ``now`` is that start. ``best`` is the start of the least
    expected carbon, taken or not. ``reason`` is one sentence; ``notes`` say what had to be assumed.
    """

    waits: bool
    start_at: datetime
    segments: tuple[Window, ...]
    now: Outcome
    then: Outcome
    best: Outcome
    saving: float
    best_saving: float
    band: tuple[float, float]
    reason: str
    series: CarbonSeries
    notes: tuple[str, ...]

    @property
    def at_once(self) -> Decision:
        """The same without a wait."""
        return replace(
            self, waits=False, start_at=self.now.start_at, segments=(), then=self.now, saving=0.0, band=(0, 0)
        )


def decide(series: CarbonSeries, question: Question) -> Decision:
    """What to do on this forecast.

    Raises NotCovered where the forecast does not tell what a run at the soonest start would meet.
    """
    series, last, notes = _fitted(series, question)
    weighing = _Weighing.of(series, replace(question, last=last))
    decision = weighing.by_budget() if question.budget_g is not None else weighing.by_saving()
    return replace(decision, notes=(*notes, *decision.notes))


@dataclass(frozen=True, slots=True)
class _Weighing:
    """All starts that have to be looked at, with the mean intensity that the forecast gives a run from there."""

    series: CarbonSeries
    question: Question
    lengths: tuple[tuple[int, float], ...]
    levels: dict[int, float]
    belief: Shrinkage
    now: Outcome
    best: Outcome

    @classmethod
    def of(cls, series: CarbonSeries, question: Question) -> _Weighing:
        soonest, last = instant_us(question.soonest), instant_us(question.last)
        runtimes = question.runtimes
        lengths = tuple((span_us(duration), share) for duration, share in runtimes.points)
        starts = {start for length, _ in lengths for start in candidates(series.edges_us, soonest, last, length)}
        told = ((start, run_level(series, start, lengths)) for start in sorted(starts))
        levels = {start: level for start, level in told if level is not None}
        if soonest not in levels:
            raise NotCovered(series, question.soonest, question.last + runtimes.limit, runtimes.limit)
        belief = Shrinkage.of(series, levels, question.soonest, runtimes.mean, question.error)
        best = min(levels, key=lambda start: (belief.expected(levels[start], start), start))
        now, then = (belief.outcome(levels[start], start, question.power_w) for start in (soonest, best))
        return cls(series, question, lengths, levels, belief, now, then)

    def by_saving(self) -> Decision:
        """The start of the least expected carbon, or segments, if that saves enough; else the soonest."""
        whole = self._decision(self.best, self.best.start_at > self.now.start_at, "")
        found = self._in_segments(whole)
        least = self.question.min_saving
        if found.waits and found.saving >= least:
            return replace(found, reason=f"{rough_percent(found.saving)} less carbon expected than if started at once")
        if whole.best_saving > 0:
            reason = f"waiting until {_clock(self.best.start_at)} would save {rough_percent(whole.best_saving)}"
            return self._decision(self.now, False, f"{reason}, less than the {rough_percent(least)} that it is worth")
        return self._decision(self.now, False, "no later start is expected to be cleaner")

    def by_budget(self) -> Decision:
        """The first start within the grams, else that of the least carbon, with a warning."""
        budget_g, power_w = self.question.budget_g, self.question.power_w
        assert budget_g is not None
        if power_w is None or power_w <= 0:
            return self.by_saving()
        kwh = power_w / 1000 * (self.question.runtimes.mean / _HOUR)
        found = self._first_within(budget_g / kwh)
        if found is None:
            least_g = self.best.forecast_g_per_kwh * kwh
            reason = f"no start keeps within {budget_g:.4g} g; the cleanest comes to about {least_g:.4g} g"
            return self._decision(self.best, self.best.start_at > self.now.start_at, reason)
        start, level = found
        outcome = self.belief.outcome(level, start, power_w)
        reason = f"the first start that keeps within {budget_g:.4g} g"
        return self._decision(outcome, outcome.start_at > self.now.start_at, reason)

    def _first_within(self, most: float) -> tuple[int, float] | None:
        """The first start with a level of at most ``most``, and its level; None where there is none.

        Between two neighbours the level is linear, so it may be met there, unless a gap lies between them.
        """
        before: tuple[int, float] | None = None
        for start, level in sorted(self.levels.items()):
            if level > most:
                before = (start, level)
                continue
            if before is not None:
                share = (before[1] - most) / (before[1] - level)
                between = before[0] + math.ceil((start - before[0]) * share)
                met = run_level(self.series, between, self.lengths)
                if met is not None and met <= most * (1 + _ROUNDING):
                    return between, met
            return start, level
        return None

    def _in_segments(self, whole: Decision) -> Decision:
        """The job in segments, where it can be and that is cleaner than in one go."""
        costs, runtimes = self.question.interruptions, self.question.runtimes
        if costs is None:
            return whole
        work = runtimes.mean
        try:
            # By this end the rest of the job fits in even if it takes its whole time limit.
            windows = plan_segments(
                self.series, self.question.soonest, self.question.last + work, work, checkpoint=costs.checkpoint,
                restart=costs.restart, min_segment=costs.min_segment,
            )  # fmt: skip
        except NotCovered:
            return whole
        if len(windows) < 2:
            return whole
        # Per kWh of the job in one go, so that the time spent on stopping and starting counts against it.
        spent = [(window.end_at - window.start_at) / work for window in windows]
        level = sum(share * window.mean_g_per_kwh for share, window in zip(spent, windows, strict=True))
        middle = sum(
            (share * instant_us(window.start_at + (window.end_at - window.start_at) / 2))
            for share, window in zip(spent, windows, strict=True)
        ) / sum(spent)
        # Its error is about that of one run of its length around the same middle.
        around = int(middle) - span_us(work) // 2
        outcome = replace(self.belief.outcome(level, around, self.question.power_w), start_at=windows[0].start_at)
        if outcome.expected_g_per_kwh >= whole.then.expected_g_per_kwh:
            return whole
        return replace(self._decision(outcome, True, ""), segments=windows)

    def _decision(self, then: Outcome, waits: bool, reason: str) -> Decision:
        now = self.now
        level = now.expected_g_per_kwh
        saving, best_saving, spread = 0.0, 0.0, 0.0
        if level > _NOTHING:
            saving = 1 - then.expected_g_per_kwh / level if waits else 0.0
            best_saving = 1 - self.best.expected_g_per_kwh / level
            spread = self.belief.sd_of_difference(now, then) / level if waits else 0.0
        low, high = (saving + NormalDist().inv_cdf(share) * spread for share in BAND)
        chosen = then if waits else now
        return Decision(
            waits=waits, start_at=chosen.start_at, segments=(), now=now, then=chosen, best=self.best, saving=saving,
            best_saving=best_saving, band=(low, high), reason=reason, series=self.series, notes=(),
        )  # fmt: skip


def run_level(series: CarbonSeries, start: int, lengths: Sequence[tuple[int, float]]) -> float | None:
    """Mean g/kWh of the energy of a run from ``start`` (microseconds) over its expected duration; None: not known.

    ``lengths`` are the possible durations in microseconds with their shares.
    """
    scale = 1 << series.sums.shift
    cost, time = 0.0, 0.0
    for length, share in lengths:
        met = series.cost_between(start, start + length)
        if met is None:
            return None
        # Whole numbers first: either may be beyond what a float holds.
        cost += share * (met / scale)
        time += share * length
    return cost / time


def _fitted(series: CarbonSeries, question: Question) -> tuple[CarbonSeries, datetime, list[str]]:
    """The series made to cover a run at the soonest start, by stated assumptions, and the latest start then."""
    notes = []
    soonest, last = question.soonest, question.last
    if soonest < series.start <= soonest + _HELD_BACK:
        notes.append(f"the forecast begins at {iso(series.start)}; its first value is taken to hold before")
        series = replace(series, edges_us=(instant_us(soonest), *series.edges_us[1:]))
    longest = max(duration for duration, _ in question.runtimes.points)
    known_to = series.end
    if soonest + longest > known_to:
        last = max(soonest, min(last, known_to))
        try:
            series = extended(series, last + longest)
        except DataError:
            return series, last, notes
        notes.append(f"the forecast ends at {iso(known_to)}, before the job does; after that its last day is repeated")
    elif last + longest > known_to:
        notes.append(f"the forecast ends at {iso(known_to)}; runs that end later were not looked at")
    return series, last, notes


def _clock(moment: datetime) -> str:
    return iso(moment.replace(microsecond=0))
