"""The report of savings: what timing saved against the named counterfactual, by actual intensities, with losses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from hpcfrugal.accounting.savings import Saving
from hpcfrugal.core.format import NONE, count, percent
from hpcfrugal.ledger.savings import JobSavings, SavingStatus, SignalTotal, totals
from hpcfrugal.report import notation
from hpcfrugal.report.amount import bound_sign
from hpcfrugal.report.field import Field, Rows, attributes, field, row, scale, sheet, table, to_json
from hpcfrugal.report.period import Period
from hpcfrugal.report.view import Block, Json, Note, Notes, Sheet, note

COUNTERFACTUAL = "started when submitted, plus the wait in the queue at that time, and run in one go"

SCOPE = "operational, location-based, components boundary, PUE of each run where it is known"


class _Status(NamedTuple):
    """What becomes of jobs of a status: their count in JSON, the note about them, the text in place of a saving."""

    key: str
    note: str = ""
    shown: str | None = None


_STATUSES: dict[SavingStatus, _Status] = {
    "known": _Status("jobs_known", shown=""),
    "pending": _Status("jobs_pending", shown="not known yet"),
    "no-actuals": _Status("jobs_without_actuals", shown="cannot be known"),
    "not-delayed": _Status("jobs_not_delayed", "not delayed by their plans: no saving", "not delayed"),
    "asap": _Status("jobs_asap", "policy asap: started as soon as possible"),
    "no-forecast": _Status("jobs_without_forecast", "planned without a forecast"),
    "unfinished": _Status("jobs_unfinished", "not finished yet"),
    "not-run": _Status("jobs_not_run", "never ran"),
}

T = TypeVar("T")


def _share(part: Fraction, whole: Fraction) -> float | None:
    return float(part / whole) if whole else None


def _of_saving(get: Callable[[Saving], T]) -> Callable[[JobSavings], T | None]:
    return lambda one: None if one.saving is None else get(one.saving)


def _of_forecast(get: Callable[[Saving], T]) -> Callable[[JobSavings], T | None]:
    return lambda one: None if one.saving is None or one.forecast is None else get(one.forecast)


def _of_plan(name: str) -> Field[JobSavings]:
    return field(name, notation.PLAIN, lambda one: getattr(one.plan, name) if one.plan else None, csv=True)


def _is_complete(one: JobSavings) -> bool:
    """Whether no part of its energy is unknown."""
    return all(job.totals.complete or job.totals.not_started for job in one.attempts)


def _is_loss(one: JobSavings) -> bool:
    return one.saving is not None and one.saving.saved_g < 0


def _loss(saved_g: Fraction) -> str:
    return " (loss)" if saved_g < 0 else ""


_SAVING_FIELDS: tuple[Field[JobSavings], ...] = (
    field(
        "actual_g", notation.MASS, _of_saving(lambda saving: saving.actual_g), csv=True, heading="CO2e [{mass}]",
        missing=NONE, before=lambda one: bound_sign(_is_complete(one)),
    ),
    field(
        "counterfactual_g", notation.MASS, _of_saving(lambda saving: saving.counterfactual_g), csv=True,
        heading="Otherwise", drop=5, missing=NONE, before=lambda one: bound_sign(_is_complete(one)),
    ),
    field(
        "saved_g", notation.MASS, _of_saving(lambda saving: saving.saved_g), csv=True, heading="Saved",
        after=lambda one: " (loss)" if _is_loss(one) else "", missing=lambda one: _STATUSES[one.status].shown or NONE,
    ),
    field(
        "saving", notation.SHARE, _of_saving(lambda saving: _share(saving.saved_g, saving.counterfactual_g)), csv=True,
        heading="Saving", drop=4, missing=NONE,
    ),
    field("loss", notation.PLAIN, _is_loss),
    field("pue", notation.PLAIN, lambda one: one.pue, csv=True),
    field("energy_quality", notation.PLAIN, lambda one: one.quality, csv=True),
    field("complete", notation.PLAIN, lambda one: None if one.saving is None else _is_complete(one), csv=True),
    field("settled", notation.PLAIN, lambda one: one.settled, csv=True),
    field("estimated", notation.PLAIN, lambda one: one.estimated, csv=True),
    field(
        "forecast_saved_g", notation.MASS, _of_forecast(lambda saving: saving.saved_g), csv=True, heading="Forecast",
        drop=3, after=lambda one: "" if one.forecast is None else _loss(one.forecast.saved_g), missing=NONE,
    ),
    field(
        "forecast_saving", notation.SHARE,
        _of_forecast(lambda saving: _share(saving.saved_g, saving.counterfactual_g)),
    ),
    field("expected_saving", notation.PLAIN, lambda one: one.plan.expected_saving if one.plan else None),
    field("forecast_mape", notation.PLAIN, lambda one: one.error.mape if one.error is not None else None),
)  # fmt: skip

_JOB_FIELDS: tuple[Field[JobSavings], ...] = (
    *attributes(notation.PLAIN, "cluster", "job_id", of="first", csv=True),
    field("label", notation.WORD, lambda one: one.first.label, heading="Job", drop=6, key=True),
    *attributes(notation.PLAIN, "run_id", of="first", csv=True),
    field("name", notation.TEXT, lambda one: one.first.name, csv=True, heading="Name", missing=""),
    *attributes(notation.PLAIN, "user", of="first", csv=True),
    *attributes(notation.PLAIN, "state", of="last", csv=True),
    field("restarts", notation.COUNT, lambda one: len(one.attempts) - 1, csv=True),
    field("submitted_at", notation.TIME, lambda one: one.first.submitted_wall_ns, csv=True),
    field(
        "started_at", notation.TIME, lambda one: one.first.started_wall_ns, csv=True, heading="Started (UTC)", drop=1,
        missing=""
    ),
    field("ended_at", notation.TIME, lambda one: one.last.ended_wall_ns, csv=True),
    *(_of_plan(name) for name in ("action", "zone", "signal", "provider")),
    field("issued_at", notation.TIME, lambda one: one.plan.issued_ns if one.plan else None),
    field(
        "counterfactual_start_at", notation.TIME, lambda one: one.counterfactual_start_ns, csv=True,
        heading="Otherwise (UTC)", drop=2, missing="",
    ),
    field("counterfactual_end_at", notation.TIME, lambda one: one.counterfactual_end_ns),
    *attributes(notation.PLAIN, "status", "reason", csv=True),
    field("savings", row(_SAVING_FIELDS), lambda one: one if one.saving is not None and one.plan is not None else None),
)  # fmt: skip

_FLAT_FIELDS = (*_JOB_FIELDS, *_SAVING_FIELDS)
"""With the savings beside the job, as tables and CSV have them."""


class _Total(NamedTuple):
    """The ``jobs`` of one signal whose savings are known, and their sums."""

    signal: str
    sums: SignalTotal
    jobs: list[JobSavings]

    @property
    def incomplete(self) -> int:
        """Jobs of which a part of the energy is unknown."""
        return sum(not _is_complete(one) for one in self.jobs)

    @property
    def modelled(self) -> int:
        """Jobs of which a part of the energy is modelled."""
        return sum(one.quality != "measured" for one in self.jobs)

    @property
    def quality(self) -> str | None:
        """``measured``, ``modelled`` or ``mixed``."""
        found = {one.quality for one in self.jobs}
        return found.pop() if len(found) == 1 else "mixed"

    @property
    def saved_g(self) -> Fraction:
        return self.sums.counterfactual_g - self.sums.actual_g


def _if_forecast(get: Callable[[SignalTotal], T]) -> Callable[[_Total], T | None]:
    return lambda total: get(total.sums) if total.sums.forecast_jobs else None


_FORECAST_SAVED: Field[_Total] = field(
    "forecast_saved_g", notation.MASS, _if_forecast(lambda sums: sums.forecast_saved_g), json="forecast.saved_g",
    heading="Forecast", after=lambda total: _loss(total.sums.forecast_saved_g), missing=NONE,
)  # fmt: skip

_TOTAL_FIELDS: tuple[Field[_Total], ...] = (
    field("label", notation.WORD, lambda total: count(total.sums.jobs, "job"), json="", heading="Job"),
    field("name", notation.WORD, lambda total: total.signal, json="", heading="Name"),
    *attributes(notation.COUNT, "jobs", of="sums"),
    field(
        "saved_g", notation.MASS, lambda total: total.saved_g, heading="Saved",
        after=lambda total: _loss(total.saved_g),
    ),
    field(
        "saving", notation.SHARE, lambda total: _share(total.saved_g, total.sums.counterfactual_g), heading="Saving",
        missing=NONE,
    ),
    field(
        "actual_g", notation.MASS, lambda total: total.sums.actual_g, heading="CO2e",
        before=lambda total: bound_sign(not total.incomplete),
    ),
    field(
        "counterfactual_g", notation.MASS, lambda total: total.sums.counterfactual_g, heading="Otherwise",
        before=lambda total: bound_sign(not total.incomplete),
    ),
    field("energy_quality", notation.PLAIN, lambda total: total.quality),
    field("complete", notation.PLAIN, lambda total: not total.incomplete),
    field("jobs_with_loss", notation.COUNT, lambda total: total.sums.losses),
    field("lost_g", notation.MASS, lambda total: total.sums.lost_g),
    field("settled", notation.PLAIN, lambda total: total.sums.settled),
    field("estimated", notation.PLAIN, lambda total: total.sums.estimated),
    field("forecast_jobs", notation.COUNT, lambda total: total.sums.forecast_jobs, json="forecast.jobs"),
    _FORECAST_SAVED,
    field(
        "saved_g_of_these", notation.MASS, _if_forecast(lambda sums: sums.saved_with_forecast_g),
        json="forecast.saved_g_of_these",
    ),
    field("mape", notation.PLAIN, lambda total: total.sums.error.mape, json="forecast.mape"),
)  # fmt: skip


@dataclass(frozen=True)
class SavingsReport:
    """The savings of jobs that were planned on a forecast, and how many others there are."""

    period: Period
    found: Sequence[JobSavings]

    @cached_property
    def totals(self) -> list[_Total]:
        """Sums by signal, which are never added to each other."""
        known = [one for one in self.found if one.saving is not None]
        return [
            _Total(signal, sums, [one for one in known if one.plan is not None and one.plan.signal == signal])
            for signal, sums in sorted(totals(known).items())
        ]

    @cached_property
    def _counts(self) -> Counter[SavingStatus]:
        return Counter(one.status for one in self.found)

    def document(self) -> dict[str, Json]:
        """``savings`` has the sums by signal, and is null where none is known yet."""
        return {
            "schema": 1,
            "period": self.period.document(),
            "counterfactual": COUNTERFACTUAL,
            "scope": SCOPE,
            "savings": {total.signal: to_json(_TOTAL_FIELDS, total) for total in self.totals} or None,
            **{status.key: self._counts[name] for name, status in _STATUSES.items()},
            "jobs": [to_json(_JOB_FIELDS, one) for one in self._planned],
        }

    @property
    def _planned(self) -> list[JobSavings]:
        return [one for one in self.found if one.status != "asap"]

    def sheet(self) -> Sheet:
        """One row a job that was planned."""
        return sheet(_FLAT_FIELDS, self._planned)

    def blocks(self) -> Iterator[Block]:
        """A table of the jobs that were planned, with sums by signal, and what the sums leave out."""
        if not self.found:
            yield Notes((Note("No jobs in this period."),))
            return
        shown = [one for one in self.found if _STATUSES[one.status].shown is not None]
        parts: list[Rows[Any]] = [
            Rows(_FLAT_FIELDS, shown, lambda one: "loss" if _is_loss(one) else ""),
            *(Rows(_TOTAL_FIELDS, [total], "total", apart=True) for total in self.totals),
        ]
        if shown:
            yield table(_FLAT_FIELDS, parts)
        in_unit = scale(parts).mass.named
        yield Notes(tuple(note(text) for text in self._notes(in_unit)))

    def _notes(self, mass: Callable[[Fraction], str]) -> Iterator[str]:
        if self.totals:
            yield f"Saved: against the same job, {COUNTERFACTUAL}; actual intensities, losses included; {SCOPE}."
        for total in self.totals:
            signal, sums = total.signal, total.sums
            if total.incomplete:
                jobs = count(total.incomplete, "job")
                yield f"≥: a part of the energy is unknown, and so is what it saved or lost ({jobs})."
            if total.modelled:
                yield f"Modelled: a part of the energy at least ({count(total.modelled, 'job')})."
            if sums.losses:
                yield f"{count(sums.losses, 'job')} lost {mass(sums.lost_g)} (included in the sum)."
            if sums.forecast_jobs:
                forecast, actual = mass(sums.forecast_saved_g), mass(sums.saved_with_forecast_g)
                mape = "" if sums.error.mape is None else f"; mean forecast error {percent(sums.error.mape)}"
                yield f"Forecast ({signal}): expected saving {forecast}, actual saving {actual}{mape}."
            if sums.estimated:
                yield f"Some of the {signal} intensities are estimates of the provider, not measured."
            if not sums.settled:
                yield "Intensities may still be revised; the next sync updates the figures."
        for status, what in (("pending", "Not known yet"), ("no-actuals", "Cannot be known")):
            reasons = Counter(one.reason for one in self.found if one.status == status)
            for reason, number in reasons.items():
                yield f"{what}: {count(number, 'job')}, {reason}."
        for name, described in _STATUSES.items():
            if described.note and self._counts[name]:
                yield f"Not in the sums: {count(self._counts[name], 'job')}, {described.note}."
