"""The energy of a command in both scopes, from the same samples."""

from __future__ import annotations

from typing import Any

import pytest
from fake_spool import FakeSpool

from hpcfrugal.ledger.scopes import BothScopes, ScopeEnergy, both_scopes


def of(spool: FakeSpool, busy: float, **header: Any) -> BothScopes:
    """110 W for a minute, in which the command used a CPU for 60 s and all of the machine ``busy`` times as much."""
    run = spool.run()
    lines = run.records([100, 10], 60)
    for line in lines:
        line["node_busy_us"] = round(line["job_cpu_us"] * busy)
    run.samples([run.header(run.run_id, cpus_alloc=None, **header), *lines], run.run_id)
    return both_scopes(run.run_dir, "n1")


@pytest.mark.parametrize("exclusive", [True, False])
def test_both_scopes_are_the_same_however_it_was_run(spool: FakeSpool, exclusive: bool) -> None:
    found = of(spool, 4, exclusive=exclusive)
    assert found == BothScopes(ScopeEnergy(6_600_000_000, True), ScopeEnergy(1_650_000_000, True), 0.25)
    assert not found.had_it_alone


def test_a_command_that_had_the_machine_to_itself(spool: FakeSpool) -> None:
    found = of(spool, 1.05)
    assert found.cpu_part == pytest.approx(1 / 1.05)
    assert found.had_it_alone


def test_a_part_that_is_unknown_makes_both_incomplete(spool: FakeSpool) -> None:
    found = of(spool, 4, gpus_promised=1)
    assert found.machine == ScopeEnergy(6_600_000_000, False)
    assert found.share == ScopeEnergy(1_650_000_000, False)


def test_a_modelled_figure_has_its_range(spool: FakeSpool) -> None:
    run = spool.run()
    run.samples([run.header(run.run_id, channels=[]), *run.records([], 60)], run.run_id)
    machine = both_scopes(run.run_dir, "n1").machine
    assert machine.energy_uj is not None
    assert machine.range_uj is not None
    assert machine.range_uj[0] < machine.energy_uj < machine.range_uj[1]


def test_without_cpu_time_there_is_no_share(spool: FakeSpool) -> None:
    run = spool.run()
    lines = [{**line, "job_cpu_us": None} for line in run.records([100, 10], 60)]
    run.samples([run.header(run.run_id), *lines], run.run_id)
    found = both_scopes(run.run_dir, "n1")
    assert (found.machine.energy_uj, found.share.complete, found.cpu_part) == (6_600_000_000, False, None)
