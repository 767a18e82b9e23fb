"""A new output format walks the view and needs nothing else; no form of a report loses what is incomplete."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from itertools import combinations_with_replacement

import pytest
from fake_spool import SECOND, START_NS, FakeSpool

from hpcfrugal.ledger.queries import JobFilter, energy_by_day, find_jobs
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync
from hpcfrugal.report import kind
from hpcfrugal.report.field import Rows, field, sheet, table, to_json
from hpcfrugal.report.formats import render
from hpcfrugal.report.group import GROUPINGS
from hpcfrugal.report.jobs import JobsReport
from hpcfrugal.report.period import Period
from hpcfrugal.report.summary import summarise
from hpcfrugal.report.view import Cell, Column, Facts, Notes, Report, Table, named

BY = ["job", *GROUPINGS, "tag:phase", "component", "day"]


def markdown(report: Report) -> Iterator[str]:
    """A format that is not there yet."""
    for block in report.blocks():
        match block:
            case Table():
                yield "| " + " | ".join(column.heading for column in block.columns) + " |"
                for row in block.rows:
                    yield "| " + " | ".join(cell.text for cell in row.cells) + " |"
            case Facts():
                yield from (f"- {name}: {text}" for name, text in block.lines)
            case Notes():
                yield from (line.text for line in block.lines)


def report(spool: FakeSpool, by: str, *, detailed: bool = False) -> JobsReport:
    """A job of which a GPU was not found, and a job without energy."""
    run = spool.run("17")
    run.samples([run.header(gpus_promised=1), *run.records([100, 10], 60)])
    run.slurm()
    spool.run("18").slurm("FAILED", job_id="18")
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        jobs = find_jobs(connection, JobFilter())
        days = energy_by_day(jobs)
    return JobsReport(Period(), [summarise(job) for job in jobs], by, days, detailed)


@pytest.mark.parametrize("by", BY)
def test_no_grouping_and_no_format_loses_what_is_incomplete(spool: FakeSpool, by: str) -> None:
    found = report(spool, by)
    text = list(markdown(found))
    tables = [line for line in text if line.startswith("| ")][1:]
    assert any("\N{GREATER-THAN OR EQUAL TO} 6.600" in line for line in tables)
    assert any(line.startswith("\N{GREATER-THAN OR EQUAL TO}: a part is unknown") for line in text)
    document = json.loads(render(found, "json"))
    assert document["totals"]["complete"] is False
    rows = list(csv.DictReader(io.StringIO(render(found, "csv"))))
    records = document["jobs"] if by == "job" else document["groups"]
    assert [str(record["complete"]) for record in records] == [row["complete"] for row in rows]
    with_gpu = [row for row in rows if by != "component" or row["component"] == "gpu"]
    assert {row["complete"] for row in with_gpu} == {"False"}


KINDS = ("complete", "no gpu found", "no samples", "pending", "over midnight")
MIXES = [mix for count in (1, 2, 3) for mix in combinations_with_replacement(KINDS, count)]


def put(spool: FakeSpool, job_id: str, kind_of_job: str) -> None:
    run = spool.run(job_id)
    if kind_of_job == "pending":
        run.slurm("PENDING", job_id=job_id, start_s=None, end_s=None)
        return
    run.slurm(job_id=job_id, end_s=60)
    if kind_of_job == "over midnight":
        shifted = {"wall_ns": START_NS + 14 * 3600 * SECOND - 30 * SECOND}
        lines = run.records([100, 10], 60)
        run.samples([run.header(job_id, gpus_promised=1, **shifted), *lines], job_id)
    elif kind_of_job != "no samples":
        promised = 1 if kind_of_job == "no gpu found" else None
        run.samples([run.header(job_id, gpus_promised=promised), *run.records([100, 10], 60)], job_id)


@pytest.mark.parametrize("mix", MIXES, ids=" + ".join)
def test_a_sum_is_complete_only_if_all_of_its_jobs_are(spool: FakeSpool, mix: tuple[str, ...]) -> None:
    """For every grouping, in every format: as the jobs themselves, one by one, are."""
    for number, kind_of_job in enumerate(mix):
        put(spool, str(17 + number), kind_of_job)
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        jobs = find_jobs(connection, JobFilter())
        days = energy_by_day(jobs)
    summaries = [summarise(job) for job in jobs]
    ran = [one for one in summaries if not one.not_started]
    assert [one.complete for one in ran] == [
        kind_of_job == "complete" for kind_of_job in mix if kind_of_job != "pending"
    ]
    expected = all(one.complete for one in ran)
    for by in BY:
        found = JobsReport(Period(), summaries, by, days)
        document = json.loads(render(found, "json"))
        rows = list(csv.DictReader(io.StringIO(render(found, "csv"))))
        text = "\n".join(markdown(found))
        assert document["totals"]["complete"] is expected, by
        if by == "job" or not ran:
            continue
        assert all(group["complete"] for group in document["groups"]) is expected, by
        assert all(row["complete"] == "True" for row in rows) is expected, by
        assert ("without known energy" in text or "a part is unknown" in text) is not expected, by
        known = [one for one in ran if one.total.energy_uj is not None]
        assert ("\N{GREATER-THAN OR EQUAL TO}" in text) is (not expected and bool(known)), by
        if by == "day":
            assert {group["elapsed_s"] for group in document["groups"]} == {None}


def test_every_total_has_its_scope(spool: FakeSpool) -> None:
    for job_id, exclusive in (("17", True), ("18", False)):
        run = spool.run(job_id)
        run.samples([run.header(job_id, exclusive=exclusive), *run.records([100, 10], 60)], job_id)
        run.slurm(job_id=job_id)
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        jobs = find_jobs(connection, JobFilter())
        days = energy_by_day(jobs)
    summaries = [summarise(job) for job in jobs]
    for by in BY:
        found = JobsReport(Period(), summaries, by, days)
        document = json.loads(render(found, "json"))
        assert sorted(job["scope"] for job in document["jobs"]) == ["share of the node", "whole node"]
        assert document["totals"]["scope"] == "share of the node and whole node"
        assert any(line.startswith("Scopes differ: ") for line in markdown(found)), by
        assert all(row["scope"] for row in csv.DictReader(io.StringIO(render(found, "csv")))), by
    text = list(markdown(JobsReport(Period(), summaries[:1], "job", days, detailed=True)))
    assert any(line.startswith("- Scope: ") for line in text)


def test_the_detail_of_a_job_is_blocks_too(spool: FakeSpool) -> None:
    text = list(markdown(report(spool, "job", detailed=True)))
    assert "- State: COMPLETED, exit code 0" in text
    assert any(line.startswith("| total | \N{GREATER-THAN OR EQUAL TO} 6.600") for line in text)
    assert any("1 of 1 GPUs of the job not found" in line for line in text)


def test_a_field_is_defined_once_for_json_csv_and_tables() -> None:
    energy = field(
        "energy_j", kind.ENERGY, lambda one: one, json="energy.total", csv=True, heading="Energy [{energy}]",
        before=lambda one: "~", missing="none",
    )  # fmt: skip
    name = field("name", kind.WORD, lambda one: f"a{one}", heading="Name", csv=True)
    other = field("other", kind.COUNT, lambda one: None, heading="Other", optional=True)
    fields = (name, energy, other)
    records: list[int | None] = [2_000_000, None]
    assert [to_json(fields, one) for one in records] == [
        {"name": "a2000000", "energy": {"total": 2.0}, "other": None},
        {"name": "aNone", "energy": {"total": None}, "other": None},
    ]
    assert sheet(fields, records).names == ("name", "energy_j")
    assert sheet(fields, records).rows == [["a2000000", 2.0], ["aNone", None]]
    total = Rows((energy,), [3_000_000_000], "total", apart=True)
    made = table(fields, [Rows(fields, records), total])
    assert made.columns == [Column("Name", "word"), Column("Energy [kJ]")]
    assert [row.cells for row in made.rows] == [
        (Cell("a2000000"), Cell("~0.002")),
        (Cell("aNone"), Cell("none")),
        (Cell(""), Cell("~3.000")),
    ]
    assert [(row.role, row.apart) for row in made.rows] == [("", False), ("", False), ("total", True)]


def test_a_few_are_named() -> None:
    assert named(["a", "b"], 2) == "a, b"
    assert named(["a", "b", "c"], 2) == "a, b and 1 more"
    assert named(["a", "b", "c"], 1, "; ") == "a; and 2 more"
