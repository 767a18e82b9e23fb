"""CPU time of processes that are not the job's: what a report says of it, and where."""

from __future__ import annotations

import io
from typing import Any

import pytest
from fake_spool import FakeSpool
from rich.console import Console

from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync
from hpcfrugal.report.field import to_json
from hpcfrugal.report.formats.text_blocks import renderable
from hpcfrugal.report.job import JOB_FIELDS, ReportedJob
from hpcfrugal.report.job_detail import job_blocks
from hpcfrugal.report.other_work import OtherWork


def report(
    spool: FakeSpool, job_s: float | None, busy_s: float | None, *, cluster: str = "lab", **header: Any
) -> tuple[dict[str, Any], str]:
    """JSON and text of a job of 60 s that used ``job_s`` of the node's ``busy_s`` of CPU time."""
    run = spool.run()
    run.cluster = cluster
    run.submitted()
    records = run.records([100.0, 10.0], 60)
    for number, record in enumerate(records):
        for name, value_s in (("job_cpu_us", job_s), ("node_busy_us", busy_s)):
            record[name] = None if value_s is None else round(value_s * 1e6 * number / (len(records) - 1))
    run.samples([run.header(**header), *records])
    run.slurm()
    sync(spool.root, spool.ledger)
    with open_ledger(spool.ledger) as connection:
        (found,) = find_jobs(connection, JobFilter())
    console = Console(file=io.StringIO(), width=300)
    console.print(renderable(job_blocks(ReportedJob(found))))
    return to_json(JOB_FIELDS, ReportedJob(found)), console.file.getvalue()  # type: ignore[attr-defined]


def test_work_of_a_daemon_on_a_node_held_alone_is_noted(spool: FakeSpool) -> None:
    """As of ``docker run`` in a batch script: the container is a child of a daemon, in no control group of the job."""
    document, text = report(spool, 2, 122)
    assert document["other_work"] == [{"node": "n1", "cpu_time_s": 120, "cpu_share": 120 / 122, "included": True}]
    assert (document["energy_j"]["total"], document["complete"]) == (6600, True)
    assert "n1: other processes used 120 s of CPU time, 98.4 % of all; their energy is in this job's" in text


@pytest.mark.parametrize(("exclusive", "included"), [(True, True), (False, False)])
def test_on_a_machine_without_slurm_it_is_noted_for_a_share_too(
    spool: FakeSpool, exclusive: bool, included: bool
) -> None:
    document, text = report(spool, 30, 60, cluster="local:n1", exclusive=exclusive)
    assert document["other_work"] == [{"node": "n1", "cpu_time_s": 30, "cpu_share": 0.5, "included": included}]
    assert document["energy_j"]["total"] == (6600 if exclusive else 3300)
    assert document["complete"]
    assert ("their energy is not in this job's, even where they worked for it" in text) is not included


@pytest.mark.parametrize(
    ("job_s", "busy_s", "header"),
    [
        (30, 60, {"exclusive": False}),  # other jobs of Slurm may have used it
        (30, None, {}),
        (None, 60, {}),
        (95, 100, {}),  # less than a tenth of all
        (0.1, 3, {}),  # less than a twentieth of a CPU, which the daemons of a system use
    ],
)
def test_nothing_is_noted(spool: FakeSpool, job_s: float | None, busy_s: float | None, header: dict[str, Any]) -> None:
    document, text = report(spool, job_s, busy_s, **header)
    assert document["other_work"] == []
    assert "other processes" not in text


@pytest.mark.parametrize(("job_s", "busy_s"), [(80, 90), (0.1, 3.2)])
def test_just_above_the_limits_it_is_noted(spool: FakeSpool, job_s: float, busy_s: float) -> None:
    (found,) = report(spool, job_s, busy_s)[0]["other_work"]
    assert found["cpu_time_s"] == pytest.approx(busy_s - job_s)


@pytest.mark.parametrize(
    ("cpu_us", "shown"), [(20_000, "<0.1 s"), (420_000, "0.4 s"), (9_990_000, "10.0 s"), (120_000_000, "120 s")]
)
def test_a_little_other_work_is_not_0_s(cpu_us: int, shown: str) -> None:
    text = OtherWork("n1", cpu_us, 0.667, included=True).text
    assert text.startswith(f"other processes used {shown} of CPU time, 66.7 % of all; ")
