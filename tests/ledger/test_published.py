"""What a site gives a user of its ledger: their jobs, with the same figures, and not a byte of anybody else's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_spool import SECOND, START_NS, FakeSpool
from planned_runs import tell
from sacct_rows import ORDINARY

from hpcfrugal.ledger.accounted_use import held_resources
from hpcfrugal.ledger.check import check_ledger
from hpcfrugal.ledger.due import Defaults
from hpcfrugal.ledger.groups import grouped
from hpcfrugal.ledger.published import owners_in, publish_jobs
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.rows import JobRow
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync
from hpcfrugal.ledger.tables import LEDGER_TABLES
from hpcfrugal.spool.accounting_text import AccountingQuery, store_text

ME = "carol"
USERS = (ME, "alice", "bob")


def row(number: int, user: str, **cells: str) -> dict[str, str]:
    start = START_NS // SECOND + 60 * number
    times = {"Submit": str(start - 10), "Start": str(start), "End": str(start + 600), "ElapsedRaw": "600"}
    named = {"JobName": f"{user}-secret-{number}", "Account": f"account-of-{user}", "NodeList": f"node-of-{user}"}
    ids = {"JobID": str(number), "JobIDRaw": str(number)}
    return (
        ORDINARY
        | ids
        | {"Cluster": "lab", "User": user, "Partition": f"part-{user}", "QOS": f"q-{user}"}
        | (times | named | cells)
    )


def text(*rows: dict[str, str]) -> str:
    return "".join("|".join(cells) + "\n" for cells in (list(ORDINARY), *(list(one.values()) for one in rows)))


@pytest.fixture
def site(spool: FakeSpool) -> FakeSpool:
    """A site's ledger: jobs of three users from sacct, one of them with a run, a job number that was used twice."""
    spool.user = ME
    spool.whole_run("17", carbon={"zone": "FR", "pue": 1.2})
    tell(spool, 50.0, -100, 100)
    rows = [row(first + number, user) for number in range(3) for first, user in ((100, "alice"), (200, "bob"))]
    rows += [
        row(17, ME, Account="physics"),
        row(100, "bob", Submit="1795000000"),
        row(300, "bob", Account="account-of-alice"),
    ]
    query = AccountingQuery("lab", START_NS, "*")
    store_text(spool.root, query, text(*rows, row(400, "bob", Submit="Unknown")).encode())
    sync(spool.root, spool.ledger, defaults=Defaults("FR", 1.2))
    return spool


def published(site: FakeSpool, column: str, name: str) -> Path:
    target = site.ledger.with_name(f"{column}-{name}.sqlite")
    publish_jobs(site.ledger, target, column, name)
    return target


def jobs_of(ledger: Path, **wanted: str) -> list[JobRow]:
    with open_ledger(ledger) as connection:
        return find_jobs(connection, JobFilter(**wanted))  # type: ignore[arg-type]


@pytest.mark.parametrize("user", USERS)
def test_a_user_gets_their_jobs_with_the_same_figures(site: FakeSpool, user: str) -> None:
    mine = published(site, "user", user)
    found = jobs_of(mine)
    assert found
    assert found == jobs_of(site.ledger, user=user)
    assert mine.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in mine.parent.iterdir() if path.name.startswith(mine.name)] == [mine.name]
    with open_ledger(mine) as connection, open_ledger(site.ledger) as whole:
        since_ns = START_NS - START_NS % (86_400 * SECOND)
        for span in (
            JobFilter(),
            JobFilter(since_ns, since_ns + 86_400 * SECOND),
            JobFilter(since_ns, START_NS + SECOND),
        ):
            theirs = JobFilter(span.since_ns, span.until_ns, user=user)
            assert grouped(connection, span, ["account"]).groups == grouped(whole, theirs, ["account"]).groups
        held = [parts for _, parts in held_resources(connection, found)]
        assert held == [parts for _, parts in held_resources(whole, jobs_of(site.ledger, user=user))]
        assert any(held)
    assert not check_ledger(site.root, mine, compare=False).damage


def test_no_byte_of_another_user_is_in_the_file(site: FakeSpool) -> None:
    for user in USERS:
        content = published(site, "user", user).read_bytes()
        others = [other for other in USERS if other != user]
        for word in ("{}-secret", "account-of-{}", "node-of-{}", "part-{}", "q-{}", "{}"):
            hits = [other for other in others if word.format(other).encode() in content]
            allowed = ["alice"] if user == "bob" else []  # bob has a job in the account of alice
            assert hits == (allowed if word in ("account-of-{}", "{}") else []), (user, word)
        assert (str(site.root).encode() in content) is (user == ME)  # only one of them has a run there
        assert (b"FR" in content) is True
    for user in ("alice", "bob"):
        assert b"17" not in {job.job_id.encode() for job in jobs_of(published_again(site, user))}


def published_again(site: FakeSpool, user: str) -> Path:
    return site.ledger.with_name(f"user-{user}.sqlite")


def test_an_account_has_the_jobs_of_all_its_users(site: FakeSpool) -> None:
    found = jobs_of(published(site, "account", "account-of-alice"))
    assert sorted({job.user for job in found if job.user}) == ["alice", "bob"]
    assert {job.account for job in found} == {"account-of-alice"}
    assert len(found) == 4


def test_who_has_jobs_in_the_ledger(site: FakeSpool) -> None:
    assert owners_in(site.ledger, "user") == sorted(USERS)
    assert owners_in(site.ledger, "account") == ["account-of-alice", "account-of-bob", "physics"]


def rows_by_table(ledger: Path) -> Iterator[tuple[str, int]]:
    with open_ledger(ledger) as connection:
        for table in LEDGER_TABLES:
            yield table.name, connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]


def test_every_table_of_jobs_is_copied_and_no_other_table_of_the_spool(site: FakeSpool) -> None:
    """A table that is added is copied if its rows belong to jobs."""
    whole, mine = dict(rows_by_table(site.ledger)), dict(rows_by_table(published(site, "user", ME)))
    copied = {table.name for table in LEDGER_TABLES if table.owner == "job"} | {"jobs", "runs", "spools", "meta"}
    assert {name for name in copied if whole[name]} == {name for name in copied if mine[name]}
    filled = {name for name, rows in mine.items() if rows}
    assert filled - copied == {"intensity_files", "intensity", "accounting_files", "accounted_jobs"}
    assert min(whole["set_aside"], whole["files"]) > 0


def test_a_user_without_jobs_gets_an_empty_and_small_ledger(site: FakeSpool) -> None:
    ledger = published(site, "user", "nobody-here")
    assert jobs_of(ledger) == []
    assert ledger.stat().st_size < 130_000
