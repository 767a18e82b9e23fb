"""Jobs of Slurm's accounting as users and operators import them, with a sacct that answers by day."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from day import today
from sacct_by_day import NAMES, SACCT, Site, row
from sandbox import Sandbox

from hpcfrugal.core.user import user_name


@pytest.fixture
def site(box: Sandbox, tmp_path: Path) -> Site:
    return Site(box, tmp_path)


def test_the_first_import_goes_back_thirty_days_and_the_next_goes_on(site: Site) -> None:
    site.day(2, row("1", 2), row("2", 2))
    first = site.sync()
    assert (first["rows"], first["jobs"], first["set_aside"]) == (2, 2, 0)
    assert len(site.asked()) == 31
    words = site.asked()[0]
    assert f"--user={user_name()}" in words
    assert "--duplicates" in words
    assert f"--starttime={today() - timedelta(days=30):%Y-%m-%dT00:00:00}" in words
    assert f"--endtime={today() - timedelta(days=29):%Y-%m-%dT00:00:00}" in words
    assert "TZ=UTC" in words
    site.day(0, row("3", 0))
    again = site.sync()
    assert (again["rows"], again["jobs"]) == (1, 1)
    assert len(site.asked()) == 31 + 2  # today and the day before
    report = json.loads(site.box.ok("report", "--json", "--since", "7d"))
    assert report["totals"]["jobs"] == 3
    assert {(job["job_id"], job["origin"], job["run_id"]) for job in report["jobs"]} == {
        ("1", "sacct", None), ("2", "sacct", None), ("3", "sacct", None),
    }  # fmt: skip
    assert site.box.run("ledger", "check").code == 0


def test_delimiters_are_random(site: Site) -> None:
    site.sync("--since", "2d")
    words = [word for call in site.asked() for word in call if word.startswith("--delimiter=")]
    assert len(words) == 3
    assert len(set(words)) == 3
    assert all(len(word) == len("--delimiter=") + 4 and not word[12:].isprintable() for word in words)


def test_other_users(site: Site) -> None:
    site.day(1, row("1", 1, User="bob"))
    site.sync("--since", "1d", "--user", "bob")
    assert all("--user=bob" in call for call in site.asked())
    site.day(1, row("1", 1, User="bob"), row("2", 1, User="carol"))
    found = site.sync("--since", "1d", "--all-users")
    assert all("--allusers" in call for call in site.asked()[-2:])
    assert found["jobs"] == 2
    groups = json.loads(site.box.ok("report", "--json", "--by", "user", "--since", "7d"))
    assert [(group["key"]["user"], group["jobs"]) for group in groups["groups"]] == [("bob", 1), ("carol", 1)]


def test_a_report_shows_that_the_energy_is_modelled(site: Site) -> None:
    site.day(1, row("1", 1))
    assert site.box.ok("ledger", "import", "sacct", "--since", "2d") == "1 row of sacct in 3 days, 1 job\n"
    text = site.box.ok("report", "1")
    assert "model-tdp" in text
    assert "no sidecar ran: from Slurm's accounting" in text
    assert "Run " not in text
    assert site.box.ok("report", "job") == text
    job = json.loads(site.box.ok("report", "1", "--json"))["jobs"][0]
    assert job["measured_j"] is None
    assert job["modelled_j"] > 0


def test_a_slurm_that_fails_keeps_the_days_before(site: Site) -> None:
    site.day(2, row("1", 2))
    yesterday = f"{today() - timedelta(days=1):%Y-%m-%d}"
    site.slurm.answer("sacct", then=SACCT.format(names=" ".join(NAMES), folder=site.days).replace(
        "[ -e", f"[ $day != {yesterday} ] || {{ echo 'sacct: error: slurmdbd: down' >&2; exit 1; }}; [ -e"
    ))  # fmt: skip
    failed = site.box.run("ledger", "import", "sacct", "--since", "3d")
    assert (failed.code, failed.err) == (3, "error: sacct failed: slurmdbd: down\n")
    site.slurm.answer("sacct", then=SACCT.format(names=" ".join(NAMES), folder=site.days))
    assert site.sync()["jobs"] == 1


def test_without_slurm(box: Sandbox) -> None:
    failed = box.run("ledger", "import", "sacct", env={"PATH": "/nowhere"})
    assert failed.code == 3
    assert failed.err.startswith("error: scontrol cannot be run: ")


def saved(box: Sandbox, time_zone: str = "", **cells: str) -> Path:
    """A text that somebody saved with other columns, in local time."""
    values = {
        "JobID": "7", "State": "COMPLETED", "Submit": f"2026-11-20T10:00:00{time_zone}",
        "Start": f"2026-11-20T10:00:00{time_zone}", "End": f"2026-11-20T11:00:00{time_zone}", "Elapsed": "01:00:00",
        "NCPUS": "4", "NodeList": "n1", "ReqMem": "4Gn", "AllocTRES": "cpu=4,node=1", "JobName": "x",
    } | cells  # fmt: skip
    return box.write("saved.txt", ";".join(values) + "\n" + ";".join(values.values()) + "\n")


def test_a_saved_text(box: Sandbox) -> None:
    text = box.ok("ledger", "import", "sacct", "--from", saved(box), "--timezone", "Europe/Berlin", "--cluster", "c9")
    assert text == "1 row of sacct, 1 job\n"
    (job,) = json.loads(box.ok("report", "7", "--json"))["jobs"]
    assert (job["started_at"], job["cluster"], job["elapsed_s"]) == ("2026-11-20T09:00:00.000000Z", "c9", 3600.0)
    assert box.ok("ledger", "rebuild").startswith("0 runs")
    assert json.loads(box.ok("report", "7", "--json"))["jobs"] == [job]


@pytest.mark.parametrize(
    ("change", "options", "error"),
    [
        ({}, ["--cluster", "c9"], "saved.txt: has times without a zone (--timezone with the zone of the machine on wh"),
        ({}, ["--timezone", "Mars"], "--timezone: 'Mars' is not a time zone such as Europe/Berlin or UTC"),
        ({}, ["--timezone", "UTC"], "saved.txt: does not name the cluster of its jobs (--cluster names it, or save it"),
        ({"NCPUS": None}, ["--timezone", "UTC"], "saved.txt: lacks AllocCPUS or NCPUS: add it to --format"),
        (
            {},
            ["--since", "7d", "--user", "x"],
            "--since: cannot be combined with --from\nerror: --user: cannot be comb",
        ),
    ],
)
def test_mistakes_with_a_saved_text(
    box: Sandbox, change: dict[str, str | None], options: list[str], error: str
) -> None:
    path = saved(box)
    for name in change:
        path.write_text(path.read_text().replace(f"{name};", ""))
    failed = box.run("ledger", "import", "sacct", "--from", path, *options)
    assert failed.code == 2
    assert failed.err.removeprefix("error: ").replace(f"{box.work}/", "").startswith(error)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            ["--timezone", "UTC", "--cluster", "c"],
            "error: --timezone: needs --from FILE\nerror: --cluster: needs --from",
        ),
        (["--all-users", "--user", "x"], "error: --user: cannot be combined with --all-users"),
        (["--since", "all"], "error: --since: needs a time"),
        (["--since", "soon"], "error: --since: "),
        (["--from", "missing.txt"], "error: missing.txt: cannot be read: No such file or directory"),
        (["--from", "."], "error: .: not a regular file"),
    ],
)
def test_mistakes(box: Sandbox, options: list[str], error: str) -> None:
    failed = box.run("ledger", "import", "sacct", *options)
    assert failed.code == 2
    assert failed.err.startswith(error)


def test_what_cannot_be_read_is_counted_and_named(box: Sandbox) -> None:
    path = saved(box, "Z", Cluster="c9")
    path.write_text(path.read_text() + "8;COMPL\n")
    done = box.run("ledger", "import", "sacct", "--from", path)
    assert done.code == 0
    assert done.out == "2 rows of sacct, 1 job; rows or values that could not be read: 1\n"
    assert "line 3: has 2 of 12 cells" in done.err
    document = json.loads(box.ok("ledger", "import", "sacct", "--from", path, "--json"))
    assert [(one["line"], one["reason"], one["content"]) for one in document["set_aside_rows"]] == [
        (3, "has 2 of 12 cells", "8;COMPL")
    ]
