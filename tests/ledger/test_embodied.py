"""Emissions of making nodes: what jobs have of them, by time and by their CPUs, as an interval that adds up."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from accounted import DAY_S, answer, row
from fake_spool import SECOND, FakeSpool
from named_tables import named_table

from hpcfrugal.accounting.embodied import EmbodiedNodes
from hpcfrugal.core.errors import InputError
from hpcfrugal.ledger.check import check_ledger
from hpcfrugal.ledger.due import Defaults, known_defaults
from hpcfrugal.ledger.export import dump
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.rows import JobRow
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sums import total_of
from hpcfrugal.ledger.sync import rebuild, sync
from hpcfrugal.report.formats import rendered
from hpcfrugal.report.jobs import JobsReport
from hpcfrugal.report.period import Period
from hpcfrugal.settings.idle_power import read_node_tables

HOUR_S = 3600
NODES = EmbodiedNodes("n[1-4]", 16, 1_000_000, 2_000_000, 10_000 * HOUR_S, "LCA 2024")
"""100 to 200 g for an hour of a whole node."""


def jobs_of(spool: FakeSpool, *classes: EmbodiedNodes) -> list[JobRow]:
    sync(spool.root, spool.ledger, defaults=Defaults(embodied=classes))
    grown = dump(spool.ledger)
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == grown
    assert not check_ledger(spool.root, spool.ledger).differences
    with open_ledger(spool.ledger) as connection:
        return find_jobs(connection, JobFilter())


def test_a_part_of_a_node_for_a_time() -> None:
    """8 of 16 CPUs for an hour: 50 to 100 g."""
    assert NODES.of(8, HOUR_S * SECOND) == (50_000_000, 100_000_000)
    assert NODES.of(Fraction(16, 3), HOUR_S * SECOND) == (33_333_333, 66_666_666)
    assert NODES.of(64, HOUR_S * SECOND) == (100_000_000, 200_000_000)  # no more than the node
    assert NODES.of(None, HOUR_S * SECOND) is None
    assert NODES.of(8, None) is None


def test_a_job_of_accounting_by_its_cpus_on_its_nodes_and_days(spool: FakeSpool) -> None:
    answer(spool, row("1", 0, HOUR_S), row("2", 0, 2 * DAY_S, AllocCPUS="24", NNodes="3", NodeList="n[1-3]"))
    one, three = jobs_of(spool, NODES)
    assert one.totals.sums.embodied_ug == (50_000_000, 100_000_000)
    whole_ug = 3 * 48 * 50_000_000
    assert three.totals.sums.embodied_ug == (whole_ug, 2 * whole_ug)
    by_day = [part for part in three.energy if part.sums.embodied_ug is not None]
    assert len({part.day for part in by_day}) == 3
    assert total_of(part.sums for part in three.energy).embodied_ug == (whole_ug, 2 * whole_ug)
    assert not three.totals.sums.embodied_lacking


def test_a_run_by_the_cpus_that_its_sidecar_found(spool: FakeSpool) -> None:
    """A minute of a node alone; then of 2 CPUs."""
    spool.whole_run("17")
    run = spool.run("18")
    run.samples([{**run.header("18"), "exclusive": False}, *run.records([100.0, 10.0], 60)], "18")
    run.end(job_id="18")
    run.slurm(job_id="18")
    alone, shared = jobs_of(spool, NODES)
    assert alone.totals.sums.embodied_ug == (100_000_000 // 60, 200_000_000 // 60)
    assert shared.totals.sums.embodied_ug == (100_000_000 * 2 // 16 // 60, 200_000_000 * 2 // 16 // 60)


def test_a_job_of_this_machine_by_its_cpu_time(spool: FakeSpool) -> None:
    """It has no allocation: 60 s of CPU time in a minute are one CPU of 16."""
    run = spool.run(None, backend="local")
    run.cluster = "local:n1"
    run.submitted("17")
    run.samples([{**run.header("17"), "cpus_alloc": None, "exclusive": None}, *run.records([100.0, 10.0], 60)])
    run.end()
    (job,) = jobs_of(spool, NODES)
    assert (job.alloc_cpus, job.sessions[0].job_cpu_us, job.known_elapsed_ns) == (None, 60 * 10**6, 60 * SECOND)
    assert job.totals.sums.embodied_ug == (100_000_000 // 16 // 60, 200_000_000 // 16 // 60)
    assert not job.totals.sums.embodied_lacking


def test_what_lacks_figures_is_marked_and_nothing_is_shown_without_settings(spool: FakeSpool) -> None:
    answer(spool, row("1", NodeList="n[4-5]", NNodes="2"), row("2", NodeList="x", NNodes="1"), row("3"))
    partly, unknown, whole = jobs_of(spool, NODES)
    assert (partly.totals.sums.embodied_ug, partly.totals.sums.embodied_lacking) == ((25_000_000, 50_000_000), 1)
    assert (unknown.totals.sums.embodied_ug, unknown.totals.sums.embodied_lacking) == (None, 1)
    assert (whole.totals.sums.embodied_ug, whole.totals.sums.embodied_lacking) == ((50_000_000, 100_000_000), 0)
    for job in jobs_of(spool):  # the setting was taken away
        assert (job.totals.sums.embodied_ug, job.totals.sums.embodied_lacking) == (None, 0)


def test_the_report_has_it_beside_the_grams_with_its_source(spool: FakeSpool) -> None:
    answer(spool, row("1"), row("2", NodeList="x"))
    jobs_of(spool, NODES)
    with open_ledger(spool.ledger) as connection:
        report = JobsReport(connection, Period(), JobFilter())
        document: dict[str, Any] = json.loads(rendered(report, "json"))
        text = rendered(report, "markdown")
        assert known_defaults(connection).embodied == (NODES,)
    totals = document["totals"]
    names = ("embodied_low_g", "embodied_high_g", "embodied_complete")
    assert [totals[name] for name in names] == [50.0, 100.0, False]
    assert [[job[name] for name in names] for job in document["jobs"]] == [[50.0, 100.0, True], [None, None, None]]
    assert totals["co2e_g"] is None
    assert "from LCA 2024" in text
    assert "≥ 50.0–100" in text


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"embodied_kg": 900}, "has embodied_kg without lifetime_years, cpus, embodied_source"),
        ({"embodied_kg": [2, 1], "tdp_w": 1}, "a list of two, the lower one first"),
        ({"embodied_kg": [1, 2, 3], "tdp_w": 1}, "a list of two, the lower one first"),
        ({"cpus": 4, "lifetime_years": 5}, "has neither idle_power_w nor tdp_w"),
    ],
)
def test_mistakes_in_the_settings(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        read_node_tables({"n1": named_table("nodes", "n1", values)})
    assert problem in str(caught.value)
