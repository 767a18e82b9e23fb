"""What `hpcfrugal run` prints at its end: the energy and its scope, which figure to report, and where the rest is."""

from __future__ import annotations

from collections.abc import Iterator

from hpcfrugal.core.format import AmountUnit, EnergyUnit, duration, mass_unit, micrograms
from hpcfrugal.core.text import plain
from hpcfrugal.ledger.parts import MACHINE
from hpcfrugal.ledger.scopes import BothScopes
from hpcfrugal.ledger.sums import EnergySums
from hpcfrugal.local.run import LocalRun
from hpcfrugal.report.amount import bound_sign, is_unknown
from hpcfrugal.report.job import ReportedJob
from hpcfrugal.report.scope_advice import advice, amount, unit_for


def summary(
    done: LocalRun, record: ReportedJob, scopes: BothScopes | None, wanted: EnergyUnit, *, kept: bool
) -> Iterator[str]:
    """The lines: one of a command that failed, else also which figure to report and how to see the rest."""
    unit = unit_for(record.sums.energy_uj, scopes, wanted)
    yield ", ".join(_facts(done, record, unit))
    if done.exit_code:
        return
    if scopes is not None:
        yield advice(scopes, done.command_s, record.job.totals.scope == MACHINE, unit)
    if kept:
        yield f"Details: hpcfrugal report {record.job.label}"


def _facts(done: LocalRun, record: ReportedJob, unit: AmountUnit) -> Iterator[str]:
    sums, co2e = record.sums, record.co2e
    name = plain(record.job.name) or "command"
    if sums.energy_uj is None or is_unknown(sums.energy_uj, record.complete):
        yield f"{name}: energy unknown"
    else:
        range_uj = None if done.exit_code else sums.range_uj
        yield f"{name}: {amount(record.complete, sums.energy_uj, range_uj, unit, _quality(sums, unit))}"
        yield record.job.totals.scope or "scope unknown"
    yield duration(round(done.command_s * 10**9))
    complete = record.complete and co2e.complete
    if sums.co2e_ug is not None and not is_unknown(sums.co2e_ug, complete):
        unit = mass_unit([sums.co2e_ug / 1e6])
        yield f"{bound_sign(complete)}{micrograms(sums.co2e_ug, unit)} {unit.name} CO2e (intensity: {co2e.source})"
    if done.exit_code:
        yield f"exit code {done.exit_code}"


def _quality(sums: EnergySums, unit: AmountUnit) -> str:
    if sums.modelled_uj is None:
        return "measured"
    return "modelled" if sums.measured_uj is None else f"{unit.named(sums.modelled_uj)} of it modelled"
