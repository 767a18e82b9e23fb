"""From the facts about a job, the queue and the grid to a plan. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hpcfrugal.carbon.forecast import Forecast
from hpcfrugal.core.time import iso
from hpcfrugal.job import JobSpec
from hpcfrugal.planning.decide.bounds import Bounds
from hpcfrugal.planning.decide.decision import MIN_SAVING, Decision, Interruptions, Question, decide
from hpcfrugal.planning.decide.plan import (
    BestStart,
    Counterfactual,
    DurationBasis,
    Expectation,
    GridForecast,
    Plan,
    PlannedInterruptions,
    PlannedRun,
    QueueWait,
)
from hpcfrugal.planning.decide.power import Power
from hpcfrugal.planning.decide.slurm_estimate import SlurmEstimate
from hpcfrugal.planning.optimise.errors import NotCovered
from hpcfrugal.planning.optimise.runtimes import Runtimes

LEAST_MARGIN = timedelta(minutes=1)
"""Slurm's main scheduler goes through all jobs once a minute (slurm.conf(5), sched_interval)."""

ASAP = "its policy is asap"
"""Why a job starts as soon as possible, with or without a forecast."""

_MARGIN_SHARE = 20
_NONE = timedelta()


@dataclass(frozen=True, slots=True)
class JobFacts:
    """All inputs of one job's plan. ``duration_basis`` and ``duration_source`` belong to ``runtimes``."""

    spec: JobSpec
    now: datetime
    bounds: Bounds
    estimate: SlurmEstimate
    power: Power
    runtimes: Runtimes
    duration_basis: DurationBasis
    duration_source: str
    pue: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def data_centre_w(self) -> float | None:
        """Power of the job times the PUE, as in its footprint."""
        return None if self.power.power_w is None else self.power.power_w * (self.pue or 1.0)

    @property
    def usual_wait(self) -> timedelta:
        """The expected wait of a job that may start at any time; zero if unknown."""
        return self.estimate.wait.expected or _NONE

    @property
    def soonest(self) -> datetime:
        """The expected start without a delay."""
        return self.bounds.earliest + (self.estimate.wait_now or _NONE)

    def last_start(self, forecast: Forecast) -> datetime:
        """The latest start to plan with: the latest safe one, minus the excess of a long wait over the usual one."""
        bounds, wait = self.bounds, self.estimate.wait
        if bounds.latest_start is None:
            if self.spec.schedule.effective_policy != "budget":
                return bounds.earliest
            return forecast.series.end - self.runtimes.longest
        before = margin(bounds.latest_start - bounds.earliest, wait)
        return bounds.latest_start - max(_NONE, before - self.usual_wait)


def margin(slack: timedelta, wait: QueueWait) -> timedelta:
    """How long before its latest start a job is released to Slurm: a wait that few jobs exceed, at least a minute.

    ``slack`` is the time between its earliest and its latest start. If it is short, the margin is a twentieth of it.
    """
    return max(wait.most or wait.expected or _NONE, min(LEAST_MARGIN, slack / _MARGIN_SHARE))


def plan_on_forecast(facts: JobFacts, forecast: Forecast) -> Plan:
    """The plan on a forecast. In any case the job begins early enough to start by its latest safe start."""
    schedule, earliest = facts.spec.schedule, facts.bounds.earliest
    last = max(facts.soonest, facts.last_start(forecast))
    costs = _interruptions(facts, forecast)
    question = Question(
        soonest=facts.soonest,
        last=last,
        runtimes=facts.runtimes,
        min_saving=MIN_SAVING if schedule.min_saving is None else schedule.min_saving,
        budget_g=schedule.budget_g,
        power_w=facts.data_centre_w,
        interruptions=costs,
    )
    try:
        decision = decide(replace(forecast.series, issued_at=forecast.issued_at), question)
    except NotCovered as error:
        return plan_start_now(facts, f"the forecast does not cover a run: {error.message}", forecast)
    begin = max(earliest, (decision.then.start_at - facts.usual_wait).replace(microsecond=0))
    several = len(decision.segments) > 1
    if decision.waits and begin == earliest and not several:
        decision = decision.start_now("the expected wait in the queue already delays it that much")
    plan = plan_start_now(facts, _reason(facts, decision, last), forecast, decision)
    if not decision.waits:
        return plan
    return replace(
        plan,
        action="segments" if several else "wait",
        begin_at=begin if begin > earliest else None,
        start_at=decision.then.start_at,
        segments=tuple(PlannedRun(window.start_at, window.end_at) for window in decision.segments) if several else (),
        interruptions=PlannedInterruptions(costs.checkpoint, costs.restart) if several and costs else None,
    )


def _interruptions(facts: JobFacts, forecast: Forecast) -> Interruptions | None:
    """The overhead of interruptions; by default no segment is shorter than a slot of the forecast."""
    settings = facts.spec.schedule.interruptible
    if settings is None or facts.bounds.limit is None or facts.bounds.latest_start is None:
        return None
    shortest = min(slot.end - slot.start for slot in forecast.series.slots())
    return Interruptions(
        settings.checkpoint_cost,
        settings.restart_cost,
        max(shortest, settings.grace, 2 * facts.usual_wait) if settings.min_segment is None else settings.min_segment,
    )


def _reason(facts: JobFacts, decision: Decision, last: datetime) -> str:
    bounds = facts.bounds
    if decision.waits or last > decision.now.start_at:
        return decision.reason
    if facts.spec.schedule.effective_policy == "asap":
        return ASAP
    if bounds.latest_start is None:
        return "neither schedule.max_delay nor schedule.deadline is set"
    by = bounds.safe_start or bounds.latest_start
    verb = "had" if by < facts.now else "has"
    return f"there is no time to wait: it {verb} to start by {iso(by.replace(microsecond=0))}"


def plan_start_now(
    facts: JobFacts, reason: str, forecast: Forecast | None = None, decision: Decision | None = None
) -> Plan:
    """A plan to start as soon as possible."""
    schedule, bounds, estimate = facts.spec.schedule, facts.bounds, facts.estimate
    notes = [note for source in (forecast, bounds, estimate, decision, facts) if source for note in source.notes]
    if schedule.interruptible is not None and bounds.limit is None:
        notes.append("the time limit is unknown, so it does not run in segments")
    return Plan(
        policy=schedule.effective_policy,
        decided_at=facts.now,
        action="start-now",
        reason=reason,
        zone=forecast.series.zone if forecast else schedule.zone,
        signal=schedule.signal or "average",
        duration=facts.runtimes.mean,
        duration_source=facts.duration_source,
        duration_basis=facts.duration_basis,
        limit=bounds.limit,
        start_at=facts.soonest,
        latest_start_at=bounds.safe_start,
        deadline_at=bounds.deadline,
        counterfactual=Counterfactual(facts.soonest, estimate.wait_now),
        wait=estimate.wait,
        expected=_expectation(decision, facts) if decision else None,
        best=BestStart(decision.best.start_at, decision.best_saving) if decision else None,
        notes=tuple(dict.fromkeys(notes)),
        grid=_grid(facts, forecast, decision) if forecast else None,
    )


def _expectation(decision: Decision, facts: JobFacts) -> Expectation:
    now, then = decision.now, decision.then
    return Expectation(
        now_g_per_kwh=now.expected_g_per_kwh,
        then_g_per_kwh=then.expected_g_per_kwh,
        now_forecast_g_per_kwh=now.forecast_g_per_kwh,
        then_forecast_g_per_kwh=then.forecast_g_per_kwh,
        saving=decision.saving,
        band=decision.band,
        power_w=facts.power.power_w,
        power_source=facts.power.source,
        pue=facts.pue,
        now_g=now.grams,
        then_g=then.grams,
        now_estimated=decision.now_estimated,
    )


def _grid(facts: JobFacts, forecast: Forecast, decision: Decision | None) -> GridForecast:
    """The slots from the submission to the latest possible end, as far as the forecast reaches."""
    series = decision.series if decision else forecast.series
    starts = [facts.bounds.latest_start or facts.bounds.earliest, facts.last_start(forecast)]
    if decision is not None:
        starts.append(decision.now.start_at)
    until = max(starts) + facts.runtimes.longest
    slots = [slot for slot in series.slots() if slot.end > facts.now and slot.start < until]
    if slots:
        series = series.slice(slots[0].start, slots[-1].end)
    return GridForecast(series, forecast.provider, forecast.issued_at, forecast.age, forecast.stale)
