"""What the timing of finished jobs saved, from the ledger: their energy, their plans, the actual intensities.

A job here is all attempts of one job id, since a requeued job saves or loses as a whole. Its energy at its own times is
compared with the same energy from the counterfactual start on, both by the actual intensities of the provider and
signal of its plan. A job that was not delayed saved nothing, however long it was pending: the wait that Slurm expected
does not measure the wait that it had.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import field, replace
from fractions import Fraction
from functools import cache, partial
from typing import Literal

from hpcfrugal.accounting.savings import (
    AttemptEnergy,
    ForecastErrorStats,
    Saving,
    energy_of,
    forecast_error,
    moved,
    saving_of,
)
from hpcfrugal.accounting.spans import joined
from hpcfrugal.core.pue import MonthlyPue, single_pue
from hpcfrugal.core.quick import dataclass
from hpcfrugal.ledger.due import Defaults
from hpcfrugal.ledger.footprints import Intensities, levels_of, pue_of
from hpcfrugal.ledger.plans import PlanRow, RunTimes, counterfactual_start, plan_of, run_times, was_delayed
from hpcfrugal.ledger.rows import JobRow
from hpcfrugal.ledger.totals import JobEnergy

SavingStatus = Literal[
    "known", "pending", "no-actuals", "not-delayed", "asap", "no-forecast", "unfinished", "not-run"
]  # fmt: skip
"""Whether the saving is known, not known yet, or why it cannot be known. A job that was not delayed saved nothing."""

_GOES_ON = frozenset({"PREEMPTED", "NODE_FAIL", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED"})


@dataclass(frozen=True, slots=True)
class JobSavings:
    """One job, all of its attempts.

    ``saving`` is None unless ``status`` is ``known``; ``reason`` says what is missing, and ``awaited`` is the provider
    whose actual intensities are. ``forecast`` is the saving of
    the same energy by the forecast of the plan. ``pue`` is None too where it
    differs by month. ``quality`` is ``measured``, ``modelled`` or ``mixed``; ``settled`` is
    false where an intensity may still be revised, ``estimated`` true where the provider estimated one.
    """

    attempts: tuple[JobRow, ...]
    plan: PlanRow | None
    status: SavingStatus
    reason: str | None = None
    pue: float | None = None
    quality: str | None = None
    settled: bool | None = None
    estimated: bool | None = None
    counterfactual_start_ns: int | None = None
    counterfactual_end_ns: int | None = None
    saving: Saving | None = None
    forecast: Saving | None = None
    error: ForecastErrorStats | None = None
    awaited: str | None = None

    @property
    def first(self) -> JobRow:
        return self.attempts[0]

    @property
    def last(self) -> JobRow:
        return self.attempts[-1]


@dataclass(slots=True)
class SignalTotal:
    """The jobs of one signal whose savings are known, losses included.

    ``forecast_saved_g`` and ``saved_with_forecast_g`` are sums over the same jobs: those whose forecast reaches over
    both times.
    """

    jobs: int = 0
    losses: int = 0
    actual_g: Fraction = Fraction(0)
    counterfactual_g: Fraction = Fraction(0)
    lost_g: Fraction = Fraction(0)
    forecast_jobs: int = 0
    forecast_saved_g: Fraction = Fraction(0)
    saved_with_forecast_g: Fraction = Fraction(0)
    settled: bool = True
    estimated: bool = False
    error: ForecastErrorStats = field(default_factory=ForecastErrorStats)


def savings(connection: sqlite3.Connection, jobs: Sequence[JobRow], defaults: Defaults) -> list[JobSavings]:
    """The savings of ``jobs``, which have to hold all attempts of each job, in the order of their first attempts.

    Jobs without a run had no plan of ours, and are left out.
    """
    intensity, times = Intensities(connection), cache(partial(run_times, connection))
    grouped: dict[tuple[int | None, str], list[JobRow]] = {}
    for job in jobs:
        if job.run is not None:
            grouped.setdefault((job.run, job.job_id), []).append(job)
    return [
        _of(intensity, times, tuple(sorted(attempts, key=lambda job: job.restart)), defaults)
        for attempts in grouped.values()
    ]


def _of(
    intensity: Intensities,
    times_of: Callable[[int], RunTimes],
    attempts: tuple[JobRow, ...],
    defaults: Defaults,
) -> JobSavings:
    last, plan = attempts[-1], plan_of(attempts[-1].plan)
    if plan is None:
        return JobSavings(attempts, None, "asap")

    def without(status: SavingStatus, reason: str) -> JobSavings:
        return JobSavings(attempts, plan, status, reason, counterfactual_start_ns=plan.counterfactual_ns)

    if not last.final or last.state in _GOES_ON:
        return without("unfinished", "not finished yet")
    if all(job.started_wall_ns is None and not job.sessions for job in attempts):
        return without("not-run", "never ran")
    if not plan.on_forecast:
        return without("no-forecast", "planned without a forecast")
    times = RunTimes(None, None, None) if last.run is None else times_of(last.run)
    if not was_delayed(plan, times):
        return JobSavings(attempts, plan, "not-delayed", "not delayed by its plan: no saving")
    return _compared(intensity, attempts, plan, times, defaults)


def _compared(
    intensity: Intensities,
    attempts: tuple[JobRow, ...],
    plan: PlanRow,
    times: RunTimes,
    defaults: Defaults,
) -> JobSavings:
    pue = pue_of(attempts[0], defaults)
    begin_ns = plan.counterfactual_ns

    def unknown(reason: str, status: SavingStatus = "pending") -> JobSavings:
        shown = None if isinstance(pue, MonthlyPue) else pue
        return JobSavings(attempts, plan, status, reason, shown, counterfactual_start_ns=begin_ns)

    ran: list[AttemptEnergy] = []
    for before, job in zip((None, *attempts), attempts, strict=False):
        pieces = JobEnergy(job).pieces
        if not pieces and (job.started_wall_ns is not None or job.sessions):
            return unknown("its energy is unknown")
        if pieces:
            start_ns = job.started_wall_ns if job.started_wall_ns is not None else pieces[0].start_ns
            elapsed_ns = job.elapsed_ns if job.elapsed_ns is not None else pieces[-1].end_ns - start_ns
            # A node that failed, or preemption, would have interrupted the job in any case.
            planned = [one is not None and one.state == "REQUEUED" for one in (before, job)]
            costs_s = (plan.interruptions.restart_s or 0.0, plan.interruptions.checkpoint_s or 0.0)
            overhead_ns = (round(cost_s * 10**9) * one for cost_s, one in zip(costs_s, planned, strict=True))
            ran.append(AttemptEnergy(start_ns, elapsed_ns, pieces, *overhead_ns))
    if ran:
        in_array = attempts[0].array_job_id is not None
        begin_ns = counterfactual_start(plan, times, ran[0].start_ns, in_array=in_array)
    zone, provider, forecast = plan.zone, plan.provider, plan.forecast
    if begin_ns is None or zone is None or provider is None or forecast is None:
        return unknown("its plan cannot be read")
    actual, expected = intensity.actual(zone, plan.signal, provider), levels_of(forecast)
    found = saving_of(ran, begin_ns, actual, pue)
    spans = list(joined(piece.span for piece in (*energy_of(ran), *moved(ran, begin_ns))))
    if found is None:
        known = any(actual.known_ns(*span) for span in spans)
        which = "all of these times" if known else "these times"
        of = f"the actual {plan.signal} intensity of {zone} at {which}"
        if intensity.never_ns(zone, plan.signal, provider, spans):
            return unknown(f"{provider} does not offer {of}", "no-actuals")
        return replace(unknown(f"{of} is not known from {provider} yet"), awaited=provider)
    qualities = sorted({piece.quality for piece in energy_of(ran)})
    levels = [level for span in spans for level in actual.within(*span)]
    return JobSavings(
        attempts,
        plan,
        "known",
        None,
        single_pue(pue, spans[0][0], spans[-1][1]),
        quality=qualities[0] if len(qualities) == 1 else "mixed",
        settled=all(level.settled for level in levels),
        estimated=any(level.source == "estimated" for level in levels),
        counterfactual_start_ns=begin_ns,
        counterfactual_end_ns=begin_ns + sum(attempt.worked_ns for attempt in ran),
        saving=found,
        forecast=saving_of(ran, begin_ns, expected, pue),
        error=forecast_error(expected, actual, spans),
    )


def totals(found: Sequence[JobSavings]) -> dict[str, SignalTotal]:
    """Sums by signal; figures of different signals are never added."""
    sums: dict[str, SignalTotal] = {}
    for one in found:
        if one.saving is None or one.plan is None:
            continue
        total = sums.setdefault(one.plan.signal, SignalTotal())
        total.jobs += 1
        total.actual_g += one.saving.actual_g
        total.counterfactual_g += one.saving.counterfactual_g
        if one.saving.saved_g < 0:
            total.losses += 1
            total.lost_g -= one.saving.saved_g
        if one.forecast is not None:
            total.forecast_jobs += 1
            total.forecast_saved_g += one.forecast.saved_g
            total.saved_with_forecast_g += one.saving.saved_g
        if one.error is not None:
            total.error.add(one.error)
        total.settled = total.settled and bool(one.settled)
        total.estimated = total.estimated or bool(one.estimated)
    return sums
