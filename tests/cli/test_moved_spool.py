"""Jobs of the spool that was set before are still the user's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from fake_slurm import FakeSlurm, sacct_row
from fake_spool import FakeSpool
from sandbox import Sandbox

from hpcfrugal.ledger.spools import own_spools
from hpcfrugal.spool.used_spools import note_spool, noted_spools


@pytest.fixture(autouse=True)
def slurm(box: Sandbox, tmp_path: Path) -> FakeSlurm:
    slurm = FakeSlurm(tmp_path / "slurm", cluster="lab")
    slurm.answer("scontrol", "ClusterName = lab\nSelectType = select/cons_tres\nSelectTypeParameters = CR_CORE\n")
    slurm.answer("sinfo", "n1|8|NO\n")
    slurm.sacct(sacct_row("18", "COMPLETED"), sacct_row("19", "COMPLETED"))
    box.env |= {"PATH": f"{slurm.bin}:{box.env['PATH']}", "HPCFRUGAL_BACKEND": "slurm_cli"}
    return slurm


def named(box: Sandbox, *argv: str) -> list[tuple[str, float | None]]:
    return [(row["job_id"], row["energy_j"]) for row in json.loads(box.ok("status", "--all", "--json", *argv))]


def test_jobs_of_the_spool_before_are_found_and_counted(box: Sandbox, tmp_path: Path) -> None:
    before = FakeSpool(tmp_path / "before")
    before.whole_run("17")
    runs_on = before.run("18")
    box.env |= {"HPCFRUGAL_SPOOL": str(before.root)}
    box.ok("ledger", "sync")
    box.env |= {"HPCFRUGAL_SPOOL": str(tmp_path / "now")}
    FakeSpool(tmp_path).whole_run("19")
    os.rename(tmp_path / "spool", tmp_path / "now")
    runs_on.samples([runs_on.header("18"), *runs_on.records([100, 10], 60)], "18")
    runs_on.end(job_id="18")
    assert named(box, "17", "18") == [("17", 6600.0), ("18", 6600.0)]
    assert {job_id for job_id, _ in named(box)} == {"17", "18", "19"}
    box.ok("tag", "17", "phase=again")
    reported = json.loads(box.ok("report", "--since", "all", "--json"))["jobs"]
    assert {(one["job_id"], one["phase"]) for one in reported} == {
        ("17", "again"),
        ("18", "training"),
        ("19", "training"),
    }


def test_an_end_in_the_spool_before_is_in_the_next_report(box: Sandbox, tmp_path: Path) -> None:
    before = FakeSpool(tmp_path)
    run = before.run("18")
    box.env |= {"HPCFRUGAL_SPOOL": str(before.root)}
    box.ok("ledger", "sync")
    run.samples([run.header("18"), *run.records([100, 10], 60)], "18")
    run.end(job_id="18")
    box.env |= {"HPCFRUGAL_SPOOL": str(tmp_path / "now")}
    (job,) = json.loads(box.ok("report", "--since", "all", "--json"))["jobs"]
    assert job["energy_j"]["total"] == 6600


def test_folders_of_others_and_spools_of_users_are_not_looked_into(box: Sandbox, tmp_path: Path) -> None:
    before = FakeSpool(tmp_path)
    before.whole_run("17")
    box.env |= {"HPCFRUGAL_SPOOL": str(before.root)}
    box.ok("ledger", "sync")
    box.env |= {"HPCFRUGAL_SPOOL": str(tmp_path / "now")}
    os.rename(before.root, tmp_path / "elsewhere")
    before.root.symlink_to(tmp_path / "elsewhere")
    assert named(box) == []


@pytest.mark.parametrize("how", ["submit", "run"])
def test_a_job_of_the_spool_before_is_found_where_nothing_was_synced(box: Sandbox, tmp_path: Path, how: str) -> None:
    box.env |= {"HPCFRUGAL_SPOOL": str(tmp_path / "before"), "HPCFRUGAL_BACKEND": "local"}
    if how == "submit":
        box.write("job.yaml", "name: early\ncommand: 'true'\n")
        box.ok("submit", "--wait", "job.yaml")
        (box.home / ".local/share/hpcfrugal/ledger.db").unlink()  # the report at the end has made it
    else:
        box.ok("run", "--name", "early", "--", "true")
    box.env |= {"HPCFRUGAL_SPOOL": str(tmp_path / "now")}
    (job,) = json.loads(box.ok("status", "--json", "early"))
    assert (job["name"], job["state"]) == ("early", "COMPLETED")
    assert json.loads(box.ok("report", "early", "--json"))["jobs"][0]["name"] == "early"
    for path in (box.home / ".local/share/hpcfrugal").glob("ledger.db*"):
        if path.suffix != ".spools":
            path.unlink()
    assert "1 run, 1 changed" in box.ok("ledger", "rebuild")
    # another ledger has nothing to do with it
    box.env |= {"HPCFRUGAL_LEDGER": str(tmp_path / "other.db")}
    assert box.run("status", "early").code == 2


@pytest.mark.parametrize("order", [["before", "now"], ["now", "before"], ["before"]])
def test_the_spool_of_the_settings_is_the_first(tmp_path: Path, order: list[str]) -> None:
    for name in ("before", "now"):
        (tmp_path / name).mkdir()
    for name in order:
        note_spool(tmp_path / "ledger.db", tmp_path / name)
    assert own_spools(tmp_path / "ledger.db", tmp_path / "now") == [tmp_path / "now", tmp_path / "before"]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("elsewhere"), Path.mkdir])
def test_what_is_no_file_in_place_of_the_list_of_spools_holds_no_submission_up(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "ledger.db.spools")
    note_spool(tmp_path / "ledger.db", tmp_path / "before")
    assert noted_spools(tmp_path / "ledger.db") == []
    assert not (tmp_path / "elsewhere").exists()
