"""``site sync``: the jobs of all users, from Slurm, node agents and the spools of users, in one ledger."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from fake_agent import FakeAgent
from fake_spool import SECOND, START_NS, FakeSpool
from sacct_by_day import Site, row
from sandbox import Sandbox

from hpcfrugal.core.user import user_name
from hpcfrugal.ledger.export import dump
from hpcfrugal.ledger.sync import rebuild

START_S = START_NS // SECOND
OTHER = next(user.pw_name for user in pwd.getpwall() if user.pw_uid not in (0, os.getuid()))


class Centre:
    """A site with a spool, and a user's spool in it: that of who runs the test."""

    def __init__(self, box: Sandbox, folder: Path) -> None:
        self.site, self.folder = Site(box, folder), folder / "centre"
        self.spool, self.ledger = self.folder / "spool", self.folder / "site.db"
        self.spool.mkdir(parents=True)
        (self.spool / "users" / user_name()).mkdir(parents=True)
        self.user = FakeSpool(folder)
        self.user.root, self.user.user = self.spool / "users" / user_name(), user_name()

    @property
    def words(self) -> list[str]:
        return ["site", "sync", "--spool", str(self.spool), "--ledger", str(self.ledger)]

    def sync(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.site.box.ok(*self.words, "--json", "--since", "1d"))
        return document

    def check(self) -> dict[str, Any]:
        words = ("ledger", "check", "--json", "--spool", str(self.spool), "--ledger", str(self.ledger))
        document: dict[str, Any] = json.loads(self.site.box.ok(*words))
        return document

    def jobs(self) -> dict[str, dict[str, Any]]:
        words = ("report", "--ledger", str(self.ledger), "--json", "--since", "all", "--all")
        return {job["job_id"]: job for job in json.loads(self.site.box.ok(*words))["jobs"]}


@pytest.fixture
def centre(box: Sandbox, tmp_path: Path) -> Centre:
    return Centre(box, tmp_path)


def hour(job_id: str, user: str, **cells: str) -> dict[str, str]:
    """A job of an hour from START on, on n1."""
    times = {"Submit": str(START_S - 9), "Start": str(START_S), "End": str(START_S + 3600), "Eligible": ""}
    return row(job_id, 0, **({"User": user, "NodeList": "n1", "Cluster": "lab"} | times | cells))


def agent_of(root: Path, *job_ids: str) -> FakeAgent:
    agent = FakeAgent(root, start_ns=START_NS - 60 * SECOND)
    agent.advance(60)
    for job_id in job_ids:
        agent.start(job_id, 50)
    agent.advance(3600)
    for job_id in job_ids:
        agent.end(job_id)
    agent.record("end")
    return agent


def test_jobs_from_slurm_agents_and_users_are_in_one_ledger(centre: Centre) -> None:
    agent_of(centre.spool, "17", "18", "19")
    run = centre.user.run("17")
    run.samples([run.header(), *run.records([90, 30], 3600)])
    run.slurm(end_s=3600, account="someone-elses")
    centre.site.day(0, hour("17", user_name()), hour("18", OTHER), hour("20", OTHER, NodeList="n2"))
    found = centre.sync()
    assert (found["users"], found["runs"], found["nodes"], found["skipped"]) == ([user_name()], 1, 1, [])
    assert (found["jobs"], found["measured_jobs"], found["unknown_jobs"]) == (3, 2, 1)
    jobs = centre.jobs()
    assert {job_id: (job["user"], job["account"], job["origin"]) for job_id, job in jobs.items()} == {
        "17": (user_name(), "physics", "spool"), "18": (OTHER, "physics", "sacct"), "20": (OTHER, "physics", "sacct"),
    }  # fmt: skip
    assert [(jobs[job]["measured_j"], jobs[job]["modelled_j"]) for job in ("17", "18")] == [(225_000.0, None)] * 2
    assert jobs["20"]["measured_j"] is None
    again = centre.sync()
    assert (again["runs_changed"], again["problem_files"]) == (0, 0)
    expected = dump(centre.ledger)
    rebuild(centre.spool, centre.ledger)
    assert dump(centre.ledger) == expected
    checked = centre.check()
    assert (checked["damage"], checked["differences"], checked["problems"]) == ([], [], [])


def test_a_run_counts_once_slurm_has_its_job_as_that_of_its_owner(centre: Centre) -> None:
    for job_id in ("17", "18"):
        run = centre.user.whole_run(job_id)
    # what users could write about the jobs of others is not read
    agent_of(centre.user.root, "20")
    (centre.user.root / "accounting" / "imported").mkdir(parents=True)
    (centre.user.root / "accounting" / "imported" / "a.sacct").write_text("JobID|State\n")
    centre.site.day(0, hour("18", OTHER), hour("20", OTHER))
    assert centre.sync()["problem_files"] == 2
    assert {job_id: job["measured_j"] for job_id, job in centre.jobs().items()} == {"18": None, "20": None}
    centre.site.day(0, hour("17", user_name()), hour("18", OTHER), hour("20", OTHER))
    assert centre.sync()["problem_files"] == 1
    assert {job_id: job["measured_j"] for job_id, job in centre.jobs().items()} == {
        "17": 6600.0, "18": None, "20": None,
    }  # fmt: skip
    assert run.run_id not in {job["run_id"] for job in centre.jobs().values()}
    found = centre.check()
    assert (found["damage"], found["differences"], found["files_vanished"]) == ([], [], [])
    (problem,) = found["problems"]
    assert problem.endswith(f"run.json: Slurm's accounting has no job 18 of {user_name()}: the run does not count")


def test_a_folder_that_is_not_the_users_own_is_refused(centre: Centre) -> None:
    users = centre.spool / "users"
    (users / "no-such-user-here").mkdir()
    (users / OTHER).symlink_to(users / user_name())
    found = centre.sync()
    assert found["users"] == [user_name()]
    assert found["skipped"] == [
        f"{users / OTHER}: a symbolic link, not followed",
        f"{users / 'no-such-user-here'}: this machine has no user of that name",
    ]
    (users / OTHER).unlink()
    (users / OTHER).mkdir()
    assert centre.sync()["skipped"][0] == f"{users / OTHER}: belongs to uid {os.getuid()}, not to {OTHER}"


def test_without_slurm_the_rest_is_read(centre: Centre) -> None:
    agent_of(centre.spool, "17")
    centre.site.slurm.answer("sacct", code=1, err="sacct: error: slurmdbd: down")
    done = centre.site.box.run(*centre.words, "--since", "1d")
    assert done.code == 3
    assert "Slurm was not asked for jobs: " in done.err
    assert "1 node with an agent" in done.out
    assert "seen by an agent and not known from Slurm: 1 job" in done.out


def test_mistakes_are_named_at_once(box: Sandbox) -> None:
    done = box.run("site", "sync", "--since", "all")
    assert done.code == 2
    for part in ("--spool: is missing", "--ledger: is missing", "--since: needs a time"):
        assert part in done.err
