"""Runs that are over are not looked at again, until something changes in their directories."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_spool import SECOND, START_NS, FakeRun, FakeSpool

from hpcfrugal.core.user import user_name
from hpcfrugal.ledger import run_reading, sealing
from hpcfrugal.ledger.check import check_ledger
from hpcfrugal.ledger.export import dump
from hpcfrugal.ledger.nodes import find_nodes
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.run_listing import RunListing
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import SyncResult, rebuild, sync
from hpcfrugal.spool import RunDir, mark_changed
from hpcfrugal.spool.documents import LabelsDocument, write_document

HOUR_NS = 3600 * SECOND
ENDED_NS = START_NS + 60 * SECOND


class Clock:
    """The time that a sync sees; an hour after the jobs ended."""

    def __init__(self) -> None:
        self.now_ns = ENDED_NS + HOUR_NS


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("hpcfrugal.ledger.sync.now_ns", lambda: found.now_ns)
    return found


def settle(spool: FakeSpool, at_ns: int = ENDED_NS) -> None:
    """Give all folders a time before that, as if nothing had changed since."""
    folders = [path for path in spool.root.rglob("*") if path.is_dir()]
    assert folders
    for path in folders:
        os.utime(path, ns=(at_ns, at_ns))


def over(spool: FakeSpool, job_id: str = "17", **changes: Any) -> FakeRun:
    """A run of which nothing more is expected."""
    run = spool.whole_run(job_id, **changes)
    run.nodes(job_id=job_id)
    return run


def do_sync(spool: FakeSpool, *, everything: bool = False) -> SyncResult:
    return sync(spool.root, spool.ledger, everything=everything)


def sealed(spool: FakeSpool) -> set[str]:
    with open_ledger(spool.ledger) as connection:
        rows = connection.execute("SELECT run_id FROM runs JOIN sealed_runs USING (run) WHERE NOT open").fetchall()
    return {run_id for (run_id,) in rows}


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose directories were listed, one after the other."""
    found: list[str] = []
    real = run_reading.list_run

    def listed(run: RunDir) -> RunListing:
        found.append(run.run_id)
        return real(run)

    monkeypatch.setattr(run_reading, "list_run", listed)
    return found


def test_a_run_that_is_over_is_looked_at_once(spool: FakeSpool, looked_at: list[str]) -> None:
    run = over(spool)
    settle(spool)
    assert do_sync(spool).runs_changed == 1
    assert sealed(spool) == {run.run_id}
    looked_at.clear()
    content = dump(spool.ledger)
    assert (do_sync(spool).runs_changed, do_sync(spool).runs) == (0, 1)
    assert looked_at == []
    assert check_ledger(spool.root, spool.ledger).differences == ()
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == content


def test_a_sealed_run_has_the_content_of_one_that_is_not(spool: FakeSpool) -> None:
    over(spool)
    do_sync(spool)
    assert sealed(spool) == set()
    content = dump(spool.ledger)
    settle(spool)
    do_sync(spool)
    assert len(sealed(spool)) == 1
    assert dump(spool.ledger) == content
    with open_ledger(spool.ledger) as connection:
        assert connection.execute("SELECT count(*) FROM files").fetchone()[0] == 0


def test_a_folder_that_has_not_changed_is_not_listed(
    spool: FakeSpool, looked_at: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    over(spool)
    running = spool.run("18")
    running.samples([running.header("18"), *running.records([100, 10], 30)[:3]], "18")
    settle(spool)
    do_sync(spool)
    looked_at.clear()
    monkeypatch.setattr(sealing, "runs_of_month", lambda *_: pytest.fail("listed"))
    assert do_sync(spool).runs == 2
    assert looked_at == [running.run_id]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda run: run.slurm("RUNNING", end_s=None, final=False), "it runs"),
        (lambda run: run.run_dir.end_json("17", 0).unlink(), "its end record may come"),
        (lambda run: run.run_dir.nodes_json("17", 0).unlink(), "the facts of its nodes may come"),
        (lambda run: run.slurm(array_job_id="17", array_task_id="0"), "other tasks may wait"),
        (lambda run: run.run_dir.slurm_json("17", 0).unlink(), "Slurm has not said how it ended"),
    ],
)
def test_a_run_of_which_more_is_expected_is_not_sealed(spool: FakeSpool, change: Any, why: str) -> None:
    run = over(spool)
    change(run)
    settle(spool)
    do_sync(spool)
    assert sealed(spool) == set(), why


@pytest.mark.parametrize(
    ("change", "hours"),
    [
        (lambda run: run.run_dir.end_json("17", 0).unlink(), 24),
        (lambda run: run.run_dir.nodes_json("17", 0).unlink(), 7 * 24),
        (lambda run: run.slurm(array_job_id="17", array_task_id="0"), 30 * 24),
    ],
)
def test_what_does_not_come_is_not_waited_for_for_ever(spool: FakeSpool, clock: Clock, change: Any, hours: int) -> None:
    run = over(spool)
    change(run)
    settle(spool)
    for now_ns, expected in ((ENDED_NS + hours * HOUR_NS - 1, set()), (ENDED_NS + hours * HOUR_NS, {run.run_id})):
        clock.now_ns = now_ns
        do_sync(spool)
        assert sealed(spool) == expected


def test_a_job_that_was_cancelled_before_its_start_is_over(spool: FakeSpool, clock: Clock) -> None:
    run = spool.run()
    run.slurm("CANCELLED", start_s=None, end_s=60, nodes=())
    settle(spool)
    for now_ns, expected in ((ENDED_NS + 24 * HOUR_NS - 1, set()), (ENDED_NS + 24 * HOUR_NS, {run.run_id})):
        clock.now_ns = now_ns
        do_sync(spool)
        assert sealed(spool) == expected


@pytest.mark.parametrize("backend", ["run", "local"])
def test_without_slurm_the_end_record_is_enough(spool: FakeSpool, backend: str) -> None:
    run = over(spool, backend=backend)
    run.run_dir.slurm_json("17", 0).unlink()
    run.run_dir.nodes_json("17", 0).unlink()
    settle(spool)
    do_sync(spool)
    assert sealed(spool) == {run.run_id}


def test_a_folder_that_changed_just_now_may_change_again_unseen(spool: FakeSpool, clock: Clock) -> None:
    run = over(spool)
    settle(spool)
    for now_ns, expected in ((ENDED_NS + 10 * SECOND, set()), (ENDED_NS + 10 * SECOND + 1, {run.run_id})):
        clock.now_ns = now_ns
        do_sync(spool)
        assert sealed(spool) == expected


def requeued(run: FakeRun) -> None:
    run.samples([run.header(restart=1), *run.records([50, 5], 40)], restart=1)
    run.slurm(restart=1, start_s=100, end_s=140)
    mark_changed(run.run_dir.path)


def metered(run: FakeRun) -> None:
    run.run_dir.meter("17", 0, "n1", "rack3").write_text("")
    mark_changed(run.run_dir.path)


def tagged(run: FakeRun) -> None:
    write_document(run.run_dir.labels_json, LabelsDocument(name="other", tags={"k": "v"}))


@pytest.mark.parametrize("change", [requeued, metered, tagged])
def test_a_change_opens_the_run_and_no_other(spool: FakeSpool, looked_at: list[str], change: Any) -> None:
    run, other = over(spool), over(spool, "18")
    settle(spool)
    do_sync(spool)
    assert sealed(spool) == {run.run_id, other.run_id}
    looked_at.clear()
    change(run)
    assert do_sync(spool).runs_changed == 1
    assert set(looked_at) == {run.run_id}
    assert sealed(spool) == {other.run_id}
    grown = dump(spool.ledger)
    settle(spool)
    do_sync(spool)
    assert dump(spool.ledger) == grown
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == grown


def test_a_file_that_was_written_in_place_is_read_when_all_are(spool: FakeSpool) -> None:
    run = over(spool)
    settle(spool)
    do_sync(spool)
    run.samples([run.header(), *run.records([200, 20], 60)])
    settle(spool)
    with open_ledger(spool.ledger, write=True) as connection:
        connection.execute("UPDATE sealed_runs SET mtime_ns = ?", (os.lstat(run.run_dir.path).st_mtime_ns,))
    assert do_sync(spool).runs_changed == 0
    assert do_sync(spool, everything=True).files_read == 6
    grown = dump(spool.ledger)
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == grown


@pytest.mark.parametrize(
    "name", ["17.0.n1.jsonl", "17.0.end.json", "17.0.slurm.json", "17.0.nodes.json", "submitted.json", "run.json"]
)
def test_what_a_sealed_run_has_lost_goes_on_to_count(spool: FakeSpool, name: str) -> None:
    run = over(spool)
    settle(spool)
    do_sync(spool)
    with open_ledger(spool.ledger) as connection:
        before = find_jobs(connection, JobFilter())
    (run.run_dir.path / name).unlink()
    mark_changed(run.run_dir.path)
    for _ in range(2):
        # Something else of the run changes too, so that its rows are written afresh.
        run.samples([run.header(node="n2"), *run.records([1, 1], 60)], node="n2")
        assert do_sync(spool).vanished_files == (f"{run.run_id}/{name}",)
        settle(spool, ENDED_NS + SECOND)
    assert sealed(spool) in (set(), {run.run_id} if name == "run.json" else set())
    with open_ledger(spool.ledger) as connection:
        (job,) = find_jobs(connection, JobFilter())
    same = ("state", "exit_code", "cluster", "submitted_wall_ns", "started_wall_ns", "elapsed_ns", "elapsed_source")
    assert [getattr(job, field) for field in same] == [getattr(before[0], field) for field in same]
    assert [channel for channel in job.channels if channel.node == "n1"] == list(before[0].channels)
    assert check_ledger(spool.root, spool.ledger).differences == ()


def test_runs_and_months_that_vanish_are_named_at_each_sync(spool: FakeSpool) -> None:
    run, other = over(spool), over(spool, "18")
    settle(spool)
    do_sync(spool)
    shutil.rmtree(run.run_dir.path)
    for _ in range(2):
        assert do_sync(spool).vanished == (run.run_id,)
        settle(spool)
    shutil.rmtree(run.run_dir.path.parent)
    for _ in range(2):
        assert sorted(do_sync(spool).vanished) == sorted([run.run_id, other.run_id])


def test_what_is_not_a_run_is_named_at_each_sync(spool: FakeSpool) -> None:
    run = over(spool)
    (run.run_dir.path.parent / "notes").mkdir()
    elsewhere = spool.root / "2020-01" / run.run_id
    elsewhere.mkdir(parents=True)
    settle(spool)
    for _ in range(2):
        assert do_sync(spool).skipped == (
            f"{elsewhere}: not in the folder of its month, {run.run_dir.path.parent.name}",
            f"{run.run_dir.path.parent / 'notes'}: not a run directory",
        )


def test_the_rest_of_a_node_has_the_facts_of_sealed_runs(spool: FakeSpool) -> None:
    run = over(spool)
    run.samples([run.header(exclusive=False), *run.records([100, 10], 60)])
    do_sync(spool)
    with open_ledger(spool.ledger) as connection:
        before = find_nodes(connection, spool.root)
    assert before.nodes
    settle(spool)
    do_sync(spool)
    assert len(sealed(spool)) == 1
    with open_ledger(spool.ledger) as connection:
        assert find_nodes(connection, spool.root) == before


def test_two_spools_of_one_ledger_have_their_own_runs(spool: FakeSpool, tmp_path: Path) -> None:
    run = over(spool)
    second = FakeSpool(tmp_path / "second")
    second.ledger, second._count = spool.ledger, 500
    other = over(second, "18")
    for one in (spool, second):
        settle(one)
        assert (do_sync(one).runs, do_sync(one).vanished) == (1, ())
    assert sealed(spool) == {run.run_id, other.run_id}
    shutil.rmtree(other.run_dir.path)
    assert do_sync(spool).vanished == ()
    assert do_sync(second).vanished == (other.run_id,)
    found = check_ledger(spool.root, spool.ledger)
    assert (found.vanished, found.differences) == ((other.run_id,), ())
    content = dump(spool.ledger)
    assert sum(line.startswith("jobs ") for line in content) == 2
    rebuild(second.root, second.ledger, drop_vanished=True)
    assert [line for line in dump(spool.ledger) if line.startswith("jobs ")] == [
        line for line in content if line.startswith("jobs ") and run.run_id in line
    ]


def test_the_rest_of_a_node_takes_the_jobs_of_all_spools(spool: FakeSpool, tmp_path: Path) -> None:
    over(spool)
    second = FakeSpool(tmp_path / "second")
    second.ledger, second._count = spool.ledger, 500
    over(second, "18")
    for one in (spool, second):
        do_sync(one)
    for one in (spool, second):
        with open_ledger(spool.ledger) as connection:
            found = find_nodes(connection, one.root)
        assert found.missing == ()
        assert [len(node.jobs) for node in found.nodes] == [2]


def test_a_spool_that_was_moved_counts_once(spool: FakeSpool, tmp_path: Path) -> None:
    over(spool)
    settle(spool)
    do_sync(spool)
    content = dump(spool.ledger)
    moved = tmp_path / "elsewhere"
    spool.root.rename(moved)
    found = check_ledger(moved, spool.ledger)
    assert (found.vanished, found.not_synced, found.differences) == ((), (), ())
    result = sync(moved, spool.ledger)
    assert (result.runs, result.vanished) == (1, ())
    assert dump(spool.ledger) == content
    rebuild(moved, spool.ledger)
    assert dump(spool.ledger) == content


def test_a_copy_of_a_spool_is_another_one(spool: FakeSpool, tmp_path: Path) -> None:
    run = over(spool)
    do_sync(spool)
    copy = tmp_path / "copy"
    shutil.copytree(spool.root, copy)
    assert sync(copy, spool.ledger).runs_changed == 1
    shutil.rmtree(run.run_dir.path)
    assert (do_sync(spool).vanished, sync(copy, spool.ledger).vanished) == ((run.run_id,), ())


@pytest.mark.slow
def test_syncs_that_are_killed_at_any_time_leave_a_ledger_that_goes_on(spool: FakeSpool) -> None:
    spool.user = user_name()
    for number in range(7000):
        over(spool, str(10_000 + number))
    settle(spool)
    code = (
        "import sys; from pathlib import Path; from hpcfrugal.ledger import sync\n"
        f"sync.now_ns = lambda: {ENDED_NS + HOUR_NS}\n"
        "sync.sync(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    argv = [sys.executable, "-c", code, str(spool.root), str(spool.ledger)]
    killed = 0
    for tenths in range(5, 40, 3):
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(argv, timeout=tenths / 10, check=True)  # it is killed when its time is over
            break
        killed += 1
    assert killed > 2
    assert do_sync(spool).runs == 7000
    assert len(sealed(spool)) == 7000
    found = check_ledger(spool.root, spool.ledger)
    assert (found.damage, found.problems, found.differences) == ((), (), ())
    grown = dump(spool.ledger)
    rebuild(spool.root, spool.ledger)
    assert dump(spool.ledger) == grown
