"""Which of the figures of `hpcfrugal run` to report: that of the whole machine, or of the command's share."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from hpcfrugal.core.format import AmountUnit, EnergyUnit, energy_unit, rough_percent
from hpcfrugal.ledger.rows import JobRow
from hpcfrugal.ledger.scopes import BothScopes, ScopeEnergy, both_scopes
from hpcfrugal.report.amount import bounded, is_unknown
from hpcfrugal.spool.layout import RunDir

_LEAST_S = 0.1
"""A command that ran for less than this used a few of the ticks in which Linux counts CPU time, mostly of 10 ms."""


def scopes_of(connection: sqlite3.Connection, job: JobRow) -> BothScopes | None:
    """Both figures of a job of `hpcfrugal run`, from its samples; None for another job, or where these are gone."""
    if job.backend != "run" or len(job.nodes) != 1:
        return None
    query = "SELECT path FROM spools JOIN runs USING (spool) WHERE run = ?"
    (path,) = connection.execute(query, (job.run,)).fetchone()
    return both_scopes(RunDir.of(Path(path), job.run_id), job.nodes[0])


def figure_to_report(scopes: BothScopes, command_s: float) -> str | None:
    """Which of the two figures to publish, as JSON has it; None after a command that was too short for either, and
    where it would be the share, and that is not known."""
    if command_s < _LEAST_S:
        return None
    if scopes.had_it_alone:
        return "whole_machine"
    return None if scopes.share.energy_uj is None else "command_share"


def unit_for(energy_uj: int | None, scopes: BothScopes | None, wanted: EnergyUnit) -> AmountUnit:
    """One unit for a job's energy and that of both scopes, so that they can be compared."""
    both = () if scopes is None else (scopes.machine.energy_uj, scopes.share.energy_uj)
    return energy_unit([min((uj for uj in (energy_uj, *both) if uj is not None), default=None)], wanted)


def advice(scopes: BothScopes, command_s: float, of_machine: bool, unit: AmountUnit) -> str:
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
    if scope.energy_uj is None or is_unknown(scope.energy_uj, scope.complete):
        return ", which is unknown"
    return f", {amount(scope.complete, scope.energy_uj, scope.range_uj, unit)}"


def amount(
    complete: bool, energy_uj: int, range_uj: tuple[int, int] | None, unit: AmountUnit, quality: str = ""
) -> str:
    """An energy in this unit with its quality and 90 % range, as a lower bound where it is not complete."""
    ends = "" if range_uj is None else f"90 % range {'–'.join(dict.fromkeys(map(unit.show, range_uj)))}"
    more = ", ".join(filter(None, (quality, ends)))
    return bounded(energy_uj, unit, complete) + (f" ({more})" if more else "")
