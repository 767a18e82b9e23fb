"""Runs in the spools of a site's users count for the jobs that Slurm has of these users, and for each once."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest
from accounted import DAY_S, START_S, answer, row
from fake_agent import FakeAgent
from fake_spool import DRAM, PACKAGE, PSYS, SECOND, START_NS, FakeRun, FakeSpool, iso

from hpcfrugal.core.user import user_name
from hpcfrugal.ledger.calibrating import calibrate
from hpcfrugal.ledger.check import check_ledger
from hpcfrugal.ledger.energy_audit import audit_energy
from hpcfrugal.ledger.export import dump
from hpcfrugal.ledger.queries import JobFilter, find_jobs
from hpcfrugal.ledger.rows import JobRow
from hpcfrugal.ledger.spools import LedgerSpool, key_of
from hpcfrugal.ledger.store import open_ledger
from hpcfrugal.ledger.sync import rebuild, sync
from hpcfrugal.spool.cluster_documents import ClusterFacts, NodeClass, SlurmSetup, store_cluster_document
from hpcfrugal.spool.documents import LabelsDocument, write_document


class Centre:
    """A site's spool, and that of the user who runs the test, whose job 17 Slurm has."""

    def __init__(self, folder: Path) -> None:
        self.site, self.users = FakeSpool(folder), FakeSpool(folder / "home")
        self.site.root.mkdir()
        self.users.user = user_name()

    def synced(self) -> list[JobRow]:
        """The jobs after two syncs, which are those of a ledger that is made at once."""
        for _ in range(2):
            sync(self.site.root, self.site.ledger, of_users=[LedgerSpool(self.users.root, user_name())])
        content = dump(self.site.ledger)
        rebuild(self.site.root, self.site.ledger)
        assert dump(self.site.ledger) == content
        with open_ledger(self.site.ledger) as connection:
            return find_jobs(connection, JobFilter())

    def problems(self) -> list[str]:
        found = check_ledger(self.site.root, self.site.ledger)
        assert not found.differences
        return [problem.partition(" ")[2] for problem in found.problems]


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return Centre(tmp_path)


def hour(job_id: str = "17", **cells: str) -> dict[str, str]:
    return row(job_id, **{"User": user_name(), "Account": "physics", "NodeList": "n1"} | cells)


def on_another_cluster(run: FakeRun) -> None:
    run.cluster = "elsewhere"
    run.submitted()
    run.samples([run.header(), *run.records([9000, 30], 60)])
    run.slurm()


def at_another_time(run: FakeRun) -> None:
    apart_s = 40 * DAY_S
    times = {"submit_at": iso(apart_s), "eligible_at": iso(apart_s)}
    run.samples([run.header(wall_ns=START_NS + apart_s * SECOND), *run.records([9000, 30], 60)])
    run.slurm(start_s=apart_s, end_s=apart_s + 60, **times)


def a_second_restart(run: FakeRun) -> None:
    for restart in (0, 7):
        run.samples([run.header(restart=restart), *run.records([90, 30], 60)], restart=restart)
        run.slurm(restart=restart, submit_at=iso(-100))


def on_another_node(run: FakeRun) -> None:
    run.samples([run.header(node="n9"), *run.records([9000, 30], 60)], node="n9")
    run.slurm(submit_at=iso(-100))


def as_a_task_of_anothers_array(run: FakeRun) -> None:
    run.samples([run.header(), *run.records([9000, 30], 60)])
    run.slurm(array_job_id="18", array_task_id="1")


@pytest.mark.parametrize(
    ("forge", "measured", "restart"),
    [
        (on_another_cluster, 0, 0),
        (at_another_time, 0, 0),
        (on_another_node, 0, 0),
        (a_second_restart, 1, 7),
        (as_a_task_of_anothers_array, 0, 0),
    ],
)
def test_a_job_that_slurm_does_not_have_does_not_count(
    centre: Centre, forge: Callable[[FakeRun], None], measured: int, restart: int
) -> None:
    forge(centre.users.run("17"))
    answer(centre.site, hour(), hour("18", User="bob", Account="biology"))
    jobs = centre.synced()
    assert [(job.job_id, job.account) for job in jobs] == [("17", "physics"), ("18", "biology")]
    assert sum(job.origin == "spool" for job in jobs) == measured
    (problem,) = centre.problems()
    assert problem.startswith(f"job 17 (restart {restart}) of cluster")
    assert problem.endswith(
        f" does not count: Slurm has none of {user_name()} at that time on its nodes, or another run has it"
    )  # fmt: skip


def test_of_several_runs_with_one_job_the_first_counts(centre: Centre) -> None:
    runs = [centre.users.whole_run() for _ in range(3)]
    for run in runs:  # which is sealed when it is read
        run.nodes()
        os.utime(run.run_dir.path, (0, 0))
    answer(centre.site, hour())
    (job,) = centre.synced()
    assert job.run_id == min(run.run_id for run in runs)
    assert len(centre.problems()) == 2


def test_a_number_that_was_the_users_once_is_not_theirs_for_ever(centre: Centre) -> None:
    centre.users.whole_run()
    answer(centre.site, hour(start=-20 * DAY_S, end=-20 * DAY_S + 60), day=-20)
    answer(centre.site, hour(User="bob", Account="biology"))
    assert [(job.user, job.origin) for job in centre.synced()] == [(user_name(), "sacct"), ("bob", "sacct")]


def test_an_account_that_slurm_does_not_have_does_not_count(centre: Centre) -> None:
    centre.users.run("17").slurm(account="biology", qos="high")
    answer(centre.site, hour(Account="", QOS=""))
    (job,) = centre.synced()
    assert (job.origin, job.account, job.qos) == ("spool", None, None)


def test_a_restart_after_days_is_the_runs(centre: Centre) -> None:
    """Until Slurm is asked a run has nothing but the time of its own submission."""
    run = centre.users.run("17")
    for restart in (0, 1):
        run.samples([run.header(restart=restart), *run.records([90, 30], 60)], restart=restart)
    first = {"Submit": str(START_S - 9), "State": "REQUEUED"}
    answer(centre.site, hour(end=3 * DAY_S, **first), hour(start=3 * DAY_S + 60, end=3 * DAY_S + 120))
    assert [(job.restart, job.origin) for job in centre.synced()] == [(0, "spool"), (1, "spool")]
    assert not centre.problems()


def test_a_job_counts_once_slurm_has_it(centre: Centre) -> None:
    run = centre.users.run("17")
    for restart in (0, 1):
        run.samples([run.header(restart=restart), *run.records([90, 30], 60)], restart=restart)
    first = hour(Submit=str(START_S - 9), State="REQUEUED")
    answer(centre.site, first)
    assert [(job.restart, job.origin) for job in centre.synced()] == [(0, "spool")]
    answer(centre.site, first, hour(start=3700, end=3800), asked_s=2 * DAY_S)
    assert [(job.restart, job.origin) for job in centre.synced()] == [(0, "spool"), (1, "spool")]
    assert not centre.problems()


@pytest.mark.parametrize("agent", [False, True])
def test_of_samples_that_last_longer_than_the_job_only_its_time_counts(centre: Centre, agent: bool) -> None:
    """Also where Slurm reports the end of the job only after what an agent measured of it was counted."""
    run = centre.users.run("17")
    run.samples([run.header(exclusive=True), *run.records([100.0, 10.0], 7200)])
    running = hour(end=None, Submit=str(START_S - 9))
    over = hour(end=1800, Submit=str(START_S - 9))
    if agent:
        seen = FakeAgent(centre.site.root, start_ns=START_NS - 60 * SECOND)
        seen.advance(60)
        seen.start("17", 50)
        seen.advance(600)
        seen.record("end")
    answer(centre.site, running)
    centre.synced()
    answer(centre.site, over, asked_s=2 * DAY_S)
    (job,) = centre.synced()
    assert job.origin == "spool"
    by_agent_j = 600 * 50 * 1.25
    wanted_j = by_agent_j + 1200 * 110 if agent else 1800 * 110
    assert (job.totals.sums.measured_uj or 0) / 1e6 == pytest.approx(wanted_j, rel=0.01)
    assert (
        "what was read for longer than the job lasted does not count" in {one.reason for one in job.channels} or agent
    )
    assert not centre.problems()


def test_the_first_component_of_a_heterogeneous_job_is_slurms(centre: Centre) -> None:
    centre.users.run("17").slurm(het_job_id="18")
    centre.users.whole_run("21")
    answer(
        centre.site,
        hour(),
        hour("18", User="bob"),
        hour("20", JobID="20+0"),
        hour("21", JobID="20+1"),
    )
    found = {job.job_id: (job.origin, job.het_job_id) for job in centre.synced()}
    assert found == {"17": ("spool", None), "18": ("sacct", None), "20": ("sacct", "20"), "21": ("spool", "20")}


@pytest.mark.parametrize("agent", [False, True])
def test_what_a_user_measured_changes_no_figures_of_others(centre: Centre, agent: bool) -> None:
    """But for what an agent measured, which users cannot write."""
    site, hour_s = centre.site, 3600
    setup = SlurmSetup(START_NS - 10**12, "24.11.5", "ipmi", contain=True)
    store_cluster_document(site.root, ClusterFacts("lab", (setup,), (NodeClass("n[1-9]", 16, 16, 32_000),)))
    run = centre.users.run("17")
    header = run.header(channels=[PACKAGE, DRAM, PSYS], exclusive=True)
    run.samples([header, *run.records([1000.0, 100.0, 2000.0], hour_s)])
    run.end(end_s=hour_s)
    times = {"Submit": str(START_S - 9), "AllocCPUS": "16", "TotalCPU": "16:00:00", "ConsumedEnergyRaw": "576000"}
    answer(site, hour(**times))
    if agent:
        seen = FakeAgent(site.root, start_ns=START_NS - 60 * SECOND, rest_w=50)
        seen.advance(60)
        seen.start("17", 50)
        seen.advance(hour_s)
        seen.end("17")
        seen.record("end")
    (job,) = centre.synced()
    assert (job.origin, job.totals.sums.measured_uj) == ("spool", (50 * 1.25 if agent else 1100) * hour_s * 10**6)
    with open_ledger(site.ledger) as connection:
        assert [one.jobs for one in calibrate(connection, JobFilter())] == [1] * agent
        (audited,) = audit_energy(connection, JobFilter())
    assert (audited.comparison is not None) == agent


@pytest.mark.parametrize("job_id", ["17", "18"])
def test_a_run_that_a_user_forgot_takes_no_job_out_of_the_site(centre: Centre, job_id: str) -> None:
    """Neither the user's own, whose energy was used all the same, nor that of somebody else."""
    answer(centre.site, hour(), hour("18", User="mallory"))
    run = centre.users.whole_run(job_id)
    write_document(run.run_dir.labels_json, LabelsDocument(forgotten=True))
    assert [(job.job_id, job.origin) for job in centre.synced()] == [("17", "sacct"), ("18", "sacct")]


def test_a_spool_that_is_not_the_users_any_more_is_not_read(centre: Centre) -> None:
    """A link may lead to the spool of another user between the listing of spools and the reading."""
    other = next(user.pw_name for user in pwd.getpwall() if user.pw_uid not in (0, os.getuid()))
    centre.users.whole_run()
    answer(centre.site, hour())
    centre.synced()
    before = dump(centre.site.ledger)
    done = sync(centre.site.root, centre.site.ledger, of_users=[LedgerSpool(centre.users.root, other)])
    assert done.skipped == (f"{centre.users.root}: cannot be read: belongs to uid {os.getuid()}, not to {other}",)
    assert dump(centre.site.ledger) == before


def test_a_users_spool_that_was_moved_counts_once(centre: Centre, tmp_path: Path) -> None:
    """The spool of another user, or of the site, is not taken for it, whatever runs it has."""
    centre.users.whole_run()
    answer(centre.site, hour())
    centre.synced()
    content = dump(centre.site.ledger)
    moved = tmp_path / "project"
    centre.users.root.rename(moved)
    with open_ledger(centre.site.ledger) as connection:
        assert [key_of(connection, moved, user) for user in (None, "daemon")] == [None, None]
    result = sync(centre.site.root, centre.site.ledger, of_users=[LedgerSpool(moved, user_name())])
    assert (result.runs, result.runs_changed, result.vanished, result.problem_files) == (1, 0, (), 0)
    assert dump(centre.site.ledger) == content
    rebuild(centre.site.root, centre.site.ledger)
    assert dump(centre.site.ledger) == content
