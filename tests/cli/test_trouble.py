"""A report comes whatever is wrong with Slurm, a lock or the ledger's disk, and says what is wrong."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
import time
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm
from fake_spool import SECOND, FakeSpool
from sandbox import Result, Sandbox
from small_disk import fill, mounted

from hpcfrugal.ledger.sync import sync

REPORT = ("report", "--since", "all", "--csv")


class Site:
    """A spool and a ledger that hold job 17, and job 18 in the spool alone."""

    def __init__(self, box: Sandbox, folder: Path) -> None:
        self.box = box
        self.slurm = FakeSlurm(folder / "slurm", cluster="lab")
        self.spool = FakeSpool(folder)
        box.env |= {
            "PATH": f"{self.slurm.bin}:{box.env['PATH']}",
            "HPCFRUGAL_SPOOL": str(self.spool.root),
            "HPCFRUGAL_LEDGER": str(self.spool.ledger),
        }

    def fill(self) -> None:
        self.spool.whole_run("17")
        sync(self.spool.root, self.spool.ledger)
        run = self.spool.run("18")
        run.samples([run.header("18"), *run.records([100.0, 10.0], 60)], "18")
        run.end(job_id="18")

    def report(self) -> tuple[Result, list[str]]:
        result = self.box.run(*REPORT)
        return result, [line.split(",")[1] for line in result.out.splitlines()[1:]]


@pytest.fixture
def site(box: Sandbox, tmp_path: Path) -> Site:
    return Site(box, tmp_path)


def test_a_job_that_another_cluster_may_start(site: Site) -> None:
    """sbatch answers with an id of a federation, which `submit` has only then."""
    site.slurm.answer("sbatch", "67108865\n")
    script = site.box.write("job.sh", "#!/bin/bash\ntrue\n")
    done = site.box.run("submit", "--backend", "slurm_cli", script)
    assert (done.code, done.out.splitlines()[0]) == (0, "Submitted job 67108865 on lab")
    assert done.err == (
        f"warning: {script}: federations are not supported: if another cluster than this one starts job 67108865, its "
        "energy is not known; a batch script with `#SBATCH --clusters=lab` stays here\n"
    )


@pytest.mark.slow
def test_a_lock_that_is_never_released(site: Site) -> None:
    site.fill()
    with site.spool.ledger.with_name("ledger.db.lock").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        result, jobs = site.report()
    assert (result.code, jobs) == (0, ["17"])
    assert "warning: another sync has held the lock " in result.err
    assert result.err.rstrip().endswith("the report shows the ledger as it was before")
    assert sorted(site.report()[1]) == ["17", "18"]


@pytest.mark.slow
def test_a_database_that_stays_locked(site: Site) -> None:
    site.fill()
    other = sqlite3.connect(site.spool.ledger, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        result, jobs = site.report()
        assert time.monotonic() - began < 20
    finally:
        other.close()
    assert (result.code, jobs) == (0, ["17"])
    assert "is locked by another program; the report shows the ledger as it was before" in result.err


def test_a_full_disk(site: Site, tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "2m") as small:
        site.spool.ledger = small / "ledger.db"
        site.box.env["HPCFRUGAL_LEDGER"] = str(site.spool.ledger)
        site.fill()
        fill(small / "rest")
        result, jobs = site.report()
        assert (result.code, jobs) == (0, ["17"])
        assert "; the report shows the ledger as it was before" in result.err


def test_a_disk_on_which_there_never_was_a_ledger(site: Site, tmp_path: Path) -> None:
    site.spool.whole_run()
    with mounted(tmp_path / "small") as small:
        site.box.env["HPCFRUGAL_LEDGER"] = str(small / "ledger.db")
        fill(small / "rest")
        result = site.box.run(*REPORT)
    assert (result.code, result.out) == (3, "")
    assert "Traceback" not in result.err
    assert "ledger.db" in result.err


@pytest.mark.parametrize(("command", "hangs"), [(REPORT, "sacct"), (("status", "--all"), "scontrol")])
@pytest.mark.slow
def test_a_slurm_that_hangs_is_not_waited_for_long(site: Site, command: tuple[str, ...], hangs: str) -> None:
    site.fill()
    site.slurm.answer(hangs, then="exec sleep 60")
    began = time.monotonic()
    result = site.box.run(*command, env={"HPCFRUGAL_BACKEND": "slurm_cli"})
    assert time.monotonic() - began < 12
    # of 5 s in all, what a query before it left
    waited = re.search(rf"{hangs} did not answer within (\d(?:\.\d)?) s", result.err)
    assert (result.code, waited is not None) == (0, True), result
    assert waited is not None
    assert float(waited[1]) <= 5
    assert "18" in result.out


def test_a_clock_that_is_off_is_noted(site: Site) -> None:
    run = site.spool.run("17")
    lines = [run.header(), *run.records([100.0, 10.0], 60)]
    run.samples([{**line, "wall_ns": line["wall_ns"] + 3600 * SECOND} for line in lines])
    run.slurm()
    result = site.box.run("report", "17")
    assert "note: job 17 on n1: the node's clock was 01:00:00 ahead of Slurm's, or more: its times" in result.err
    checked = site.box.run("ledger", "check", "--strict")
    assert checked.code == 4
    assert "the node's clock was 01:00:00 ahead of Slurm's" in checked.out


def test_a_run_with_a_false_user_name(site: Site) -> None:
    site.spool.whole_run("17", user="mallory-is-nobody")
    result = site.box.run("report", "--since", "all", "--by", "user", "--csv")
    assert "mallory" not in result.out
    assert len(result.out.splitlines()) == 2
    assert "user: is 'mallory-is-nobody', but uid" in site.box.ok("ledger", "check")


def test_the_ledger_of_root_and_the_runs_of_users(site: Site) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    run = site.spool.run("17")
    run.samples([run.header(), *run.records([100.0, 10.0], 60)])
    run.end()
    run.document(uid=12345)
    for path in (run.run_dir.path, *run.run_dir.path.iterdir()):
        os.chown(path, 12345, 12345)
    names = sorted(path.name for path in run.run_dir.path.iterdir())
    result = site.box.run("ledger", "sync", "--offline")
    assert result.code == 0
    assert "warning: unfinished jobs of other users: 1; " in result.err
    assert sorted(path.name for path in run.run_dir.path.iterdir()) == names
