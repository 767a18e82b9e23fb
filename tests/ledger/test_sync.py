"""The ledger follows the spool: cheaply, the same every time, by any number at once, and it can be rebuilt."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_spool import PACKAGE, SECOND, START_NS, FakeSpool

from hpcfrugal.core.errors import DataError, SetupError
from hpcfrugal.core.user import user_name
from hpcfrugal.ledger import store
from hpcfrugal.ledger import sync as engine
from hpcfrugal.ledger.check import check_ledger
from hpcfrugal.ledger.connection import transaction
from hpcfrugal.ledger.export import dump
from hpcfrugal.ledger.packed import BUCKETS
from hpcfrugal.ledger.queries import JobFilter, JobRow, find_jobs
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import SyncResult, rebuild, sync
from hpcfrugal.spool import ParsedName, RunDir
from hpcfrugal.spool.samples import SampleFile, read_samples


def jobs(spool: FakeSpool, *ids: str) -> list[JobRow]:
    with open_ledger(spool.ledger) as connection:
        return find_jobs(connection, JobFilter(jobs=ids))


def energy_uj(job: JobRow) -> int | None:
    known = [channel.energy_uj for channel in job.channels if channel.counted and channel.energy_uj is not None]
    return sum(known) if known else None


def do_sync(spool: FakeSpool) -> SyncResult:
    return sync(spool.root, spool.ledger)


def problems(spool: FakeSpool) -> list[str]:
    return [problem.partition("/")[2] for problem in check_ledger(spool.root, spool.ledger, compare=False).problems]


def busy_spool(spool: FakeSpool) -> FakeSpool:
    spool.whole_run("17")
    run = spool.run("18")
    run.samples([run.header("18", exclusive=False), *run.records([100, 10], 30)[:3]], "18")
    spool.run("19")
    spool.run(None)
    restarted = spool.whole_run("20")
    restarted.samples([restarted.header("20", 1), *restarted.records([50, 5], 40)], "20", 1)
    restarted.samples([restarted.header("20", 1, "n2"), *restarted.records([50, 5], 40)], "20", 1, "n2")
    restarted.slurm(job_id="20", restart=1, start_s=100, end_s=140, nodes=("n1", "n2"))
    return spool


def test_a_whole_run(spool: FakeSpool) -> None:
    spool.whole_run()
    result = do_sync(spool)
    assert (result.runs, result.runs_changed, result.files_read, result.problem_files) == (1, 1, 5, 0)
    (job,) = jobs(spool)
    assert (job.cluster, job.job_id, job.restart) == ("lab", "17", 0)
    assert (job.name, job.user, job.project, job.phase) == ("train", "alice", "climate", "training")
    assert (job.state, job.exit_code, job.final) == ("COMPLETED", 0, True)
    assert (job.started_wall_ns, job.elapsed_ns, job.elapsed_source) == (START_NS, 60 * 10**9, "slurm")
    assert energy_uj(job) == 6_600_000_000
    assert job.nodes == ("n1",)


def test_ten_syncs_change_nothing_after_the_first(spool: FakeSpool) -> None:
    busy_spool(spool)
    assert do_sync(spool).runs_changed == 5
    before = dump(spool.ledger)
    for _ in range(10):
        result = do_sync(spool)
        assert (result.runs_changed, result.files_read) == (0, 0)
    assert dump(spool.ledger) == before


def test_only_files_that_changed_are_read(spool: FakeSpool) -> None:
    busy_spool(spool)
    do_sync(spool)
    run = spool.whole_run("21")
    assert (do_sync(spool).runs_changed, do_sync(spool).runs_changed) == (1, 0)
    run.samples([run.header("21"), *run.records([200, 10], 60)], "21")
    result = do_sync(spool)
    assert result.runs_changed == 1
    assert result.files_read == 2  # the samples, and run.json with every run that changed
    assert energy_uj(jobs(spool, "21")[0]) == 12_600_000_000


@pytest.mark.slow
def test_a_file_that_grows_is_read_from_where_the_last_sync_stopped(
    spool: FakeSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = spool.run("17")
    whole: list[Path] = []

    def read_whole(path: Path, *others: Any) -> SampleFile:
        whole.append(Path(path))
        return read_samples(path, *others)

    monkeypatch.setattr("hpcfrugal.ledger.ingest.read_samples", read_whole)
    lines = [run.header(exclusive=False, channels=[PACKAGE]), *run.records([100], 600)]
    path = run.samples(lines[:3])
    do_sync(spool)
    for at in range(3, len(lines)):
        run.samples(lines[at : at + 1], mode="a")
        whole.clear()
        do_sync(spool)
        # Once more when the session has ended.
        assert whole == [path] * (at == len(lines) - 1)
        assert check_ledger(spool.root, spool.ledger).differences == ()
    run.samples(lines[:9])
    whole.clear()
    do_sync(spool)
    assert whole == [path]
    run.nodes()
    for at in (9, 10):
        run.samples(lines[at : at + 1], mode="a")
        whole.clear()
        do_sync(spool)
        assert whole == [path]  # the idle power of the node is in each of its shares
    assert check_ledger(spool.root, spool.ledger).differences == ()


def test_a_ledger_that_grew_equals_one_made_at_once(spool: FakeSpool) -> None:
    run = spool.run("17")
    do_sync(spool)
    lines = [run.header(exclusive=False), *run.records([100, 10], 60)]
    for line in lines:
        run.samples([line], mode="a")
        do_sync(spool)
        grown = dump(spool.ledger)
        rebuild(spool.root, spool.ledger)
        assert dump(spool.ledger) == grown
    run.end()
    do_sync(spool)
    run.slurm("RUNNING", end_s=None)
    do_sync(spool)
    run.slurm()
    do_sync(spool)
    run.document(spec={"name": "renamed"})
    do_sync(spool)
    grown = dump(spool.ledger)
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == grown
    assert jobs(spool)[0].name == "renamed"


def test_a_copy_of_the_spool_gives_the_same_content(spool: FakeSpool, tmp_path: Path) -> None:
    busy_spool(spool)
    do_sync(spool)
    copy = tmp_path / "copy"
    shutil.copytree(spool.root, copy)
    copied = list(copy.rglob("*"))
    assert copied
    for path in copied:
        os.utime(path, (1, 1))
    sync(copy, tmp_path / "copy.db")
    assert dump(tmp_path / "copy.db") == dump(spool.ledger)


def test_rebuild_gives_the_same_content_and_one_file(spool: FakeSpool) -> None:
    busy_spool(spool)
    do_sync(spool)
    before = dump(spool.ledger)
    result = rebuild(spool.root, spool.ledger)
    assert result.files_read > 10
    assert dump(spool.ledger) == before
    assert {path.name for path in spool.ledger.parent.iterdir()} - {"ledger.db-wal", "ledger.db-shm"} == {
        "ledger.db",
        "ledger.db.lock",
    }
    assert do_sync(spool).files_read == 0


@pytest.mark.slow
def test_two_syncs_at_once_and_a_rebuild_agree(spool: FakeSpool) -> None:
    spool.user = user_name()
    for number in range(30):
        spool.whole_run(str(100 + number))
    code = (
        "import sys; from pathlib import Path; from hpcfrugal.ledger.sync import rebuild, sync\n"
        "{'sync': sync, 'rebuild': rebuild}[sys.argv[3]](Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    argv = [sys.executable, "-c", code, str(spool.root), str(spool.ledger)]
    workers = [
        subprocess.Popen([*argv, what], stderr=subprocess.PIPE, text=True) for what in ("sync", "sync", "rebuild")
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert (worker.returncode, errors) == (0, "")
    assert do_sync(spool).files_read == 0
    together = dump(spool.ledger)
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == together


def test_two_syncs_at_once_without_a_lock_file_agree(spool: FakeSpool) -> None:
    spool.user = user_name()
    for number in range(30):
        spool.whole_run(str(100 + number))
    code = (
        "import sys, errno, fcntl; from pathlib import Path\n"
        "def flock(*_):\n    raise OSError(errno.ENOLCK, 'No locks available')\n"
        "fcntl.flock = flock\n"
        "from hpcfrugal.ledger.sync import sync\n"
        "sync(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    argv = [sys.executable, "-c", code, str(spool.root), str(spool.ledger)]
    workers = [subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert (worker.returncode, errors) == (0, "")
    together = dump(spool.ledger)
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == together


@pytest.mark.slow
def test_a_sync_that_is_killed_leaves_a_sound_ledger(spool: FakeSpool) -> None:
    spool.user = user_name()
    for number in range(70):
        spool.whole_run(str(100 + number))
    code = (
        "import os, signal, sys; from pathlib import Path; from hpcfrugal.ledger import run_reading, sync\n"
        "def kill(*_):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "if sys.argv[3] == 'between':\n    sync.sync(Path(sys.argv[1]), Path(sys.argv[2]), kill)\n"
        "else:\n"
        "    whole = run_reading._write_new\n"
        "    def write(connection, spool, found, *more):\n"
        "        whole(connection, spool, found, *more)\n"
        "        any('7' in run.run_id for run in found) and kill()\n"
        "    run_reading._write_new = write\n"
        "    sync.sync(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    for where in ("inside", "between", "inside"):
        argv = [sys.executable, "-c", code, str(spool.root), str(spool.ledger), where]
        assert subprocess.run(argv, timeout=60, check=False).returncode == -9
    assert do_sync(spool).runs == 70
    grown = dump(spool.ledger)
    assert len(jobs(spool)) == 70
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == grown


def test_a_second_sync_says_that_it_waits(spool: FakeSpool) -> None:
    waited: list[bool] = []

    class Enough(Exception):
        pass

    def on_wait() -> None:
        waited.append(True)
        raise Enough

    with store.lock(spool.ledger), pytest.raises(Enough):
        sync(spool.root, spool.ledger, on_wait=on_wait)
    assert waited == [True]
    do_sync(spool)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_all_files_of_the_ledger_are_private_from_the_start(spool: FakeSpool, umask: int) -> None:
    busy_spool(spool)
    old = os.umask(umask)
    try:
        do_sync(spool)
        with open_ledger(spool.ledger, write=True) as connection, transaction(connection):
            connection.execute("INSERT INTO meta VALUES ('test', 'x')")
            names = {path.name for path in spool.ledger.parent.iterdir()}
            modes = {stat.S_IMODE(path.stat().st_mode) for path in spool.ledger.parent.iterdir()}
        rebuild(spool.root, spool.ledger)
    finally:
        os.umask(old)
    assert "ledger.db-wal" in names or "ledger.db-journal" in names
    assert modes == {0o600}
    assert stat.S_IMODE(spool.ledger.stat().st_mode) == 0o600
    assert stat.S_IMODE(spool.ledger.parent.stat().st_mode) == 0o700


def test_on_a_network_file_system_there_is_no_write_ahead_log(
    spool: FakeSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "journal_mode", lambda path: "delete")
    busy_spool(spool)
    do_sync(spool)
    with open_ledger(spool.ledger) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    assert not spool.ledger.with_name("ledger.db-wal").exists()
    before = dump(spool.ledger)
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == before


def test_a_job_that_was_only_submitted_has_unknown_energy(spool: FakeSpool) -> None:
    run = spool.run("17")
    do_sync(spool)
    (job,) = jobs(spool)
    assert (job.job_id, job.state, job.exit_code, job.elapsed_ns, job.channels) == ("17", None, None, None, ())
    assert job.submitted_wall_ns == START_NS - 9 * 10**9
    # Once a task of the array is heard of, the array's own id stands for no job any more.
    run.samples([run.header("23", array_job_id="17", array_task_id="4"), *run.records([100, 10], 60)], "23")
    do_sync(spool)
    (job,) = jobs(spool)
    assert (job.job_id, job.label) == ("23", "17_4")
    assert [row.job_id for row in jobs(spool, "17")] == ["23"]
    assert [row.job_id for row in jobs(spool, "17_4")] == ["23"]
    assert jobs(spool, "17_5") == []


def test_a_job_without_a_sidecar_has_unknown_energy_not_none(spool: FakeSpool) -> None:
    run = spool.run("17")
    run.end(exit_code=3)
    run.slurm("FAILED", exit_code=3)
    do_sync(spool)
    (job,) = jobs(spool)
    assert (job.state, job.exit_code, job.elapsed_ns, energy_uj(job)) == ("FAILED", 3, 60 * 10**9, None)


def test_a_stored_state_without_a_state_leaves_it_unknown(spool: FakeSpool) -> None:
    run = spool.run()
    run.slurm(state=None, end_s=None, exit_code=None)  # type: ignore[arg-type]
    do_sync(spool)
    (job,) = jobs(spool)
    assert (job.state, job.final, job.exit_code) == (None, False, None)
    run.end(3)
    do_sync(spool)
    (job,) = jobs(spool)
    assert (job.state, job.final, job.exit_code) == ("FAILED", True, 3)


def test_times_come_from_the_best_source(spool: FakeSpool) -> None:
    run = spool.run("17")
    run.samples([run.header(), *run.records([100, 10], 60)[:4]])
    do_sync(spool)
    (job,) = jobs(spool)
    assert (job.elapsed_ns, job.elapsed_source, job.ended_wall_ns, job.state) == (30 * 10**9, "samples", None, None)
    run.slurm("RUNNING", start_s=-2, end_s=None)
    do_sync(spool)
    (job,) = jobs(spool)
    assert (job.elapsed_ns, job.elapsed_source, job.state) == (32 * 10**9, "samples", "RUNNING")
    run.end(exit_code=7, start_s=-1, end_s=59.5)
    do_sync(spool)
    (job,) = jobs(spool)
    assert (job.elapsed_ns, job.elapsed_source, job.state, job.exit_code) == (60_500_000_000, "end", "FAILED", 7)
    run.slurm("FAILED", start_s=-2, end_s=60, exit_code=7)
    do_sync(spool)
    (job,) = jobs(spool)
    assert (job.elapsed_ns, job.elapsed_source, job.state, job.exit_code) == (62 * 10**9, "slurm", "FAILED", 7)


def test_the_same_job_id_twice_is_two_jobs(spool: FakeSpool) -> None:
    spool.whole_run("17", watts=(100.0, 10.0))
    spool.whole_run("17", watts=(50.0, 10.0))
    do_sync(spool)
    assert sorted(energy_uj(job) or 0 for job in jobs(spool, "17")) == [3_600_000_000, 6_600_000_000]


def test_torn_garbage_and_strange_files_are_reported_and_cost_nothing_else(spool: FakeSpool) -> None:
    run = spool.whole_run()
    with run.run_dir.samples("17", 0, "n1").open("ab") as file:
        file.write(b'garbage\n{"kind":"rec')
    run.run_dir.samples("17", 0, "n2").write_bytes(b"")
    (run.run_dir.path / "17.0.n3.jsonl").symlink_to("17.0.n1.jsonl")
    (run.run_dir.path / "17.x.n4.jsonl").write_text("{}")
    (run.run_dir.path / "slurm-17.out").write_text("hello")
    run.run_dir.end_json("17", 0).write_text("{")
    assert do_sync(spool).problem_files == 5
    assert problems(spool) == [
        "17.0.end.json: not valid JSON",
        "17.0.n1.jsonl: 1 line: not valid JSON",
        "17.0.n2.jsonl: no usable header",
        "17.0.n3.jsonl: a symbolic link, not followed",
        "17.x.n4.jsonl: its name is not one of the spool",
    ]
    (job,) = jobs(spool)
    assert energy_uj(job) == 6_600_000_000
    assert do_sync(spool).runs_changed == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_files_of_another_user_do_not_count(spool: FakeSpool) -> None:
    run = spool.whole_run()
    foreign = run.samples([run.header(node="n2"), *run.records([9999, 10], 60)], node="n2")
    os.chown(foreign, 12345, 12345)
    do_sync(spool)
    assert energy_uj(jobs(spool)[0]) == 6_600_000_000
    assert problems(spool) == ["17.0.n2.jsonl: belongs to uid 12345, not to uid 0"]
    other = spool.whole_run("18")
    os.chown(other.run_dir.path, 12345, 12345)
    do_sync(spool)
    assert [job.job_id for job in jobs(spool)] == ["17"]
    assert problems(spool)[1].startswith("run.json: belongs to uid 0, not to uid 12345")


@pytest.mark.parametrize("spoil", ["other-uid", "other-schema", "garbage"])
def test_a_run_without_a_sound_run_document_does_not_count_until_it_has_one(spool: FakeSpool, spoil: str) -> None:
    run = spool.whole_run()
    do_sync(spool)
    if spoil == "other-uid":
        run.document(uid=run.uid + 1)
    elif spoil == "other-schema":
        run.document(schema=2)
    else:
        run.run_dir.run_json.write_text("x")
    do_sync(spool)
    assert jobs(spool) == []
    (problem,) = problems(spool)
    assert problem.endswith("the run does not count")
    assert do_sync(spool).runs_changed == 0
    grown = dump(spool.ledger)
    rebuild(spool.root, spool.ledger, drop_vanished=True)
    assert dump(spool.ledger) == grown
    run.document()
    do_sync(spool)
    assert energy_uj(jobs(spool)[0]) == 6_600_000_000


def test_a_session_that_is_there_twice_counts_once(spool: FakeSpool) -> None:
    """In its file, or in that of another node, another attempt or another run."""
    run = spool.run("17")
    lines = [run.header(), *run.records([100, 10], 60)]
    later = [{**line, "boottime_ns": line["boottime_ns"] + 30 * SECOND} for line in lines]
    # Named after another boot, or none, its wall clock is the same.
    forged = [{**line, "boot_id": "forged"} if "boot_id" in line else line for line in lines]
    unnamed = [{**line, "boot_id": None} if "boot_id" in line else line for line in lines]
    moved = [{**line, "boottime_ns": line["boottime_ns"] + 5000 * SECOND} for line in forged]
    set_back = [{**line, "wall_ns": line["wall_ns"] + SECOND} for line in lines]
    for copies in (lines, later, set_back, forged, unnamed, moved):
        run.samples([*lines, *copies])
        do_sync(spool)
        assert energy_uj(jobs(spool)[0]) == 6_600_000_000
        assert problems(spool) == [
            "17.0.n1.jsonl: 1 line: header of a time that an earlier session covers",
            "17.0.n1.jsonl: 7 lines: no valid header before it",
        ]
    other = spool.run("18")
    run.samples(lines)
    run.samples(lines, node="n2")
    run.samples(lines, restart=1)
    other.samples(lines, "17")
    do_sync(spool)
    assert sum(energy_uj(job) or 0 for job in jobs(spool)) == 6_600_000_000
    assert sorted(problem for problem in problems(spool) if " header of " in problem) == [
        "17.0.n1.jsonl: 1 line: header of run '" + run.run_id + "'",
        "17.0.n2.jsonl: 1 line: header of node 'n1'",
        "17.1.n1.jsonl: 1 line: header of job 17 restart 0",
    ]


def test_a_session_after_the_one_before_counts_too(spool: FakeSpool) -> None:
    run = spool.run("17")
    lines = [run.header(), *run.records([100, 10], 60)]
    after = [{**line, **{key: line[key] + 60 * SECOND for key in ("boottime_ns", "wall_ns")}} for line in lines]
    rebooted = [line | {"boot_id": "next"} if "boot_id" in line else line for line in after]
    for copies in (after, rebooted):
        run.samples([*lines, *copies])
        do_sync(spool)
        assert (energy_uj(jobs(spool)[0]), problems(spool)) == (13_200_000_000, [])


def test_a_node_under_another_name_is_reported(spool: FakeSpool) -> None:
    run = spool.run("17")
    run.samples([run.header(node="n9"), *run.records([100, 10], 60)], node="n1")
    do_sync(spool)
    assert problems(spool) == [
        "17.0.n1.jsonl: 1 line: header of node 'n9'",
        "17.0.n1.jsonl: 7 lines: no valid header before it",
        "17.0.n1.jsonl: no usable header",
    ]
    assert energy_uj(jobs(spool)[0]) is None


def test_runs_that_vanish_are_kept_and_a_rebuild_does_not_lose_them_by_surprise(spool: FakeSpool) -> None:
    run = spool.whole_run("17")
    spool.whole_run("18")
    do_sync(spool)
    shutil.rmtree(run.run_dir.path)
    assert do_sync(spool).vanished == (run.run_id,)
    assert len(jobs(spool)) == 2
    assert check_ledger(spool.root, spool.ledger).differences == ()
    with pytest.raises(DataError, match="would be lost"):
        rebuild(spool.root, spool.ledger)
    assert len(jobs(spool)) == 2
    rebuild(spool.root, spool.ledger, drop_vanished=True)
    assert [job.job_id for job in jobs(spool)] == ["18"]


@pytest.mark.parametrize("name", ["17.0.n1.jsonl", "17.0.end.json", "17.0.slurm.json", "submitted.json", "run.json"])
def test_files_that_vanish_go_on_to_count_and_a_rebuild_does_not_lose_them_by_surprise(
    spool: FakeSpool, name: str
) -> None:
    run = spool.whole_run("17")
    spool.whole_run("18")
    do_sync(spool)
    before = jobs(spool)
    (run.run_dir.path / name).unlink()
    assert do_sync(spool).vanished_files == (f"{run.run_id}/{name}",)
    # Something else of the run changes, so that its rows are written afresh.
    run.samples([run.header(node="n2"), *run.records([1, 1], 60)], node="n2")
    result = do_sync(spool)
    assert (result.vanished, result.vanished_files) == ((), (f"{run.run_id}/{name}",))
    after = jobs(spool)
    assert after[1] == before[1]
    assert (after[0].state, after[0].elapsed_source, after[0].cluster) == ("COMPLETED", "slurm", "lab")
    assert (after[0].submitted_wall_ns, after[0].partition) == (before[0].submitted_wall_ns, "batch")
    assert [channel for channel in after[0].channels if channel.node == "n1"] == list(before[0].channels)
    found = check_ledger(spool.root, spool.ledger)
    assert (found.differences, found.vanished_files) == ((), (f"{run.run_id}/{name}",))
    with pytest.raises(DataError, match="would be lost: files of runs that are there: 1") as caught:
        rebuild(spool.root, spool.ledger)
    assert "--drop-vanished" in (caught.value.hint or "")
    assert jobs(spool) == after
    kept = dump(spool.ledger)
    rebuild(spool.root, spool.ledger, drop_vanished=True)
    assert do_sync(spool).vanished_files == ()
    assert dump(spool.ledger) != kept


def test_check_still_compares_the_other_runs(spool: FakeSpool) -> None:
    run, other = spool.whole_run("17"), spool.whole_run("18")
    do_sync(spool)
    run.run_dir.end_json("17", 0).unlink()
    with closing(sqlite3.connect(spool.ledger)) as connection, connection:
        connection.execute("UPDATE jobs SET exit_code = 9")
    connection.close()
    lines = check_ledger(spool.root, spool.ledger).differences
    assert [(line[:7], json.loads(line[7:])["run_id"]) for line in lines] == [
        ("- jobs ", other.run_id), ("+ jobs ", other.run_id),
    ]  # fmt: skip


def test_a_run_that_cannot_be_listed_is_not_lost_in_a_rebuild(
    spool: FakeSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = spool.whole_run("17")
    do_sync(spool)
    whole = RunDir.names

    def names(self: RunDir) -> list[tuple[str, ParsedName | None]]:
        if self.run_id == run.run_id:
            raise PermissionError(13, "Permission denied")
        return whole(self)

    monkeypatch.setattr(RunDir, "names", names)
    with pytest.raises(DataError, match="files of runs that are there: 5"):
        rebuild(spool.root, spool.ledger)
    assert len(jobs(spool)) == 1


def test_a_ledger_of_an_older_schema_is_refused_and_can_be_rebuilt(spool: FakeSpool) -> None:
    run = spool.whole_run()
    do_sync(spool)
    new = dump(spool.ledger)

    def older_schema() -> None:
        connection = sqlite3.connect(spool.ledger, isolation_level=None)
        connection.execute("DROP TABLE sidecar_sessions")
        connection.execute("PRAGMA user_version = 6")
        connection.close()

    older_schema()
    for use in (do_sync, jobs):
        with pytest.raises(DataError, match=r"of an older hpcfrugal \(schema 6\)") as error:
            use(spool)
        assert "ledger rebuild" in str(error.value.hint)
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == new
    older_schema()
    run.run_dir.samples("17", 0, "n1").unlink()
    with pytest.raises(DataError, match="would be lost"):
        rebuild(spool.root, spool.ledger)


def test_facts_of_nodes_that_come_later_are_used_and_stay(spool: FakeSpool) -> None:
    run = spool.run("17")
    run.samples([run.header(exclusive=False), *run.records([100, 10], 60)])
    run.slurm()
    do_sync(spool)
    without = energy_uj(jobs(spool)[0])
    path = run.nodes()
    assert do_sync(spool).files_read == 3
    with_idle = energy_uj(jobs(spool)[0])
    assert (without, with_idle) == (1_650_000_000, 60 * (25_000_000 + 2_500_000))
    assert [channel.idle_power for channel in jobs(spool)[0].channels] == ["40 W (a wattmeter)", "4 W (a wattmeter)"]
    assert [session.slurm_cpus for session in jobs(spool)[0].sessions] == [8]
    run.nodes({"idle_power_uw": {"cpu": 20_000_000}, "slurm_cpus": 16})
    do_sync(spool)
    assert [channel.idle_uj for channel in jobs(spool)[0].channels] == [60 * 2_500_000, None]
    grown = dump(spool.ledger)
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == grown
    path.unlink()
    result = do_sync(spool)
    assert [name.partition("/")[2] for name in result.vanished_files] == ["17.0.nodes.json"]
    assert dump(spool.ledger) == grown


def test_invalid_facts_of_nodes_are_reported_and_left_out(spool: FakeSpool) -> None:
    run = spool.run("17")
    run.samples([run.header(exclusive=False), *run.records([100, 10], 60)])
    bad = {"slurm_cpus": 0, "oversubscribed": "no", "idle_power_uw": {"cpu": -5, "dram": 1.5, "node": 10**13}}
    run.nodes({"node": None}, bad)
    do_sync(spool)
    assert problems(spool) == [
        "17.0.nodes.json: nodes[0].node: missing",
        "17.0.nodes.json: nodes[1].slurm_cpus: not an integer from 1 to 4611686018427387904",
        "17.0.nodes.json: nodes[1].oversubscribed: not true or false",
        *(
            f"17.0.nodes.json: nodes[1].idle_power_uw.{component}: not an integer from 1 to 1000000000000"
            for component in ("cpu", "dram", "node")
        ),
    ]
    assert energy_uj(jobs(spool)[0]) == 1_650_000_000
    run.run_dir.nodes_json("17", 0).write_text('{"schema": 1, "job_id": "17", "restart": 0, "nodes": {}}')
    do_sync(spool)
    assert problems(spool) == ["17.0.nodes.json: is not valid: nodes: not a list of objects"]


def write_log(path: Path, data: bytes) -> None:
    path.with_name("17.0.sidecar.log").write_bytes(data)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", None),
        (b"\n \n", None),
        (b"first\nsrun: fatal: no\n\n", "srun: fatal: no"),
        (b"no\x1b[31m Python\t\xe2\x80\xae here\r\n", "no\ufffd[31m Python \ufffd here"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"a" * 400 + b"\n", "a" * 299 + "…"),
        (b"first\n" + b"x" * 20_000, "x" * 299 + "…"),
        (b"srun: error: busy\nsrun: Cancelled pending job step with signal 15\n", "srun: error: busy"),
        (b"srun: Step created for job 17\n", "srun: Step created for job 17"),
    ],
)
def test_the_last_line_of_the_log_is_kept(spool: FakeSpool, data: bytes, line: str | None) -> None:
    run = spool.run()
    run.slurm("FAILED")
    do_sync(spool)
    write_log(run.run_dir.run_json, b"something else\n")
    do_sync(spool)
    write_log(run.run_dir.run_json, data)
    do_sync(spool)
    assert jobs(spool)[0].sidecar_log == line
    grown = dump(spool.ledger)
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == grown


def test_the_log_is_checked_like_any_other_file(spool: FakeSpool, tmp_path: Path) -> None:
    run = spool.whole_run()
    (tmp_path / "secret").write_text("secret\n")
    (run.run_dir.path / "17.0.sidecar.log").symlink_to(tmp_path / "secret")
    do_sync(spool)
    assert jobs(spool)[0].sidecar_log is None
    assert problems(spool) == ["17.0.sidecar.log: a symbolic link, not followed"]


@pytest.mark.parametrize(
    "data", [b"this is not a database, not at all, but it is long enough" * 100, b"SQLite format 3\0x"]
)
def test_a_damaged_ledger_is_refused_with_the_way_out_and_rebuilt(spool: FakeSpool, data: bytes) -> None:
    spool.whole_run()
    do_sync(spool)
    good = dump(spool.ledger)
    for suffix in ("-wal", "-shm"):
        spool.ledger.with_name(spool.ledger.name + suffix).unlink(missing_ok=True)
    spool.ledger.write_bytes(data)
    for action in (lambda: do_sync(spool), lambda: jobs(spool)):
        with pytest.raises(DataError) as caught:
            action()
        assert "ledger rebuild" in (caught.value.hint or "")
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == good


def test_a_stale_journal_of_the_old_ledger_is_not_replayed_into_the_new(spool: FakeSpool) -> None:
    busy_spool(spool)
    do_sync(spool)
    good = dump(spool.ledger)
    connection = sqlite3.connect(spool.ledger, isolation_level=None)
    connection.execute("UPDATE jobs SET state = 'LIE'")
    assert spool.ledger.with_name("ledger.db-wal").stat().st_size > 0
    rebuild(spool.root, spool.ledger)
    connection.close()
    assert dump(spool.ledger) == good


def test_another_database_is_not_written_into(spool: FakeSpool) -> None:
    spool.ledger.parent.mkdir(parents=True)
    connection = sqlite3.connect(spool.ledger)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(DataError, match="not a ledger"):
        do_sync(spool)


def test_a_newer_ledger_is_refused(spool: FakeSpool) -> None:
    do_sync(spool)
    connection = sqlite3.connect(spool.ledger, isolation_level=None)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    for action in (lambda: do_sync(spool), lambda: jobs(spool)):
        with pytest.raises(DataError, match="newer"):
            action()


def test_no_ledger_yet(spool: FakeSpool) -> None:
    with pytest.raises(SetupError, match="there is no ledger") as caught:
        jobs(spool)
    assert "ledger sync" in (caught.value.hint or "")
    assert not spool.ledger.exists()


def test_a_ledger_where_no_file_can_be_made(spool: FakeSpool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="cannot be made"):
        sync(spool.root, tmp_path / "file" / "ledger.db")


def test_another_derivation_reads_everything_again(spool: FakeSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    spool.whole_run()
    do_sync(spool)
    monkeypatch.setattr("hpcfrugal.ledger.sync.DERIVATION", "next")
    assert do_sync(spool).files_read == 5
    assert do_sync(spool).files_read == 0


def test_check_sees_a_changed_row(spool: FakeSpool) -> None:
    spool.whole_run()
    do_sync(spool)
    found = check_ledger(spool.root, spool.ledger)
    assert (found.damage, found.not_synced, found.differences) == ((), (), ())
    with closing(sqlite3.connect(spool.ledger)) as connection, connection:
        connection.execute("UPDATE jobs SET exit_code = 9")
    connection.close()
    lines = check_ledger(spool.root, spool.ledger).differences
    assert [line[:7] for line in lines] == ["- jobs ", "+ jobs "]
    assert [json.loads(line[7:])["exit_code"] for line in lines] == [9, 0]


def test_files_that_are_not_read_yet_are_not_a_difference(spool: FakeSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    run, other = spool.whole_run(), spool.whole_run("18")
    do_sync(spool)
    run.end(exit_code=9)
    new = spool.whole_run("19")
    for compare in (True, False):
        found = check_ledger(spool.root, spool.ledger, compare=compare)
        assert set(found.not_synced) == {run.run_id, new.run_id}
        assert found.differences == ()
    # The others are compared all the same.
    with closing(sqlite3.connect(spool.ledger)) as connection, connection:
        connection.execute("UPDATE runs SET pue = 7")
    connection.close()
    lines = check_ledger(spool.root, spool.ledger).differences
    assert [json.loads(line[7:])["run_id"] for line in lines] == [other.run_id, other.run_id]
    # Nothing of a ledger that another version of the program has made can be compared.
    monkeypatch.setattr("hpcfrugal.ledger.sync.DERIVATION", "next")
    found = check_ledger(spool.root, spool.ledger)
    assert (set(found.not_synced), found.differences) == ({run.run_id, other.run_id, new.run_id}, ())


def test_files_written_during_a_check_are_not_a_difference(spool: FakeSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    run = spool.whole_run()
    do_sync(spool)
    fill = engine.fill

    def meanwhile(*args: Any, **options: Any) -> SyncResult:
        run.end(exit_code=9)
        spool.whole_run("18")
        done = fill(*args, **options)
        spool.whole_run("19")
        return done

    monkeypatch.setattr("hpcfrugal.ledger.check.fill", meanwhile)
    found = check_ledger(spool.root, spool.ledger)
    assert (len(found.not_synced), found.differences) == (3, ())


def test_buckets_and_channels_hold_the_same_energy(spool: FakeSpool) -> None:
    busy_spool(spool)
    do_sync(spool)
    with open_ledger(spool.ledger) as connection:
        rows = connection.execute(
            f"SELECT c.energy_uj, sum(b.energy_uj) FROM channels c JOIN ({BUCKETS}) b USING (job, node, kind)"
            " GROUP BY c.job, c.node, c.kind"
        ).fetchall()
        channels = [channel for job in find_jobs(connection, JobFilter()) for channel in job.channels]
    assert len(rows) == len(channels) == 10
    for energy_uj, in_buckets_uj in rows:
        assert energy_uj == in_buckets_uj
    for channel in channels:
        assert channel.measured_ns == sum(bucket.measured_ns for bucket in channel.buckets)


def test_hostile_texts_are_stored_as_they_are(spool: FakeSpool) -> None:
    name = "a'; DROP TABLE jobs; --\n\x1b[31m\0\ud800" + "x" * 300
    tags: dict[str, Any] = {"project": '"; --', "k'ey": "v"}
    spool.whole_run(spec={"name": name, "tags": tags}, user="'; --")
    do_sync(spool)
    (job,) = jobs(spool)
    assert job.name == name.replace("\ud800", "?")
    assert job.tags == tags
    assert find(spool, JobFilter(user="'; --", tags=(("k'ey", "v"),))) == ["17"]
    assert find(spool, JobFilter(user="' OR 1=1 --")) == []


def find(spool: FakeSpool, wanted: JobFilter) -> list[str]:
    with open_ledger(spool.ledger) as connection:
        return [job.job_id for job in find_jobs(connection, wanted)]


def test_jobs_are_found_by_time(spool: FakeSpool) -> None:
    spool.whole_run("17")
    assert do_sync(spool).runs == 1
    assert find(spool, JobFilter(since_ns=START_NS, until_ns=START_NS + 1)) == ["17"]
    assert find(spool, JobFilter(since_ns=START_NS + 1)) == []
    assert find(spool, JobFilter(until_ns=START_NS)) == []


def test_progress_is_reported_to_the_end(spool: FakeSpool) -> None:
    busy_spool(spool)
    seen: list[tuple[int, int]] = []
    sync(spool.root, spool.ledger, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (5, 5)


def test_what_is_not_a_run_directory_is_skipped_with_the_reason(spool: FakeSpool) -> None:
    spool.whole_run()
    (spool.root / "notes").mkdir()
    assert do_sync(spool).skipped == (f"{spool.root / 'notes'}: not a month folder of the spool",)


def _unreadable(monkeypatch: pytest.MonkeyPatch, ending: str) -> pytest.MonkeyPatch:
    """Opening files of this name fails, as it does on a file system that is not well; root can read all others."""
    real = os.open

    def fail(path: Any, *rest: Any, **more: Any) -> int:
        if str(path).endswith(ending):
            raise OSError(errno.EIO, "Input/output error", str(path))
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", fail)
    return monkeypatch


def test_a_file_that_cannot_be_read_for_a_while_is_tried_again(
    spool: FakeSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = spool.whole_run()
    with monkeypatch.context() as patch:
        _unreadable(patch, ".n1.jsonl")
        for _ in range(2):
            do_sync(spool)
            assert problems(spool) == ["17.0.n1.jsonl: cannot be read: Input/output error"]
            assert jobs(spool)[0].channels == ()
    do_sync(spool)
    assert (problems(spool), energy_uj(jobs(spool)[0])) == ([], 6_600_000_000)
    # And what is known is not lost when it cannot be read again.
    run.nodes()
    with monkeypatch.context() as patch:
        _unreadable(patch, ".n1.jsonl")
        do_sync(spool)
        assert problems(spool) == [
            "17.0.n1.jsonl: cannot be read: Input/output error; its earlier content counts",
        ]
        assert energy_uj(jobs(spool)[0]) == 6_600_000_000
        assert check_ledger(spool.root, spool.ledger).differences == ()
    do_sync(spool)
    grown = dump(spool.ledger)
    rebuild(spool.root, spool.ledger)
    assert (problems(spool), dump(spool.ledger)) == ([], grown)


def test_a_run_whose_document_cannot_be_read_for_a_while_stays(
    spool: FakeSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = spool.whole_run()
    do_sync(spool)
    good = dump(spool.ledger)
    run.nodes()
    with monkeypatch.context() as patch:
        _unreadable(patch, "run.json")
        (skipped,) = do_sync(spool).skipped
        assert "cannot be read: Input/output error" in skipped
        assert dump(spool.ledger) == good
    do_sync(spool)
    assert len(jobs(spool)) == 1
    assert check_ledger(spool.root, spool.ledger).differences == ()


def test_suspended_time_is_not_elapsed(spool: FakeSpool) -> None:
    spool.run("17").slurm(elapsed_s=48)
    do_sync(spool)
    (job,) = jobs(spool)
    assert (job.elapsed_ns, job.elapsed_source) == (48 * 10**9, "slurm")
    assert (job.started_wall_ns, job.ended_wall_ns) == (START_NS, START_NS + 60 * 10**9)


@pytest.mark.parametrize(
    ("shown", "recorded", "code"), [(15, 143, 143), (0, 128, 128), (15, 15, 15), (5, 143, 5), (15, None, 15)]
)
def test_an_exit_code_that_sacct_shows_in_part_is_that_of_the_batch_script(
    spool: FakeSpool, shown: int, recorded: int | None, code: int
) -> None:
    run = spool.run("17")
    run.slurm("FAILED", exit_code=shown)
    if recorded is not None:
        run.end(recorded)
    do_sync(spool)
    (job,) = jobs(spool)
    assert (job.state, job.exit_code) == ("FAILED", code)


@pytest.mark.parametrize(
    ("state", "signal", "recorded", "code"),
    [("OUT_OF_MEMORY", 125, None, 253), ("OUT_OF_MEMORY", 125, 137, 137), ("CANCELLED", 15, None, 143),
     ("OUT_OF_MEMORY", 125, 0, 253), ("COMPLETED", 0, 0, 0)],
)  # fmt: skip
def test_an_end_by_a_signal_is_not_exit_code_0(
    spool: FakeSpool, state: str, signal: int, recorded: int | None, code: int
) -> None:
    run = spool.run("17")
    run.slurm(state, signal=signal)
    if recorded is not None:
        run.end(recorded)
    do_sync(spool)
    (job,) = jobs(spool)
    assert (job.state, job.exit_code) == (state, code)
