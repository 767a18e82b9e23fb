"""Who can read what at a site: tried as these users, straight on the files, and compared with docs/site.md."""

from __future__ import annotations

import json
import os
import pwd
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from fake_slurm import FakeSlurm
from other_user import OtherUser, public_folder
from sacct_rows import ORDINARY

from hpcfrugal.api import publish as api_publish
from hpcfrugal.api.messages import LoggedMessages
from hpcfrugal.api.publish import Published, accounts_by_manager, publish
from hpcfrugal.cli.root import root as program
from hpcfrugal.core.errors import SetupError
from hpcfrugal.core.files import write_json_atomic
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import sync
from hpcfrugal.sidecar.agent.day_files import DayFiles, make_folder
from hpcfrugal.sidecar.agent.publisher import Publisher
from hpcfrugal.slurm.associations import JobsPrivate, SlurmUser, SlurmUsers
from hpcfrugal.slurm.command import Result
from hpcfrugal.spool.accounting_text import AccountingQuery, store_answer
from hpcfrugal.spool.layout import RunDir

OPERATORS = 41900
USERS = {
    "alice": OtherUser(41001, (41001,)),
    "bob": OtherUser(41002, (41002,)),
    "coordinator": OtherUser(41003, (41003,)),
    "operator": OtherUser(41004, (41004, OPERATORS)),
    "nobody": OtherUser(65534, (65534,)),
}
SITE_DOCS = Path(__file__).parents[2] / "docs/site.md"
NOW = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
"""Within the month that is reported."""
NOW_NS = int(NOW.timestamp()) * 10**9

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")


def row(number: int, user: str, account: str) -> dict[str, str]:
    start = NOW_NS // 10**9 - 7200
    times = {"Submit": str(start - 9), "Start": str(start), "End": str(start + 3600), "Eligible": str(start - 9)}
    ids = {"JobID": str(number), "JobIDRaw": str(number), "JobName": f"secret-of-{user}"}
    return ORDINARY | ids | times | {"User": user, "Account": account}


@dataclass
class Site:
    root: Path
    slurm: FakeSlurm

    @property
    def home(self) -> Path:
        """Of a user who has none."""
        return self.root / "no-home"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger/ledger.db"

    @property
    def published(self) -> Path:
        return self.root / "published"

    def publish(self, managers: dict[str, list[str]] | None = None) -> Published:
        return publish(self.ledger, self.published, managers or {}, LoggedMessages())

    def private(self, what: str) -> None:
        users = "alice|None|\nbob|None|\ncoordinator|None|physics\nmanager|None|\n"
        shown = f"SLURMDBD_VERSION = 22.05.8\nPrivateData            = {what}\n"
        then = f"case \"$*\" in *' user '*) printf '{users}' ;; *configuration) printf '{shown}' ;; esac"
        self.slurm.answer("sacctmgr", then=then.replace("\n", "\\n"))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site with a job of alice and one of bob by sacct, run directories of alice, an agent, and what it publishes."""
    names = {
        user.uid: SimpleNamespace(pw_name=name, pw_uid=user.uid, pw_gid=user.gids[0]) for name, user in USERS.items()
    }
    by_name = {one.pw_name: one for one in names.values()}
    monkeypatch.setattr(pwd, "getpwuid", names.__getitem__)
    monkeypatch.setattr(pwd, "getpwnam", by_name.__getitem__)
    slurm = FakeSlurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{slurm.bin}:{os.environ['PATH']}")
    with public_folder() as root:
        monkeypatch.setattr("hpcfrugal.settings.config.SITE_DIR", root)
        for name, mode, gid in (("users", 0o3773, OPERATORS), ("ledger", 0o2750, OPERATORS), ("published", 0o711, 0)):
            (root / name).mkdir()
            os.chown(root / name, 0, gid)
            (root / name).chmod(mode)
        found = Site(root, slurm)
        found.private("none")
        make_folder(str(root / "agents/n1"), OPERATORS)
        DayFiles(str(root / "agents/n1"), OPERATORS, 2**20).begin(NOW_NS, "{}")
        Publisher(str(root / "run/energy.json"), 10**10, "n1", None, 0).update(10**9, NOW_NS, [])
        since_ns = NOW_NS - NOW_NS % (86_400 * 10**9)
        query = AccountingQuery("c1", NOW_NS, "*", since_ns, since_ns + 86_400 * 10**9)
        names_first = ["JobID", "Submit", *(name for name in ORDINARY if name not in ("JobID", "Submit"))]
        rows = [row(1, "alice", "physics"), row(2, "bob", "biology"), row(3, "gone", "physics")]
        text = "".join(
            "|".join(cells) + "\n" for cells in (names_first, *([one[name] for name in names_first] for one in rows))
        )
        store_answer(root, query, text)
        sync(root, found.ledger)
        yield found


def make_run(spool: Path) -> Path:
    run = RunDir.create(spool, f"{NOW:%Y%m%dT%H%M%SZ}-0123abcd")
    write_json_atomic(run.run_json, {"schema": 1})
    return run.run_json


def is_read(path: Path) -> bool:
    """Whether this user gets at the content by cat, by opening it, or by SQLite."""
    by_cat = subprocess.run(["cat", path], capture_output=True, check=False).returncode == 0
    try:
        by_python = bool(path.read_bytes())
    except PermissionError:
        by_python = False
    tries = [by_cat, by_python]
    if path.suffix in (".db", ".sqlite"):
        for more in ("mode=ro", "immutable=1"):
            try:
                with closing(sqlite3.connect(f"file:{path}?{more}", uri=True)) as connection:
                    tries.append(connection.execute("SELECT count(*) FROM jobs").fetchone()[0] > 0)
            except sqlite3.Error:
                tries.append(False)
    assert len(set(tries)) == 1, (path, tries)
    return tries[0]


def documented() -> dict[str, dict[str, bool]]:
    """The table of docs/site.md: what, and who can read it."""
    _, _, rest = SITE_DOCS.read_text().partition("| what | alice |")
    lines = [line.strip("| ").split(" | ") for line in ("what | alice |" + rest).partition("\n\n")[0].splitlines()]
    head, _, *rows = lines
    return {row[0]: {who: cell == "yes" for who, cell in zip(head[1:], row[1:], strict=True)} for row in rows}


def test_who_reads_what_is_what_the_documentation_says(site: Site) -> None:
    alice = USERS["alice"]
    home = site.root / "home"
    home.mkdir()
    os.chown(home, alice.uid, alice.gids[0])
    assert site.publish().failed == []
    paths = {
        "a run directory of alice in the site's `users`": alice.run(lambda: make_run(site.root / "users/alice")),
        "a run directory of alice in her home": alice.run(lambda: make_run(home / "spool")),
        "the files of node agents": next(site.root.glob("agents/n1/*.jsonl")),
        "what sacct printed, in the site's spool": next(site.root.glob("accounting/*/*.sacct")),
        "the site's ledger": site.ledger,
        "the published ledger of alice": site.published / "alice/ledger.sqlite",
        "the published report of alice": site.published / "alice/report.md",
        "the published ledger of alice's account": site.published / "coordinator/account-physics.sqlite",
        "the published counters of a node": site.root / "run/energy.json",
    }
    tried = {
        what: {name: user.run(partial(is_read, path)) for name, user in USERS.items()} for what, path in paths.items()
    }
    assert tried == documented()
    for user in USERS.values():
        with pytest.raises(PermissionError):
            user.run(lambda: os.listdir(site.published))
    assert all(is_read(path) for path in paths.values())


def test_each_gets_their_own_and_managers_their_accounts(site: Site) -> None:
    done = site.publish({"biology": ["manager"]})
    assert (done.users, done.accounts) == (["alice", "bob", "coordinator"], {"physics": ["coordinator"]})
    assert done.unknown == ["gone", "manager"]  # no users of this machine
    names = {
        path.name: sorted(each.name for each in path.iterdir()) for path in site.published.iterdir() if path.is_dir()
    }
    own = ["ledger.sqlite", "report.md"]
    assert names == {"alice": own, "bob": own, "coordinator": ["account-physics.md", "account-physics.sqlite", *own]}
    assert b"secret-of-bob" not in (site.published / "alice/ledger.sqlite").read_bytes()
    report = (site.published / "coordinator/account-physics.md").read_text()
    assert "alice" in report
    assert "bob" not in report


def test_the_ledger_of_an_account_is_made_once_for_all_of_its_managers(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, str]] = []
    publish_jobs = api_publish.publish_jobs

    def count(ledger: Path, target: Path, column: str, name: str, among: Any = None) -> int:
        made.append((column, name))
        return publish_jobs(ledger, target, column, name, among)

    monkeypatch.setattr(api_publish, "publish_jobs", count)
    done = site.publish({"physics": ["alice", "bob"], "biology": ["bob"]})
    assert done.accounts == {"biology": ["bob"], "physics": ["alice", "bob", "coordinator"]}
    assert sorted(name for column, name in made if column == "account") == ["biology", "physics"]
    managers = [site.published / name / "account-physics.sqlite" for name in ("alice", "bob", "coordinator")]
    assert len({path.read_bytes() for path in managers}) == 1
    assert [path.stat().st_uid for path in managers] == [USERS[path.parent.name].uid for path in managers]
    with open_ledger(managers[0]) as connection:
        assert {job.user for job in find_jobs(connection, JobFilter())} == {"alice", "gone"}
    assert b"secret-of-bob" not in managers[0].read_bytes()


def test_a_former_manager_has_the_account_no_longer(site: Site) -> None:
    site.publish()
    site.slurm.answer("sacctmgr", "PrivateData = none\n")
    assert site.publish().accounts == {}
    assert sorted(path.name for path in (site.published / "coordinator").iterdir()) == ["ledger.sqlite", "report.md"]


def test_an_account_with_too_long_a_name_keeps_nothing_else_back(site: Site) -> None:
    name = "\u8cc7" * 30
    with sqlite3.connect(site.ledger) as connection:
        connection.execute("UPDATE texts SET name = ? WHERE name = 'biology'", (name,))
    connection.close()
    done = site.publish({name: ["alice"], "physics": ["alice"]})
    assert done.users == ["alice", "bob", "coordinator"]
    assert done.accounts["physics"] == ["alice", "coordinator"]
    assert done.failed == [("alice", f"the name of the account {name} is too long for a file")]


@pytest.mark.parametrize("plant", ["link", "folder"])
def test_what_a_user_puts_into_their_folder_changes_no_other_file(site: Site, plant: str) -> None:
    site.publish()
    mine, victim = site.published / "alice/ledger.sqlite", site.root / "victim"
    victim.write_text("untouched")

    def planted() -> None:
        mine.parent.chmod(0o700)
        mine.unlink()
        if plant == "link":
            mine.symlink_to(victim)
        else:
            mine.mkdir()

    USERS["alice"].run(planted)
    done = site.publish()
    assert (victim.read_text(), victim.stat().st_uid) == ("untouched", 0)
    assert [name for name, _ in done.failed] == ([] if plant == "link" else ["alice"])
    assert "bob" in done.users
    assert [path.name for path in site.published.iterdir() if path.name.startswith(".staging")] == []


@pytest.mark.parametrize(("owner", "failed"), [(0, []), (USERS["bob"].uid, ["alice"])])
def test_a_folder_of_another_user_is_refused_and_one_that_was_not_yet_given_is_given(
    site: Site, owner: int, failed: list[str]
) -> None:
    (site.published / "alice").mkdir()
    os.chown(site.published / "alice", owner, 0)
    assert [name for name, _ in site.publish().failed] == failed
    assert (site.published / "alice").stat().st_uid == (USERS["alice"].uid if not failed else owner)


def test_a_user_reads_theirs_by_report(site: Site) -> None:
    site.publish()
    (site.root / "config.toml").write_text(f'[site]\npublished = "{site.published}"\nledger = "{site.ledger}"\n')

    def report(*options: str) -> Callable[[], tuple[int, str]]:
        argv = ["report", *options, "--json", "--since", "all"]

        def run() -> tuple[int, str]:
            done = CliRunner().invoke(program, argv, env={"HOME": str(site.home)})
            return done.exit_code, done.stdout if done.exit_code == 0 else f"{done.output}{done.exception}"

        return run

    def jobs(user: OtherUser, *options: str) -> list[str]:
        code, out = user.run(report(*options))
        assert code == 0, out
        document: dict[str, Any] = json.loads(out)
        return [job["job_id"] for job in document["jobs"]]

    report("--published")()  # loads what is loaded late, which other users may not reach
    assert jobs(OtherUser(0, (0,)), "--site") == ["1", "2", "3"]
    assert jobs(USERS["operator"], "--site") == ["1", "2", "3"]
    code, out = USERS["alice"].run(report("--site"))
    assert (code != 0, "you may not read" in out) == (True, True)
    assert jobs(USERS["alice"], "--published") == ["1"]
    assert jobs(USERS["coordinator"], "--account", "physics") == ["1", "3"]
    for user, options in ((USERS["bob"], ["--account", "physics"]), (USERS["nobody"], ["--published"])):
        code, out = user.run(report(*options))
        assert code != 0
        assert "there is no ledger" in out


def test_the_command_names_what_it_did_and_what_is_missing(site: Site) -> None:
    def command(*options: str) -> Any:
        return CliRunner().invoke(program, ["site", "publish", *options], env={"HOME": str(site.home)})

    assert "--ledger: is missing" in str(command().exception)
    assert "--to: is missing" in str(command().exception)
    text = f'[site]\npublished = "{site.published}"\nledger = "{site.ledger}"\n'
    (site.root / "config.toml").write_text(text + '[site.managers]\nbiology = ["bob"]\noptic = ["coordinator"]\n')
    site.private("jobs")
    done = json.loads(command("--json").stdout)
    assert done == {
        "published": str(site.published), "users": ["alice", "bob", "coordinator"],
        "accounts": {"physics": ["coordinator"]},
        "withheld": [{"account": "biology", "user": "bob"}, {"account": "optic", "user": "coordinator"}],
        "accounts_without_jobs": ["optic"], "unknown_users": ["gone"], "failed": [],
    }  # fmt: skip
    shown = command()
    assert shown.stdout == f"3 ledgers of users, 1 ledger of 1 account for managers, in {site.published}\n"
    assert "bob does not get the ledger of account biology: jobs are private" in shown.stderr
    assert "without jobs in the ledger: 1 account of [site.managers]: optic\n" in shown.stderr
    assert "without an account on this machine: 1 user: gone" in shown.stderr


def test_only_root_publishes_into_a_folder_of_root(site: Site) -> None:
    with pytest.raises(SetupError, match="only root can give files to users"):
        USERS["operator"].run(site.publish)
    site.published.chmod(0o777)
    with pytest.raises(SetupError, match="is not writable for root alone"):
        site.publish()


def test_nobody_gets_what_slurm_does_not_show_them() -> None:
    users = [
        SlurmUser("ann", admin=False, coordinates=("optics", "physics")),
        SlurmUser("op", admin=True, coordinates=()),
    ]
    managers = {"physics": ["ann", "op", "eve"], "biology": ["ann"]}
    assert accounts_by_manager(users, managers, private=True) == (
        {"ann": {"optics", "physics"}, "op": {"physics"}},
        [("physics", "eve"), ("biology", "ann")],
    )
    assert accounts_by_manager(users, managers, private=False) == (
        {"ann": {"optics", "physics", "biology"}, "op": {"physics"}, "eve": {"physics"}},
        [],
    )


def test_a_manager_of_the_settings_alone_gets_nothing_where_jobs_are_private(site: Site) -> None:
    site.private("jobs,usage")
    done = site.publish({"biology": ["alice"]})
    assert (done.withheld, done.accounts) == ([("biology", "alice")], {"physics": ["coordinator"]})
    site.private("cloud")
    assert site.publish({"biology": ["alice"]}).accounts == {"biology": ["alice"], "physics": ["coordinator"]}


@pytest.mark.parametrize(
    ("shown", "private"),
    [
        ("PrivateData            = none\nX = 1\nPrivateData = none\n", False),
        ("PrivateData            = none\nPrivateData = jobs\n", True),
        ("PrivateData = events,Usage\n", True),
        ("PrivateData = cloud,nodes\n", False),
        ("PrivateData = \n", False),
        ("something else\n", True),
    ],
)
def test_private_data_of_both_daemons(shown: str, private: bool) -> None:
    assert JobsPrivate().answer(Result("sacctmgr", 0, shown, "")) is private


def test_coordinators_as_slurm_22_05_prints_them() -> None:
    out = "alice|None|optics,physics\nbob|None|\nroot|Administrator|\nop|Operator|\n"
    assert SlurmUsers().answer(Result("sacctmgr", 0, out, "")) == [
        SlurmUser("alice", admin=False, coordinates=("optics", "physics")),
        SlurmUser("bob", admin=False, coordinates=()),
        SlurmUser("root", admin=True, coordinates=()),
        SlurmUser("op", admin=True, coordinates=()),
    ]
    with pytest.raises(SetupError, match="Access denied"):
        SlurmUsers().answer(Result("sacctmgr", 1, "", "sacctmgr: error: Access denied\n"))
