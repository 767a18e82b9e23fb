"""The last lines of `hpcfrugal run`: what was used, and which of the two figures to report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_spool import PACKAGE, FakeSpool

from hpcfrugal.accounting.tables.electricity import yearly_mean
from hpcfrugal.cli.run_summary import summary
from hpcfrugal.core.format import EnergyUnit
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.scopes import BothScopes, ScopeEnergy
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync
from hpcfrugal.local.run import LocalRun
from hpcfrugal.report.job import ReportedJob
from hpcfrugal.report.job_detail import job_blocks
from hpcfrugal.report.scope_advice import figure_to_report
from hpcfrugal.report.view import Notes

WH = 3_600_000_000


def of_this_machine(spool: FakeSpool, watts: tuple[float, ...] = (100.0, 10.0), **header: Any) -> None:
    """A minute of `hpcfrugal run` in a known grid zone."""
    run = spool.run(None, backend="run", carbon={"zone": "FR", "pue": None} if header else None)
    run.cluster = "local:n1"
    run.submitted()
    run.samples([run.header(**header), *run.records(list(watts), 60)])
    run.end()


def lines(
    spool: FakeSpool,
    scopes: BothScopes | None,
    *,
    exit_code: int = 0,
    command_s: float = 61.25,
    unit: EnergyUnit = "auto",
    kept: bool = True,
) -> list[str]:
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        (job,) = find_jobs(connection, JobFilter())
    done = LocalRun(None, Path("/spool"), exit_code, command_s)
    return list(summary(done, ReportedJob(job), scopes, unit, kept=kept))


def scopes(machine: float | None, share: float | None, cpu_part: float | None, **of_share: Any) -> BothScopes:
    def one(wh: float | None, **more: Any) -> ScopeEnergy:
        return ScopeEnergy(None if wh is None else round(wh * WH), more.pop("complete", True), **more)

    return BothScopes(one(machine), one(share, **of_share), cpu_part)


def test_a_measured_run_that_had_the_machine_to_itself(spool: FakeSpool) -> None:
    of_this_machine(spool)
    both = scopes(1.8333, 1.8, 0.97)
    assert lines(spool, both) == [
        "train: 1.83 Wh (measured), whole machine, 00:01:01",
        "Report the whole machine: the command used 97 % of its busy CPU time.",
        "Details: hpcfrugal report 17",
    ]
    assert lines(spool, both, unit="kWh")[0] == "train: 0.00183 kWh (measured), whole machine, 00:01:01"
    assert len(lines(spool, both, kept=False)) == 2
    assert figure_to_report(both, 61.25) == "whole_machine"


@pytest.mark.parametrize(
    ("both", "advice", "reported"),
    [
        (
            scopes(1.8, 0.4, 0.3),
            "Report the command's share, 0.400 Wh: 70 % of the busy CPU time was other work"
            " (or the whole machine, if that work was done for the command).",
            "command_share",
        ),
        (
            scopes(1.8, 0.4, 0.3, complete=False, range_uj=(WH // 5, WH)),
            "Report the command's share, ≥ 0.400 Wh (90 % range 0.200–1.00): 70 % of the busy CPU time was other work"
            " (or the whole machine, if that work was done for the command).",
            "command_share",
        ),
        (
            scopes(1.8, None, 0.3),
            "Report neither: other work ran on the machine, and the command's share is unknown.",
            None,
        ),
        (
            scopes(1.8, None, None),
            "The command's CPU time is unknown: report the whole machine only if nothing else ran on it.",
            None,
        ),
    ],
)
def test_which_figure_to_report(spool: FakeSpool, both: BothScopes, advice: str, reported: str | None) -> None:
    of_this_machine(spool)
    assert lines(spool, both)[1] == advice
    assert figure_to_report(both, 61.25) == reported


@pytest.mark.parametrize("cpu_part", [0.97, 0.3, None])
def test_a_command_of_a_moment_has_no_figure_to_report(spool: FakeSpool, cpu_part: float | None) -> None:
    of_this_machine(spool)
    both = scopes(1.8, 0.4, cpu_part)
    _, advice, _ = lines(spool, both, command_s=0.09)
    assert advice == "Too short to report an energy: measure many repetitions of it in a loop."
    assert figure_to_report(both, 0.09) is None
    assert not lines(spool, both, command_s=0.1)[1].startswith("Too short")


def test_a_lower_bound_has_digits_however_small_it_is(spool: FakeSpool) -> None:
    of_this_machine(spool)
    both = scopes(1.8, 0.0002, 0.3, complete=False)
    assert lines(spool, both, unit="Wh")[1].startswith("Report the command's share, ≥ 0.000200 Wh: ")


def test_a_command_that_failed_has_one_line(spool: FakeSpool) -> None:
    of_this_machine(spool)
    (line,) = lines(spool, scopes(1.8, 0.4, 0.3), exit_code=3)
    assert line == "train: 1.83 Wh (measured), whole machine, 00:01:01, exit code 3"


def test_what_is_modelled_or_lacks_a_part_is_marked(spool: FakeSpool) -> None:
    of_this_machine(spool, (100.0,), channels=[PACKAGE], gpus_promised=1)
    first, *_ = lines(spool, None)
    assert first.startswith("train: ≥ 1.69 Wh (0.0267 Wh of it modelled, 90 % range 1.68–1.7"), first
    assert "≥ " in first.partition("whole machine")[2].partition("CO2e")[0]
    assert first.endswith(" CO2e (intensity: yearly-mean)")


def test_energy_that_is_unknown_is_no_number(spool: FakeSpool) -> None:
    spool.run(backend="run").slurm("COMPLETED")
    assert lines(spool, None)[0] == "train: energy unknown, 00:01:01"


def test_at_least_nothing_is_unknown(spool: FakeSpool) -> None:
    of_this_machine(spool, (0.0, 0.0), gpus_promised=1)
    assert lines(spool, None)[0] == "train: energy unknown, 00:01:01"
    advice = lines(spool, scopes(0.0, 0.4, 0.97, complete=True))[1]
    assert advice == "Report the whole machine: the command used 97 % of its busy CPU time."
    advice = lines(spool, scopes(1.8, 0.0, 0.3, complete=False))[1]
    assert advice.startswith("Report the command's share, which is unknown: 70 %")


@pytest.mark.parametrize(
    ("power_w", "shown"), [(1e-7, "CO2e unknown in zone FR"), (1e-4, "CO2e unknown in zone FR at ~{:.0f} g/kWh")]
)
def test_at_least_no_microgram_is_unknown(spool: FakeSpool, power_w: float, shown: str) -> None:
    of_this_machine(spool, (power_w, 0.0), gpus_promised=1)
    assert "CO2e" not in lines(spool, None)[0]
    with open_ledger(spool.ledger) as connection:
        (job,) = find_jobs(connection, JobFilter())
    notes = [line.text for block in job_blocks(ReportedJob(job)) if isinstance(block, Notes) for line in block.lines]
    mean = yearly_mean("FR")
    assert mean is not None
    assert notes[0] == shown.format(mean.g_per_kwh)
