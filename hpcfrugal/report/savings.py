"""What timing saved, as JSON and as a table: against the named counterfactual, by actual intensities, with losses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.text import Text

from hpcfrugal.core.text import plain
from hpcfrugal.ledger.savings import JobSavings, SavingStatus, SignalTotal, totals
from hpcfrugal.report.co2e import MassUnit
from hpcfrugal.report.text import count, iso, minute, percent
from hpcfrugal.report.text_table import Column, TextTable

COUNTERFACTUAL = (
    "started when submitted, plus the wait in the queue at that time, and run in one go with the same energy"
)

SCOPE = "operational, location-based, components boundary, PUE of each run where it is known"

_COUNTS: dict[SavingStatus, str] = {
    "pending": "jobs_pending",
    "no-actuals": "jobs_without_actuals",
    "not-put-off": "jobs_not_put_off",
    "asap": "jobs_asap",
    "no-forecast": "jobs_without_forecast",
    "unfinished": "jobs_unfinished",
    "not-run": "jobs_not_run",
}

_SHOWN: dict[SavingStatus, str] = {
    "known": "",
    "pending": "not known yet",
    "no-actuals": "cannot be known",
    "not-put-off": "not put off",
}
"""Those that have a line in the table, with what stands there in place of a saving."""


def savings_json(found: Sequence[JobSavings], period: dict[str, str | None]) -> dict[str, Any]:
    """The whole report. ``savings`` has sums by signal, and is null where none is known yet."""
    standings = Counter(one.standing for one in found)
    sums = totals(found)
    return {
        "schema": 1,
        "period": period,
        "counterfactual": COUNTERFACTUAL,
        "scope": SCOPE,
        "savings": {signal: _total(sums[signal]) for signal in sorted(sums)} or None,
        "jobs_known": standings["known"],
        **{name: standings[standing] for standing, name in _COUNTS.items()},
        "jobs": [_job(one) for one in found if one.standing != "asap"],
    }


def _share(part: Fraction, whole: Fraction) -> float | None:
    return float(part / whole) if whole else None


def _total(total: SignalTotal) -> dict[str, Any]:
    saved_g = total.counterfactual_g - total.actual_g
    return {
        "jobs": total.jobs,
        "saved_g": float(saved_g),
        "saving": _share(saved_g, total.counterfactual_g),
        "actual_g": float(total.actual_g),
        "counterfactual_g": float(total.counterfactual_g),
        "jobs_with_loss": total.losses,
        "lost_g": float(total.lost_g),
        "settled": total.settled,
        "forecast": {
            "jobs": total.forecast_jobs,
            "saved_g": float(total.forecast_saved_g) if total.forecast_jobs else None,
            "saved_g_of_these": float(total.saved_with_forecast_g) if total.forecast_jobs else None,
            "mape": total.error.mape,
        },
    }


def _job(one: JobSavings) -> dict[str, Any]:
    first, last, plan = one.first, one.last, one.plan
    return {
        "cluster": first.cluster,
        "job_id": first.job_id,
        "label": first.label,
        "run_id": first.run_id,
        "name": first.name,
        "user": first.user,
        "state": last.state,
        "restarts": len(one.attempts) - 1,
        "submitted_at": iso(first.submitted_wall_ns),
        "started_at": iso(first.started_wall_ns),
        "ended_at": iso(last.ended_wall_ns),
        "action": plan.action if plan else None,
        "zone": plan.zone if plan else None,
        "signal": plan.signal if plan else None,
        "provider": plan.provider if plan else None,
        "issued_at": iso(plan.issued_ns) if plan else None,
        "counterfactual_start_at": iso(one.counterfactual_start_ns),
        "counterfactual_end_at": iso(one.counterfactual_end_ns),
        "standing": one.standing,
        "why": one.why,
        "savings": _saving(one),
    }


def _saving(one: JobSavings) -> dict[str, Any] | None:
    found, told, plan = one.saving, one.forecast, one.plan
    if found is None or plan is None:
        return None
    return {
        "saved_g": float(found.saved_g),
        "saving": _share(found.saved_g, found.counterfactual_g),
        "actual_g": float(found.actual_g),
        "counterfactual_g": float(found.counterfactual_g),
        "loss": found.saved_g < 0,
        "pue": one.pue,
        "energy_quality": one.quality,
        "settled": one.settled,
        "forecast_saved_g": None if told is None else float(told.saved_g),
        "forecast_saving": None if told is None else _share(told.saved_g, told.counterfactual_g),
        "expected_saving": plan.expected_saving,
        "forecast_mape": one.error.mape if one.error is not None else None,
    }


def savings_table(found: Sequence[JobSavings]) -> RenderableType:
    """One line a job that was planned, then the sums and what they leave out."""
    sums = totals(found)
    shown = [one for one in found if one.standing in _SHOWN]
    amounts = [value for one in shown if one.saving for value in (one.saving.actual_g, one.saving.counterfactual_g)]
    unit = MassUnit([*amounts, *(value for sum_ in sums.values() for value in (sum_.actual_g, sum_.counterfactual_g))])
    grid = TextTable(
        (
            Column("Job", "word"),
            Column("Name", "text"),
            Column("Started (UTC)", "word", drop=1),
            Column("Otherwise (UTC)", "word", drop=2),
            Column(f"CO2e [{unit.name}]"),
            Column("Otherwise"),
            Column("Saved"),
            Column("%", drop=4),
            Column("Forecast", drop=3),
        )
    )
    for one in shown:
        saving, told = one.saving, one.forecast
        known = saving is not None
        loss = saving is not None and saving.saved_g < 0
        grid.add(
            (
                plain(one.first.label, 40),
                plain(one.first.name, 32),
                minute(one.first.started_wall_ns),
                minute(one.counterfactual_start_ns),
                unit.show(saving.actual_g) if saving else "–",
                unit.show(saving.counterfactual_g) if saving else "–",
                _saved(unit, saving.saved_g) if saving else Text(_SHOWN[one.standing], style="dim"),
                _percent(saving.saved_g, saving.counterfactual_g) if saving else "–",
                _saved(unit, told.saved_g) if told is not None and known else "–",
            ),
            style="red" if loss else "",
        )
    for signal, total in sorted(sums.items()):
        grid.line()
        saved_g = total.counterfactual_g - total.actual_g
        grid.add(
            (
                count(total.jobs, "job"),
                signal,
                "",
                "",
                unit.show(total.actual_g),
                unit.show(total.counterfactual_g),
                _saved(unit, saved_g),
                _percent(saved_g, total.counterfactual_g),
                _saved(unit, total.forecast_saved_g) if total.forecast_jobs else "–",
            ),
            style="bold",
        )
    return Stack(*([grid] if shown else []), *(Text(note) for note in _notes(found, sums, unit)))


def _saved(unit: MassUnit, saved_g: Fraction) -> str:
    return unit.show(saved_g) + (" (loss)" if saved_g < 0 else "")


def _percent(part: Fraction, whole: Fraction) -> str:
    share = _share(part, whole)
    return "–" if share is None else f"{share * 100:.1f}"


def _notes(found: Sequence[JobSavings], sums: dict[str, SignalTotal], unit: MassUnit) -> Iterator[str]:
    if sums:
        yield f"Saved: against the same job, {COUNTERFACTUAL}; actual intensities, losses included; {SCOPE}."
    for signal, total in sorted(sums.items()):
        if total.losses:
            yield f"{count(total.losses, 'job')} lost {unit.show(total.lost_g)} {unit.name} (in the sum)."
        if total.forecast_jobs:
            told, was = unit.show(total.forecast_saved_g), unit.show(total.saved_with_forecast_g)
            mape = "" if total.error.mape is None else f"; at these hours it was off by {percent(total.error.mape)}"
            yield f"Forecast ({signal}): {told} {unit.name} were to be saved, {was} {unit.name} were{mape}."
        if not total.settled:
            yield "Intensities may still be revised; the figures follow at the next sync."
    for standing, what in (("pending", "Not known yet"), ("no-actuals", "Cannot be known")):
        whys = Counter(one.why for one in found if one.standing == standing)
        for why, number_of in whys.items():
            yield plain(f"{what}: {count(number_of, 'job')}, {why}.", 300)
    standings = Counter(one.standing for one in found)
    others: dict[SavingStatus, str] = {
        "not-put-off": "not put off by their plans: they saved nothing",
        "asap": "started as soon as they could, by their policy",
        "no-forecast": "planned without a forecast",
        "unfinished": "not over yet",
        "not-run": "never ran",
    }
    for standing, what in others.items():
        if standings[standing]:
            yield f"Not in the sums: {count(standings[standing], 'job')}, {what}."
