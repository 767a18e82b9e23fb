"""Stored job states: runs of other users, invalid ids, jobs that Slurm does not know any more."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm, job_ids, sacct_row, squeue_row
from fake_spool import FakeRun, FakeSpool

from hpcfrugal.core.errors import SetupError
from hpcfrugal.job.backend import SubmittedRun
from hpcfrugal.slurm.backend import SlurmBackend
from hpcfrugal.slurm.executions import stored_states
from hpcfrugal.slurm.job_ids import is_job_id
from hpcfrugal.slurm.node_facts import store_nodes
from hpcfrugal.slurm.states import Refreshed, refresh_states
from hpcfrugal.spool import write_json_atomic

OTHER = 12345
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path / "slurm", cluster="lab")
    monkeypatch.setenv("PATH", f"{fake.bin}{os.pathsep}{os.environ['PATH']}")
    return fake


@pytest.fixture
def spool(tmp_path: Path) -> FakeSpool:
    return FakeSpool(tmp_path)


def give_away(run: FakeRun) -> None:
    run.document(uid=OTHER)
    for path in (run.run_dir.path, *run.run_dir.path.iterdir()):
        os.chown(path, OTHER, OTHER)


def submitted_ago(run: FakeRun, job_id: str, days: float) -> None:
    at = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    document = {"schema": 1, "cluster": "lab", "job_id": job_id, "submitted_at": at}
    write_json_atomic(run.run_dir.submitted_json, document)


def asked(slurm: FakeSlurm) -> list[list[str]]:
    return [sorted(job_ids(call)) for call in slurm.calls("sacct")]


@as_root
def test_nothing_is_written_into_runs_of_other_users(spool: FakeSpool, slurm: FakeSlurm) -> None:
    run, mine = spool.run("17"), spool.run("18")
    run.samples([run.header(), *run.records([100.0, 10.0], 60)])
    run.end()
    give_away(run)
    before = sorted(path.name for path in run.run_dir.path.iterdir())
    assert before
    slurm.sacct(sacct_row("17", "COMPLETED"), sacct_row("18", "COMPLETED"))
    (line,) = refresh_states(spool.root).warnings
    assert line.startswith("unfinished jobs of other users: 1; ")
    (line,) = store_nodes(spool.root, {})
    assert line == "finished jobs of other users: 1; only their own sync stores their nodes"
    assert sorted(path.name for path in run.run_dir.path.iterdir()) == before
    assert mine.run_dir.slurm_json("18", 0).exists()
    assert (asked(slurm), slurm.calls("sinfo")) == ([["18"]], [])


@pytest.mark.parametrize("what", ["pipe", "endless", "link", "garbage"])
def test_what_is_not_a_file_of_the_owner_is_not_read(
    spool: FakeSpool, slurm: FakeSlurm, tmp_path: Path, what: str
) -> None:
    run, other = spool.run("17"), spool.run("18")
    path = run.run_dir.submitted_json
    said = path.read_bytes()
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "garbage":
        path.write_bytes(b"[" * 10**6)
    else:
        (tmp_path / "elsewhere").write_bytes(said)
        path.symlink_to("/dev/zero" if what == "endless" else tmp_path / "elsewhere")
    slurm.sacct(sacct_row("17", "COMPLETED"), sacct_row("18", "COMPLETED"))
    assert refresh_states(spool.root) == Refreshed()
    assert asked(slurm) == [["18"]]
    assert other.run_dir.slurm_json("18", 0).exists()


def test_a_link_in_place_of_a_state_is_replaced_and_not_followed(
    spool: FakeSpool, slurm: FakeSlurm, tmp_path: Path
) -> None:
    run = spool.run("17")
    victim = tmp_path / "victim"
    victim.write_text("{}")
    path = run.run_dir.slurm_json("17", 0)
    path.symlink_to(victim)
    slurm.sacct(sacct_row("17", "COMPLETED"))
    assert refresh_states(spool.root) == Refreshed()
    assert victim.read_text() == "{}"
    assert not path.is_symlink()
    assert json.loads(path.read_text())["state"] == "COMPLETED"


def test_garbage_in_a_stored_state_gives_no_traceback(spool: FakeSpool, slurm: FakeSlurm) -> None:
    run = spool.run("17")
    write_json_atomic(
        run.run_dir.slurm_json("17", 0),
        {"restart": "x", "nodes": [1], "start_at": "never", "state": 7, "final": True, "exit_code": "0"},
    )
    (state,) = stored_states(run.run_dir)
    assert (state.state, state.nodes, state.start_at, state.exit_code) == ("UNKNOWN", (), None, None)
    slurm.sacct(sacct_row("17", "COMPLETED"))
    assert refresh_states(spool.root) == Refreshed()
    (state,) = stored_states(run.run_dir)
    assert state.state == "COMPLETED"


@pytest.mark.parametrize("odd", ["--help", "-1", "0", "17_3", "17+1", "4294967294", "99999999999", "abc"])
def test_an_invalid_id_does_not_affect_other_jobs(spool: FakeSpool, slurm: FakeSlurm, odd: str) -> None:
    run, _ = spool.run("17"), spool.run(odd)
    slurm.sacct(sacct_row("17", "COMPLETED"))
    (line,) = refresh_states(spool.root).warnings
    assert f"{odd!r} is not a job id of Slurm" in line
    assert asked(slurm) == [["17"]]
    assert run.run_dir.slurm_json("17", 0).exists()
    runs = [SubmittedRun(run.run_dir.path, job_id) for job_id in (odd, "abc;x", "")]
    assert SlurmBackend().states(runs).runs == {}


def test_ids_of_slurm() -> None:
    assert all(map(is_job_id, ("1", "17", "4294967293")))
    assert not any(map(is_job_id, ("", "0", "-1", "1 ", "१७", "²", "1,2", "4294967294")))


def test_three_jobs_that_slurm_does_not_know_are_named(spool: FakeSpool, slurm: FakeSlurm) -> None:
    for job_id in ("17", "18", "19", "20", "21"):
        submitted_ago(spool.run(job_id), job_id, 8)
    (line,) = refresh_states(spool.root).warnings
    assert line.endswith(": 17, 18, 19 and 2 more; not asked for again")


def test_an_old_job_that_slurm_does_not_know_is_not_asked_for_again(spool: FakeSpool, slurm: FakeSlurm) -> None:
    old, new = spool.run("17"), spool.run("18")
    submitted_ago(old, "17", 8)
    submitted_ago(new, "18", 6)
    (line,) = refresh_states(spool.root).warnings
    assert line == "unfinished jobs that Slurm does not know any more: 17; not asked for again"
    assert refresh_states(spool.root) == Refreshed()
    assert asked(slurm) == [["17", "18"], ["18"]]
    old.run_dir.slurm_gone.unlink()
    slurm.sacct(sacct_row("17", "COMPLETED"), sacct_row("18", "COMPLETED"))
    assert refresh_states(spool.root) == Refreshed()
    assert old.run_dir.slurm_json("17", 0).exists()


def test_without_an_answer_of_accounting_no_job_counts_as_unknown(spool: FakeSpool, slurm: FakeSlurm) -> None:
    old, other = spool.run("17"), spool.run("18")
    submitted_ago(old, "17", 400)
    submitted_ago(other, "18", 400)
    slurm.answer("sacct", err="sacct: error: slurmdbd: Connection refused\n", code=1)
    slurm.squeue(squeue_row("77", "RUNNING"))
    (line,) = refresh_states(spool.root).warnings
    assert line == "sacct failed: slurmdbd: Connection refused: states of jobs may be out of date"
    assert not old.run_dir.slurm_gone.exists()
    slurm.answer("sacct", err="Slurm accounting storage is disabled\n", code=1)
    assert len(refresh_states(spool.root).warnings) == 1
    assert old.run_dir.slurm_gone.exists()


@pytest.mark.parametrize("name", ["scontrol", "sacct", "squeue", "sinfo"])
def test_a_short_time_limit_holds_for_every_command(spool: FakeSpool, slurm: FakeSlurm, name: str) -> None:
    run = spool.run("17")
    run.samples([run.header(), *run.records([100.0, 10.0], 60)])
    run.end()
    slurm.answer(name, then="exec sleep 60")
    backend = SlurmBackend(timeout_s=0.3)

    def ask() -> None:
        refresh_states(spool.root, backend)
        store_nodes(spool.root, {}, backend)

    with pytest.raises(SetupError, match=f"{name} did not answer within 0"):
        ask()


def test_messages_of_slurm_are_shown_without_the_name_of_its_command(spool: FakeSpool, slurm: FakeSlurm) -> None:
    spool.run("17")
    slurm.answer("sacct", err="\nsacct: fatal: Bad job/step specified: abc\n", code=1)
    with pytest.raises(SetupError, match=r"^sacct failed: Bad job/step specified: abc$"):
        refresh_states(spool.root)
