"""From all that is known of a job, the queue and the grid to its plan. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hpcfrugal.carbon.forecast import Forecast
from hpcfrugal.core.time import iso
from hpcfrugal.job import JobSpec
from hpcfrugal.planning.decide.bounds import Bounds
from hpcfrugal.planning.decide.decision import MIN_SAVING, Decision, Interruptions, Question, decide
from hpcfrugal.planning.decide.history import History
from hpcfrugal.planning.decide.plan import Expectation, GridForecast, Plan
from hpcfrugal.planning.decide.power import Power
from hpcfrugal.planning.decide.slurm_estimate import SlurmEstimate
from hpcfrugal.planning.optimise.errors import NotCovered
from hpcfrugal.planning.optimise.runtimes import Runtimes

LEAST_MARGIN = timedelta(minutes=1)
"""Slurm's main scheduler goes through all jobs once a minute (slurm.conf(5), sched_interval)."""

_MARGIN_SHARE = 20
_NONE = timedelta()


@dataclass(frozen=True, slots=True)
class JobFacts:
    """All that was asked about one job."""

    spec: JobSpec
    now: datetime
    bounds: Bounds
    estimate: SlurmEstimate
    history: History
    power: Power
    runtimes: Runtimes
    duration_source: str
    pue: float | None = None

    @property
    def drawn_w(self) -> float | None:
        """What the data centre draws for the job: its power times the PUE, as in its footprint afterwards."""
        return None if self.power.power_w is None else self.power.power_w * (self.pue or 1.0)


def proposed(known: JobFacts, forecast: Forecast) -> Plan:
    """The plan on a forecast. Whatever that says, the job begins early enough to start by its latest safe start."""
    bounds, estimate = known.bounds, known.estimate
    soonest = bounds.earliest + (estimate.wait_now or _NONE)
    last = max(soonest, _last(known, forecast))
    question = Question(
        soonest=soonest,
        last=last,
        runtimes=known.runtimes,
        min_saving=MIN_SAVING if known.spec.schedule.min_saving is None else known.spec.schedule.min_saving,
        budget_g=known.spec.schedule.budget_g,
        power_w=known.drawn_w,
        interruptions=_interruptions(known, forecast),
    )
    try:
        decision = decide(replace(forecast.series, issued_at=forecast.issued_at), question)
    except NotCovered as error:
        return at_once(known, f"the forecast tells too little: {error.message}", forecast)
    begin = max(bounds.earliest, (decision.start_at - (estimate.wait or _NONE)).replace(microsecond=0))
    several = len(decision.segments) > 1
    if decision.waits and begin == bounds.earliest and not several:
        decision = replace(decision.at_once, reason="the wait in the queue puts it off as far as the plan would")
    plan = at_once(known, _reason(known, decision, last), forecast, decision)
    if not decision.waits:
        return plan
    return replace(
        plan,
        action="segments" if several else "wait",
        begin_at=begin if begin > bounds.earliest else None,
        start_at=decision.start_at,
        segments=tuple((window.start_at, window.end_at) for window in decision.segments) if several else (),
    )


def _last(known: JobFacts, forecast: Forecast) -> datetime:
    """The latest start to plan with: the latest safe one, less what a long wait takes beyond the usual one."""
    bounds, estimate = known.bounds, known.estimate
    if bounds.latest_start is None:
        if known.spec.schedule.effective_policy != "budget":
            return bounds.earliest
        return forecast.series.end - max(duration for duration, _ in known.runtimes.points)
    usual = estimate.wait or _NONE
    before = margin(bounds.latest_start - bounds.earliest, estimate.wait, estimate.wait_most)
    return bounds.latest_start - max(_NONE, before - usual)


def margin(slack: timedelta, wait: timedelta | None, wait_most: timedelta | None) -> timedelta:
    """How long before its latest start a job is to be given to Slurm: as long as few wait longer, or a minute.

    ``slack`` is the time between its earliest and its latest start.
    """
    return max(wait_most or wait or _NONE, min(LEAST_MARGIN, slack / _MARGIN_SHARE))


def _interruptions(known: JobFacts, forecast: Forecast) -> Interruptions | None:
    """What interruptions cost a job that can be interrupted; no stretch is shorter than a slot unless it says so."""
    told = known.spec.schedule.interruptible
    if told is None or known.bounds.limit is None or known.bounds.latest_start is None:
        return None
    least = told.min_segment
    if least is None:
        shortest = min(slot.end - slot.start for slot in forecast.series.slots())
        least = max(shortest, told.grace, 2 * (known.estimate.wait or _NONE))
    return Interruptions(told.checkpoint_cost, told.restart_cost, least)


def _reason(known: JobFacts, decision: Decision, last: datetime) -> str:
    bounds = known.bounds
    if decision.waits or last > decision.now.start_at:
        return decision.reason
    if known.spec.schedule.effective_policy == "asap":
        return "its policy is asap"
    if bounds.latest_start is None:
        return "nothing says how long it may wait"
    by = bounds.safe_start or bounds.latest_start
    verb = "had" if by < known.now else "has"
    return f"there is no time to wait in: it {verb} to start by {iso(by.replace(microsecond=0))}"


def at_once(known: JobFacts, reason: str, forecast: Forecast | None = None, decision: Decision | None = None) -> Plan:
    """A plan to start as soon as can be, with all that is known."""
    spec, bounds, estimate = known.spec, known.bounds, known.estimate
    soonest = bounds.earliest + (estimate.wait_now or _NONE)
    notes = [*(forecast.notes if forecast else ()), *bounds.notes, *estimate.notes]
    notes += [*(decision.notes if decision else ()), *([known.history.problem] if known.history.problem else [])]
    if spec.schedule.interruptible is not None and bounds.limit is None:
        notes.append("no time limit is known, so it is not run in segments")
    return Plan(
        policy=spec.schedule.effective_policy,
        decided_at=known.now,
        action="start-now",
        reason=reason,
        zone=forecast.series.zone if forecast else spec.schedule.zone,
        signal=spec.schedule.signal or "average",
        duration=known.runtimes.mean,
        duration_source=known.duration_source,
        limit=bounds.limit,
        begin_at=None,
        start_at=soonest,
        segments=(),
        latest_start_at=bounds.safe_start,
        deadline_at=bounds.deadline,
        soonest_at=soonest,
        wait_now=estimate.wait_now,
        wait=estimate.wait,
        wait_most=estimate.wait_most,
        wait_source=estimate.wait_source,
        expected=_expectation(decision, known) if decision else None,
        best=(decision.best.start_at, decision.best_saving) if decision else None,
        grid=_grid(known, forecast, decision) if forecast else None,
        notes=tuple(dict.fromkeys(notes)),
    )


def _expectation(decision: Decision, known: JobFacts) -> Expectation:
    now, then = decision.now, decision.then
    return Expectation(
        now_g_per_kwh=now.expected_g_per_kwh,
        then_g_per_kwh=then.expected_g_per_kwh,
        now_forecast_g_per_kwh=now.forecast_g_per_kwh,
        then_forecast_g_per_kwh=then.forecast_g_per_kwh,
        saving=decision.saving,
        band=decision.band,
        power_w=known.power.power_w,
        power_source=known.power.source,
        pue=known.pue,
        now_g=now.grams,
        then_g=then.grams,
    )


def _grid(known: JobFacts, forecast: Forecast, decision: Decision | None) -> GridForecast:
    """The slots from the submission to the last end that could be, as far as the forecast reaches."""
    series = decision.series if decision else forecast.series
    longest = max(duration for duration, _ in known.runtimes.points)
    until = max(known.bounds.latest_start or known.bounds.earliest, _last(known, forecast)) + longest
    if decision is not None:
        until = max(until, decision.now.start_at + longest)
    slots = [slot for slot in series.slots() if slot.end > known.now and slot.start < until]
    if slots:
        series = series.slice(slots[0].start, slots[-1].end)
    return GridForecast(series, forecast.provider, forecast.issued_at, forecast.age, forecast.stale)
