"""What `hpcfrugal run` prints at its end: the energy and its scope, which figure to report, and where the rest is."""

from __future__ import annotations

from collections.abc import Iterator

from hpcfrugal.core.format import AT_LEAST, AmountUnit, EnergyUnit, duration, energy_unit, mass, rough_percent
from hpcfrugal.core.text import plain
from hpcfrugal.ledger.parts import MACHINE
from hpcfrugal.ledger.scopes import BothScopes, ScopeEnergy
from hpcfrugal.ledger.sums import EnergySums
from hpcfrugal.local.run import LocalRun
from hpcfrugal.report.amount import at_least
from hpcfrugal.report.job import ReportedJob

_LEAST_S = 0.1
"""A command that ran for less than this used a few of the ticks in which Linux counts CPU time, mostly of 10 ms."""


def figure_to_report(scopes: BothScopes, command_s: float) -> str | None:
    """Which of the two figures to publish, as JSON has it; None after a command that was too short for either, and
    where it would be the share, and that is not known."""
    if command_s < _LEAST_S:
        return None
    if scopes.had_it_alone:
        return "whole_machine"
    return None if scopes.share.energy_uj is None else "command_share"


def summary(
    done: LocalRun, record: ReportedJob, scopes: BothScopes | None, wanted: EnergyUnit, *, kept: bool
) -> Iterator[str]:
    """The lines: one of a command that failed, else also which figure to report and how to see the rest."""
    # One unit for both scopes, so that they can be compared.
    both = () if scopes is None else (scopes.machine.energy_uj, scopes.share.energy_uj)
    known_uj = [uj for uj in (record.sums.energy_uj, *both) if uj is not None]
    unit = energy_unit([min(known_uj, default=None)], wanted)
    yield ", ".join(_facts(done, record, unit))
    if done.exit_code:
        return
    if scopes is not None:
        yield _advice(scopes, done.command_s, record.job.totals.scope == MACHINE, unit)
    if kept:
        yield f"Details: hpcfrugal report {record.job.label}"


def _facts(done: LocalRun, record: ReportedJob, unit: AmountUnit) -> Iterator[str]:
    sums, co2e = record.sums, record.co2e
    name = plain(record.job.name) or "command"
    if sums.energy_uj is None:
        yield f"{name}: energy unknown"
    else:
        range_uj = None if done.exit_code else sums.range_uj
        yield f"{name}: {_amount(record.complete, sums.energy_uj, range_uj, unit, _quality(sums, unit))}"
        yield record.job.totals.scope or "scope unknown"
    yield duration(round(done.command_s * 10**9))
    if sums.co2e_ug is not None:
        sign = at_least(record.complete and co2e.complete)
        yield f"{sign}{mass(sums.co2e_ug / 1e6)} CO2e (intensity: {co2e.source})"
    if done.exit_code:
        yield f"exit code {done.exit_code}"


def _quality(sums: EnergySums, unit: AmountUnit) -> str:
    if sums.modelled_uj is None:
        return "measured"
    return "modelled" if sums.measured_uj is None else f"{unit.named(sums.modelled_uj)} of it modelled"


def _amount(
    complete: bool, energy_uj: int, range_uj: tuple[int, int] | None, unit: AmountUnit, quality: str = ""
) -> str:
    ends = "" if range_uj is None else f"90 % range {'–'.join(dict.fromkeys(map(unit.show, range_uj)))}"
    more = ", ".join(filter(None, (quality, ends)))
    energy = unit.named(energy_uj) if complete else f"{AT_LEAST}{unit.for_bounds().named(energy_uj)}"
    return energy + (f" ({more})" if more else "")


def _advice(scopes: BothScopes, command_s: float, of_machine: bool, unit: AmountUnit) -> str:
    """Which figure to report; with its energy where that is not the one above."""
    if command_s < _LEAST_S:
        return "Too short to report an energy: measure many repetitions of it in a loop."
    if scopes.cpu_part is None:
        return "The command's CPU time is unknown: report the whole machine only if nothing else ran on it."
    if scopes.had_it_alone:
        why = f"the command used {rough_percent(scopes.cpu_part)} of its busy CPU time"
        return f"Report the whole machine{'' if of_machine else _other(scopes.machine, unit)}: {why}."
    if scopes.share.energy_uj is None:
        return "Report neither: other work ran on the machine, and the command's share is unknown."
    why = f"{rough_percent(1 - scopes.cpu_part)} of the busy CPU time was other work"
    unless = "or the whole machine, if that work was done for the command"
    return f"Report the command's share{_other(scopes.share, unit) if of_machine else ''}: {why} ({unless})."


def _other(scope: ScopeEnergy, unit: AmountUnit) -> str:
    if scope.energy_uj is None:
        return ", which is unknown"
    return f", {_amount(scope.complete, scope.energy_uj, scope.range_uj, unit)}"
