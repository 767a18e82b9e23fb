"""Every table fits a terminal of 60 columns, and keeps the name and the energy (or power, or saving) of each row."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fake_spool import GPU, PACKAGE, FakeSpool
from rich.console import Console

from hpcfrugal.accounting.closure import NodeBalance, SuspendRule
from hpcfrugal.cli.queue import queue_table
from hpcfrugal.cli.status import JobStatus, status_blocks, status_table
from hpcfrugal.core.format import EnergyUnit
from hpcfrugal.ledger.closure import ClosedNode, NodeDay
from hpcfrugal.ledger.nodes import find_nodes
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync
from hpcfrugal.queues.job_comment import JobComment
from hpcfrugal.queues.replan import PlannedStart
from hpcfrugal.queues.snapshot import QueuedJob
from hpcfrugal.report.closure import ClosureReport
from hpcfrugal.report.formats.fitted_table import FittedTable
from hpcfrugal.report.job import ReportedJob
from hpcfrugal.report.jobs import JobsReport
from hpcfrugal.report.method import MethodReport
from hpcfrugal.report.method_settings import GreenAlgorithmsSettings
from hpcfrugal.report.nodes import NodesReport
from hpcfrugal.report.period import Period
from hpcfrugal.report.view import Notes, Table
from hpcfrugal.spool import RunDir
from hpcfrugal.spool.current_power import Draw
from hpcfrugal.spool.job_state import JobState
from hpcfrugal.submission.tracked_jobs import TrackedJob

WIDTHS = (60, 80, 120)
NAME = "resnet152-imagenet-sweep-learning-rate-0001"
NODE = "gpu-cluster-a100-0123"
UNITS: tuple[EnergyUnit, ...] = ("auto", "J", "MWh")
NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)


@pytest.fixture
def ledger(spool: FakeSpool) -> Path:
    """Jobs with long names, one with a GPU that was not found, one modelled, all in a zone."""
    for job_id, user in (("12345678", "a.longusername"), ("12345679", "b")):
        tags = {"project": NAME, "phase": "training"}
        spec = {"name": NAME, "tags": tags}
        run = spool.run(job_id, user=user, spec=spec, carbon={"zone": "FR", "pue": 1.25})
        header = run.header(job_id, node=NODE, channels=[PACKAGE, GPU], gpus_promised=2)
        run.samples([header, *run.records([123_456, 654_321], 60)], job_id, node=NODE)
        run.slurm(job_id=job_id, user=user, nodes=(NODE,))
    sync(spool.root, spool.ledger)
    return spool.ledger


def check(table: Table, kept: set[str]) -> None:
    assert table.rows
    headings = [column.heading for column in table.columns]
    assert kept <= {heading.partition(" [")[0] for heading in headings}, headings
    for width in WIDTHS:
        fitted = FittedTable(table).fit(width)
        assert sum(fitted.values()) + 2 * (len(fitted) - 1) <= width, (width, headings)
        assert kept <= {headings[number].partition(" [")[0] for number in fitted}, (width, headings)


def shown(table: Table, width: int) -> list[str]:
    """The lines in a terminal, their figures left out."""
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    console.print(FittedTable(table), crop=False)
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()[:3]) for line in console.file.getvalue().splitlines()]


def tables(blocks: Iterator[object]) -> list[Table]:
    return [block for block in blocks if isinstance(block, Table)]


@pytest.mark.parametrize("unit", UNITS)
def test_lists_groups_and_details(ledger: Path, unit: EnergyUnit) -> None:
    with open_ledger(ledger) as connection:
        totals, jobs = tables(JobsReport(connection, Period(), JobFilter(), unit=unit).blocks())
        check(totals, {"Total", "Energy"})
        check(jobs, {"Name", "Energy"})
        for by in (("name",), ("name", "user"), ("tag:project", "node"), ("user", "month")):
            (groups,) = tables(JobsReport(connection, Period(), JobFilter(), by, unit=unit).blocks())
            check(groups, {by[0].removeprefix("tag:") if ":" in by[0] else by[0].capitalize(), "Energy"})
        detail = tables(JobsReport(connection, Period(), JobFilter(), detailed=True, unit=unit).blocks())
        assert len(detail) == 6
        for components, channels, usage in (detail[:3], detail[3:]):
            check(components, {"Component", "Energy"})
            check(channels, {"Node", "Component", "Domain", "Quality", "Energy"})
            check(usage, {"Node", "CPU time"})


@pytest.mark.parametrize("unit", UNITS)
def test_jobs_by_a_method(spool: FakeSpool, unit: EnergyUnit) -> None:
    slurm = {"alloc_cpus": 128, "partition": "gpu-a100-long", "user": "a.longusername"}
    spool.run("12345678", spec={"name": NAME}).slurm(job_id="12345678", end_s=86_400, **slurm)
    sync(spool.root, spool.ledger)
    settings = GreenAlgorithmsSettings(
        **{"name": "green-algorithms", "core_power_w": 6.3, "memory_w_per_gb": 0, "g_per_kwh": 50}
    )
    with open_ledger(spool.ledger) as connection:
        found = MethodReport(connection, Period(), JobFilter(), settings, 1.2, unit=unit)
        (jobs,) = tables(found.blocks())
    check(jobs, {"Name", "Energy", "CO2e"})


@pytest.mark.parametrize("unit", UNITS)
def test_nodes(ledger: Path, spool: FakeSpool, unit: EnergyUnit) -> None:
    with open_ledger(ledger) as connection:
        (nodes,) = tables(NodesReport(Period(), find_nodes(connection, spool.root, None, None), unit).blocks())
    check(nodes, {"Node", "To jobs", "Rest"})


@pytest.mark.parametrize("unit", UNITS)
def test_the_channels_of_two_packages_can_be_told_apart(spool: FakeSpool, unit: EnergyUnit) -> None:
    domains = ("package-0", "package-1", "package-0/dram", "package-1/dram")
    run = spool.run("17")
    header = run.header("17", node=NODE, channels=[{**PACKAGE, "domain": domain} for domain in domains])
    run.samples([header, *run.records([100] * 4, 86_400)], "17", node=NODE)
    run.slurm(job_id="17", nodes=(NODE,))
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        (nodes,) = tables(NodesReport(Period(), find_nodes(connection, spool.root, None, None), unit).blocks())
        _, channels, _ = tables(JobsReport(connection, Period(), JobFilter(), detailed=True, unit=unit).blocks())
    check(nodes, {"Node", "Component", "Domain", "Rest"})
    check(channels, {"Node", "Component", "Domain", "Quality", "Energy"})
    for table in (nodes, channels):
        assert len(set(shown(table, 60)[1:])) >= len(domains)


@pytest.mark.parametrize("unit", UNITS)
def test_status(ledger: Path, spool: FakeSpool, unit: EnergyUnit) -> None:
    with open_ledger(ledger) as connection:
        totals = tuple(job.totals for job in find_jobs(connection, JobFilter()))
    assert totals
    (path, *_) = spool.root.glob("20*/*")

    def job(state: str) -> TrackedJob:
        states = [JobState("12345678", state, reason="AssocGrpCPUMinutesLimit", start_at=NOW, nodes=(NODE,))]
        return TrackedJob(RunDir(str(path)), "12345678", "lab", "slurm_cli", NAME, NOW, states)

    draw = Draw({"cpu": 123.4, "dram": 12.3, "gpu": 999.9}, {"cpu": 10**12})
    check(
        status_table([JobStatus(job("RUNNING"), draw), JobStatus(job("COMPLETED"), Draw(), totals)], unit),
        {"Name", "State", "CPU+DRAM", "GPU", "Energy"},
    )
    shown = status_table([JobStatus(job("RUNNING"), one) for one in (draw, Draw({"cpu": 123.4}))], unit)
    powers = [cell.text for row in shown.rows for cell in row.cells if cell.text.endswith(" W")]
    assert powers == ["136 W", "≥ 123 W"]
    for measured, explained in ((draw.power_w, False), ({"cpu": 123.4}, True)):
        notes = [
            block
            for block in status_blocks([JobStatus(job("RUNNING"), Draw(measured))], unit)
            if isinstance(block, Notes)
        ]
        assert [one.text[0] for block in notes for one in block.lines] == ["≥"] * explained


def test_queue() -> None:
    queued = QueuedJob(
        "12345678", "PENDING", 128, 4096, None, JobComment("green", NOW), user="a.longusername", name=NAME
    )
    later, last = NOW + timedelta(hours=30), NOW + timedelta(days=3, hours=4)
    moved = PlannedStart(queued, later, None, later, last, 100.0, 300.0, "forecast", NOW)
    stays = PlannedStart(queued, later, later, later, last, 100.0, 300.0, "forecast", NOW)
    check(queue_table([moved, stays]), {"Job", "Name", "Starts (UTC)", "Planned"})
    check(queue_table([stays]), {"Job", "Name", "Starts (UTC)", "Saving"})


@pytest.mark.parametrize(("second", "is_kept"), [("alice", False), ("bob", True)])
def test_a_list_of_jobs_of_several_users_keeps_whose_they_are(
    ledger: Path, monkeypatch: pytest.MonkeyPatch, second: str, is_kept: bool
) -> None:
    def of_both(report: JobsReport, *, details: bool) -> Iterator[ReportedJob]:
        for user, one in zip(("alice", second), found(report, details=details), strict=True):
            yield ReportedJob(replace(one.job, user=user))

    found = JobsReport.jobs
    monkeypatch.setattr(JobsReport, "jobs", of_both)
    with open_ledger(ledger) as connection:
        _, jobs = tables(JobsReport(connection, Period(), JobFilter()).blocks())
    shown = {jobs.columns[number].heading for number in FittedTable(jobs).fit(80)}
    assert ("User" in shown) is is_kept


@pytest.mark.parametrize("unit", UNITS)
def test_closed_nodes(unit: EnergyUnit) -> None:
    balance = NodeBalance(jobs_uj=10**12, system_uj=9 * 10**12, read_ns=86_400 * 10**9)
    days = {20_000: NodeDay(NODE, 20_000, balance, meter="ipmi-dcmi", meter_uj=2 * 10**13, beside_uj=10**13)}
    nodes = {name: ClosedNode(name, SuspendRule(600, 30, 60), False, days) for name in (NODE, NODE.replace("3", "4"))}
    for by_day in (False, True):
        (table,) = tables(ClosureReport(Period(), nodes, 20_002 * 86_400 * 10**9, by_day, unit).blocks())
        check(table, {"Node", "Jobs", "Unattributed", *(["Day"] if by_day else [])})
