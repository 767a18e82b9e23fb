"""``Ledger.jobs`` and ``Ledger.energy``: the same figures as the views and the reports, with pandas' missing values."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fake_spool import PACKAGE, SECOND, START, START_NS, FakeSpool

from hpcfrugal import InputError, Ledger
from hpcfrugal.ledger.due import Defaults
from hpcfrugal.ledger.queries import JobFilter
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync
from hpcfrugal.report.formats import rendered
from hpcfrugal.report.jobs import JobsReport
from hpcfrugal.report.period import Period

HOSTILE = "bob'; DROP TABLE jobs; --"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Four jobs: measured, of odd joules a day later, without energy, and pending."""
    spool = FakeSpool(tmp_path)
    spool.whole_run("17")
    run = spool.run("18", user=HOSTILE, carbon={"zone": "FR", "pue": 1.37}, spec={"name": "x", "tags": {"k": "v"}})
    later_ns = START_NS + 86_400 * SECOND
    lines = [run.header("18", channels=[PACKAGE], wall_ns=later_ns), *run.records([7], 60)]
    lines[-1]["energy_uj"] = [123_456_789]
    run.samples(lines, "18")
    run.slurm(job_id="18", start_s=86_400, end_s=86_461)
    spool.run("19").slurm("FAILED", job_id="19")
    spool.run("20")
    sync(spool.root, spool.ledger, defaults=Defaults("DE", None))
    return Ledger(spool.ledger)


def plain(value: Any) -> Any:
    if value is pd.NA or value is pd.NaT:
        return None
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value


def test_jobs_are_the_rows_of_the_view(ledger: Ledger) -> None:
    frame, view = ledger.jobs(), ledger.sql("SELECT * FROM jobs_energy")
    assert list(frame.columns) == list(view.columns)
    assert sorted(frame["job_id"]) == ["17", "18", "19", "20"]
    assert all(str(frame[name].dt.tz) == "UTC" for name in ("submitted", "started", "ended"))
    assert (str(frame.dtypes["complete"]), str(frame.dtypes["energy_j"])) == ("boolean", "Float64")
    rows = {row["job_id"]: row for row in frame.to_dict("records")}
    for row in view.to_dict("records"):
        mine = rows[row["job_id"]]
        for name in frame.columns:
            value, other = plain(mine[name]), plain(row[name])
            if isinstance(value, datetime):
                other = datetime.fromisoformat(other)
            assert value == other, name
    assert frame["energy_j"][list(frame["job_id"]).index("20")] is pd.NA
    assert rows["18"]["energy_kwh"] == rows["18"]["energy_j"] / 3.6e6


def test_which_jobs(ledger: Ledger) -> None:
    def ids(**wanted: Any) -> list[str]:
        return list(ledger.jobs(**wanted)["job_id"])

    day = timedelta(days=1)
    assert ids(user=HOSTILE) == ids(tags={"k": "v"}) == ["18"]
    assert ids(since=START + day) == ids(since="2026-11-22") == ["18"]
    assert set(ids(until=START + day)) == set(ids(until="2026-11-21")) == {"17", "19", "20"}
    assert ids(since=START.astimezone() + day, until=START.astimezone() + day + timedelta(seconds=1)) == ["18"]
    assert ids(user="nobody") == []
    assert list(ledger.jobs(user="nobody").columns) == list(ledger.jobs().columns)


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("user", ["user"]),
        (("user", "component"), ["user", "component"]),
        ("tag:k", ["tag:k"]),
        ("day", ["day"]),
        ((), []),
    ],
)
def test_energy_is_the_csv_and_the_json_of_the_report(ledger: Ledger, by: Any, keys: list[str]) -> None:
    frame = ledger.energy(by)
    with open_ledger(ledger.path) as connection:
        report = JobsReport(connection, Period(), JobFilter(), tuple(keys))
        table = rendered(report, "csv") if keys else None
        document = json.loads(rendered(report, "json"))
    groups = document["groups"] if keys else [document["totals"]]
    assert len(frame) == len(groups) > 0
    for row, group in zip(frame.to_dict("records"), groups, strict=True):
        for name in ("measured_j", "modelled_j", "coverage", "complete", "co2e_g", "jobs"):
            assert plain(row[name]) == group[name], name
        assert [plain(row[key]) for key in keys] == [group["key"][key] for key in keys]
    if table is not None:
        lines = list(csv.DictReader(io.StringIO(table)))
        assert [str(plain(value) or "") for value in frame["energy_j"]] == [line["energy_j"] for line in lines]


def test_energy_of_a_period(ledger: Ledger) -> None:
    first, second = (
        ledger.energy(since=START + day, until=START + day + timedelta(hours=1)) for day in map(timedelta, (0, 1))
    )
    both = ledger.energy(since="2026-11-21", until="2026-11-22")
    assert 0 < first["energy_j"][0] < both["energy_j"][0]
    assert first["energy_j"][0] + second["energy_j"][0] == pytest.approx(both["energy_j"][0], rel=1e-12)
    assert len(ledger.energy("user", since=START + timedelta(days=9))) == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda ledger: ledger.jobs(since=datetime(2026, 11, 21)), "since: 2026-11-21T00:00:00 has no time zone"),
        (lambda ledger: ledger.jobs(until="soon"), "until: invalid time 'soon'"),
        (lambda ledger: ledger.energy("colour"), "by: unknown grouping 'colour'"),
        (lambda ledger: ledger.energy(("user", "day", "name")), "by: more than two groupings"),
        (lambda ledger: ledger.energy(("user", "user")), "by: more than two groupings, or one of them twice"),
    ],
)
def test_wrong_arguments_are_named(ledger: Ledger, call: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        call(ledger)
    assert str(caught.value).startswith(said)


def test_a_moment_is_in_utc(ledger: Ledger) -> None:
    (started,) = ledger.jobs(user=HOSTILE)["started"]
    assert started == START + timedelta(days=1)
    assert started.tzinfo == UTC or str(started.tzinfo) == "UTC"
