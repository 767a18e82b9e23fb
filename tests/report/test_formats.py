"""No form of a report loses what is incomplete."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations_with_replacement
from typing import Any

import pytest
from fake_spool import SECOND, START_NS, FakeSpool

from hpcfrugal.ledger.groups import GROUPINGS
from hpcfrugal.ledger.queries import JobFilter
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sums import EnergySums
from hpcfrugal.ledger.sync import sync
from hpcfrugal.report import notation
from hpcfrugal.report.amount import AMOUNT_FIELDS
from hpcfrugal.report.field import Rows, field, scale, sheet, table, to_json
from hpcfrugal.report.formats import rendered
from hpcfrugal.report.jobs import JobsReport
from hpcfrugal.report.period import Period
from hpcfrugal.report.view import Cell, Column, Report, named

BY = [(), *((key,) for key in GROUPINGS), ("tag:phase",), ("user", "day"), ("node", "component")]


def json_of(report: Report) -> Any:
    return json.loads(rendered(report, "json"))


def csv_of(report: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(rendered(report, "csv"))))


def markdown(report: Report) -> list[str]:
    return rendered(report, "markdown").splitlines()


@contextmanager
def reported(spool: FakeSpool, by: tuple[str, ...] = (), *, detailed: bool = False) -> Iterator[JobsReport]:
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        yield JobsReport(connection, Period(), JobFilter(), by, every=True, detailed=detailed)


def incomplete_jobs(spool: FakeSpool) -> None:
    """A job of which a GPU was not found, and a job without energy."""
    run = spool.run("17")
    run.samples([run.header(gpus_promised=1), *run.records([100, 10], 60)])
    run.slurm()
    spool.run("18").slurm("FAILED", job_id="18")


@pytest.mark.parametrize("by", BY, ids=",".join)
def test_no_grouping_and_no_format_loses_what_is_incomplete(spool: FakeSpool, by: tuple[str, ...]) -> None:
    incomplete_jobs(spool)
    with reported(spool, by) as found:
        text, document, rows = markdown(found), json_of(found), csv_of(found)
    tables = [line for line in text if line.startswith("| ")][1:]
    assert any("\N{GREATER-THAN OR EQUAL TO} 1.83" in line for line in tables)
    assert any(line.startswith("\N{GREATER-THAN OR EQUAL TO}: a part is unknown") for line in text)
    assert document["totals"]["complete"] is False
    records = document["groups"] if by else document["jobs"]
    assert [str(record["complete"]) for record in records] == [row["complete"] for row in rows]
    with_gpu = [row for row in rows if "component" not in by or row["component"] == "gpu"]
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
    with reported(spool) as found:
        jobs = json_of(found)["jobs"]
    ran = [one for one in jobs if one["started_at"] is not None]
    assert [one["complete"] for one in ran] == [
        kind_of_job == "complete" for kind_of_job in mix if kind_of_job != "pending"
    ]
    expected = all(one["complete"] for one in ran)
    known = [one for one in ran if one["energy_j"]["total"] is not None]
    for by in BY:
        with reported(spool, by) as found:
            text, document, rows = "\n".join(markdown(found)), json_of(found), csv_of(found)
        assert document["totals"]["complete"] is expected, by
        if not by or not ran:
            continue
        assert all(group["complete"] for group in document["groups"]) is expected, by
        assert all(row["complete"] == "True" for row in rows) is expected, by
        assert ("without known energy" in text or "a part is unknown" in text) is not expected, by
        assert ("\N{GREATER-THAN OR EQUAL TO}" in text) is (not expected and bool(known)), by


def test_every_total_has_its_scope(spool: FakeSpool) -> None:
    for job_id, exclusive in (("17", True), ("18", False)):
        run = spool.run(job_id)
        run.samples([run.header(job_id, exclusive=exclusive), *run.records([100, 10], 60)], job_id)
        run.slurm(job_id=job_id)
    for by in BY:
        with reported(spool, by) as found:
            text, document, rows = markdown(found), json_of(found), csv_of(found)
        assert document["totals"]["scope"] == "share of the node and whole node"
        assert any(line.startswith("Scopes differ between jobs: ") for line in text), by
        assert all(row["scope"] for row in rows), by
        if not by:
            assert sorted(job["scope"] for job in document["jobs"]) == ["share of the node", "whole node"]
    with reported(spool, detailed=True) as found:
        assert any(line.startswith("- **Scope:** ") for line in markdown(found))


def test_the_detail_of_a_job_is_blocks_too(spool: FakeSpool) -> None:
    incomplete_jobs(spool)
    with reported(spool, detailed=True) as found:
        text = markdown(found)
    assert "- **State:** COMPLETED, exit code 0" in text
    assert any(line.startswith("| **total** | **\N{GREATER-THAN OR EQUAL TO} 1.83") for line in text)
    assert any("1 of 1 GPUs of the job not read" in line for line in text)


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (None, "unknown; `hpcfrugal status` shows whether it still waits"),
        ("PENDING", "PENDING"),
        ("CANCELLED", "CANCELLED"),
    ],
)
def test_the_detail_of_a_job_that_has_not_started(spool: FakeSpool, state: str | None, shown: str) -> None:
    run = spool.run("17")
    if state is not None:
        run.slurm(state, start_s=None, end_s=None, nodes=())
    with reported(spool, detailed=True) as found:
        text = markdown(found)
    assert f"- **State:** {shown}".replace("`", r"\`") in text
    assert "- **Time (UTC):** not started" in text
    assert not any(line.startswith("|") for line in text), "no table without a figure"


def test_readings_of_a_job_over_midnight_have_their_days(spool: FakeSpool) -> None:
    run = spool.run("17")
    run.samples([run.header(), *run.records([100, 10], 86_400, 3600)])
    run.slurm(end_s=86_400)
    with reported(spool, detailed=True) as found:
        rows = [line for line in markdown(found) if "rapl" in line and line.startswith("| n1")]
    assert rows
    for line in rows:
        assert re.search(r"\| 2026-11-21 [0-9:.]+ \| 2026-11-22 [0-9:.]+ \|", line), line


def test_a_long_list_is_the_latest_jobs_below_the_totals_of_all(spool: FakeSpool) -> None:
    for number in range(25):
        run = spool.run(str(100 + number))
        run.slurm(job_id=str(100 + number), start_s=number, end_s=60)
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        found = JobsReport(connection, Period(), JobFilter())
        text, document = markdown(found), json_of(found)
        every = json_of(JobsReport(connection, Period(), JobFilter(), every=True))
    assert text[2].startswith("| **25 jobs** |")
    assert r"The latest 20 of 25 jobs; \`--all\` lists them all." in text
    assert [job["job_id"] for job in document["jobs"]] == [str(number) for number in range(105, 125)]
    assert (document["jobs_in_period"], document["totals"]["jobs"], len(every["jobs"])) == (25, 25, 25)


def test_a_job_over_the_edge_of_the_period_is_noted(spool: FakeSpool) -> None:
    run = spool.run("17")
    run.samples([run.header("17"), *run.records([100, 10], 600)], "17")
    run.slurm(end_s=600)
    sync(spool.root, spool.ledger)
    cuts = {(None, 300): "1 job went on after it", (300, None): "1 job began before it"}
    with open_ledger(spool.ledger) as connection:
        for (since_s, until_s), words in cuts.items():
            edges = [None if edge is None else START_NS + edge * SECOND for edge in (since_s, until_s)]
            found = JobsReport(connection, Period(), JobFilter(*edges))
            assert json_of(found)["totals"]["energy_j"]["total"] == 33_000.0
            assert any(words in line for line in markdown(found))
        whole = JobsReport(connection, Period(), JobFilter(START_NS, START_NS + 600 * SECOND))
        assert not any("the list shows jobs whole" in line for line in markdown(whole))


def test_a_field_is_defined_once_for_json_csv_and_tables() -> None:
    energy = field(
        "energy_j", notation.ENERGY, lambda one: one, json="energy.total", csv=True, heading="Energy [{energy}]",
        before=lambda one: "~", missing="none",
    )  # fmt: skip
    name = field("name", notation.WORD, lambda one: f"a{one}", heading="Name", csv=True)
    other = field("other", notation.COUNT, lambda one: None, heading="Other", optional=True)
    fields = (name, energy, other)
    records: list[int | None] = [2_000_000, None]
    assert [to_json(fields, one) for one in records] == [
        {"name": "a2000000", "energy": {"total": 2.0}, "other": None},
        {"name": "aNone", "energy": {"total": None}, "other": None},
    ]
    assert sheet(fields, records).names == ("name", "energy_j")
    assert list(sheet(fields, records).rows) == [["a2000000", 2.0], ["aNone", None]]
    total = Rows((energy,), [3_000_000_000], "total", apart=True)
    made = table(fields, [Rows(fields, records), total])
    assert made.columns == [Column("Name", "word"), Column("Energy [Wh]")]
    assert [row.cells for row in made.rows] == [
        (Cell("a2000000"), Cell("~<0.001")),
        (Cell("aNone"), Cell("none")),
        (Cell(""), Cell("~0.833")),
    ]
    assert [(row.role, row.apart) for row in made.rows] == [("", False), ("", False), ("total", True)]


@pytest.mark.parametrize(
    ("sums", "text"),
    [
        (EnergySums(modelled_uj=1, covered_ns=9, elapsed_ns=9), "model"),
        (EnergySums(measured_uj=1, modelled_uj=1, covered_ns=9, elapsed_ns=9), "–"),
        (EnergySums(measured_uj=1, covered_ns=3, elapsed_ns=4), "75.0 %"),
        (EnergySums(modelled_uj=1, covered_ns=3, elapsed_ns=4), "75.0 %"),
        (EnergySums(measured_uj=1), "unknown"),
    ],
)
def test_the_time_that_a_model_covered_is_not_shown_as_if_measured(sums: EnergySums, text: str) -> None:
    (covered,) = (each for each in AMOUNT_FIELDS if each.name == "time_measured")
    assert covered.cell(sums, scale([])).text == text


def test_a_few_are_named() -> None:
    assert named(["a", "b"], 2) == "a, b"
    assert named(["a", "b", "c"], 2) == "a, b and 1 more"
    assert named(["a", "b", "c"], 1, "; ") == "a; and 2 more"
